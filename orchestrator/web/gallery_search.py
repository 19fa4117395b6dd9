"""Searching the gallery's index. Reads only; any thread may use it, one after another."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from orchestrator.results.values import searchable
from orchestrator.web.gallery_filter import ORDERS, Filter, Order, Terms, as_text
from orchestrator.web.gallery_rows import SHELF_COLUMNS, ShelfRow, shelf_row

_FOUND = "images.shelf, items.key, images.number"
_IN_ORDER = "ORDER BY images.place, images.item, images.number"


class Found(NamedTuple):
    """Where an image is."""

    shelf: int
    item: str | None
    """None in a batch that only its directory knows."""
    number: int


class Offered(NamedTuple):
    """A value that images have."""

    value: str
    uses: int
    """How many sets of settings, tagged items or batches have it."""


class Search:
    """Errors of all methods: sqlite3.Error."""

    def __init__(self, database: sqlite3.Connection, *, has_words: bool) -> None:
        self._database = database
        self._terms = Terms(has_words)
        self._guard = threading.Lock()

    def images(self, wanted: Filter, *, order: Order, offset: int, limit: int) -> tuple[int, list[Found]]:
        """How many are found, and some of them."""
        where, values = self._terms.of_images(wanted)
        by = ", ".join(f"images.{column}" for column in ORDERS[order].split(", "))
        with self._guard:
            ((total,),) = self._database.execute(f"SELECT count(*) FROM images WHERE {where}", values)
            if offset >= total:
                return total, []
            rows = self._database.execute(
                f"""SELECT {_FOUND} FROM (
                    SELECT id FROM images WHERE {where} ORDER BY {ORDERS[order]} LIMIT ? OFFSET ?
                ) AS some JOIN images ON images.id = some.id LEFT JOIN items ON items.id = images.item ORDER BY {by}""",
                [*values, limit, offset],
            )
            return total, list(map(_found, rows.fetchall()))

    def shelves(self, wanted: Filter, *, offset: int, limit: int) -> tuple[int, list[ShelfRow]]:
        """Those with such images, newest first; one without images goes by its own words and model."""
        where, values = self._terms.of_images(wanted)
        own, own_values = self._terms.of_shelves(wanted)
        condition = f"""batch NOT LIKE '~%' AND (
            id IN (SELECT shelf FROM images WHERE {where})
            OR (id NOT IN (SELECT shelf FROM images) AND {own}))"""
        with self._guard:
            some = [*values, *own_values]
            ((total,),) = self._database.execute(f"SELECT count(*) FROM shelves WHERE {condition}", some)
            rows = self._database.execute(
                f"""SELECT {SHELF_COLUMNS} FROM shelves WHERE {condition}
                ORDER BY at DESC, batch DESC LIMIT ? OFFSET ?""",
                [*some, limit, offset],
            )
            return total, list(map(shelf_row, rows.fetchall()))

    def count_on(self, shelf_id: int, wanted: Filter) -> int:
        where, values = self._terms.of_images(wanted)
        with self._guard:
            ((count,),) = self._database.execute(
                f"SELECT count(*) FROM images WHERE shelf = ? AND {where}", [shelf_id, *values]
            )
            return int(count)

    def images_on(self, shelf_id: int, wanted: Filter, *, offset: int, limit: int) -> list[Found]:
        """In the batch's order."""
        where, values = self._terms.of_images(wanted)
        with self._guard:
            rows = self._database.execute(
                f"""SELECT {_FOUND} FROM images LEFT JOIN items ON items.id = images.item
                WHERE images.id IN (SELECT id FROM images WHERE shelf = ? AND {where}) {_IN_ORDER} LIMIT ? OFFSET ?""",
                [shelf_id, *values, limit, offset],
            )
            return list(map(_found, rows.fetchall()))

    def shelves_with(self, ids: Sequence[int]) -> dict[int, ShelfRow]:
        """Those of these ids that are there."""
        with self._guard:
            rows = self._database.execute(
                f"SELECT {SHELF_COLUMNS} FROM shelves WHERE id IN ({', '.join('?' * len(ids))})", list(ids)
            )
            return {row[-1]: shelf_row(row) for row in rows.fetchall()}

    def shelf_of(self, state: int, batch: str) -> ShelfRow | None:
        """That of a state's batch."""
        with self._guard:
            found = self._database.execute(
                f"SELECT {SHELF_COLUMNS} FROM shelves WHERE state = ? AND batch = ? AND NOT orphan", [state, batch]
            ).fetchone()
            return shelf_row(found) if found is not None else None

    def models(self) -> list[str]:
        """Of all images."""
        return sorted(
            self._list("SELECT DISTINCT shown FROM facts WHERE name = (SELECT id FROM names WHERE name = 'model')"),
            key=str.casefold,
        )

    def names(self) -> list[str]:
        """Of the parameters that images have."""
        return self._list("SELECT name FROM names ORDER BY name")

    def values(self, key: str, beginning: str, *, limit: int) -> list[Offered]:
        """The values of a key that contain this, the most frequent first."""
        text = searchable(beginning)
        match key:
            case "tag":
                query, values = "SELECT min(shown), count(*) FROM tags WHERE instr(tag, ?) GROUP BY tag", [text]
            case "batch":
                name = "substr(label, instr(label, char(10)) + 1)"
                query = f"SELECT {name}, count(*) FROM shelves WHERE instr(label, ?) AND {name} <> '' GROUP BY 1"
                values = [text]
            case _:
                names = "SELECT id FROM names WHERE name = ? OR name LIKE ? OR name LIKE ?"
                query = f"""SELECT min(shown), count(*) FROM facts
                WHERE name IN ({names}) AND instr(value, ?) GROUP BY value"""
                values = [key, f"%.{key}", f"%.{key}_name", text]
        with self._guard:
            rows = self._database.execute(f"{query} ORDER BY 2 DESC, 1 LIMIT ?", [*values, limit])
            return list(map(Offered._make, rows.fetchall()))

    def _list(self, query: str) -> list[str]:
        with self._guard:
            return [value for (value,) in self._database.execute(query).fetchall()]


def _found(row: tuple[Any, ...]) -> Found:
    shelf, key, number = row
    return Found(shelf, as_text(key) if key is not None else None, number)
