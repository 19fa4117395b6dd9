"""`burst update`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import (
    all_option,
    json_option,
    needs_option,
    outputs_option,
    overrides,
    refuse_file,
    show_listing,
    state_option,
    tool_options,
)
from orchestrator.commands.help import Command


@click.command(cls=Command, short_help="Change the workflow, bindings, output or servers of pending items.")
@click.argument("names", nargs=-1, metavar="[BATCH|ITEM...]")
@state_option
@tool_options
@needs_option
@outputs_option
@click.option("--made-with", metavar="FILE|NAME", help="Only items made with this workflow.")
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@all_option
@json_option
def update(
    names: tuple[str, ...],
    state: Path,
    made_with: str | None,
    dry_run: bool,
    everything: bool,
    as_json: bool,
    **tools: Any,
) -> None:
    """Give pending items another workflow, bindings, output directory or servers. Without names: all pending ones.

    What is not named stays as each item has it. Items on a server keep what they were sent with; completed ones are
    redone by `burst init --rescan`. Works while a burst runs.
    """
    from orchestrator.update import update_items

    refuse_file(tools["output_dir"])
    show_listing(
        update_items(state, names, overrides=overrides(**tools), made_with=made_with, dry_run=dry_run),
        as_json,
        everything,
    )
