"""`burst watch`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click

from orchestrator.commands.common import has_left, print_json, state_option
from orchestrator.commands.help import Command
from orchestrator.errors import EXIT_SIGINT


@click.command(cls=Command, short_help="Print events of a state as they happen.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line (NDJSON), for other programs.")
@click.option("--since", metavar="ID", help="Start with the events after this one.")
@click.option("--until-done", is_flag=True, help="Exit when nothing is left to do and no run is at work.")
@state_option
def watch(state: Path, as_json: bool, since: str | None, until_done: bool) -> None:
    """Print what happens to a state: items submitted, completed and failed, batches, runs and servers. Takes no lock.

    Ends with SIGTERM, Ctrl-C, or when nobody reads on. `burst status --watch` shows how things stand instead.
    """
    from orchestrator.event_stream import watch_events

    stop, codes = threading.Event(), [0]

    def end(number: int, _frame: object) -> None:
        codes[0] = EXIT_SIGINT if number == signal.SIGINT else 0
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    for event in watch_events(state, since=since, until_done=until_done, stop=stop):
        if as_json:
            print_json(dict(event.as_json()))
        else:
            click.echo(event.as_text())
        if not has_left():
            break  # nobody reads what would come
    sys.exit(codes[0])
