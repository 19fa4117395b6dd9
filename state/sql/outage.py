"""Waiting for a database that does not answer, and going on where it was left.

Every public method of a SQL state is one transaction, or one that its caller may begin again: it is repeated as a whole
until the database answers. What became of a transaction whose COMMIT was not answered is asked, see `Database`.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any, Protocol, TypeVar, cast

from orchestrator.clock import Clock
from orchestrator.errors import StateAway
from state.patience import Patience

_T = TypeVar("_T")
_Class = TypeVar("_Class", bound=type)
_Method = TypeVar("_Method", bound=Callable[..., Any])

NOTES = logging.getLogger("burst.notes")
"""As what a run notes: on stderr, but not beside a JSON report."""
_REST_SECONDS = 5.0
"""How long nobody tries again after patience has ended, so that the process gets to its end."""


class Outages:
    """Of one database: one wait, one message and one end of patience, however many threads meet it."""

    def __init__(self, clock: Clock) -> None:
        self.patience: Patience | None = None
        """What waits; None: an error at once."""
        self.count = 0
        """How many there have been."""
        self._clock = clock
        self._guard = threading.Lock()
        self._pause: Callable[[], bool] | None = None
        self._began_at = self._refused_at = 0.0
        self._refused: StateAway | None = None

    def through(self, work: Callable[[], _T]) -> _T:
        """Its result, once the database answers. Errors: those of the work; StateAway at the end of patience."""
        is_again = False
        while True:
            try:
                return work()
            except StateAway as away:
                # A connection that was kept open tells only now that it was cut: a new one may work at once.
                if is_again or not away.was_connected:
                    self._wait(away)
                is_again = True

    def check(self) -> None:
        """Errors: StateAway for a while after patience has ended, without a try that may take long."""
        refused = self._refused
        if refused is not None and self._clock.monotonic() - self._refused_at < _REST_SECONDS:
            raise refused

    def _wait(self, away: StateAway) -> None:
        with self._guard:
            if self.patience is None:
                raise away
            if self._pause is None:
                self._began_at = self._clock.monotonic()
                self._pause = self.patience.begin(away.reason)
                self.count += 1
            pause = self._pause
        if not pause():
            self._refused, self._refused_at = away, self._clock.monotonic()
            raise away

    def answered(self) -> None:
        """The database has just done something."""
        if self._pause is None:
            return
        with self._guard:
            if self._pause is None:
                return
            self._pause = self._refused = None
            seconds = self._clock.monotonic() - self._began_at
        NOTES.warning("the database answers again after %.0f s", seconds)


class _OnDatabase(Protocol):
    @property
    def outages(self) -> Outages: ...


def repeated(method: _Method) -> _Method:
    """A method of an object with `_database`, begun again while that does not answer."""

    @functools.wraps(method)
    def through(self: Any, *args: Any, **named: Any) -> Any:
        database: _OnDatabase = self._database
        return database.outages.through(functools.partial(method, self, *args, **named))

    return cast(_Method, through)


def repeats_all(*, but: tuple[str, ...] = ()) -> Callable[[_Class], _Class]:
    """A class with `_database` whose public methods are `repeated`, except these."""

    def wrapped(kind: _Class) -> _Class:
        for name, value in list(vars(kind).items()):
            is_public = not name.startswith("_") or name in ("__contains__", "__len__")
            if isinstance(value, FunctionType) and is_public and name not in but:
                setattr(kind, name, repeated(value))
        return kind

    return wrapped
