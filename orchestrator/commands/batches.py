"""`burst batches`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.common import (
    OutputRoot,
    all_option,
    confirmed,
    json_option,
    overrides,
    show_listing,
    state_option,
)
from orchestrator.commands.help import Group
from orchestrator.commands.status import status
from orchestrator.errors import UsageError, located

if TYPE_CHECKING:
    from orchestrator.places import Place


@click.group(cls=Group, short_help="List batches, and remove the files of old ones.")
def batches() -> None:
    """List batches, and remove the files of old ones. `burst status BATCH` shows one."""


@batches.command("list", short_help="List every batch, its progress and time left.")
@state_option
@all_option
@json_option
def batches_list(state: Path, everything: bool, as_json: bool) -> None:
    """List every batch, its progress and the time it will take."""
    from orchestrator.batches.batch_status import list_batches

    show_listing(list_batches(state), as_json, everything)


@batches.command("show", hidden=True)
@click.argument("batch")
@state_option
@json_option
@click.pass_context
def batches_show(ctx: click.Context, batch: str, state: Path, as_json: bool) -> None:
    """The same as `burst status BATCH`."""
    ctx.invoke(status, batch=batch, state=state, as_json=as_json)


@batches.command("clean", short_help="Remove the files of old batches.")
@click.option(
    "--older-than", required=True, metavar="30d", help="Only batches that ended at least this long ago: 12h, 30d, 2w."
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation with --older-than 0.")
@click.option("--output", "output_dir", type=OutputRoot(), help="Output directory of items without a recipe.")
@state_option
@all_option
@json_option
def batches_clean(
    older_than: str, dry_run: bool, yes: bool, output_dir: Place | None, state: Path, everything: bool, as_json: bool
) -> None:
    """Remove images and sidecars of batches that ended long ago, except files that were changed since, and empty the
    trash of what was deleted before then.

    Their items stay completed: nothing is rendered again, and `verify` misses nothing.
    """
    from orchestrator.batches.cleaning import clean_batches, parse_duration

    with located("--older-than", UsageError):
        age = parse_duration(older_than)
    said = overrides(output_dir=output_dir)
    if not (age or dry_run or yes) and not confirmed(f"Remove the files of every batch of {state} that has ended?"):
        raise UsageError("nothing was changed")
    show_listing(clean_batches(state, older_than=age, dry_run=dry_run, overrides=said), as_json, everything)
