"""A database that stops answering: connections that are cut at a statement, and a server that refuses new ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from state.store import StateParts
from support.statements import fresh_engine, watch


def is_lasting(statement: str) -> bool:
    """Once it is executed, others see what was changed."""
    return statement == "COMMIT" or "WITH written AS" in statement


class Waits:
    """A patience of so many tries. `meanwhile` is called at each, with its number."""

    def __init__(self, tries: int, *, meanwhile: Callable[[int], object] = lambda number: None) -> None:
        self.reasons: list[str] = []
        self.tries = 0
        self._most = tries
        self._meanwhile = meanwhile

    def begin(self, reason: str) -> Callable[[], bool]:
        self.reasons.append(reason)

        def pause() -> bool:
            self.tries += 1
            self._meanwhile(self.tries)
            return self.tries <= self._most

        return pause


class Cuts:
    """What happens to the connections of one open PostgreSQL state: see the methods. Everything else passes."""

    def __init__(self, store: StateParts) -> None:
        self.statements: list[str] = []
        """Executed since the last `cut_before`, `cut_after` or `count`."""
        self.is_away = False
        """New connections are refused."""
        self.kept: list[Any] = []
        """Connections that PostgreSQL still has, while burst has lost them."""
        self._at: int | None = None
        self._after = False
        self._word = ""
        self._keeps = False
        database = store._database  # type: ignore[attr-defined]
        self._make = database._driver_connection
        database._driver_connection = self._connect
        watch(fresh_engine(database), self._before, self._after_it)

    def cut(self, number: int = 1, *, word: str = "", after: bool = False, keeps: bool = False) -> None:
        """Cut the connection at the statement of this number, counted from now among those with `word`.

        Before it is executed, or after it was and before its answer arrives. `keeps`: PostgreSQL does not notice.
        """
        self.count()
        self._at, self._word, self._after, self._keeps = number, word, after, keeps

    def count(self) -> None:
        self.statements.clear()
        self._at = None

    def _is_it(self) -> bool:
        if self._at is None or self._word not in self.statements[-1]:
            return False
        self._at -= 1
        if self._at:
            return False
        self._at = None
        return True

    def _before(self, driver: Any, statement: str) -> None:
        self.statements.append(statement)
        if not self._after and self._is_it():
            self._lose(driver)

    def _after_it(self, driver: Any, statement: str) -> None:
        if self._after and self._is_it():
            self._lose(driver)

    def _lose(self, driver: Any) -> None:
        import psycopg

        if self._keeps:
            self.kept.append(driver.pgconn)
            driver.pgconn = _Broken(driver.pgconn)
        else:
            driver.close()
        raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")

    def _connect(self, dialect: Any) -> Any:
        import psycopg

        if self.is_away:
            raise psycopg.OperationalError('connection failed: connection to server at "db", port 5432 failed: refused')
        return self._make(dialect)


class _Broken:
    """Stands for a connection whose socket is gone on this side alone."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.status = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def finish(self) -> None:
        pass
