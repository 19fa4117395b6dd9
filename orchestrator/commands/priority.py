"""`burst priority`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import all_option, json_option, show_listing, state_option
from orchestrator.errors import UsageError


@click.command(short_help="Change the priority of items or batches.")
@click.argument("words", nargs=-1, metavar="ITEM|BATCH... first|urgent|high|normal|low")
@state_option
@all_option
@json_option
def priority(words: tuple[str, ...], state: Path, everything: bool, as_json: bool) -> None:
    """Give items or batches another priority. Higher ones are sent first, and overtake what waits on a server.

    Works while a burst runs. What waits on a server is taken back and sent again in its new place. With first, items
    are urgent and come before all other urgent ones.
    """
    from orchestrator.priorities import LEVELS, set_priority

    names, said = words[:-1], words[-1] if words else ""
    level = next((one for one in LEVELS if one == said), None)
    if level is None:
        raise UsageError(f"end with a priority, {', '.join(LEVELS)}; {said!r} is not one")
    show_listing(set_priority(state, names, level), as_json, everything)
