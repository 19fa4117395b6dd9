"""What is looked for in the gallery, as conditions of SQL, and how its values are stored."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from orchestrator.results.search_text import Condition, Query
from orchestrator.results.values import searchable, storable

LARGEST = 2**63 - 1
"""The largest integer that SQLite takes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEEDS_BEGIN = -(2**63)
_PLAIN = re.compile(r"[\w\s!-/:-@\[-`{-~]+")
_MATCH = "id IN (SELECT rowid FROM words WHERE words MATCH ?)"

Order = Literal["newest", "oldest", "seed", "prompt", "largest", "smallest"]
ORDERS: dict[Order, str] = {
    "newest": "at DESC, shelf DESC, place DESC, number DESC",
    "oldest": "at, shelf, place, number",
    "seed": "seed, at, id",
    "prompt": "head, at, id",
    "largest": "bytes DESC, at DESC, id",
    "smallest": "bytes, at, id",
}


@dataclass(frozen=True)
class Filter:
    """What is looked for; the defaults let everything through."""

    query: Query = field(default_factory=Query)
    model: str | None = None
    """Exactly this one."""
    since: datetime | None = None
    until: datetime | None = None
    """Before this moment."""
    state: int | None = None
    states: Sequence[str] = ()
    """What each state is called, for `state:`."""


@dataclass(frozen=True)
class Terms:
    """How words are found: with an index of words, or by reading every text."""

    has_words: bool

    def of_images(self, wanted: Filter) -> tuple[str, list[Any]]:
        """A condition on the images' columns, and its values."""
        parts = [*_plain(wanted)]
        if wanted.model is not None:
            parts.append((_HAS_MODEL, [storable(wanted.model)]))
        parts += self._words(wanted.query.words)
        parts += [_negated(part) for word in wanted.query.without for part in self._words([word])]
        for condition in wanted.query.conditions:
            part = self._condition(condition, wanted)
            parts.append(_negated(part) if condition.not_ else part)
        return " AND ".join(f"({part})" for part, _ in parts) or "TRUE", [one for _, some in parts for one in some]

    def of_shelves(self, wanted: Filter) -> tuple[str, list[Any]]:
        """The same of a batch that has no images, by its own columns; what these do not tell, it is not found by."""
        parts = [*_plain(wanted)]
        if wanted.model is not None:
            parts.append(("model = ?", [storable(wanted.model)]))
        parts += [("instr(words, ?)", [searchable(word)]) for word in wanted.query.words]
        parts += [("NOT instr(words, ?)", [searchable(word)]) for word in wanted.query.without]
        for condition in wanted.query.conditions:
            part = _of_shelf(condition, wanted)
            parts.append(_negated(part) if condition.not_ else part)
        return " AND ".join(f"({part})" for part, _ in parts) or "TRUE", [one for _, some in parts for one in some]

    def _words(self, words: Sequence[str]) -> list[tuple[str, list[Any]]]:
        """All of them, or none where there are none."""
        texts = list(map(searchable, words))
        quick = [text for text in texts if self.has_words and _is_tokens(text)]
        parts = [_scan(text) for text in texts if text not in quick]
        if quick:
            parts.append((_MATCH, [" AND ".join(map(_phrase, quick))]))
        return parts

    def _condition(self, one: Condition, wanted: Filter) -> tuple[str, list[Any]]:
        match one.key:
            case "seed":
                return _seed(one)
            case "tag":
                how, value = _comparing(one, "tag")
                return f"item IN (SELECT item FROM tags WHERE {how})", [value]
            case "is":
                return _is(one)
            case "batch":
                return "shelf IN (SELECT id FROM shelves WHERE instr(label, ?))", [searchable(one.value)]
            case "lora":
                named, values = _fact(one)
                ((tagged, more),) = self._words([f"<lora:{one.value}"])
                return f"({named}) OR ({tagged})", [*values, *more]
            case "state" | "before" | "after":
                return _of_shelf(one, wanted)
        return _fact(one)


def _plain(wanted: Filter) -> list[tuple[str, list[Any]]]:
    found: list[tuple[str, list[Any]]] = []
    if wanted.state is not None:
        # The plus keeps SQLite from an index after which all that is found would have to be sorted.
        found.append(("+state = ?", [wanted.state]))
    if wanted.since is not None:
        found.append(("at >= ?", [microseconds(wanted.since)]))
    if wanted.until is not None:
        found.append(("at < ?", [microseconds(wanted.until)]))
    return found


