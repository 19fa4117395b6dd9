"""`burst edit`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import all_option, given_or_none, json_option, show_listing, state_option


@click.command(short_help="Change the prompt or values of pending or failed items.")
@click.argument("names", nargs=-1, required=True, metavar="ITEM|BATCH...")
@state_option
@click.option("--prompt", metavar="TEXT", help="New prompt; replaces the item's own or its prompt file's.")
@click.option("--negative", metavar="TEXT", help="New negative prompt.")
@click.option(
    "--lora",
    "loras",
    multiple=True,
    metavar="NAME[:STRENGTH]",
    callback=given_or_none,
    help="New LoRAs; replace the items' own ('' removes them). Repeatable.",
)
@click.option(
    "--set", "sets", multiple=True, metavar="NAME=VALUE", help="New value of a name or NODE.INPUT. Repeatable."
)
@click.option("--literal", is_flag=True, help="Send text that looks like a dynamic prompt as it is.")
@click.option("--rescan", is_flag=True, help="Also edit completed or cancelled items; they become pending again.")
@click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
@all_option
@json_option
def edit(
    names: tuple[str, ...],
    state: Path,
    prompt: str | None,
    negative: str | None,
    loras: tuple[str, ...] | None,
    sets: tuple[str, ...],
    literal: bool,
    rescan: bool,
    dry_run: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Give pending or failed items another prompt or other values; failed ones are pending again.

    Works while a burst runs: what waits on a server is taken back first, what is being rendered is left.
    """
    from orchestrator.batches.flags import parse_sets
    from orchestrator.editing import Edit, edit_items

    report = edit_items(
        state,
        names,
        Edit(prompt=prompt, negative=negative, sets=parse_sets(sets), loras=loras),
        rescan=rescan,
        literal=literal,
        dry_run=dry_run,
    )
    show_listing(report, as_json, everything)
