"""The completed items of a state, for a run that looks for more of their kind: what every store answers about them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from state.item import Item, OutputRecord, Status, TrashedOutput, UtcTime

_TEXTS_AND_SEED = frozenset({"prompt", "negative", "seed"})
"""The values that do not change how many files a prompt makes."""

Kind = tuple[str | None, bytes]


class Made(msgspec.Struct, frozen=True):
    """The fields of a record that matter here."""

    status: Status
    server: str | None = None
    prompt_id: str | None = None
    recipe: str | None = None
    inputs: dict[str, Any] = {}
    uploads: dict[str, Any] = {}
    completed_at: UtcTime | None = None
    seconds: float | None = None
    outputs: tuple[OutputRecord, ...] = ()
    trashed: tuple[TrashedOutput, ...] = ()
    sidecar: str | None = None

    @classmethod
    def of(cls, item: Item) -> Made:
        fields = {name: getattr(item, name) for name in cls.__struct_fields__}
        return cls(**fields | {"uploads": msgspec.to_builtins(item.uploads)})

    @property
    def kind(self) -> Kind:
        """The same for all items that make the same number of files."""
        inputs = {name: value for name, value in self.inputs.items() if name not in _TEXTS_AND_SEED}
        return self.recipe, msgspec.json.encode((inputs, self.uploads), order="deterministic")

    @property
    def count(self) -> int:
        """Of its files that a server saved; texts are in its history alone."""
        paths = [one.path for one in (*self.outputs, *self.trashed) if one.path != self.sidecar]
        return sum(not path.endswith(".txt") for path in paths)

    @property
    def completion(self) -> Completion | None:
        """None where its server, its prompt or the time is not known."""
        if self.server is None or self.prompt_id is None or self.completed_at is None:
            return None
        return Completion(self.completed_at, self.prompt_id, self.recipe)


class Completion(NamedTuple):
    """A prompt that was completed; they sort by the time of it."""

    at: datetime
    prompt_id: str
    recipe: str | None


class CompletedItems(Protocol):
    """For one run. Any thread may ask. Nothing is read before that, and what is read does not grow with each question.

    Errors: StateError.
    """

    def note(self, item: Item) -> None:
        """This process completed it."""

    def counts(self, item: Item) -> Collection[int]:
        """How many files came of the completed items that differ from this one in texts and seed alone: each number.

        As of the first question about such items, with what this process has completed since; later changes by others
        may count or not.
        """

    def servers(self) -> Collection[str]:
        """The names of all that completed any; as `counts`, as of the first question."""

    def latest(
        self,
        server: str,
        most: int,
        *,
        until: datetime | None = None,
        recipes: Collection[str | None] | None = None,
    ) -> list[Completion]:
        """The latest of the server of this name, latest first; those `until` then, of one of these `recipes`."""

    def longest_seconds(self, recipe: str | None) -> float | None:
        """The longest that an item of this recipe took to render, on any server; None where none is known."""
