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
@click.option("--failed", is_flag=True, help="Also cancel failed items; alone: all failed items.")
@tool_options
@click.option("--list-all", is_flag=True, help="Print full lists, not only the first ten entries.")
@json_option
def cancel(
    names: tuple[str, ...],
    state: Path,
    everything: bool,
    all_queued: bool,
    failed: bool,
    list_all: bool,
    as_json: bool,
    **tools: Any,
) -> None:
    """Cancel items or batches: pending items at once, submitted ones as far as the server still can.

    A failed item that is named itself is given up: it counts as cancelled, not as failed. Works while a burst runs.
    Finished images stay. Name a batch by its name, its id, or the beginning of the id.
    """
    from orchestrator.cancellation import cancel as take_back

    if all_queued and failed:
        raise UsageError("--failed: a failed item is not queued; leave out --all-queued")
    chosen = [bool(names), everything, all_queued].count(True)
    if chosen > 1 or not (chosen or failed):
        raise UsageError("name the items or batches to cancel, or use --all, --all-queued or --failed")
    report = take_back(
        state, names, queued_only=all_queued, due=bool(chosen), failed=failed, overrides=overrides(**tools)
    )
    show_listing(report, as_json, list_all)
