"""The workers of a run, one thread each, and the thread that watches over them.

The workers continue from one burst to the next, so that no server idles between two bursts. The thread that calls
`burst` looks at what other processes wrote, at the clock, and at whether the burst is over.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Literal

from orchestrator.clock import Clock
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.others_work import OthersWork
from orchestrator.cycle.worker import Worker
from orchestrator.cycle.workers import WorkerPool
from orchestrator.errors import ConfigurationError, DiskFull, ServerDown, TransientError
from orchestrator.formatting import counted
from orchestrator.registered_servers import draining_names
from state.store import Store

Ending = Literal["done", "deadline", "limit", "stopped", "paused", "failure"]
"""deadline: at its time limit, as requested; limit: at the one learned from killed runs."""
_LOOK_SECONDS = 0.25
"""How often the stop event is checked, and whether other processes have changed anything, whatever the polling
interval."""
_MEANWHILE_SECONDS = 5.0
"""How often the rest of a run's work is done while it waits for a server."""
_LEAVING_SECONDS = 3.0
"""How long a worker may take to come to rest; one that waits for a server is left behind after that."""


class Cycle:
    """Burst after burst over the store. Used by one thread."""

    def __init__(
        self,
        pool: WorkerPool,
        dispatch: Dispatch,
        store: Store,
        *,
        clock: Clock,
        stop: threading.Event,
        check: Callable[[], None],
        late: Callable[[], Ending | None],
        seconds_left: Callable[[], float | None],
        publish_wait: Callable[[str | None], None],
        meanwhile: Callable[[], None],
        show: Callable[[], None],
        others: OthersWork,
    ) -> None:
        """`check` is called at intervals, and raises an error if this run must not go on. `late`: how a burst ends
        whose time is over, in `seconds_left` (None: without a limit). `publish_wait`: called with the reason when the
        run begins to wait for servers, and with None when it goes on; `meanwhile`: now and then while it waits;
        `show`: several times a second."""
        self._pool = pool
        self._dispatch = dispatch
        self._store = store
        self._clock = clock
        self._stop = stop
        self._check = check
        self._late = late
        self._seconds_left = seconds_left
        self._publish_wait = publish_wait
        self._meanwhile = meanwhile
        self._show = show
        self._others = others
        self._meanwhile_at = 0.0
        self._registered = store.servers()
        """The servers that were registered when the run began."""
        self._waits: str | None = None
        """What the run waits for."""
        self._rests_for: str | None = None
        """What it waits for between two bursts."""
        self._over = threading.Event()
        self._fills = False
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def burst(self, size: int) -> Ending:
        """Work until `size` items have ended, nothing is left to do, or the run is stopped.

        Errors: those of the workers and of `check`; every item has a valid record then. ServerDown if only servers that
        do not answer have anything left.
        """
        self.begin(size)
        while (ending := self.ending()) is None:
            self._clock.wait(self._dispatch.changed, self._until_look())
            self._dispatch.changed.clear()
            self.look()
        return ending

    def rest(self, seconds: float, *, reason: str) -> None:
        """Wait so long between two bursts, and say what for; less if the next one is to end at once. Errors: as
        `burst`."""
        self._rests_for = reason
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0 and not self._is_to_end():
            self._clock.wait(self._dispatch.changed, min(left, self._until_look()))
            self._dispatch.changed.clear()
            self.look()
        self._rests_for = None

    def _is_to_end(self) -> bool:
        is_broken = self._error is not None or self._dispatch.pause is not None
        return is_broken or self._stop.is_set() or self._late() is not None

    def begin(self, size: int) -> None:
        """Begin a burst."""
        self._follow_pause()
        self._follow_draining()
        self._dispatch.begin(size)
        self._waits = None
        self._follow_waiting()
        self._wake()
        self._start()

    def look(self) -> None:
        """Take in what others have changed, and what workers need; several times a second."""
        if self._store.may_have_changed():
            self._check()
            self._follow_pause()
            self._follow_draining()
            self._pool.follow()
        self._follow_waiting()
        self._pool.serve()
        self._start()
        self._store.settle()
        self._show()

    def close(self, ending: Ending | None) -> None:
        """Bring the workers to rest. `ending`: how the last burst ended (None: by an error). Safe to repeat.

        A worker whose server does not answer is not waited for.
        """
        self._fills = ending == "done"
        self._over.set()
        if ending in (None, "stopped"):
            self._halt(self._pool.workers)
        else:
            self._halt(worker for worker in self._pool.workers if worker.is_waited_for)
        self._wake()
        until = self._clock.monotonic() + _LEAVING_SECONDS
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - self._clock.monotonic()))
        self._halt(self._pool.workers)

    def _follow_pause(self) -> None:
        """Have the workers rest, or go on, as soon as any process has set or lifted the pause."""
        pause = self._store.pause()
        if pause != self._dispatch.pause:
            self._dispatch.pause = pause
            self._dispatch.stir()
            self._wake()

    def _follow_draining(self) -> None:
        """Send nothing new to servers that are draining, as soon as any process has said so."""
        servers = [worker.context.server for worker in self._pool.workers]
        draining = draining_names(servers, self._store.servers(), self._registered)
        before = self._dispatch.draining
        if draining == before:
            return
        self._dispatch.draining = draining
        self._dispatch.stir()
        self._wake()
        for worker in self._pool.workers:
            if worker.context.server.name in draining - before:
                worker.context.tally.note(f"{worker.context.server.shown} is draining: nothing new is sent to it")

    def _away(self) -> list[str]:
        """Why those servers are not used that may be back in time."""
        return [str(one.lost) for one in self._pool.workers if one.lost is not None and one.is_worth_waiting]

    def _follow_waiting(self) -> None:
        """Say what the run waits for, and do meanwhile what need not wait."""
        away = ("; ".join(self._away()) or None) if self._dispatch.is_idle else None
        held = self._others.count
        waits = away or self._rests_for or (f"{counted(held)} that other runs hold" if held else None)
        if waits != self._waits:
            self._waits = waits
            # Nothing but the display is lost where the disk is full.
            with contextlib.suppress(DiskFull):
                self._publish_wait(waits)
        if away is not None and self._clock.monotonic() >= self._meanwhile_at:
            self._meanwhile()
            self._meanwhile_at = self._clock.monotonic() + _MEANWHILE_SECONDS

    def _start(self) -> None:
        """A thread for each worker that has none yet."""
        for worker in self._pool.workers[len(self._threads) :]:
            name = f"worker {worker.context.client.url}"
            thread = threading.Thread(target=self._keep, args=(worker,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _keep(self, worker: Worker) -> None:
        """One worker's thread."""
        try:
            while not self._over.is_set():
                self._clock.wait(worker.wake, worker.turn())
                worker.wake.clear()
            worker.finish(fill=self._fills)
        except BaseException as error:  # noqa: BLE001 — raised again in the thread that waits for the burst
            if self._error is None and not self._over.is_set():
                self._error = error
            self._dispatch.changed.set()

    def ending(self) -> Ending | None:
        """How the burst ends now; None: it goes on. Errors: as `burst`."""
        if self._stop.is_set():
            return "stopped"
        if self._error is not None:
            raise self._error
        if self._dispatch.is_failed:
            return "failure"
        pause = self._dispatch.pause
        if (self._dispatch.is_full and pause is None) or self._dispatch.is_batch_over:
            return "done"
        if (late := self._late()) is not None:
            return late
        if pause is not None:
            return "paused" if self._dispatch.is_idle else None
        if self._others.is_quiet():
            return None
        # Before too: a server may come back, and after too: it may go away, while the workers are looked at.
        away = self._away()
        if self._dispatch.is_at_rest:
            if (away or self._away()) and self._dispatch.has_more():
                return None
            self._refuse_lost()
            return None if self._others.begin_waiting() else "done"
        return None

    def _refuse_lost(self) -> None:
        """Errors: ServerDown if what remains can only be done by servers that do not answer; ConfigurationError if none
        of those will before a person changes something."""
        lost = [worker.lost for worker in self._pool.workers if worker.lost is not None]
        if lost and self._dispatch.has_more():
            is_in_vain = all(isinstance(error, TransientError) and error.needs_a_person for error in lost)
            raise (ConfigurationError if is_in_vain else ServerDown)("; ".join(str(error) for error in lost))

    def _until_look(self) -> float:
        left = self._seconds_left()
        return _LOOK_SECONDS if left is None else min(_LOOK_SECONDS, max(0.0, left))

    def _halt(self, workers: Iterable[Worker]) -> None:
        for worker in workers:
            worker.context.halt.set()

    def _wake(self) -> None:
        for worker in self._pool.workers[: len(self._threads)]:
            worker.wake.set()
