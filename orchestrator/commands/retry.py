"""`burst retry`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import all_option, json_option, show_listing, state_option


@click.command(short_help="Make failed items pending again.")
@click.argument("names", nargs=-1, metavar="[ITEM|BATCH...]")
@state_option
@click.option("--cancelled", is_flag=True, help="Include cancelled items.")
@all_option
@json_option
def retry(names: tuple[str, ...], state: Path, cancelled: bool, everything: bool, as_json: bool) -> None:
    """Make failed items pending again: all, those of the named batches, or the named items, which may be completed.

    Works while a burst runs.
    """
    from orchestrator.retries import retry as retry_items

    show_listing(retry_items(state, names, cancelled=cancelled), as_json, everything)
