"""`burst star`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import all_option, json_option, show_listing, state_option


@click.command(short_help="Mark items or images as favorites.")
@click.argument("names", nargs=-1, required=True, metavar="ITEM|IMAGE|BATCH...")
@state_option
@click.option("--remove", is_flag=True, help="Remove the mark.")
@all_option
@json_option
def star(names: tuple[str, ...], state: Path, remove: bool, everything: bool, as_json: bool) -> None:
    """Mark items or images as favorites. An image is an output file of an item, by its path.

    `burst generate --from-batch BATCH --pick favorites` goes on with them. Works while a burst runs.
    """
    from orchestrator.marks import star as mark

    show_listing(mark(state, names, remove=remove), as_json, everything)
