"""A thread that tells others what is due while a run works: at least once, by later bursts where this one cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from orchestrator.clock import Clock
from orchestrator.errors import BurstError, DiskFull
from orchestrator.notifications.delivery import deliver
from orchestrator.notifications.letters import Letter, is_over
from orchestrator.notifications.shown_address import shown_address
from state.notices import Claim, Notice, NoticeLog, Notices
from state.processes import this_process

LAST_SECONDS = 2.0
"""How long a run that ends waits for what is being told: all that receivers can hold it up by."""
_CLAIMED_FOR = timedelta(seconds=60)


class Source(Protocol):
    """Where letters come from, and where it is noted what became of them. Any thread may use it."""

    def due(self, now: datetime) -> list[Letter]:
        """What is to be told at this time."""

    def record(self, letter: Letter, *, at: datetime, problem: str | None) -> None:
        """Note one try. Errors: DiskFull, LockHeld, StateError."""


class Notifier:
    """Used by one run. `tell` and `finish` are called by one thread."""

    def __init__(
        self, sources: Sequence[Source], claims: NoticeLog, *, clock: Clock, note: Callable[[str], None]
    ) -> None:
        """`claims`: where processes agree on who tells what."""
        self._sources = sources
        self._claims = claims
        self._clock = clock
        self._note = note
        self._lock = threading.Lock()
        self._wake, self._idle = threading.Event(), threading.Event()
        self._over = False
        self._telling: tuple[Source, Letter] | None = None
        self._thread: threading.Thread | None = None

    def tell(self) -> None:
        """Begin with what is due, and go on with what becomes due meanwhile; returns at once. Errors: StateError."""
        if self._thread is None and not any(source.due(self._clock.now()) for source in self._sources):
            return
        with self._lock:
            self._idle.clear()
            self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_telling, name="notify", daemon=True)
            self._thread.start()

    def finish(self, *, seconds: float = LAST_SECONDS) -> None:
        """The run ends: wait so long at most. What is not answered by then is told again by a later burst."""
        if self._thread is None:
            return
        arrived = self._clock.wait(self._idle, seconds)
        self._over = True
        self._wake.set()
        telling = self._telling
        if not arrived and telling is not None:
            # A receiver that always hangs must not be the first again and again, before all others.
            self._record(*telling, "no answer yet when the burst ended")

    def _keep_telling(self) -> None:
        try:
            while not self._over:
                self._wake.clear()
                if self._tell_one():
                    continue
                with self._lock:
                    if not self._wake.is_set():
                        self._idle.set()
                self._wake.wait()
        except BurstError as error:
            self._note(f"the result of a notification could not be recorded: {error}")
        finally:
            self._idle.set()

    def _tell_one(self) -> bool:
        """The first letter that no other process is telling; whether there was one."""
        now = self._clock.now()
        for source, letter in self._due(now):
            if not self._claim(letter):
                continue
            # Another process may have told it just before.
            if all(letter.claim != one.claim for one in source.due(now)):
                continue
            self._telling = source, letter
            self._record(source, letter, deliver(letter, at=self._clock.now()))
            self._telling = None
            return True
        return False

    def _due(self, now: datetime) -> Iterable[tuple[Source, Letter]]:
        """First what was never told, then what was tried longest ago."""
        found = [(source, letter) for source in self._sources for letter in source.due(now)]
        return sorted(found, key=lambda one: one[1].tried_at)

    def _claim(self, letter: Letter) -> bool:
        """Whether it is this process's to tell: nobody else does meanwhile, on whichever host."""
        me = this_process()

        def edit(known: Notices, now: datetime) -> Iterable[Notice]:
            if not known.is_claimed(letter.claim, now, against=me):
                yield Claim(what=letter.claim, by=me, until=now + _CLAIMED_FOR)

        try:
            return bool(self._claims.change(edit))
        except DiskFull:
            return True  # It is about to be told of that; whoever hears it twice knows the id.

    def _record(self, source: Source, letter: Letter, problem: str | None) -> None:
        """Errors: those of the source."""
        at = self._clock.now()
        if problem is not None:
            follows = "given up after 24 h" if is_over(letter.at, at) else "a later burst tries again"
            where = shown_address(letter.to.url)
            self._note(f"{where} was not notified of {letter.about}: {problem}; {follows}")
        source.record(letter, at=at, problem=problem)
