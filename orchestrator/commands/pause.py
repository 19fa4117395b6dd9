"""`burst pause`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import json_option, overrides, show, state_option, tool_options
from orchestrator.commands.help import Command


@click.command(cls=Command, short_help="Pause every run; nothing is started until `burst resume`.")
@click.option("--free", is_flag=True, help="Also unload the servers' models.")
@state_option
@tool_options
@json_option
def pause(state: Path, free: bool, as_json: bool, **tools: Any) -> None:
    """Pause every run of the state, on every host, within a second.

    What waits on a server is taken back with no attempt charged; what is being rendered is collected. `burst run`,
    `burst serve` and cron start nothing until `burst resume`.
    """
    from orchestrator.pausing import pause as rest

    show(rest(state, free=free, overrides=overrides(**tools)), as_json)
