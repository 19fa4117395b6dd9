"""`burst doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import all_option, json_option, overrides, show_listing, state_option, tool_options
from orchestrator.commands.help import Command


@click.command(cls=Command, short_help="Diagnose problems and say what to type next.")
@state_option
@tool_options
@all_option
@json_option
def doctor(state: Path, everything: bool, as_json: bool, **tools: Any) -> None:
    """Check everything a burst needs, and show what to type next.

    State, settings, template, server, models, disk, lock, and what the last burst died of. Changes nothing.
    Exits 1 when something is in the way.
    """
    from orchestrator.doctor import examine

    report = examine(state, overrides=overrides(**tools))
    show_listing(report, as_json, everything)
    sys.exit(report.exit_code)
