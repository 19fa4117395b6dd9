"""What the errors of a database mean, as errors of burst that name it and never its password."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from orchestrator.errors import DiskFull, NotAllowed, StateAway, StateError
from state.disk import OutOfSpace
from state.location import Location

_AWAY_CLASSES = ("08", "57P")
_AWAY = ("53200", "53400", "25P03")
"""out_of_memory, configuration_limit_exceeded, idle_in_transaction_session_timeout."""
_FULL = "53300"
_WHERE_FULL = ("too many clients", "too many connections", "slots are reserved", "no more connections")
"""In the answers to a connection, which have no code; the last one is pgbouncer's."""
_DISK_FULL = "53100"
_READ_ONLY = "25006"
_NO_RIGHT = "42501"
_DEADLOCK = "40P01"
_FOR_A_PERSON = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "permission denied",
    "certificate",
    "not permitted to log in",
    "invalid",
)
"""In the answers to a connection, which have no code."""


class Deadlock(StateError):
    """PostgreSQL ended this transaction, because it and another one waited for each other. To be repeated."""


def is_read_only(error: BaseException) -> bool:
    """Whether PostgreSQL refused a change because nothing is to be changed there."""
    return getattr(error, "sqlstate", None) == _READ_ONLY


def refusal_of(
    error: DBAPIError, location: Location, *, is_postgresql: bool, busy_seconds: float, has_written: bool = False
) -> Exception:
    """`busy_seconds`: how long a writer waits for others on SQLite. `has_written`: this process could write before."""
    where = location.shown()
    said = location.without_secrets((str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0])
    if is_postgresql:
        return _of_postgresql(error, where, said, has_written=has_written)
    return _of_sqlite(where, said, busy_seconds)


def _of_postgresql(error: DBAPIError, where: str, said: str, *, has_written: bool) -> Exception:
    code = getattr(error.orig, "sqlstate", None) or ""
    if code == _DEADLOCK:
        return Deadlock(where, f"too many writers waited for one another ({said}); run again")
    if code == _DISK_FULL or "No space left" in said:
        return OutOfSpace(f"{where}: the disk of PostgreSQL is full ({said}); free some space there and run again")
    if code == _READ_ONLY and has_written:
        return StateAway(
            f"{where}: PostgreSQL is read-only now ({said}), as a standby is after a failover",
            advice="check that the address leads to the primary, then run again: nothing is lost",
            was_connected=True,
        )
    if code == _READ_ONLY:
        reason = f"is read-only ({said}): a standby, or a role that may only read"
        return NotAllowed(where, reason, "name the primary, or a role that may write")
    if code == _NO_RIGHT:
        reason = f"this role may not do that ({said})"
        return NotAllowed(where, reason, "name a role that may, or have it granted (docs/many-hosts.md)")
    if code == _FULL or any(part in said for part in _WHERE_FULL):
        return StateAway(
            f"{where}: PostgreSQL accepts no further connection ({said})",
            advice="start fewer runs, raise max_connections or use pgbouncer, then run again: nothing is lost",
            was_connected=False,
        )
    if _is_away(error, code, said):
        return StateAway(
            f"{where}: PostgreSQL does not answer ({said})",
            advice="check that it runs and can be reached, then run again: nothing is lost",
            was_connected=bool(error.connection_invalidated),
        )
    if not code:
        return StateError(where, f"PostgreSQL refuses the connection ({said}); check the address and the role")
    return StateError(where, f"PostgreSQL refuses this ({said}); check that the database is one of burst, and its role")


def _is_away(error: DBAPIError, code: str, said: str) -> bool:
    if error.connection_invalidated:
        return True
    if code:
        return code.startswith(_AWAY_CLASSES) or code in _AWAY
    kinds = {kind.__name__ for kind in type(error.orig).__mro__}
    return "OperationalError" in kinds and not needs_a_person(said)


def needs_a_person(said: str) -> bool:
    """Whether a server that said this, without a code, lets nobody in by waiting."""
    return any(part in said for part in _FOR_A_PERSON)


def _of_sqlite(where: str, said: str, busy_seconds: float) -> Exception:
    if "disk is full" in said:
        return OutOfSpace(f"{where}: the disk is full; free some space and run again")
    if "readonly" in said:
        return DiskFull(f"{where}: is read-only ({said}); make it writable or choose another database")
    if "unable to open" in said:
        return StateError(where, f"cannot be opened ({said}); check the path and its permissions")
    if "locked" in said:
        return StateAway(
            f"{where}: another process has held it for {busy_seconds:g} s",
            advice="run again when that has ended: nothing is lost",
            was_connected=False,
        )
    return StateError(where, said)
