"""`burst verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.common import (
    OutputRoot,
    all_option,
    json_option,
    overrides,
    refuse_file,
    show_listing,
    state_option,
)

if TYPE_CHECKING:
    from orchestrator.places import Place


@click.command(short_help="Check output files against their recorded size and hash.")
@state_option
@click.option("--output", "output_dir", type=OutputRoot(), help="Output directory of items without a recipe.")
@click.option("--repair", is_flag=True, help="Make items pending again whose files are missing, changed or damaged.")
@click.option("--yes", is_flag=True, help="With --repair: also for an output directory of which nothing is left.")
@click.option("--quick", is_flag=True, help="Compare sizes only.")
@all_option
@json_option
def verify(
    state: Path, output_dir: Place | None, repair: bool, yes: bool, quick: bool, everything: bool, as_json: bool
) -> None:
    """Check the files of completed items against their recorded size and hash.

    Videos, audio, 3D and latents are also checked for a whole structure, by ffprobe too where it is on the PATH.
    """
    from orchestrator.verify import verify_outputs

    refuse_file(output_dir)
    report = verify_outputs(state, repair=repair, yes=yes, quick=quick, overrides=overrides(output_dir=output_dir))
    show_listing(report, as_json, everything)
    sys.exit(report.exit_code)
