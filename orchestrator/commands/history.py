"""`burst history`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.commands.common import all_option, encodes_everything, json_option, show_pieces, state_option
from orchestrator.errors import UsageError

_WHEN = "2h, 1d, 2026-11-30 or 2026-11-30T06:00"


@click.command(short_help="List every attempt, for analysis; for a summary: burst log.")
@state_option
@click.option("--since", metavar="WHEN", help=f"Only attempts that ended since then: {_WHEN} (default: all).")
@click.option("--until", metavar="WHEN", help="Only attempts that ended before then.")
@click.option("--batch", metavar="BATCH", help="Only one batch: its name, its id, or the beginning of the id.")
@click.option("--server", metavar="NAME|URL", help="On one server.")
@click.option("--host", help="Only bursts on one host.")
@click.option("--failed", is_flag=True, help="Only attempts that failed.")
@click.option(
    "--bursts", is_flag=True, help="One row per burst; with filters, bursts in which a matching attempt ended."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print all rows as CSV.")
@all_option
@json_option
def history(
    state: Path,
    since: str | None,
    until: str | None,
    batch: str | None,
    server: str | None,
    host: str | None,
    failed: bool,
    bursts: bool,
    as_csv: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """List the attempts that ended: item, server, host, burst, times, result, outputs; and what they come to.

    Prints the last ten; --all prints every one, --csv a table of them. Takes no lock.
    """
    from orchestrator.attempt_history import open_attempts
    from orchestrator.burst_history import parse_since
    from orchestrator.documents.lists import FIRST

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    everything = everything or as_csv
    with open_attempts(
        state,
        since=parse_since(since) if since is not None else None,
        until=parse_since(until, name="until") if until is not None else None,
        batch=batch,
        server=server,
        host=host,
        failed=failed,
        bursts=bursts,
        last=None if everything else FIRST,
        is_counted=not as_csv,
    ) as report:
        if as_csv:
            show_pieces(report.csv_pieces())
        elif as_json:
            show_pieces(report.json_pieces(ensure_ascii=not encodes_everything(sys.stdout)))
        else:
            show_pieces(report.text_pieces())
