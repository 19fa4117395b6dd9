"""Three workers and three servers on hosts of their own, 1,500 items in one PostgreSQL, and SIGKILL for all of them.

    python tests/kills/many_hosts.py [--items 1500] [--seconds 240] [--seed N] [--every 3] [--lease 12]
                                     [--state postgresql|sqlite] [--calm | --kills-alone] [--seconds-per-prompt 0.4]

Each worker and each server has a network and a host name of its own, where namespaces can be created; `burst run` is
started again and again on each, as by cron. Runs, servers and PostgreSQL are killed, runs are also stopped for longer
than their lease and let go on, and hosts are cut off from PostgreSQL alone; the clock of one host is an hour ahead.
`--state sqlite`: three runs on one host. `--calm`: no faults, for the time that the same work takes without.
`--kills-alone`: runs are killed, for the time that it takes with these.

Faults go on until all is completed or the seconds are over; what is left then is done in peace. Exits 1 when a promise
was broken: an item lost, one rendered twice, a row that a dead run holds, a file that is not its item's, a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from support.judging import rendered_twice, wrong_files  # noqa: E402
from support.killable_postgres import KillablePostgres  # noqa: E402
from support.launch import __file__ as LAUNCHER  # noqa: E402
from support.networks import Machine, Network  # noqa: E402
from support.projects import Ended, Process, Project, small_template, state_variable  # noqa: E402
from support.server_process import ServerProcess  # noqa: E402
from support.waiting import wait_until  # noqa: E402

from state.item import Status  # noqa: E402
from state.location import DatabaseAddress  # noqa: E402
from state.open_store import open_store  # noqa: E402

HOSTS = 3
IN_DOUBT_SECONDS = 3.0
HOUR = 3600.0
MOST_PEACEFUL_ROUNDS = 30
EXPECTED_CODES = (0, 1, 2, 75, 130, 137, 143)
PROMISED_NONE = (
    "lost",
    "rendered twice",
    "held by a dead run",
    "files that are wrong",
    "tracebacks",
    "completed twice",
)


class Farm:
    """The machines, the servers, the state and its items."""

    def __init__(self, place: Path, options: argparse.Namespace, closing: contextlib.ExitStack) -> None:
        self.options = options
        self.draw = random.Random(options.seed)
        self.network = closing.enter_context(Network())
        is_postgresql = options.state == "postgresql"
        names = [f"w{number}" for number in range(1, HOSTS + 1)] if is_postgresql else ["w1"] * HOSTS
        machines = {name: self.network.add(name) for name in sorted({*names, "g1", "g2", "g3", "db"})}
        self.workers = [machines[name] for name in names]
        self.database = closing.enter_context(KillablePostgres(place / "pg", machines["db"])) if is_postgresql else None
        self.servers = [self._server(place / f"g{number}", machines[f"g{number}"]) for number in (1, 2, 3)]
        for server in self.servers:
            closing.callback(server.close)
        home = place / "project"
        home.mkdir()
        os.chdir(home)
        address = self.database.home_url if self.database is not None else f"sqlite:///{home}/burst.db"
        named = ",".join(f"gpu{number}={server.url}" for number, server in enumerate(self.servers, 1))
        self.project = Project(
            home, server=named, count=options.items, template=small_template(), state=DatabaseAddress(address)
        )

    def _server(self, directory: Path, machine: Machine) -> ServerProcess:
        pace = self.options.seconds_per_prompt
        return ServerProcess(
            directory, batch_size=1, proxied=False, on=machine.prefix, host=machine.address, seconds_per_prompt=pace
        )

    def start_run(self, at: int, *options: str, clock_ahead: float = 0.0) -> Process:
        """`burst run` on one of the workers."""
        launch = ["--in-doubt", str(IN_DOUBT_SECONDS), "--sweep", "3", "--lease", str(self.options.lease)]
        launch += ["--clock-ahead", str(clock_ahead)] if clock_ahead else []
        words = ["run", "--json", "--all", "--poll-interval", "0.2", *options]
        command = [*self.workers[at].prefix, sys.executable, LAUNCHER, *launch, "--", *words]
        url = self.database.url if self.database is not None else state_variable(self.project.state)
        return Process(command, cwd=self.project.home, env={**self.project.env(), "BURST_STATE": url})

    def left(self) -> int:
        """How many items are not completed; asked again while PostgreSQL is down."""

        def asked() -> tuple[int] | None:
            with contextlib.suppress(Exception), open_store(self.project.state, read_only=True) as store:
                counts = store.counts()
                return (len(store) - counts.completed,)
            return None

        return wait_until(asked, what="the database answers")[0]

    def rows(self, asked: str) -> list[tuple[Any, ...]]:
        """What the database itself says."""
        import sqlalchemy

        with (
            open_store(self.project.state, read_only=True) as store,
            store._database.connect() as connection,  # type: ignore[attr-defined]
        ):
            return [tuple(row) for row in connection.execute(sqlalchemy.text(asked)).all()]


class Deeds:
    """Done in a thread of its own until `over`."""

    def __init__(self, over: threading.Event) -> None:
        self._over = over
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def check(self) -> None:
        """Raises what went wrong."""
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Wait for its end. Raises what went wrong."""
        self._thread.join()
        self.check()

    def once(self) -> None:
        raise NotImplementedError

    def _keep(self) -> None:
        try:
            while not self._over.is_set():
                self.once()
        except BaseException as error:  # noqa: BLE001 — raised again by `check`
            self._failure = error


