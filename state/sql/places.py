"""No two items have one place among the outputs at the same time, whichever hosts bring their files there.

A place is claimed in the transaction in which an item is submitted, before anything is rendered. It stays the item's
while that is submitted or has outputs. The row itself stays longer: whoever wants the place then sees that its item
does not have it any more, whatever became of that and whichever release did it.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, select, update

from orchestrator.errors import PlaceTaken, RecipeUnusable
from state.file_names import stem_of
from state.item import Item, Status
from state.recipe import RecipeBook
from state.sql.rows import item_of, pieces
from state.sql.schema import items, places
from state.sql.statement import Statement

_LONGEST = 500
"""Of a place that is written as it is; PostgreSQL's indices take no more than about 2,700 bytes."""
_INSERT = "INSERT INTO places (place, item) SELECT key, value FROM {} WHERE true ON CONFLICT DO NOTHING RETURNING place"
_INSERT_POSTGRESQL = Statement(_INSERT.format("json_each_text(CAST(:wanted AS json))"))
_INSERT_SQLITE = Statement(_INSERT.format("json_each(:wanted)"))


class Places:
    """Of one state."""

    def __init__(self, recipes: RecipeBook) -> None:
        self._recipes = recipes

    def claim(self, connection: Connection, submitted: Iterable[Item]) -> None:
        """For items that become submitted in this transaction. Errors: PlaceTaken, after which it must be rolled back.

        Two transactions that claim one place wait for each other here.
        """
        wanted: dict[str, str] = {}
        taken: dict[str, str] = {}
        for item in submitted:
            place = self._place_of(item)
            if place is not None and (other := wanted.setdefault(place, item.key)) != item.key:
                taken[item.key] = other
        for some in pieces(sorted(wanted)):
            left = {place: wanted[place] for place in some}
            while left:
                # What another transaction deletes meanwhile is there neither for the one nor for the other.
                inserted = _inserted(connection, left)
                left = {place: key for place, key in left.items() if place not in inserted}
                if left:
                    taken |= self._not_given_up(connection, left)
        if taken:
            raise PlaceTaken(taken)

    def note(self, connection: Connection, there: Iterable[Item]) -> None:
        """The places of items as another state has them. The first of those with one place gets it."""
        found: dict[str, str] = {}
        for item in there:
            place = self._place_of(item) if _has_place(item) else None
            if place is not None:
                found.setdefault(place, item.key)
        for some in pieces(sorted(found)):
            _inserted(connection, {place: found[place] for place in some})

    def forget(self, connection: Connection, gone: Iterable[Item]) -> None:
        """Of removed items, so that no more rows are kept than there are items."""
        for item in gone:
            place = self._place_of(item)
            if place is not None:
                connection.execute(delete(places).where(places.c.place == place, places.c.item == item.key))

    def _not_given_up(self, connection: Connection, wanted: dict[str, str]) -> dict[str, str]:
        """Of these places: who does not get one, and the other item that has it. Leaves those that have no row."""
        asked = select(places.c.place, places.c.item).where(places.c.place.in_(wanted)).order_by(places.c.place)
        others = {row.place: row.item for row in connection.execute(asked.with_for_update())}
        foreign = {place: other for place, other in others.items() if other != wanted[place]}
        asked_items = select(items.c.key, items.c.record).where(items.c.key.in_(set(foreign.values())))
        rows: dict[str, Any] = {
            row.key: row for row in connection.execute(asked_items.order_by(items.c.key).with_for_update(read=True))
        }
        taken = {}
        for place in others.keys() - foreign.keys():
            del wanted[place]
        for place, other in foreign.items():
            key = wanted.pop(place)
            owner = item_of(rows[other]) if other in rows else None
            if owner is not None and _has_place(owner) and self._place_of(owner) == place:
                taken[key] = other
            else:
                connection.execute(update(places).where(places.c.place == place).values(item=key))
        return taken

    def _place_of(self, item: Item) -> str | None:
        """The root as its recipe names it, so that it is the same on every host; None where nobody can say.

        It is compared, never opened.
        """
        try:
            named = self._recipes.get(item.recipe).output if item.recipe is not None else ""
        except RecipeUnusable:
            return None
        words = "/".join((named, item.subfolder, stem_of(item.name)))
        place = posixpath.normpath(words.replace("\0", "\ufffd"))
        data = place.encode("utf-8", "surrogatepass")
        return place if len(data) <= _LONGEST else f"sha256:{hashlib.sha256(data).hexdigest()}"


def _has_place(item: Item) -> bool:
    return item.status is Status.SUBMITTED or (item.status is Status.COMPLETED and bool(item.outputs))


def _inserted(connection: Connection, wanted: dict[str, str]) -> set[str]:
    """Those that had no row."""
    statement = _INSERT_POSTGRESQL if connection.dialect.name == "postgresql" else _INSERT_SQLITE
    return {row.place for row in statement.run(connection, {"wanted": msgspec.json.encode(wanted).decode()})}
