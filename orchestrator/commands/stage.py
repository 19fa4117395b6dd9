"""`burst stage`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import (
    OutputRoot,
    all_option,
    json_option,
    needs_option,
    overrides,
    parse_headers,
    refuse_file,
    show_listing,
    state_option,
)
from orchestrator.commands.help import Command, Options
from orchestrator.commands.request_options import then_option


@click.command(cls=Command, short_help="Add batches that are made from the images of another batch.")
@click.argument("source", metavar="BATCH|.")
@click.argument("templates", nargs=-1, required=True, metavar="TEMPLATE...")
@Options.PROMPTS.option(
    "--pick", metavar="favorites|all|FILE", help="Which images of BATCH; a FILE lists items or images, one per line."
)
@Options.BATCH.option("--name", metavar="NAME", help="Name of the batch; several get -1, -2 ... appended.")
@Options.BATCH.option(
    "--priority",
    type=click.Choice(["urgent", "high", "normal", "low"]),
    default="normal",
    show_default=True,
    help="Which batches render first.",
)
@then_option
@state_option
@Options.SERVER.option(
    "--server", multiple=True, metavar="[NAME=]URL", help="ComfyUI server for these batches. Repeatable."
)
@Options.SERVER.option(
    "--bind",
    "bindings",
    multiple=True,
    metavar="NAME=ADDRESS",
    help="Bind a name to a node input of every template, such as image=12.image. Repeatable.",
)
@Options.SERVER.option(
    "--header",
    "headers",
    multiple=True,
    callback=parse_headers,
    metavar="'NAME: VALUE'",
    help="HTTP header for every server; VALUE may be env:VARIABLE. Repeatable.",
)
@needs_option
@Options.FILES.option(
    "--output", "output_dir", type=OutputRoot(), metavar="DIR|s3://BUCKET/PREFIX", help="Directory for the images."
)
@all_option
@json_option
def stage(
    source: str,
    templates: tuple[str, ...],
    pick: str | None,
    name: str | None,
    priority: Any,
    then: str | None,
    state: Path,
    everything: bool,
    as_json: bool,
    **tools: Any,
) -> None:
    """Add a chain of batches: one of the images of BATCH (. for all items), the next of its images, and so on.

    Each item is rendered once the image that it is made from is there, fails or is cancelled with that, and is redone
    with it. Nothing is rendered yet: `burst run` does it. Made twice, it is one chain.
    """
    from orchestrator.stage_chain import stage as add_stages

    refuse_file(tools["output_dir"])
    chosen = overrides(**tools)
    done = add_stages(state, source, templates, pick=pick, name=name, priority=priority, then=then, overrides=chosen)
    show_listing(done, as_json, everything)
