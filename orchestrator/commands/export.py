"""`burst export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.common import NamedPath, OutputRoot, json_option, overrides, show, state_option

if TYPE_CHECKING:
    from orchestrator.places import Place


@click.command(short_help="Copy images with captions into a folder, for training.")
@click.argument("words", nargs=-1, required=True, metavar="BATCH|SEARCH...")
@click.option("--to", "folder", type=NamedPath(), required=True, metavar="FOLDER", help="Folder to fill.")
@click.option(
    "--caption",
    default="prompt",
    show_default=True,
    metavar="prompt|FILE",
    help="Text of each caption: the prompt, or a text file with {prompt}, {model}, {seed} and so on in it.",
)
@click.option("--link/--copy", "link", help="Make symbolic links instead of copies.")
@click.option("--output", "output_dir", type=OutputRoot(), help="Output directory of items without a recipe.")
@state_option
@json_option
def export(
    words: tuple[str, ...],
    folder: Path,
    caption: str,
    link: bool,
    output_dir: Place | None,
    state: Path,
    as_json: bool,
) -> None:
    """Copy the images of a batch or a search into a folder, each with a caption of the same name, and metadata.jsonl.

    BATCH is a batch's name or id; anything else is a search as in the gallery, such as "model:sdxl is:favorite".
    Repeat it to add what is new: files that are there stay. Images in the trash are left out.
    """
    from orchestrator.results.export import export_dataset

    report = export_dataset(
        state, words, folder, caption=caption, link=link, overrides=overrides(output_dir=output_dir)
    )
    show(report, as_json)
    sys.exit(report.exit_code)
