"""`burst cancel`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import json_option, overrides, show_listing, state_option, tool_options
from orchestrator.commands.help import Command
from orchestrator.errors import UsageError


@click.command(cls=Command, short_help="Cancel items or batches.")
@click.argument("names", nargs=-1, metavar="[ITEM|BATCH...]")
@state_option
@click.option("--all", "everything", is_flag=True, help="Cancel every pending and submitted item.")
@click.option("--all-queued", is_flag=True, help="Cancel every item that is not being rendered.")
@tool_options
@click.option("--list-all", is_flag=True, help="Print lists whole, not their first ten.")
@json_option
def cancel(
    names: tuple[str, ...], state: Path, everything: bool, all_queued: bool, list_all: bool, as_json: bool, **tools: Any
) -> None:
    """Cancel items or batches: pending items at once, submitted ones as far as the server still can.

    Works while a burst runs. Finished images stay. Name a batch by its name, its id, or the beginning of the id.
    """
    from orchestrator.cancellation import cancel as take_back

    if [bool(names), everything, all_queued].count(True) != 1:
        raise UsageError("name the items or batches to cancel, or use --all or --all-queued")
    show_listing(take_back(state, names, queued_only=all_queued, overrides=overrides(**tools)), as_json, list_all)
