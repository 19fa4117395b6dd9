"""`burst worker`."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.common import LARGEST_COUNT, Between, json_option, print_json, state_option
from orchestrator.commands.help import Command, Options
from orchestrator.commands.run import LONGEST_SECONDS, items_or_auto

if TYPE_CHECKING:
    from orchestrator.documents.fleet import WorkerDocument
    from state.location import Location


def _names(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if "=" in value:
            raise click.BadParameter(f"{value.partition('=')[0]}=…: a registered server is meant by its name alone")
    return values


@click.command(cls=Command, short_help="Start bursts on this host's servers while work is due.")
@Options.RUN.option(
    "--server",
    "servers",
    multiple=True,
    metavar="NAME",
    callback=_names,
    help="Only this registered server. Repeatable.",
)
@Options.RUN.option(
    "--label", "labels", multiple=True, metavar="LABEL", help="Only servers with this label. Repeatable."
)
@Options.RUN.option(
    "--max-bursts",
    default=16,
    show_default=True,
    callback=Between(1, LARGEST_COUNT),
    help="Most bursts at a time, one per server.",
)
@Options.RUN.option(
    "--max-seconds",
    default=300.0,
    show_default=True,
    callback=Between(1, LONGEST_SECONDS, " seconds"),
    help="Time limit of a burst; the next one continues.",
)
@Options.RUN.option(
    "-n",
    "--items",
    "size",
    default="15",
    show_default=True,
    callback=items_or_auto,
    metavar="N|auto",
    help="As of `run`.",
)
@Options.OUTPUT.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve metrics for Prometheus at /metrics on this port.",
)
@Options.OUTPUT.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address for the metrics; anybody who can reach it can read them.",
)
@Options.OUTPUT.option("-q", "--quiet", is_flag=True, help="Print only warnings.")
@state_option
@json_option
def worker(
    state: Path,
    servers: tuple[str, ...],
    labels: tuple[str, ...],
    max_bursts: int,
    max_seconds: float,
    size: int | str,
    metrics_port: int | None,
    metrics_host: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Start a burst for each registered server that this host reaches while work is due, until SIGTERM or Ctrl-C.

    Run one on each host, after `burst fleet up`, under something that starts it again when it ends: it returns 75 when
    it loses the database. Killed at any time, nothing is lost.
    """
    from orchestrator.fleet.extra import check_extra

    check_extra()
    from orchestrator.fleet.burst_process import BurstOptions
    from orchestrator.fleet.due_servers import Selection
    from orchestrator.fleet.worker import WorkerOptions, work
    from orchestrator.log_lines import for_stream
    from orchestrator.servers import this_host

    def say(line: str) -> None:
        if not quiet:
            stream = sys.stderr if as_json else sys.stdout
            click.echo(for_stream(line, stream), file=stream)

    def announce(location: Location) -> None:
        if as_json:
            document: WorkerDocument = {"schema": "burst.worker/1", "state": location.shown(), "host": this_host()}
            print_json(document)

    options = WorkerOptions(
        selection=Selection(servers, labels), at_once=max_bursts, burst=BurstOptions(max_seconds, str(size))
    )
    with _metrics(state, metrics_host, metrics_port):
        sys.exit(work(state, options, say=say, announce=announce))


def _metrics(state: Path, host: str, port: int | None) -> AbstractContextManager[object]:
    if port is None:
        return nullcontext()
    from orchestrator.metrics.endpoint import served

    return served([state], host=host, port=port)
