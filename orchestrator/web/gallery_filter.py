"""What is looked for in the gallery, as conditions of SQL, and how its values are stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

LARGEST = 2**63 - 1
"""The largest integer that SQLite takes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Filter:
    """What is looked for; the defaults let everything through."""

    words: tuple[str, ...] = ()
    """Casefolded; all of them must be there."""
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Before this moment."""
    state: int | None = None


def of_images(wanted: Filter) -> tuple[str, list[Any]]:
    """A condition on the images' columns, and its values."""
    conditions, values = _common(wanted)
    if wanted.words:
        words, own_values = _words(wanted)
        conditions.append(f"text IN (SELECT id FROM texts WHERE {words})")
        values += own_values
    return " AND ".join(conditions) or "TRUE", values


def of_shelves(wanted: Filter) -> tuple[str, list[Any]]:
    """The same on a batch's own columns."""
    conditions, values = _common(wanted)
    if wanted.words:
        words, own_values = _words(wanted)
        conditions.append(words)
        values += own_values
    return " AND ".join(conditions) or "TRUE", values


def _common(wanted: Filter) -> tuple[list[str], list[Any]]:
    found: list[tuple[str, Any]] = []
    if wanted.state is not None:
        # The plus keeps SQLite from an index after which all that is found would have to be sorted.
        found.append(("+state = ?", wanted.state))
    if wanted.model is not None:
        found.append(("model = ?", storable(wanted.model)))
    if wanted.since is not None:
        found.append(("at >= ?", microseconds(wanted.since)))
    if wanted.until is not None:
        found.append(("at < ?", microseconds(wanted.until)))
    return [condition for condition, _ in found], [value for _, value in found]


def _words(wanted: Filter) -> tuple[str, list[Any]]:
    words = list(dict.fromkeys(wanted.words))
    return " AND ".join(["instr(words, ?)"] * len(words)), [as_bytes(word) for word in words]


def microseconds(at: datetime) -> int:
    """Since 1970, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """The time of `microseconds`."""
    return _EPOCH + timedelta(microseconds=at)


def as_bytes(text: str) -> bytes:
    """UTF-8 sorts and contains as the text does. A sidecar made by hand may hold half a surrogate pair."""
    return text.encode("utf-8", "surrogatepass")


def as_text(data: bytes) -> str:
    """The text of `as_bytes`."""
    return data.decode("utf-8", "surrogatepass")


def storable(text: str | None) -> str | None:
    """As SQLite takes it."""
    return text.encode("utf-8", "replace").decode() if text is not None else None
