"""Bursts that the front end starts: `burst run --until-done`, one process a state, when work is due.

The process is its own master: killed with the front end or without it, the state says where it was. Exit 75 means that
another burst is at work or the server is away, and is tried again. Where all remaining items are set aside, another run
is started when an item or the settings have changed, and every few minutes.
"""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator import subprocesses
from orchestrator.burst_arguments import state_of
from orchestrator.clock import Clock
from orchestrator.crashes import TRACEBACK_NAME, as_burst_error
from orchestrator.errors import EXIT_DONE, EXIT_ITEMS_FAILED, BurstError, DiskFull
from orchestrator.log_lines import without_time
from orchestrator.pause_text import text_of_pause
from orchestrator.web.states import WatchedState, WatchedStates
from state.disk import refusals
from state.facts import Pause
from state.owners import give_to_directory_owner
from state.store import Follower, Store

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_PAUSES_SECONDS = (1.0, 2.0, 5.0)
"""Before the next try, after runs in a row that could not work."""
_SET_ASIDE_SECONDS = 300.0
"""Before the next try where all remaining items are set aside: a server may have got the missing model."""
_NO_ROOM_SECONDS = 30.0
"""The same where an output directory cannot be written to: somebody may have made room on its disk."""
_END_SECONDS = 3.0
_RUN = ("run", "--until-done", "--json", "--poll-interval", "1", "--wait-server", "20")
"""A server that stays away ends the run, so that the page can say so."""
LOG_NAME = "serve.log"
"""Aside of the state: what the last run that was started here said."""
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class _Rest:
    """The state that a run left with all remaining items set aside."""

    store: Store
    others: Follower
    settings: Hashable
    """The stamp of the settings that the run began with."""

    def is_over(self, state: WatchedState) -> bool:
        """Whether an item or the settings have changed since, so that another run may find something to do.

        Errors: StateError.
        """
        state.refresh()
        if state.store is not self.store or state.parts.settings.stamp() != self.settings:
            return True
        return bool(self.others.news())


@dataclass
class _Worker:
    state: WatchedState
    wakened: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    message: str | None = None
    failures: int = 0
    try_at: float = 0.0
    pause: Pause | None = None
    """The one that was met."""
    collected: Pause | None = None
    """The one under which a run has collected what could be."""
    rest: _Rest | None = None
    """While all remaining items are set aside."""
    began_with: int | None = None
    """How many items were completed when the process at work began."""


