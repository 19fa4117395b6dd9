"""Many items, three sandboxes, every fault at random, kills of both sides, run to the end; prints the figures.

    python tests/kills/soak.py [--items 2000] [--minutes 30] [--seed N] [--seconds-per-prompt 0.15]

Faults and kills go on until all items are completed or the minutes are over; then all that is left is run in peace.
Exits 1 when a promise was broken: an item lost, one rendered twice beyond what a server itself lost, a file that does
not decode or is another item's, a traceback. The sandboxes' own pictures are the judges. As root the output directory
is a small tmpfs that is full at times.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from support.chaos import Chaos  # noqa: E402
from support.judging import rendered_twice, wrong_files  # noqa: E402
from support.projects import Ended, Project, small_template  # noqa: E402
from support.server_process import Render, ServerProcess  # noqa: E402
from support.waiting import wait_until  # noqa: E402

from orchestrator.retries import retry  # noqa: E402
from state.item import Status  # noqa: E402

BATCH = 2
IN_DOUBT_SECONDS = 3.0
LAUNCH = ("--in-doubt", str(IN_DOUBT_SECONDS), "--sweep", "3")
PEACEFUL_SECONDS = 40.0
MOST_PEACEFUL_ROUNDS = 60
PROMISED_NONE = (
    "lost",
    "rendered twice beyond what a server lost",
    "files that are wrong",
    "tracebacks",
    "temporary files left",
)


class Soak:
    """The bursts of one soak, and what was seen of them."""

    def __init__(self, project: Project, draw: random.Random) -> None:
        self.project = project
        self._draw = draw
        self.kills: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.reported_twice = 0
        self.retried = 0
        self.tracebacks: list[str] = []

    def round(self) -> None:
        """One burst among the faults; most are killed."""
        options = ["-n", str(self._draw.choice([3, 15, 40]))]
        options += self._draw.choice([[], [], ["--until-done"], ["--ahead", "3"]])
        with self._full_disk() if self._draw.random() < 0.05 else contextlib.nullcontext():
            self._killed(options)
        if self._draw.random() < 0.2:
            self._retry()

    def peaceful_round(self) -> None:
        """A burst that nothing disturbs."""
        self._note(self.project.run("-n", "50", "--until-done", "--max-seconds", str(PEACEFUL_SECONDS), launch=LAUNCH))
        self._retry()

    def left(self) -> int:
        return sum(item.status is not Status.COMPLETED for item in self.project.items())

    def _killed(self, options: list[str]) -> None:
        with self.project.start_run(*options, launch=LAUNCH) as run:
            until = time.monotonic() + 0.3 + 10.0 * self._draw.random() ** 2
            wait_until(lambda: time.monotonic() > until or not run.lives())
            if not run.lives():
                self._note(run.end())
                return
            (number,) = self._draw.choices([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], weights=[3, 1, 1])
            ended = run.stop(number)
            self.kills[number.name] += ended.code == 128 + number
        self._note(ended)

    def _note(self, ended: Ended) -> None:
        self.codes[ended.code] += 1
        if "Traceback" in ended.err or ended.code not in (0, 1, 2, 75, 130, 137, 143):
            self.tracebacks.append(ended.err[-3000:])
        if ended.out.strip():
            self.reported_twice += ended.report.get("rendered_twice", 0)
        json.loads(self.project.state.read_bytes())

    def _retry(self) -> None:
        """What was given up after too many faults begins anew."""
        self.retried += len(retry(self.project.state).keys)

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        """The output directory is full for the length of one burst, where it is a small file system of its own."""
        if not os.path.ismount(self.project.output):
            yield
            return
        ballast = self.project.output / "ballast"
        ballast.write_bytes(b"\0" * max(0, shutil.disk_usage(self.project.output).free - 16384))
        self.kills["disk full"] += 1
        try:
            yield
        finally:
            ballast.unlink()


@contextlib.contextmanager
def output_directory(place: Path, items: int) -> Iterator[Path]:
    """A tmpfs with little more room than the pictures need; a plain directory where it cannot be mounted."""
    place.mkdir()
    size_kib = 4096 + 40 * BATCH * items
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(place)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield place
        finally:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
    else:
        yield place


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds-per-prompt", type=float, default=0.15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, output_directory(Path(folder) / "output", options.items) as output:
        figures = soak(Path(folder), output, options)
    print(json.dumps(figures, indent=2))
    bad = (
        "lost",
        "rendered twice beyond what a server lost",
        "files that are wrong",
        "tracebacks",
        "temporary files left",
    )
    return 1 if any(figures[name] for name in bad) else 0


def soak(place: Path, output: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The whole of it; the figures."""
    began = time.monotonic()
    with contextlib.ExitStack() as closing:
        servers = []
        for number in range(3):
            settings = {"seconds_per_prompt": options.seconds_per_prompt, "random_seed": options.seed}
            server = ServerProcess(place / f"server_{number}", batch_size=BATCH, proxied=number > 0, **settings)
            closing.callback(server.close)
            servers.append(server)
        (place / "project").mkdir()
        project = Project(
            place / "project",
            server=",".join(server.url for server in servers),
            count=options.items,
            template=small_template(batch_size=BATCH),
            output=output,
        )
        work = Soak(project, random.Random(options.seed))
        chaos = [Chaos(server, random.Random(f"{options.seed}:{at}")) for at, server in enumerate(servers)]
        among_faults = _with_faults(work, chaos, until=began + 60 * options.minutes)
        rounds = 0
        while work.left() and rounds < MOST_PEACEFUL_ROUNDS:
            work.peaceful_round()
            rounds += 1
        renders = [render for server in servers for render in server.renders()]
    return {
        "items": options.items,
        "seed": options.seed,
        "completed among the faults": among_faults,
        **_judged(work, renders),
        "bursts": sum(work.codes.values()),
        "exit codes": {str(code): times for code, times in sorted(work.codes.items())},
        "bursts killed, and full disks": dict(work.kills),
        "how bursts ended, by their records": dict(Counter(record.ended for record in project.bursts())),
        "faults": dict(sorted(sum((one.befell for one in chaos), Counter[str]()).items())),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }


