"""`burst tag`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import all_option, json_option, show_listing, state_option


@click.command(short_help="Give items tags.")
@click.argument("tag", metavar="TAG")
@click.argument("names", nargs=-1, required=True, metavar="ITEM|IMAGE|BATCH...")
@state_option
@click.option("--remove", is_flag=True, help="Remove the tag.")
@all_option
@json_option
def tag(tag: str, names: tuple[str, ...], state: Path, remove: bool, everything: bool, as_json: bool) -> None:
    """Give items a tag; several with commas between. An image, by its path, means its item.

    Works while a burst runs.
    """
    from orchestrator.marks import tag as mark

    show_listing(mark(state, [text.strip() for text in tag.split(",")], names, remove=remove), as_json, everything)
