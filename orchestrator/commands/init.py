"""`burst init`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from orchestrator.commands.common import (
    NamedPath,
    all_option,
    json_option,
    needs_option,
    outputs_option,
    overrides,
    show_listing,
    state_option,
    tool_options,
)
from orchestrator.commands.help import Command
from orchestrator.errors import UsageError


@click.command(cls=Command, short_help="Start a job: each prompt file or image becomes an item.")
@click.argument("directories", nargs=-1, type=NamedPath(), metavar="[DIR...]")
@state_option
@tool_options
@needs_option
@outputs_option
@click.option("--images", is_flag=True, help="Make each image an item; it is uploaded and bound to `image`.")
@click.option(
    "--files",
    is_flag=True,
    help="Make each image, video and audio file an item; it is uploaded and bound to `image`, `video` or `audio`.",
)
@click.option("--masks", metavar="RULE", help="Mask of each image, such as '{stem}_mask.png' or 'masks/{stem}.png'.")
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    metavar="GLOB",
    help="Files to include (default: *.txt, or all images, or all of --files). Repeatable.",
)
@click.option(
    "--rescan",
    is_flag=True,
    help="Make completed items pending again if their prompt, image, inputs, workflow or model files changed.",
)
@click.option("--seed", type=int, help="Seed of all new items; -1: a random one for each, recorded.")
@click.option(
    "--seed-mode",
    type=click.Choice(["random", "fixed"]),
    help="Draw a random seed for each new item, or give all of them that of --seed.",
)
@click.option(
    "--set", "sets", multiple=True, metavar="NAME=VALUE", help="Value of a name or NODE.INPUT in new items. Repeatable."
)
@all_option
@json_option
def init(
    directories: tuple[Path, ...],
    state: Path,
    images: bool,
    files: bool,
    masks: str | None,
    patterns: tuple[str, ...],
    rescan: bool,
    seed: int | None,
    seed_mode: Literal["random", "fixed"] | None,
    sets: tuple[str, ...],
    everything: bool,
    as_json: bool,
    **tools: Any,
) -> None:
    """Make each prompt file (or image, video, audio) an item; remember template, server and output. Safe to repeat.

    Without DIR, a state that is there (one written by hand, too) gets its template, server and output.
    """
    from orchestrator.init_checks import Answers, looked_ahead
    from orchestrator.init_state import init_state

    picking = {"--images": images, "--files": files, "--masks": masks is not None, "--pattern": bool(patterns)}
    if not directories and any(picking.values()):
        flag = next(flag for flag, is_given in picking.items() if is_given)
        raise UsageError(f"{flag}: it chooses files of a directory; name one, or leave it out")
    if images and files:
        raise UsageError("--files takes images too; leave out --images")
    if masks is not None and not images:
        raise UsageError("--masks: give --images too")
    if "" in patterns:
        raise UsageError("--pattern: it is empty; write one such as '*.md', or leave it out")
    values = None
    if sets or seed is not None or seed_mode is not None:
        from orchestrator.batches.flags import parse_sets
        from orchestrator.init_values import InitValues

        if not directories:
            raise UsageError("--seed, --seed-mode and --set are for items that are added; name a directory")
        values = InitValues(seed, seed_mode, parse_sets(sets))
    given = overrides(**tools)
    answers = Answers()
    report = init_state(
        state,
        directories,
        overrides=given,
        patterns=patterns,
        images=images,
        files=files,
        masks=masks,
        rescan=rescan,
        values=values,
        classes=answers.classes,
    )
    again = [*map(str, directories), *(["--images"] if images else ["--files"] if files else [])]
    show_listing(looked_ahead(report, again, answers), as_json, everything)
