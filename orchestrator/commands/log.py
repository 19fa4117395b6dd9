"""`burst log`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import json_option, show, state_option


@click.command(short_help="Summarize what the runs of the last day did.")
@state_option
@click.option(
    "--since",
    default="1d",
    show_default=True,
    metavar="WHEN",
    help="Start of the summary: 2h, 1d, 2026-11-30 or 2026-11-30T06:00.",
)
@json_option
def log(state: Path, since: str, as_json: bool) -> None:
    """Show what the runs did since WHEN: how they ended and why, what failed, what was slow. Takes no lock.

    `burst history` lists every attempt and burst, for analysis.
    """
    from orchestrator.burst_history import parse_since, read_history

    show(read_history(state, parse_since(since)), as_json)