_HAS_MODEL = """settings IN (
    SELECT settings FROM facts WHERE name = (SELECT id FROM names WHERE name = 'model') AND shown = ?)"""


def _is_tokens(text: str) -> bool:
    """Whether the index of words has what this text consists of: it takes a line without blanks for one word."""
    if not _PLAIN.fullmatch(text) or not any(letter.isalnum() for letter in text):
        return False
    return not any(unicodedata.east_asian_width(letter) in "WF" or 0x0E00 <= ord(letter) < 0x1100 for letter in text)


def _phrase(text: str) -> str:
    """These words one after another, the last one by its beginning."""
    quoted = text.replace('"', '""')
    return f'"{quoted}" *'


def _scan(text: str) -> tuple[str, list[Any]]:
    texts, files = "SELECT id FROM texts WHERE instr(words, ?)", "SELECT image FROM files WHERE instr(file, ?)"
    return f"text IN ({texts}) OR id IN ({files})", [text, text]


def _of_shelf(one: Condition, wanted: Filter) -> tuple[str, list[Any]]:
    match one.key:
        case "before":
            return "at < ?", [microseconds(one.moment or _EPOCH)]
        case "after":
            return "at >= ?", [microseconds(one.moment or _EPOCH)]
        case "state":
            text = searchable(one.value)
            meant = [number for number, name in enumerate(wanted.states) if text in (str(number), searchable(name))]
            meant = meant or [number for number, name in enumerate(wanted.states) if text in searchable(name)]
            return f"+state IN ({', '.join('?' * len(meant))})", meant
        case "batch":
            return "instr(label, ?)", [searchable(one.value)]
        case "model":
            return "instr(lower(model), ?)", [searchable(one.value)]
    return "FALSE", []


def _is(one: Condition) -> tuple[str, list[Any]]:
    if one.value == "favorite":
        return "favorite", []
    if one.value == "tagged":
        return "item IN (SELECT item FROM tags)", []
    return "kind = ?", [one.value]


def _seed(one: Condition) -> tuple[str, list[Any]]:
    if not one.value.isascii() or not one.value.isdecimal() or int(one.value) >= 2**64:
        return "FALSE", []
    operator = "=" if one.operator == ":" else one.operator
    return f"seed IS NOT NULL AND seed {operator} ?", [seed_number(int(one.value))]


def _fact(one: Condition) -> tuple[str, list[Any]]:
    """By the name of a binding, or of an input of some node."""
    like = one.key.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    names = "SELECT id FROM names WHERE name = ? OR name LIKE ? ESCAPE '\\' OR name LIKE ? ESCAPE '\\'"
    values: list[Any] = [one.key, f"%.{like}", f"%.{like}\\_name"]
    if one.operator not in (":", "="):
        how: tuple[str, list[Any]] = (f"number {one.operator} ?", [one.number])
    else:
        comparing, text = _comparing(one, "value")
        how = (f"({comparing} AND number IS NULL)", [text])
        if one.number is not None:
            how = (f"({how[0]} OR number = ?)", [text, one.number])
    return f"settings IN (SELECT settings FROM facts WHERE name IN ({names}) AND {how[0]})", [*values, *how[1]]


def _comparing(one: Condition, column: str) -> tuple[str, Any]:
    """`:` contains, `=` is; a tag is meant as a whole."""
    is_whole = one.operator == "=" or column == "tag"
    return (f"{column} = ?" if is_whole else f"instr({column}, ?)"), searchable(one.value)


def _negated(part: tuple[str, list[Any]]) -> tuple[str, list[Any]]:
    return f"NOT coalesce(({part[0]}), FALSE)", part[1]


def microseconds(at: datetime) -> int:
    """Since 1970, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """The time of `microseconds`."""
    return _EPOCH + timedelta(microseconds=at)


def seed_number(seed: int) -> int:
    """Seeds have up to 64 bits without a sign, SQLite's numbers with one: these sort as seeds do."""
    return min(max(0, seed), 2**64 - 1) + _SEEDS_BEGIN


def as_bytes(text: str) -> bytes:
    """UTF-8. Names of files may hold half a surrogate pair."""
    return text.encode("utf-8", "surrogatepass")


def as_text(data: bytes) -> str:
    """The text of `as_bytes`."""
    return data.decode("utf-8", "surrogatepass")