class Cron(Deeds):
    """Starts runs on one worker, one after the other, and kills most of them. Ends with `over`."""

    def __init__(self, farm: Farm, at: int, over: threading.Event) -> None:
        super().__init__(over)
        self.at = at
        self.codes: Counter[int] = Counter()
        self.befell: Counter[str] = Counter()
        self.tracebacks: list[str] = []
        self.refusals: Counter[str] = Counter()
        """The first lines of what runs with exit code 2 said."""
        self.reported_twice = 0
        self._farm = farm
        self._draw = random.Random(f"{farm.options.seed}:{at}")
        self._clock_ahead = HOUR if at == 0 else 0.0

    def run_in_peace(self) -> None:
        """One run that nothing disturbs, with all servers."""
        with self._farm.start_run(self.at, "--until-done", "--max-seconds", "40") as run:
            self.note(run.end())

    def note(self, ended: Ended) -> None:
        self.codes[ended.code] += 1
        if ended.code == 2:
            lines = (ended.err.strip() or ended.out.strip()).splitlines()
            self.refusals[re.sub(r"[0-9a-f-]{36}|\d+", "N", lines[0])[:200] if lines else ""] += 1
        if "Traceback" in ended.err or ended.code not in EXPECTED_CODES:
            self.tracebacks.append(f"{ended.code}: {ended.err[-3000:]}")
        if ended.out.strip():
            self.reported_twice += ended.report.get("rendered_twice", 0)

    def once(self) -> None:
        self._round()
        self._pause(self._draw.choice([0.0, 0.5, 1.5 * self._farm.options.lease]))

    def _round(self) -> None:
        draw = self._draw
        mine = {f"gpu{self.at + 1}", *draw.sample(["gpu1", "gpu2", "gpu3"], draw.choice([0, 0, 1, 3]))}
        options = ["-n", str(draw.choice([5, 15, 40])), "--server", ",".join(sorted(mine))]
        options += draw.choice([[], ["--until-done"], ["--until-done", "--ahead", "3"]])
        with self._farm.start_run(self.at, *options, clock_ahead=self._clock_ahead) as run:
            if self._farm.options.calm:
                wait_until(lambda: not run.lives() or self._over.is_set(), seconds=600)
                self.note(run.stop(signal.SIGTERM))
                return
            self._pause(draw.expovariate(1 / (HOSTS * self._farm.options.every)) + 0.3, run)
            faults = {self._kill: 6}
            if not self._farm.options.kills_alone:
                faults |= {self._terminate: 1, self._freeze: 1}
                faults |= {self._cut_off: 1} if self._farm.network.has_namespaces and self._farm.database else {}
            (fault,) = draw.choices(list(faults), weights=list(faults.values()))
            if run.lives():
                fault(run)
            self.note(run.kill())

    def _kill(self, run: Process) -> None:
        run.kill()
        self.befell["run killed"] += 1

    def _terminate(self, run: Process) -> None:
        run.stop(signal.SIGTERM)
        self.befell["run stopped by SIGTERM"] += 1

    def _freeze(self, run: Process) -> None:
        """For longer than its lease; then it goes on."""
        run.signal(signal.SIGSTOP)
        self._pause(1.5 * self._farm.options.lease)
        run.signal(signal.SIGCONT)
        self.befell["run frozen for longer than its lease"] += 1
        self._pause(self._draw.uniform(1.0, 10.0), run)

    def _cut_off(self, run: Process) -> None:
        """From the database, not from the servers, for a while; then the cable is back."""
        machine = self._farm.workers[self.at]
        machine.cut_off()
        try:
            self._pause(self._draw.uniform(0.3, 2.0) * self._farm.options.lease, run)
        finally:
            machine.reconnect()
        self.befell["worker cut off from the database"] += 1
        self._pause(self._draw.uniform(1.0, 10.0), run)

    def _pause(self, seconds: float, run: Process | None = None) -> None:
        """For so long, or until the run has ended, or all is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (run is not None and not run.lives()):
            if self._over.wait(min(0.2, max(0.0, end - time.monotonic()))):
                return


class Chaos(Deeds):
    """Kills servers and the database, one after the other, until `over`."""

    def __init__(self, farm: Farm, over: threading.Event) -> None:
        super().__init__(over)
        self.befell: Counter[str] = Counter()
        self._farm = farm
        self._draw = random.Random(f"{farm.options.seed}:chaos")
        self._acts: list[Callable[[], None]] = [self._kill_server, self._kill_server]
        if farm.database is not None:
            self._acts += [self._kill_database, self._kill_backend]

    def once(self) -> None:
        if not self._over.wait(self._draw.expovariate(1 / (3 * self._farm.options.every))):
            self._draw.choice(self._acts)()

    def _kill_server(self) -> None:
        server = self._draw.choice(self._farm.servers)
        server.kill()
        self._over.wait(self._draw.choice([0.0, 1.0, 5.0]))
        server.start()
        self.befell["server killed"] += 1

    def _kill_database(self) -> None:
        database = self._farm.database
        assert database is not None
        database.kill()
        self._over.wait(self._draw.choice([0.0, 2.0, 1.2 * self._farm.options.lease]))
        database.start()
        self.befell["PostgreSQL killed"] += 1

    def _kill_backend(self) -> None:
        assert self._farm.database is not None
        self._farm.database.kill_backend(self._draw)
        self.befell["process of PostgreSQL killed"] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=240.0, help="of faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=3.0, help="seconds from one killed run to the next")
    parser.add_argument("--lease", type=float, default=12.0, help="seconds that a lease lasts (60 by default in burst)")
    parser.add_argument("--state", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--seconds-per-prompt", type=float, default=0.4)
    parser.add_argument("--calm", action="store_true", help="no faults")
    parser.add_argument("--kills-alone", action="store_true", help="no faults but runs that are killed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="many") as folder, contextlib.ExitStack() as closing:
        Path(folder).chmod(0o755)
        farm = Farm(Path(folder), options, closing)
        figures = run(farm)
        os.chdir("/")
    print(json.dumps(figures, indent=2))
    return 1 if any(figures[name] for name in PROMISED_NONE) else 0


def run(farm: Farm) -> dict[str, Any]:
    """The whole of it; the figures."""
    options = farm.options
    over = threading.Event()
    crons = [Cron(farm, at, over) for at in range(HOSTS)]
    chaos = Chaos(farm, over)
    began = time.monotonic()
    for one in crons:
        one.start()
    is_chaotic = not (options.calm or options.kills_alone)
    if is_chaotic:
        chaos.start()
    with _ended(over):
        said_at = began
        while (left := farm.left()) and time.monotonic() < began + options.seconds:
            over.wait(0.25)
            for one in (*crons, chaos):
                one.check()
            if time.monotonic() > said_at + 20:
                said_at = time.monotonic()
                befell = sum((one.befell for one in (*crons, chaos)), Counter[str]())
                print(f"{left} left, {dict(befell)}", file=sys.stderr, flush=True)
    among_faults = options.items - left
    seconds = time.monotonic() - began
    for one in crons:
        one.end()
    if is_chaotic:
        chaos.end()
    rounds = 0
    while (left := farm.left()) and rounds < MOST_PEACEFUL_ROUNDS:
        crons[rounds % HOSTS].run_in_peace()
        rounds += 1
    # The leases of those that were killed last, on hosts where no run has begun since.
    threading.Event().wait(options.lease + 1)
    crons[0].run_in_peace()
    return {
        "state": options.state,
        "hosts": "network namespaces" if farm.network.has_namespaces else "addresses of loopback, one host name",
        "items": options.items,
        "seed": options.seed,
        "lease seconds": options.lease,
        "completed among the faults": among_faults,
        "seconds until then": round(seconds, 1),
        **judged(farm, crons),
        "rounds in peace": rounds,
        "exit codes": {str(code): n for code, n in sorted(sum((one.codes for one in crons), Counter[int]()).items())},
        **(database_figures(farm) if farm.database is not None else {}),
        "exit code 2": dict(sum((one.refusals for one in crons), Counter[str]()).most_common(10)),
        "faults": dict(sum((one.befell for one in (*crons, chaos)), Counter[str]())),
    }


@contextlib.contextmanager
def _ended(over: threading.Event) -> Iterator[None]:
    try:
        yield
    finally:
        over.set()


def judged(farm: Farm, crons: list[Cron]) -> dict[str, Any]:
    """What must hold, by the files of the servers and the rows of the database; what does not is printed."""
    project = farm.project
    items = project.items()
    texts = {item.key: (project.home / item.key).read_text() for item in items}
    renders = [render for server in farm.servers for render in server.renders()]
    completed = [item for item in items if item.status is Status.COMPLETED]
    twice, _ = rendered_twice(completed, renders, texts)
    wrong = wrong_files(project, texts, batch_size=1)
    held = farm.rows("SELECT key, lease FROM items WHERE lease IS NOT NULL")
    again = farm.rows("SELECT item FROM events WHERE becomes = 'completed' GROUP BY item HAVING count(*) > 1")
    tracebacks = [said for one in crons for said in one.tracebacks]
    for line in (*twice[:20], *wrong[:20], *held[:20], *again[:20], *tracebacks[:5]):
        print(line, file=sys.stderr)
    return {
        "completed": len(completed),
        "lost": farm.options.items - len(completed),
        "prompts rendered": sum(render.times for render in renders),
        "rendered twice": len(twice),
        "rendered twice, as the reports say": sum(one.reported_twice for one in crons),
        "completed twice": len(again),
        "held by a dead run": len(held),
        "leases without an end": len(farm.rows("SELECT id FROM leases WHERE ended_at IS NULL")),
        "files that are wrong": len(wrong),
        "temporary files left": len(project.temporary_files()),
        "tracebacks": len(tracebacks),
    }


def database_figures(farm: Farm) -> dict[str, Any]:
    """What the work asked of PostgreSQL, which counts anew after each crash; the rest of `burst` is in it."""
    asked = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    ((commits,),) = farm.rows(asked)
    ((events, event_bytes),) = farm.rows("SELECT count(*), pg_total_relation_size('events') FROM events")
    ((item_bytes,),) = farm.rows("SELECT pg_total_relation_size('items')")
    return {
        "statements and transactions since its last crash, an item": round(commits / farm.options.items, 1),
        "events an item": round(events / farm.options.items, 2),
        "bytes an event": round(event_bytes / events),
        "bytes an item": round(item_bytes / farm.options.items),
    }


if __name__ == "__main__":
    sys.exit(main())
