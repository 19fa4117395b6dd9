"""`burst init`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import json_option, overrides, show, state_option, tool_options
from orchestrator.errors import UsageError


@click.command(short_help="Make prompt files or pictures items of a state.")
@click.argument("directories", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@state_option
@tool_options
@click.option("--images", is_flag=True, help="Every picture is an item, uploaded for the template's `image`.")
@click.option("--masks", metavar="RULE", help="How a picture's mask is called: '{stem}_mask.png', 'masks/{stem}.png'.")
@click.option("--pattern", "patterns", multiple=True, help="Which files; *.txt or all pictures without. Repeatable.")
@click.option(
    "--rescan", is_flag=True, help="Put back what was completed with another prompt, picture, inputs or workflow."
)
@json_option
def init(
    directories: tuple[Path, ...],
    state: Path,
    images: bool,
    masks: str | None,
    patterns: tuple[str, ...],
    rescan: bool,
    as_json: bool,
    **tools: Any,
) -> None:
    """Make files items of a state, and remember template, server and output directory. Safe to repeat."""
    from orchestrator.init_checks import looked_ahead
    from orchestrator.init_state import init_state

    if masks is not None and not images:
        raise UsageError("--masks: say it with --images")
    given = overrides(**tools)
    report = init_state(
        state, directories, overrides=given, patterns=patterns, images=images, masks=masks, rescan=rescan
    )
    again = [*map(str, directories), *(["--images"] if images else [])]
    show(looked_ahead(report, again), as_json)
