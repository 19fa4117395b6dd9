"""What the gallery's index holds of images, and how it is changed: rows made from items, by item.

A row has what an image is found and sorted by, and names the item that all else is made from.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from orchestrator.results.values import facts, searchable, storable
from orchestrator.web.gallery_filter import (
    LARGEST,
    as_bytes,
    as_text,
    microseconds,
    moment,
    seed_number,
)

_HEAD_LETTERS = 24
"""Of a prompt, to sort by."""


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
    """By these and the model it is found while it has no images."""
    name: str | None = None
    common: str | None = None
    """What its template says, as JSON."""
    id: int = 0
    """Given by `Rows.add_shelf`."""


class ImageRow(NamedTuple):
    """An image of a shelf."""

    number: int
    """Which of its item's images; of a batch without items: which of the batch's."""
    place: int
    """The index of its item in the batch."""
    at: datetime
    file: str
    kind: str
    words: str
    """Prompt and negative prompt."""
    settings: Mapping[str, Any]
    """By binding or address, and `template`."""
    seed: int | None = None
    bytes: int | None = None
    favorite: bool = False


class Rows:
    """Changes of the index; used by one thread at a time. Errors of all methods: sqlite3.Error.

    Between `begin` and `commit` no other process can change it.
    """

    def __init__(self, database: sqlite3.Connection, *, has_words: bool) -> None:
        self._database = database
        self._has_words = has_words
        self._touched_texts: set[int] = set()
        self._touched_settings: set[int] = set()
        """What removed images named in this transaction."""

    def begin(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._drop_unused()
        self._database.execute("COMMIT")

    def roll_back(self) -> None:
        self._touched_texts.clear()
        self._touched_settings.clear()
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def shelf_of(self, state: int, batch: str, *, orphan: bool = False) -> ShelfRow | None:
        found = self._database.execute(
            f"SELECT {SHELF_COLUMNS} FROM shelves WHERE state = ? AND batch = ? AND orphan = ?", [state, batch, orphan]
        ).fetchone()
        return shelf_row(found) if found is not None else None

    def shelves_of(self, state: int) -> dict[str, int]:
        """The ids of a state's shelves, by batch."""
        found = self._database.execute("SELECT batch, id FROM shelves WHERE state = ? AND NOT orphan", [state])
        return dict(found.fetchall())

    def add_shelf(self, shelf: ShelfRow) -> int:
        """Its id."""
        label = searchable(f"{shelf.batch}\n{shelf.name or ''}")
        cursor = self._database.execute(
            f"INSERT INTO shelves ({_SHELF_VALUES}) VALUES ({', '.join('?' * 8)})",
            [
                shelf.state,
                shelf.batch,
                shelf.orphan,
                microseconds(shelf.at),
                storable(shelf.model),
                label,
                searchable(shelf.words),
                shelf.common,
            ],
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def tell(self, shelf_id: int, common: str) -> None:
        """What the template of a batch says, as JSON."""
        self._database.execute("UPDATE shelves SET common = ? WHERE id = ?", [common, shelf_id])

    def marks(self, state: int, keys: Sequence[str]) -> dict[str, bytes]:
        """The marks of those of these items that are there."""
        asked = f"SELECT key, mark FROM items WHERE state = ? AND key IN ({', '.join('?' * len(keys))})"
        found = self._database.execute(asked, [state, *map(as_bytes, keys)])
        return {as_text(key): mark for key, mark in found}

    def keys_on(self, shelf_id: int) -> set[str]:
        """The keys of the items of a shelf."""
        return {as_text(key) for (key,) in self._database.execute("SELECT key FROM items WHERE shelf = ?", [shelf_id])}

    def put(
        self, shelf: ShelfRow, key: str, mark: bytes, images: Iterable[ImageRow], *, tags: Collection[str] = ()
    ) -> None:
        """An item with its images, in place of what was there of it."""
        self.remove_item(shelf.state, key)
        cursor = self._database.execute(
            "INSERT INTO items (state, key, shelf, mark) VALUES (?, ?, ?, ?)",
            [shelf.state, as_bytes(key), shelf.id, mark],
        )
        item = cursor.lastrowid
        self.add(shelf, images, item=item)
        self._database.executemany(
            "INSERT INTO tags VALUES (?, ?, ?)", [(item, searchable(tag), storable(tag)) for tag in tags]
        )

    def add(self, shelf: ShelfRow, images: Iterable[ImageRow], *, item: int | None = None) -> None:
        """Images of an item, or of a batch that only its directory knows."""
        for row in images:
            text = self._text_id(searchable(row.words))
            made = [
                item,
                shelf.id,
                shelf.state,
                row.number,
                min(row.place, LARGEST),
                microseconds(row.at),
                seed_number(row.seed) if row.seed is not None else None,
                min(row.bytes or 0, LARGEST),
                row.favorite,
                row.kind,
                searchable(row.words)[:_HEAD_LETTERS],
                text,
                self._settings_id(row.settings),
            ]
            number = self._database.execute(_ADD_IMAGE, made).lastrowid
            file = searchable(row.file)
            self._database.execute("INSERT INTO files VALUES (?, ?)", [number, file])
            if self._has_words:
                said = [number, searchable(row.words), file]
                self._database.execute("INSERT INTO words (rowid, prompt, file) VALUES (?, ?, ?)", said)

    def remove_item(self, state: int, key: str) -> None:
        """An item with its images, if it is there."""
        found = self._database.execute(
            "SELECT id FROM items WHERE state = ? AND key = ?", [state, as_bytes(key)]
        ).fetchone()
        if found is not None:
            self._remove("item = ?", found)
            self._database.execute("DELETE FROM tags WHERE item = ?", found)
            self._database.execute("DELETE FROM items WHERE id = ?", found)

    def remove_shelf(self, shelf_id: int) -> None:
        self._remove("shelf = ?", [shelf_id])
        self._database.execute("DELETE FROM tags WHERE item IN (SELECT id FROM items WHERE shelf = ?)", [shelf_id])
        self._database.execute("DELETE FROM items WHERE shelf = ?", [shelf_id])
        self._database.execute("DELETE FROM shelves WHERE id = ?", [shelf_id])

    def remove_orphans(self) -> None:
        for (shelf,) in self._database.execute("SELECT id FROM shelves WHERE orphan").fetchall():
            self.remove_shelf(shelf)

    def _remove(self, where: str, values: Sequence[Any]) -> None:
        named = self._database.execute(f"SELECT DISTINCT text, settings FROM images WHERE {where}", values).fetchall()
        self._touched_texts.update(text for text, _ in named)
        self._touched_settings.update(settings for _, settings in named)
        if self._has_words:
            self._database.execute(
                f"""INSERT INTO words (words, rowid, prompt, file)
                SELECT 'delete', images.id, texts.words, files.file FROM images
                JOIN texts ON texts.id = images.text JOIN files ON files.image = images.id WHERE images.{where}""",
                values,
            )
        self._database.execute(f"DELETE FROM files WHERE image IN (SELECT id FROM images WHERE {where})", values)
        self._database.execute(f"DELETE FROM images WHERE {where}", values)

    def _drop_unused(self) -> None:
        for text in self._touched_texts:
            if self._is_unused("text", text):
                self._database.execute("DELETE FROM texts WHERE id = ?", [text])
        for settings in self._touched_settings:
            if self._is_unused("settings", settings):
                self._database.execute("DELETE FROM facts WHERE settings = ?", [settings])
                self._database.execute("DELETE FROM settings WHERE id = ?", [settings])
        self._touched_texts.clear()
        self._touched_settings.clear()

    def _is_unused(self, column: str, value: int) -> bool:
        return self._database.execute(f"SELECT 1 FROM images WHERE {column} = ? LIMIT 1", [value]).fetchone() is None

    def _text_id(self, words: str) -> int:
        known, number = self._id_of("texts", words)
        if not known:
            self._database.execute("UPDATE texts SET words = ? WHERE id = ?", [words, number])
        return number

    def _settings_id(self, settings: Mapping[str, Any]) -> int:
        known, number = self._id_of("settings", json.dumps(settings, sort_keys=True, default=str))
        if not known:
            for name, value in settings.items():
                made = [(self._name_id(name), fact[0], number, *fact[1:]) for fact in facts(value)]
                self._database.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?, ?)", made)
        return number

    def _name_id(self, name: str) -> int:
        said = storable(name)
        self._database.execute("INSERT OR IGNORE INTO names (name) VALUES (?)", [said])
        ((number,),) = self._database.execute("SELECT id FROM names WHERE name = ?", [said])
        return int(number)

    def _id_of(self, table: str, content: str) -> tuple[bool, int]:
        """Whether this content is there already, and its id."""
        digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()[:16]
        found = self._database.execute(f"SELECT id FROM {table} WHERE digest = ?", [digest]).fetchone()
        if found is not None:
            return True, found[0]
        made = self._database.execute(f"INSERT INTO {table} (digest) VALUES (?)", [digest]).lastrowid
        assert made is not None
        return False, made


_IMAGE_COLUMNS = "item, shelf, state, number, place, at, seed, bytes, favorite, kind, head, text, settings"
_ADD_IMAGE = f"INSERT INTO images ({_IMAGE_COLUMNS}) VALUES ({', '.join('?' * 13)})"
_SHELF_VALUES = "state, batch, orphan, at, model, label, words, common"
SHELF_COLUMNS = "state, batch, orphan, at, model, words, common, id"


def shelf_row(found: Sequence[Any]) -> ShelfRow:
    """The shelf of a row with `SHELF_COLUMNS`."""
    state, batch, orphan, at, model, words, common, number = found
    return ShelfRow(state, batch, bool(orphan), moment(at), model, words, None, common, number)
