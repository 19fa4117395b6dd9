"""`burst doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import json_option, overrides, show, state_option, tool_options


@click.command(short_help="Say what is wrong and what to type next.")
@state_option
@tool_options
@json_option
def doctor(state: Path, as_json: bool, **tools: Any) -> None:
    """Look at everything a burst needs, and say what to type next.

    State, settings, template, server, models, disk, lock, and what the last burst died of. Changes nothing.
    Exits 1 when something is in the way.
    """
    from orchestrator.doctor import examine

    report = examine(state, overrides=overrides(**tools))
    show(report, as_json)
    sys.exit(report.exit_code)
