"""`burst adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import all_option, json_option, overrides, show_listing, state_option, tool_options
from orchestrator.commands.help import Command
from orchestrator.errors import UsageError


@click.command(cls=Command, short_help="Save the prompts in a server's queue as items.")
@state_option
@tool_options
@all_option
@json_option
def adopt(state: Path, everything: bool, as_json: bool, **tools: Any) -> None:
    """Save what runs and waits in a server's own queue as items, so that it survives the server's crash.

    `burst run` then collects it, and submits again what a server has lost. Safe to repeat; other people's prompts stay
    where they are in the queue. Prompts of another burst state are left out.
    """
    from orchestrator.adoption import adopt as take_in

    for name, what in (("template", "--template"), ("bindings", "--bind")):
        if tools.get(name):
            raise UsageError(f"{what}: what waits in the queue has workflows of its own; leave it out")
    show_listing(take_in(state, overrides=overrides(**tools)), as_json, everything)
