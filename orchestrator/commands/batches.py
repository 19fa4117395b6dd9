"""`burst batches`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import confirmed, json_option, overrides, show, state_option
from orchestrator.errors import UsageError


@click.group(short_help="List, show and clean batches.")
def batches() -> None:
    """List, show and clean batches: items that were asked for together."""


@batches.command("list")
@state_option
@json_option
def batches_list(state: Path, as_json: bool) -> None:
    """Every batch, how far it is and how long it will take."""
    from orchestrator.batches.batch_status import list_batches

    show(list_batches(state), as_json)


@batches.command("show", short_help="What a batch was asked to be, and how far it is.")
@click.argument("batch")
@state_option
@json_option
def batches_show(batch: str, state: Path, as_json: bool) -> None:
    """What a batch was asked to be, and how far it is. BATCH is its name, its id, or enough of the id."""
    from orchestrator.batches.batch_status import read_batch

    show(read_batch(state, batch), as_json)


@batches.command("clean", short_help="Remove the files of old batches.")
@click.option("--older-than", required=True, metavar="30d", help="Batches that ended so long ago: 12h, 30d, 2w.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask where --older-than is 0.")
@click.option(
    "--output", "output_dir", type=click.Path(path_type=Path), help="Where the images of items without a recipe are."
)
@state_option
@json_option
def batches_clean(
    older_than: str, dry_run: bool, yes: bool, output_dir: Path | None, state: Path, as_json: bool
) -> None:
    """Remove pictures and sidecars of batches that ended so long ago, as far as they still are as recorded.

    Their items stay completed: nothing is rendered again, and `verify` misses nothing.
    """
    from orchestrator.batches.cleaning import clean_batches, parse_duration

    age, said = parse_duration(older_than), overrides(output_dir=output_dir)
    if not (age or dry_run or yes) and not confirmed(f"Remove the files of every batch of {state} that has ended?"):
        raise UsageError("nothing was changed")
    show(clean_batches(state, older_than=age, dry_run=dry_run, overrides=said), as_json)
