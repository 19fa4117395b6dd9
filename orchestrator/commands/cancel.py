"""`burst cancel`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import json_option, overrides, show, state_option, tool_options
from orchestrator.errors import UsageError


@click.command(short_help="Take items and batches back.")
@click.argument("names", nargs=-1, metavar="[ITEM|BATCH...]")
@state_option
@click.option("--all", "everything", is_flag=True, help="Every pending and submitted item.")
@click.option("--all-queued", is_flag=True, help="As --all, and what is being rendered goes on.")
@tool_options
@json_option
def cancel(
    names: tuple[str, ...], state: Path, everything: bool, all_queued: bool, as_json: bool, **tools: Any
) -> None:
    """Take items and batches back: pending items at once, submitted ones as far as the server still can.

    Works while a burst runs. Finished pictures stay. A batch is named by its name, its id, or enough of the id.
    """
    from orchestrator.cancellation import cancel as take_back

    if [bool(names), everything, all_queued].count(True) != 1:
        raise UsageError("name the items or batches to cancel, or say --all or --all-queued")
    show(take_back(state, names, queued_only=all_queued, overrides=overrides(**tools)), as_json)
