"""Send SIGKILL or another signal to `burst run` at a random moment, and check what must hold afterwards."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from support.projects import Process, Project
from support.waiting import wait_until


class Killing:
    """Starts bursts on one project and kills them. The same seed yields the same moments."""

    def __init__(
        self,
        project: Project,
        draw: random.Random,
        *,
        number: signal.Signals = signal.SIGKILL,
        launch: Sequence[str] = (),
        longest_seconds: float = 2.5,
    ) -> None:
        self._project = project
        self._draw = draw
        self._number = number
        self._launch = launch
        self._longest = longest_seconds
        self.moments: Counter[str] = Counter()
        """Number of kills by the way of choosing the moment."""
        self.missed = 0
        """Bursts that ended by themselves before their kill."""
        self.slowest_seconds = 0.0
        """The longest time from a signal to the end of the burst."""

    def kill_once(self, *arguments: str) -> str:
        """Start a burst, kill it and check what it left; returns the kind of moment."""
        moments: dict[str, Callable[[Process], None]] = {
            "anywhere": self._anywhere,
            "just after an append": self._after_append,
            "while an output is on its way": self._while_downloading,
        }
        (name,) = self._draw.choices(list(moments), weights=[3, 3, 1])
        with self._project.start_run(*arguments, launch=self._launch) as run:
            moments[name](run)
            ended = run.stop(self._number)
        if ended.code == 128 + self._number:
            self.moments[name] += 1
        else:
            assert ended.code == 0, ended
            self.missed += 1
        self.slowest_seconds = max(self.slowest_seconds, ended.seconds)
        self._project.check_readable()
        if self._number != signal.SIGKILL:
            self._project.check_at_rest()
        return name

    def _anywhere(self, run: Process) -> None:
        """A time after the start, mostly early: start-up and recovery are short."""
        self._pause(self._longest * self._draw.random() ** 2)

    def _after_append(self, run: Process) -> None:
        """A few milliseconds after a change of the journal: between intents, POSTs, checkpoints and hand-overs."""
        journal = self._project.folder / "journal.jsonl"

        def seen() -> tuple[int, int] | None:
            try:
                found = journal.stat()
            except FileNotFoundError:
                return None
            return found.st_ino, found.st_size

        for _ in range(self._draw.randint(1, 4)):
            before = seen()
            self._until(run, lambda before=before: seen() != before)
        self._pause(0.03 * self._draw.random() ** 2)

    def _while_downloading(self, run: Process) -> None:
        output = self._project.output
        self._until(run, lambda: any(output.rglob("*.part")))

    def _until(self, run: Process, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, the burst has ended, or the time is up."""
        over = threading.Event()
        timer = threading.Timer(self._longest, over.set)
        timer.daemon = True
        timer.start()
        try:
            wait_until(lambda: condition() or over.is_set() or not run.lives())
        finally:
            timer.cancel()

    def _pause(self, seconds: float) -> None:
        """Let it run for this long: the moment is random."""
        threading.Event().wait(seconds)
