"""The rows that the gallery is searched in: a private SQLite database in a temporary file, gone with the process.

A row has what an image is found and sorted by, and names the item that all else is made from.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from orchestrator.web.gallery_filter import (
    LARGEST,
    Filter,
    as_bytes,
    as_text,
    microseconds,
    moment,
    of_images,
    of_shelves,
    storable,
)

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE shelves (
    id INTEGER PRIMARY KEY, state INTEGER, batch TEXT, orphan INTEGER, at INTEGER, model TEXT, words BLOB, common TEXT
);
CREATE INDEX shelves_by_batch ON shelves (batch);
CREATE TABLE texts (id INTEGER PRIMARY KEY, words BLOB);
CREATE TABLE images (
    shelf INTEGER, state INTEGER, batch TEXT, item TEXT, number INTEGER, place INTEGER, at INTEGER, model TEXT,
    text INTEGER
);
CREATE INDEX images_by_time ON images (at, batch, place, number);
CREATE INDEX images_by_item ON images (item, state);
CREATE INDEX images_by_shelf ON images (shelf, place, item, number);
"""
_LATEST_TEXTS = 256
_CHUNK_ROWS = 500
_NEWEST_FIRST = "ORDER BY at DESC, batch DESC, place DESC, number DESC"
_IN_ORDER = "ORDER BY place, item, number"


@dataclass(frozen=True)
class ShelfRow:
    """A batch: of a state, or one that only its directory knows (`orphan`)."""

    state: int
    batch: str
    orphan: bool
    at: datetime
    """When it was requested."""
    model: str | None
    words: str
    """Casefolded. By these and the model it is found while it has no images."""
    common: str | None = None
    """What its template says, as JSON."""
    id: int = 0
    """Given by `Rows.add_shelf`."""


class ImageRow(NamedTuple):
    """An image of a shelf."""

    item: str | None
    """None in a batch that only its directory knows."""
    number: int
    """Which of its item's images; of a batch without items: which of the batch's."""
    place: int
    """The index of its item in the batch."""
    at: datetime
    model: str | None
    words: str
    """Casefolded."""


class Found(NamedTuple):
    """Where an image is."""

    shelf: int
    item: str | None
    number: int


