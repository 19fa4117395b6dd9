"""`burst metrics`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import NamedPath, has_left, state_option
from orchestrator.commands.help import Command


@click.command(cls=Command, short_help="Print metrics of the state for Prometheus.")
@click.option(
    "--textfile",
    type=NamedPath(),
    metavar="FILE",
    help="Write to FILE (*.prom) instead, for the node exporter's textfile collector.",
)
@state_option
def metrics(state: Path, textfile: Path | None) -> None:
    """Print figures of the state in Prometheus' text format: items, runs, times, bytes. Takes no lock.

    `burst serve` has the same at /metrics, `burst worker` with --metrics-port.
    """
    from orchestrator.metrics.families import text_of_state, write_textfile

    text = text_of_state(state)
    if textfile is not None:
        write_textfile(textfile, text)
        return
    click.echo(text, nl=False)
    has_left()
