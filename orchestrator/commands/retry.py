"""`burst retry`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import json_option, show, state_option


@click.command(short_help="Make failed items due again.")
@click.argument("keys", nargs=-1, metavar="[ITEM...]")
@state_option
@click.option("--cancelled", is_flag=True, help="Cancelled items too.")
@json_option
def retry(keys: tuple[str, ...], state: Path, cancelled: bool, as_json: bool) -> None:
    """Make failed items due again, or the named ones. Works while a burst runs."""
    from orchestrator.retries import retry as retry_items

    show(retry_items(state, keys, cancelled=cancelled), as_json)
