"""The command line: which clients, which scenarios, and where the figures go."""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.real_server import RealServer

from tests.benchmarks import machine
from tests.peers import HERE, environments, table
from tests.peers.catalogue import CLIENTS, Client
from tests.peers.scenarios import SCENARIOS
from tests.peers.trial import Trial

FIGURES = HERE / "figures.json"
_CACHE_OFF = "--cache-none"
"""Otherwise a prompt that is sent again right after itself is answered without being rendered; with the random seeds
that most workflows have it is not."""


def main() -> int:
    options = _parser().parse_args()
    # So that SIGTERM, too, ends every process that was started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if options.table:
        table.write_page(json.loads(options.figures.read_text()))
        return 0
    if not options.comfyui:
        sys.exit("name a checkout of ComfyUI: --comfyui DIR")
    with tempfile.TemporaryDirectory(prefix="burst-peers-", dir=options.directory) as place:
        for result in _results(options, Path(place)):
            _keep(result, options.figures)
    return 0


def _parser() -> argparse.ArgumentParser:
    names = [client.name for client in CLIENTS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.peers",
        description="burst and other clients of ComfyUI under the same faults. Takes more than an hour; leave the "
        "machine alone. Clients are installed from PyPI and npm into environments of their own.",
    )
    parser.add_argument("--comfyui", type=Path, metavar="DIR", help="checkout of ComfyUI; servers are started from it")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of its environment")
    parser.add_argument("--only", nargs="+", choices=names, metavar="CLIENT", help=f"some of: {', '.join(names)}")
    parser.add_argument("--scenarios", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured (default 1)")
    parser.add_argument("--directory", type=Path, help="the disk to work on (default: the temporary directory)")
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path(tempfile.gettempdir()) / "burst-peers",
        help="where clients are installed, and kept for the next time",
    )
    parser.add_argument("--figures", type=Path, default=FIGURES, help="results; those of other clients stay in it")
    parser.add_argument("--table", action="store_true", help="only write the tables of docs/comparison.md anew")
    return parser


def _results(options: argparse.Namespace, place: Path) -> Iterator[dict[str, Any]]:
    """One at a time: of every client, what it did in a scenario."""
    clients = [client for client in CLIENTS if not options.only or client.name in options.only]
    shutil.copytree(HERE / "custom_nodes", place / "comfyui" / "custom_nodes")
    with RealServer(
        options.comfyui,
        interpreter=options.python,
        directory=place / "comfyui",
        nodes=[one.name for one in (HERE / "custom_nodes").iterdir()],
        options=[_CACHE_OFF],
    ) as server:
        for client in clients:
            yield from _of(client, server, options, place)


def _of(client: Client, server: RealServer, options: argparse.Namespace, place: Path) -> Iterator[dict[str, Any]]:
    about: dict[str, Any] = {"client": client.name, "packages": list(client.packages), "on": f"{datetime.date.today()}"}
    about["machine"] = machine.as_text(machine.describe(place))
    try:
        home = environments.install(client, options.environments)
    except (environments.CannotInstall, subprocess.TimeoutExpired) as error:
        print(f"{client.name}: cannot be installed: {error}")
        yield {**about, "not_installed": str(error), "outcomes": {}}
        return
    for name in options.scenarios:
        rounds: list[dict[str, Any]] = []
        for number in range(options.rounds):
            trial = Trial(
                SCENARIOS[name],
                server,
                command=environments.command(client, home),
                env=environments.environment(client, home),
                folder=place / "client",
            )
            outcome = trial.run().as_json()
            rounds.append(outcome)
            print(f"{client.name}, {name}, {number + 1}: {json.dumps(outcome)}", flush=True)
        yield {**about, "outcomes": {name: rounds}}


def _keep(result: dict[str, Any], path: Path) -> None:
    """Into the figures, in place of what this client did in the same scenarios before."""
    figures = json.loads(path.read_text()) if path.exists() else {"clients": {}}
    before = figures["clients"].get(result["client"], {"outcomes": {}})
    outcomes = {**before["outcomes"], **result["outcomes"]}
    figures["clients"][result["client"]] = {**result, "outcomes": outcomes}
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
