"""`burst reset`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import all_option, confirmed, json_option, show_listing, state_option
from orchestrator.errors import UsageError


@click.command(short_help="Forget all progress; every item is pending again.")
@state_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@all_option
@json_option
def reset(state: Path, yes: bool, everything: bool, as_json: bool) -> None:
    """Forget all progress: every item is pending again. Images stay until they are rendered again."""
    from orchestrator.retries import reset as reset_items

    if not yes and not confirmed(f"Forget all progress of {state}?"):
        raise UsageError("nothing was changed")
    show_listing(reset_items(state), as_json, everything)
