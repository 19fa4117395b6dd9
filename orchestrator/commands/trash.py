"""`burst trash`."""

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
    refuse_file,
    show_listing,
    state_option,
)
from orchestrator.errors import UsageError, located

if TYPE_CHECKING:
    from orchestrator.places import Place


@click.command(short_help="Move images to the trash, restore them, or empty it.")
@click.argument("names", nargs=-1, metavar="[ITEM|IMAGE|BATCH...]")
@click.option("--restore", is_flag=True, help="Restore images: the named ones, or all.")
@click.option("--empty", is_flag=True, help="Permanently delete what is in the trash.")
@click.option(
    "--older-than", metavar="30d", help="With --empty: only what was deleted at least this long ago: 12h, 30d, 2w."
)
@click.option("--dry-run", is_flag=True, help="With --empty: show what would be deleted; change nothing.")
@click.option("--yes", is_flag=True, help="With --empty: do not ask for confirmation.")
@click.option("--output", "output_dir", type=OutputRoot(), help="Output directory of items without a recipe.")
@state_option
@all_option
@json_option
def trash(
    names: tuple[str, ...],
    restore: bool,
    empty: bool,
    older_than: str | None,
    dry_run: bool,
    yes: bool,
    output_dir: Place | None,
    state: Path,
    everything: bool,
    as_json: bool,
) -> None:
    """Move images of completed items to the trash; without names, list what is in it.

    Their items stay completed and are not rendered again. After 30 days they are deleted for good. Works while a burst
    runs.
    """
    from orchestrator.batches.cleaning import parse_duration
    from orchestrator.trashing import empty_trash, list_trash, restore_images, trash_images

    if restore and empty:
        raise UsageError("choose one: --restore or --empty")
    if not empty and (older_than is not None or dry_run or yes):
        raise UsageError("--older-than, --dry-run and --yes are for --empty")
    if empty and names:
        raise UsageError("--empty takes no names; move them there first, or choose by age with --older-than")
    refuse_file(output_dir)
    said = overrides(output_dir=output_dir)
    if empty:
        with located("--older-than", UsageError):
            age = parse_duration(older_than or "0h")
        if not (age or dry_run or yes) and not confirmed(f"Permanently delete everything in the trash of {state}?"):
            raise UsageError("nothing was changed")
        report = empty_trash(state, older_than=age, dry_run=dry_run, overrides=said)
    elif restore:
        report = restore_images(state, names, overrides=said)
    else:
        report = trash_images(state, names, overrides=said) if names else list_trash(state, overrides=said)
    show_listing(report, as_json, everything)
