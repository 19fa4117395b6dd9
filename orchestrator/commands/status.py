"""`burst status`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import json_option, print_error, show, state_option
from orchestrator.errors import UsageError


@click.command()
@click.argument("batch", required=False)
@state_option
@click.option(
    "--check", is_flag=True, help="Exit 0: nothing left. 1: work remains. 3: nothing left, some items failed."
)
@click.option("--watch", is_flag=True, help="Refresh until no work remains.")
@click.option("--stats", is_flag=True, help="Images a minute, seconds for one, queue length, totals.")
@click.option("--all", "ended", is_flag=True, help="List the batches that have ended too.")
@json_option
def status(batch: str | None, state: Path, check: bool, watch: bool, stats: bool, ended: bool, as_json: bool) -> None:
    """Say what is done and what is left, of everything or of one batch. Takes no lock.

    BATCH is a batch's name, its id, or enough of the id's beginning.
    """
    from orchestrator.batches.batch_status import read_batch
    from orchestrator.status import read_status, watch_batch, watch_status

    if batch is not None and (stats or ended):
        raise UsageError("--stats and --all are of the whole state; leave the batch out")
    report: Any
    if watch:
        watched = (
            watch_batch(state, batch, idle=print_error)
            if batch
            else watch_status(state, stats=stats, ended=ended, idle=print_error)
        )
        for report in watched:
            if sys.stdout.isatty() and not as_json:
                click.clear()
            if not show(report, as_json):
                break  # nobody reads what would come
    else:
        report = read_batch(state, batch) if batch else read_status(state, stats=stats, ended=ended)
        show(report, as_json)
    if check:
        sys.exit(report.check_code)
