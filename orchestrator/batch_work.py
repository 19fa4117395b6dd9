"""Working off a batch that is in the state: by bursts of this process, or by looking on while another one does it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from orchestrator.clock import Clock
from orchestrator.cycle import pacing
from orchestrator.cycle.dispatch import Progress
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import LockHeld
from state.batch import BatchRecord
from state.item import DUE, Status
from state.open_store import open_store, parts_of
from state.store import Follower

_LOOK_SECONDS = 0.5
"""How often a batch that another process works off is looked at."""


class BatchWork:
    """`execute` may be called once; the others from another thread, as of a `Run`."""

    def __init__(
        self,
        record: BatchRecord,
        due: Iterable[str],
        request: Request,
        *,
        stop: threading.Event,
        progress: Progress,
        clock: Clock,
    ) -> None:
        """`due`: the keys of its items that are to be done. `request` says how the bursts work."""
        self._record = record
        self._awaited = set(due)
        """Keys of its items that are not known to have ended, while another process works them off."""
        # What else the request names is in its items' recipe, and for nobody else's items.
        overrides = replace(request.overrides, template=None, bindings={}, output_dir=None)
        # Its caller waits for an answer, so it does not wait for a server without end.
        waits = request.wait_server_seconds
        self._request = msgspec.structs.replace(
            request,
            wait_server_seconds=pacing.PATIENCE_SECONDS if waits is None else waits,
            until_done=True,
            on_error=record.on_error,
            batch=record.batch,
            overrides=overrides,
        )
        self._stop = stop
        self._progress = progress
        self._clock = clock
        self._run: Run | None = None

    def execute(self) -> BurstReport | None:
        """Bursts until it is done: the report of the last one. None where other processes did all of it."""
        report = None
        while self._awaited and not self._stop.is_set():
            self._run = Run(self._request, stop=self._stop, progress=self._progress, clock=self._clock)
            try:
                report = self._run.execute()
            except LockHeld:
                report = None
            if report is not None and not (report.ended == "done" and self._is_held_by_others(report)):
                return report
            if self._is_over_after_following():
                return report
        return report

    def request_stop(self, signal: str | None = None) -> None:
        """End after the next checkpoint. `signal`: the name of the one that asked for it."""
        if self._run is not None:
            self._run.request_stop(signal)

    def abandon(self, *, timeout_seconds: float) -> None:
        """The process ends now; see `Run.abandon`."""
        if self._run is not None:
            self._run.abandon(timeout_seconds=timeout_seconds)

    def _is_held_by_others(self, report: BurstReport) -> bool:
        """Whether other runs at work may have what this one left: where several may work on a state."""
        if report.exit_code or report.set_aside or not parts_of(self._request.state).is_leased():
            return False
        with open_store(self._request.state, read_only=True) as store:
            waiting = set(store.waiting())
            left = [item for item in store.get_many(self._awaited) if item.status in DUE and item.key not in waiting]
            return bool(left)

    def _is_over_after_following(self) -> bool:
        """Look on while another process works on the state. False when it is our turn to try."""
        total = self._record.total
        with open_store(self._request.state, read_only=True) as store:
            others = Follower(store)
            news: Sequence[str] = list(self._awaited)
            holders = store.holders()
            self._progress.waits(holders[0].describe() if holders else "another process")
            while True:
                self._awaited -= {key for key in news if key not in store}
                ended = store.get_many(key for key in news if key in self._awaited)
                for item in [item for item in ended if item.status not in DUE]:
                    self._awaited.remove(item.key)
                    self._progress.ended(item, number=total - len(self._awaited), size=total)
                    if item.status is Status.FAILED and self._record.on_error == "stop":
                        return True
                if not self._awaited or self._stop.is_set():
                    return not self._awaited
                was_leased = store.is_leased()
                self._clock.wait(self._stop, _LOOK_SECONDS)
                news = others.news()
                if not was_leased and not news:
                    return False
