"""What is done and left, and what people change about it: `burst status`, `retry`, `cancel`, …."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import json_option, overrides, show, state_option, tool_options
from orchestrator.errors import UsageError


@click.command()
@click.argument("batch", required=False)
@state_option
@click.option("--check", is_flag=True, help="Exit 0 when nothing is left, 1 when work remains.")
@click.option("--watch", is_flag=True, help="Say it again whenever it changes, until nothing is left.")
@click.option("--stats", is_flag=True, help="Images a minute, seconds for one, queue length, totals.")
@click.option("--all", "ended", is_flag=True, help="List the batches that have ended too.")
@json_option
def status(batch: str | None, state: Path, check: bool, watch: bool, stats: bool, ended: bool, as_json: bool) -> None:
    """Say what is done and what is left, of everything or of one batch. Takes no lock.

    BATCH is a batch's id, or enough of its beginning.
    """
    from orchestrator.batches.looking import read_batch
    from orchestrator.status import read_status, watch_batch, watch_status

    if batch is not None and (stats or ended):
        raise UsageError("--stats and --all are of the whole state; leave the batch out")
    report: Any
    if watch:
        for report in watch_batch(state, batch) if batch else watch_status(state, stats=stats, ended=ended):
            if sys.stdout.isatty() and not as_json:
                click.clear()
            show(report, as_json)
    else:
        report = read_batch(state, batch) if batch else read_status(state, stats=stats, ended=ended)
        show(report, as_json)
    if check:
        sys.exit(report.check_code)


@click.command(short_help="Make failed items due again.")
@click.argument("keys", nargs=-1, metavar="[ITEM...]")
@state_option
@click.option("--cancelled", is_flag=True, help="Cancelled items too.")
@json_option
def retry(keys: tuple[str, ...], state: Path, cancelled: bool, as_json: bool) -> None:
    """Make failed items due again, or the named ones. Works while a burst runs."""
    from orchestrator import redoing

    show(redoing.retry(state, keys, cancelled=cancelled), as_json)


@click.command(short_help="Forget all progress.")
@state_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def reset(state: Path, yes: bool, as_json: bool) -> None:
    """Forget all progress: every item is due again. Pictures stay until they are rendered anew."""
    from orchestrator import redoing

    if not yes:
        click.confirm(f"Forget all progress of {state}?", abort=True, err=True)
    show(redoing.reset(state), as_json)


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

    Works while a burst runs. Finished pictures stay. A batch is named by its id, or enough of its beginning.
    """
    from orchestrator.cancelling import cancel as take_back

    if [bool(names), everything, all_queued].count(True) != 1:
        raise UsageError("name the items or batches to cancel, or say --all or --all-queued")
    show(take_back(state, names, queued_only=all_queued, overrides=overrides(**tools)), as_json)


@click.command(short_help="Hold pictures against their records.")
@state_option
@click.option("--output", "output_dir", type=click.Path(path_type=Path), help="Where the pictures are.")
@click.option("--repair", is_flag=True, help="Make items due again whose files are missing, cut or changed.")
@click.option("--quick", is_flag=True, help="Compare sizes only, not contents.")
@json_option
def verify(state: Path, output_dir: Path | None, repair: bool, quick: bool, as_json: bool) -> None:
    """Hold the files of completed items against their records."""
    from orchestrator import redoing

    report = redoing.verify_outputs(state, repair=repair, quick=quick, overrides=overrides(output_dir=output_dir))
    show(report, as_json)
    sys.exit(report.exit_code)


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
