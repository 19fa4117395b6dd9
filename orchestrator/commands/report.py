"""`burst report`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import json_option, overrides, show, state_option


@click.command("report", short_help="Write a batch's page of pictures.")
@click.argument("batch")
@click.option(
    "--html",
    "target",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Where to (default: report_BATCH.html beside the state).",
)
@click.option("--embed", is_flag=True, help="Put the pictures into the page, large ones as smaller copies.")
@click.option(
    "--output", "output_dir", type=click.Path(path_type=Path), help="Where the images of items without a recipe are."
)
@state_option
@json_option
def report(batch: str, target: str | None, embed: bool, output_dir: Path | None, state: Path, as_json: bool) -> None:
    """Write one HTML page with every picture of a batch, its seed and parameters; a sweep becomes a grid.

    BATCH is a batch's name, its id, or enough of the id's beginning.
    """
    from orchestrator.batches.report_html import write_report

    path, said = Path(target) if target else None, overrides(output_dir=output_dir)
    show(write_report(state, batch, path, embed=embed, overrides=said), as_json)