class Supervisor:
    """Keeps every state of a desk worked off. `start` once; `stop` ends the processes, whose items stay due."""

    def __init__(
        self,
        watched: WatchedStates,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`arguments`: what `burst run` is told beside the state, such as the server. `environment`: all of it."""
        self._arguments = tuple(arguments)
        self._environment = subprocesses.environment(os.environ if environment is None else environment)
        self._clock = clock or Clock()
        self._stop = threading.Event()
        self._supervisor = [_Worker(state) for state in watched.states]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for worker in self._supervisor:
            name = f"worker-{worker.state.number}"
            thread = threading.Thread(target=self._work, args=(worker,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def wake(self, number: int) -> None:
        """Work was added to this state: look at once."""
        worker = self._supervisor[number]
        worker.wakened.set()
        worker.try_at = 0.0

    def message(self, number: int) -> str | None:
        """Why this state's work does not go on at the moment; None while it does, or before anything is known."""
        worker = self._supervisor[number]
        goes_on = worker.began_with is not None and _completed(worker.state) != worker.began_with
        return None if goes_on else worker.message

    def log(self, number: int) -> list[str]:
        """The last lines of what the last run said that was started here."""
        try:
            return _last_lines(self._supervisor[number].state.parts.location.auxiliary(LOG_NAME))
        except OSError:
            return []

    def is_working(self, number: int) -> bool:
        """Whether a process of ours is at work on this state."""
        process = self._supervisor[number].process
        return process is not None and process.poll() is None

    def stop(self) -> None:
        """End our processes as a signal would; the next burst picks up what is out."""
        self._stop.set()
        for worker in self._supervisor:
            worker.wakened.set()
            if worker.process is not None and worker.process.poll() is None:
                worker.process.terminate()
        for thread in self._threads:
            thread.join(timeout=_END_SECONDS)

    def _work(self, worker: _Worker) -> None:
        while not self._stop.is_set():
            worker.wakened.clear()
            try:
                if worker.rest is not None and worker.rest.is_over(worker.state):
                    worker.rest, worker.try_at = None, 0.0
                if self._clock.monotonic() >= worker.try_at and self._is_due(worker):
                    self._run(worker)
            except (BurstError, OSError) as error:
                self._failed(worker, str(_as_burst_error(error, worker.state)))
            # The clock waits for one event, and both a stop and a wish to look at once set this one.
            self._clock.wait(worker.wakened, _LOOK_SECONDS)

    def _is_due(self, worker: _Worker) -> bool:
        state = worker.state
        state.refresh()
        if state.store is None or not state.store.counts().remaining:
            worker.message, worker.failures, worker.try_at = None, 0, 0.0
            return False
        if state.parts.is_leased():
            worker.message = None
            return False
        return not self._is_paused(worker, state.store)

    def _is_paused(self, worker: _Worker, store: Store) -> bool:
        """Whether nothing is to be started. One run a pause collects what is submitted; it submits nothing."""
        pause = worker.state.parts.pause()
        if pause is None:
            if worker.pause is not None:
                worker.message = worker.pause = worker.collected = None
            return False
        worker.pause, worker.message = pause, text_of_pause(pause)
        return not store.counts().submitted or worker.collected == pause

    def _run(self, worker: _Worker) -> None:
        """One run, to its end."""
        state = worker.state
        worker.rest = None
        settings, records = state.parts.settings.stamp(), state.parts.bursts.stamp()
        completed = worker.began_with = _completed(state)
        said = state.parts.location.auxiliary(LOG_NAME)
        said.parent.mkdir(parents=True, exist_ok=True)
        named, by_variable = state_of(state.path)
        # A file, not a pipe: a burst that outlives the front end must be able to go on speaking.
        with said.open("wb") as errors:
            give_to_directory_owner(said)
            worker.process = subprocess.Popen(
                subprocesses.command(*_RUN, *named, *self._arguments),
                cwd=state.path.parent,
                env={**self._environment, **by_variable},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        if self._stop.is_set():
            worker.process.terminate()
        code = worker.process.wait()
        worker.began_with = None
        # Before the state is looked at: what others change from here on ends the rest.
        rest = _Rest(state.store, Follower(state.store), settings) if state.store is not None else None
        state.refresh()
        if _completed(state) != completed:
            worker.failures = 0
        if code in (EXIT_DONE, EXIT_ITEMS_FAILED):
            worker.message, worker.failures, worker.collected = None, 0, worker.pause
            # What is left waits for a time of doubt or another server; no hurry.
            worker.try_at = self._clock.monotonic() + _PAUSES_SECONDS[0]
        elif not self._stop.is_set():
            # A disk that is full has no room for why a run ended either.
            reason = _last_line(said) or _refusal_at(said.parent) or f"burst run ended with exit code {code}"
            self._failed(worker, reason)
            if _is_all_set_aside(state) and state.parts.bursts.stamp() != records and not worker.wakened.is_set():
                worker.rest, worker.try_at = rest, self._clock.monotonic() + _seconds_of_rest(state)

    def _failed(self, worker: _Worker, reason: str) -> None:
        if reason != worker.message:
            path = str(worker.state.path)
            _log.warning("%s", reason if reason.startswith(f"{path}: ") else f"{path}: {reason}")
        worker.message, worker.rest = reason, None
        pause = _PAUSES_SECONDS[min(worker.failures, len(_PAUSES_SECONDS) - 1)]
        worker.failures += 1
        worker.try_at = self._clock.monotonic() + pause
        if worker.wakened.is_set():  # by somebody who added work meanwhile
            worker.try_at = 0.0


def _as_burst_error(error: BurstError | OSError, state: WatchedState) -> BurstError:
    return as_burst_error(error, keep_at=state.parts.location.auxiliary(TRACEBACK_NAME))


def _completed(state: WatchedState) -> int:
    return state.store.counts().completed if state.store is not None else 0


def _is_all_set_aside(state: WatchedState) -> bool:
    """Whether all items that remain wait for recipes that the last recorded burst could not use."""
    return state.store is not None and 0 < state.store.counts().remaining == state.waiting.count


def _seconds_of_rest(state: WatchedState) -> float:
    return _NO_ROOM_SECONDS if any(one.output is not None for one in state.set_aside) else _SET_ASIDE_SECONDS


def _refusal_at(folder: Path) -> str | None:
    """Why nothing can be written in this folder, if nothing can."""
    try:
        with refusals(folder), tempfile.TemporaryFile(dir=folder) as handle:
            handle.write(bytes(_TAIL_BYTES))
    except (DiskFull, OSError) as error:
        return str(error)
    return None


def _last_line(path: Path) -> str:
    lines = _last_lines(path)
    return without_time(lines[-1]).removeprefix("burst: ") if lines else ""


def _last_lines(path: Path) -> list[str]:
    """Errors: OSError."""
    with path.open("rb") as handle:
        before = max(0, path.stat().st_size - _TAIL_BYTES)
        handle.seek(before)
        lines = handle.read().decode("utf-8", "replace").strip().splitlines()
    return (lines[1:] if before else []) or lines
