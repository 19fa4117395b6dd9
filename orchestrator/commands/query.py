"""`burst query`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.common import (
    OutputRoot,
    all_option,
    encodes_everything,
    json_option,
    overrides,
    show_pieces,
    state_option,
)
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.places import Place


@click.command(short_help="Search everything rendered, by prompt, model or seed.")
@click.argument("words", nargs=-1, metavar="[SEARCH]...")
@click.option("--csv", "as_csv", is_flag=True, help="Print all images as CSV.")
@click.option("--output", "output_dir", type=OutputRoot(), help="Output directory of items without a recipe.")
@state_option
@all_option
@json_option
def query(
    words: tuple[str, ...], as_csv: bool, output_dir: Place | None, state: Path, everything: bool, as_json: bool
) -> None:
    """List images with what they were made with: file, seed, model, LoRAs, what else differs, seconds, prompt.

    SEARCH is as in the gallery, such as "fox model:sdxl lora:detail steps>20 is:favorite -blurry"; without it, all.
    Prints the last ten; --all prints every one, --csv a table of them. Images in the trash are left out. Takes no lock.
    """
    from orchestrator.documents.lists import FIRST
    from orchestrator.results.listing import open_listing

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    last = None if everything or as_csv else FIRST
    with open_listing(state, words, last=last, overrides=overrides(output_dir=output_dir)) as listing:
        if as_csv:
            show_pieces(listing.csv_pieces())
        elif as_json:
            show_pieces(listing.json_pieces(ensure_ascii=not encodes_everything(sys.stdout)))
        else:
            show_pieces(listing.text_pieces())
