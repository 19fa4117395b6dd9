"""`burst forget`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.common import (
    OutputRoot,
    all_option,
    json_option,
    overrides,
    refuse_file,
    show_listing,
    state_option,
)
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.places import Place


@click.command(short_help="Remove items or batches from the state.")
@click.argument("names", nargs=-1, metavar="[ITEM|BATCH...]")
@state_option
@click.option("--gone", is_flag=True, help="Forget the items whose prompt file or images no longer exist.")
@click.option("--remove-files", is_flag=True, help="Also remove their images and sidecars, unless changed since.")
@click.option("--keep-files", is_flag=True, help="Leave their files where they are (the default).")
@click.option("--output", "output_dir", type=OutputRoot(), help="Output directory of items without a recipe.")
@click.option("--dry-run", is_flag=True, help="Show what would be forgotten; change nothing.")
@all_option
@json_option
def forget(
    names: tuple[str, ...],
    state: Path,
    gone: bool,
    remove_files: bool,
    keep_files: bool,
    output_dir: Place | None,
    dry_run: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Remove items or batches from the state, whatever became of them; cancel first what is on a server.

    Works while a burst runs. Images and sidecars stay on the disk, unless --remove-files is given.
    """
    from orchestrator.forgetting import forget as forget_items

    if remove_files and keep_files:
        raise UsageError("choose one: --keep-files or --remove-files")
    refuse_file(output_dir)
    report = forget_items(
        state,
        names,
        gone=gone,
        remove_files=remove_files,
        dry_run=dry_run,
        overrides=overrides(output_dir=output_dir),
    )
    show_listing(report, as_json, everything)