def _judged(work: Soak, renders: list[Render]) -> dict[str, Any]:
    """What must hold, held against what the servers have on their disks; what does not is printed."""
    project = work.project
    texts = {item.key: (project.home / item.key).read_text() for item in project.items()}
    completed = project.items(Status.COMPLETED)
    twice, excused = rendered_twice(completed, renders, texts)
    wrong = wrong_files(project, texts, batch_size=BATCH)
    for line in (*twice[:20], *wrong[:20], *work.tracebacks[:5]):
        print(line, file=sys.stderr)
    return {
        "completed": len(completed),
        "lost": len(texts) - len(completed),
        "prompts rendered": sum(render.times for render in renders),
        "renders that a server lost": excused,
        "rendered twice beyond what a server lost": len(twice),
        "rendered twice, as the reports say": work.reported_twice,
        "files that are wrong": len(wrong),
        "failed after too many faults, and begun anew": work.retried,
        "tracebacks": len(work.tracebacks),
        "temporary files left": len(project.temporary_files()),
    }


def _with_faults(work: Soak, chaos: list[Chaos], *, until: float) -> int:
    """Bursts and faults until all is done or the time is over; how many items were completed by then."""
    for one in chaos:
        one.start()
    said_at = time.monotonic()
    while (left := work.left()) and time.monotonic() < until:
        work.round()
        if time.monotonic() > said_at + 20:
            said_at = time.monotonic()
            faults = sum(one.befell.total() for one in chaos)
            print(f"{left} left, {work.kills.total()} kills, {faults} faults", file=sys.stderr, flush=True)
    for one in chaos:
        one.end()
    return work.project.count(Status.COMPLETED)


if __name__ == "__main__":
    sys.exit(main())
