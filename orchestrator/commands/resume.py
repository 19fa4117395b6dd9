"""`burst resume`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import json_option, show, state_option
from orchestrator.commands.help import Command


@click.command(cls=Command, short_help="Resume paused runs.")
@state_option
@json_option
def resume(state: Path, as_json: bool) -> None:
    """Let the runs of the state work again after `burst pause`."""
    from orchestrator.pausing import resume as go_on

    show(go_on(state), as_json)
