"""`burst verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.commands.common import json_option, overrides, show, state_option


@click.command(short_help="Hold pictures against their records.")
@state_option
@click.option(
    "--output", "output_dir", type=click.Path(path_type=Path), help="Where the images of items without a recipe are."
)
@click.option("--repair", is_flag=True, help="Make items due again whose files are missing, cut or changed.")
@click.option("--quick", is_flag=True, help="Compare sizes only, not contents.")
@json_option
def verify(state: Path, output_dir: Path | None, repair: bool, quick: bool, as_json: bool) -> None:
    """Hold the files of completed items against their records."""
    from orchestrator.verify import verify_outputs

    report = verify_outputs(state, repair=repair, quick=quick, overrides=overrides(output_dir=output_dir))
    show(report, as_json)
    sys.exit(report.exit_code)
