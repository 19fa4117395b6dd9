"""`burst report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.common import OutputRoot, json_option, overrides, show, state_option

if TYPE_CHECKING:
    from orchestrator.places import Place


@click.command("report", short_help="Write an HTML page with the images of a batch.")
@click.argument("batch")
@click.option(
    "--html",
    "target",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="File to write (default: report_BATCH.html next to the state).",
)
@click.option("--embed", is_flag=True, help="Embed the images in the page; large ones are scaled down.")
@click.option("--output", "output_dir", type=OutputRoot(), help="Output directory of items without a recipe.")
@state_option
@json_option
def report(batch: str, target: str | None, embed: bool, output_dir: Place | None, state: Path, as_json: bool) -> None:
    """Write one HTML page with every image of a batch, its seed and parameters; a sweep becomes a grid.

    BATCH is a batch's name, its id, or the beginning of the id.
    """
    from orchestrator.batches.report_html import write_report

    path, said = Path(target) if target else None, overrides(output_dir=output_dir)
    show(write_report(state, batch, path, embed=embed, overrides=said), as_json)
