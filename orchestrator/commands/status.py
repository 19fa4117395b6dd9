"""`burst status`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import json_option, print_error, show_listing, state_option
from orchestrator.errors import UsageError


@click.command(short_help="Show what is done and what remains, of all or of one batch.")
@click.argument("batch", required=False)
@state_option
@click.option(
    "--check", is_flag=True, help="Exit code 0: nothing left; 1: work remains; 3: nothing left, some items failed."
)
@click.option("--watch", is_flag=True, help="Refresh until no work remains.")
@click.option("--stats", is_flag=True, help="Add images a minute, seconds per image, queue length and totals.")
@click.option("--all", "everything", is_flag=True, help="Include batches that have ended, and print full lists.")
@json_option
def status(
    batch: str | None, state: Path, check: bool, watch: bool, stats: bool, everything: bool, as_json: bool
) -> None:
    """Show what is done and what remains, of everything or of one batch. Takes no lock.

    BATCH is a batch's name, its id, or the beginning of the id.
    """
    from orchestrator.batches.batch_status import read_batch
    from orchestrator.status import read_status, watch_batch, watch_status

    if batch is not None and stats:
        raise UsageError("--stats covers the whole state; leave the batch out")
    report: Any
    if watch:
        watched = (
            watch_batch(state, batch, all_failed=everything, idle=print_error)
            if batch
            else watch_status(state, stats=stats, ended=everything, idle=print_error, live=sys.stdout.isatty())
        )
        for report in watched:
            if sys.stdout.isatty() and not as_json:
                click.clear()
            if not show_listing(report, as_json, everything):
                break  # nobody reads what would come
    else:
        report = (
            read_batch(state, batch, all_failed=everything)
            if batch
            else read_status(state, stats=stats, ended=everything)
        )
        show_listing(report, as_json, everything)
    if check:
        sys.exit(report.check_code)
