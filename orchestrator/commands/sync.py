"""`burst sync`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from orchestrator.commands.help import Command, Options
from orchestrator.commands.request_options import dynamic_options, image_options, then_option

if TYPE_CHECKING:
    from orchestrator.places import Place


@click.command(cls=Command, short_help="Update a named batch from its list of prompts.")
@click.argument("path", metavar="LIST")
@Options.BATCH.option("--name", required=True, metavar="NAME", help="Name of the batch; created if there is none.")
@Options.RUN.option("--dry-run", is_flag=True, help="Show the plan; change nothing.")
@Options.RUN.option("--prune", is_flag=True, help="Cancel due items whose row is gone.")
@Options.PROMPTS.option("--sheet", metavar="NAME", help="Sheet of a workbook (default: the first one).")
@Options.PROMPTS.option("--ignore-columns", is_flag=True, help="Ignore columns that nothing uses.")
@dynamic_options
@Options.VARIATIONS.option("--count", type=int, help="Variations of each prompt, 1 to 999.")
@Options.VARIATIONS.option("--seed", type=int, help="Seed of the first variation.")
@Options.VARIATIONS.option(
    "--seed-mode",
    type=click.Choice(["increment", "random", "fixed"]),
    help="Seeds of further variations: add 1, draw at random, or keep the first.",
)
@Options.VARIATIONS.option(
    "--sweep", "sweeps", multiple=True, metavar="KEY=A,B,C", help="Try each value; several are crossed. Repeatable."
)
@image_options
@Options.BATCH.option(
    "--priority", type=click.Choice(["urgent", "high", "normal", "low"]), help="Priority of items that are added."
)
@then_option
@state_option
@tool_options
@needs_option
@outputs_option
@Options.FILES.option(
    "--layout",
    type=click.Choice(["numbered", "batch", "mirror", "gallery"]),
    help="Directories and file names of a new batch (default: numbered).",
)
@Options.FILES.option("--stem", metavar="NAME", help="Start of the file names of a new batch.")
@all_option
@json_option
def sync(
    path: str,
    name: str,
    dry_run: bool,
    prune: bool,
    then: str | None,
    state: Path,
    size: str | None,
    sets: tuple[str, ...],
    sweeps: tuple[str, ...],
    everything: bool,
    as_json: bool,
    server: tuple[str, ...],
    template: str | None,
    output_dir: Place | None,
    bindings: tuple[str, ...],
    headers: tuple[tuple[str, str], ...],
    outputs: str | None,
    needs: tuple[str, ...] | None,
    **spec: Any,
) -> None:
    """Bring a named batch to what LIST says: add its new rows, change the changed ones, name those that are gone.

    LIST is .csv, .tsv, .jsonl, .xlsx or .txt. Rows are known by a column `id` (or `name`), else by what they say. What
    is there keeps its key, number, file name and seed. A changed row with an id is rendered again under its name.
    Options count where they are given; otherwise the batch keeps its own. Works while a burst runs.
    """
    from orchestrator.batches.flags import parse_sets, parse_size, parse_sweeps
    from orchestrator.cycle.request import Request
    from orchestrator.sync import sync_list

    refuse_file(output_dir)
    values = {
        **spec,
        "template": template,
        "size": parse_size(size) if size is not None else None,
        "sets": parse_sets(sets),
        "sweeps": parse_sweeps(sweeps),
    }
    request = Request(state=state, overrides=overrides(server, template, output_dir, bindings, headers, outputs, needs))
    given = {field: value for field, value in values.items() if value is not None and value is not False}
    given = {field: value for field, value in given.items() if value not in ((), {})}
    synced = sync_list(path, name, request=request, prune=prune, dry_run=dry_run, then=then, **given)
    show_listing(synced, as_json, everything)