class Rows:
    """Used by one thread at a time. Errors of all methods: sqlite3.Error, after which the rows are of no use."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._models: Counter[str] = Counter()
        self._texts: OrderedDict[bytes, int] = OrderedDict()
        """The ids of the latest ones: the images of a batch mostly share theirs."""

    def close(self) -> None:
        self._database.close()

    def models(self) -> list[str]:
        """Of all images."""
        return sorted((model for model, count in self._models.items() if count), key=str.casefold)

    def shelf(self, shelf_id: int) -> ShelfRow:
        (found,) = self._database.execute(
            "SELECT state, batch, orphan, at, model, words, common, id FROM shelves WHERE id = ?", [shelf_id]
        )
        state, batch, orphan, at, model, words, common, number = found
        return ShelfRow(state, batch, bool(orphan), moment(at), model, as_text(words), common, number)

    def images(self, wanted: Filter, *, offset: int, limit: int) -> tuple[int, list[Found]]:
        """How many are found, and some of them, newest first."""
        where, values = of_images(wanted)
        ((total,),) = self._database.execute(f"SELECT count(*) FROM images WHERE {where}", values)
        rows = self._database.execute(
            f"SELECT shelf, item, number FROM images WHERE {where} {_NEWEST_FIRST} LIMIT ? OFFSET ?",
            [*values, limit, offset],
        )
        return total, list(map(Found._make, rows))

    def shelves(self, wanted: Filter) -> list[int]:
        """The ids of those with such images, newest first; one without images goes by its own words and model."""
        where, values = of_images(wanted)
        own, own_values = of_shelves(wanted)
        rows = self._database.execute(
            f"""SELECT id FROM shelves AS of_shelf
            WHERE EXISTS (SELECT 1 FROM images WHERE shelf = of_shelf.id AND {where})
            OR (NOT EXISTS (SELECT 1 FROM images WHERE shelf = of_shelf.id) AND {own})
            ORDER BY at DESC, batch DESC""",
            [*values, *own_values],
        )
        return [shelf for (shelf,) in rows]

    def count_in(self, shelf_id: int, wanted: Filter) -> int:
        where, values = of_images(wanted)
        ((count,),) = self._database.execute(
            f"SELECT count(*) FROM images WHERE shelf = ? AND {where}", [shelf_id, *values]
        )
        return int(count)

    def images_in(self, shelf_id: int, wanted: Filter) -> Iterator[Found]:
        """In the batch's order."""
        where, values = of_images(wanted)
        query = f"SELECT shelf, item, number FROM images WHERE shelf = ? AND {where} {_IN_ORDER}"
        return map(Found._make, self._database.execute(query, [shelf_id, *values]))

    def images_at(self, batch: str, index: int) -> list[Found]:
        """Those of an item of a batch, whichever states have one of this id, the newest first."""
        rows = self._database.execute(
            f"""SELECT shelf, item, number FROM images
            WHERE shelf IN (SELECT id FROM shelves WHERE batch = ?) AND place = ? {_NEWEST_FIRST}""",
            [batch, min(index, LARGEST)],
        )
        return list(map(Found._make, rows))

    def add_shelf(self, shelf: ShelfRow) -> int:
        """Its id."""
        cursor = self._database.execute(
            "INSERT INTO shelves (state, batch, orphan, at, model, words, common) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                shelf.state,
                shelf.batch,
                shelf.orphan,
                microseconds(shelf.at),
                storable(shelf.model),
                as_bytes(shelf.words),
                shelf.common,
            ],
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def add(self, shelf: ShelfRow, shelf_id: int, images: Iterable[ImageRow]) -> None:
        chunk: list[tuple[Any, ...]] = []
        for row in images:
            model = storable(row.model)
            if model is not None:
                self._models[model] += 1
            place, at = min(row.place, LARGEST), microseconds(row.at)
            text = self._text_id(as_bytes(row.words))
            chunk.append((shelf_id, shelf.state, shelf.batch, row.item, row.number, place, at, model, text))
            if len(chunk) == _CHUNK_ROWS:
                self._insert(chunk)
                chunk.clear()
        self._insert(chunk)

    def remove_item(self, state: int, item: str) -> None:
        """The images of an item, if there are any."""
        where, values = "item = ? AND state = ?", [item, state]
        texts = self._database.execute(
            f"SELECT words, id FROM texts WHERE id IN (SELECT text FROM images WHERE {where})", values
        )
        # What the item is found by has mostly stayed the same.
        self._texts |= texts.fetchall()
        self._remove(where, values)

    def remove_shelf(self, shelf_id: int) -> None:
        self._remove("shelf = ?", [shelf_id])
        self._database.execute("DELETE FROM shelves WHERE id = ?", [shelf_id])

    def remove_all(self, *, state: int | None) -> None:
        """The shelves of a state, or with None those of no state."""
        whose, values = ("NOT orphan AND state = ?", [state]) if state is not None else ("orphan", [])
        self._remove(f"shelf IN (SELECT id FROM shelves WHERE {whose})", values)
        self._database.execute(f"DELETE FROM shelves WHERE {whose}", values)
        self._database.execute("DELETE FROM texts WHERE id NOT IN (SELECT text FROM images)")
        self._texts.clear()

    def begin(self) -> None:
        """Before a number of changes."""
        self._database.execute("BEGIN")

    def commit(self) -> None:
        self._database.execute("COMMIT")

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._database.executemany("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _remove(self, where: str, values: Sequence[Any]) -> None:
        models = self._database.execute(
            f"SELECT model, count(*) FROM images WHERE {where} AND model IS NOT NULL GROUP BY model", values
        )
        self._models.subtract(dict(models.fetchall()))
        self._database.execute(f"DELETE FROM images WHERE {where}", values)

    def _text_id(self, words: bytes) -> int:
        found = self._texts.get(words)
        if found is None:
            found = self._database.execute("INSERT INTO texts (words) VALUES (?)", [words]).lastrowid
            assert found is not None
            self._texts[words] = found
            while len(self._texts) > _LATEST_TEXTS:
                self._texts.popitem(last=False)
        return found
