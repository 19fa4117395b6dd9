"""Recipes set aside for the rest of a run because they cannot be used: their items stay as they are, uncharged."""

from __future__ import annotations

import shlex
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.documents.lists import shortened
from orchestrator.errors import ConfigurationError, StopBurst
from orchestrator.formatting import counted, first_of
from state.burst_record import SetAsideRecord
from state.counts import Counts
from state.item import DUE, Item, Status, kind_of
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.parts import SetAsideDocument

_CHANGES = "[--template NAME] [--bind NAME=NODE.INPUT] [--server NAME] [--output DIR]"
_LISTED_BATCHES = 3
_LISTED_COMMANDS = 3

Key = tuple[str | None, str | None]
"""A recipe's id; for items without a recipe, the template that their records name, if any."""


class SetAside(SetAsideRecord, frozen=True, kw_only=True):
    """One recipe that this run does not use, and the items that wait for it."""

    items: int
    """How many items."""
    submitted: int = 0
    """How many of them are submitted, and wait for the output root."""
    batches: tuple[str, ...] = ()
    """The batches they belong to."""

    def command(self, state: Path | None = None) -> str:
        """The command that gives the pending ones another recipe, with placeholders; submitted ones keep theirs.

        `state`: named in it, unless it is None.
        """
        named = ("--state", str(state)) if state is not None else ()
        if self.items == self.submitted:
            return shlex.join(["burst", "run", *named])
        return f"{shlex.join(['burst', 'update', '--made-with', self.name, *named])} {_CHANGES}"

    def as_json(self, *, everything: bool = False) -> SetAsideDocument:
        document: SetAsideDocument = {
            "recipe": self.recipe,
            "name": self.name,
            "reason": self.reason,
            "output": self.output,
            "items": self.items,
            "submitted": self.submitted,
            "batches": list(self.batches),
            "next": self.command(),
        }
        return shortened(document, "batches", everything=everything)

    def as_text(self) -> str:
        listed = first_of(self.batches, _LISTED_BATCHES)
        whose = f" of {'batch' if len(self.batches) == 1 else 'batches'} {listed}" if self.batches else ""
        pending = self.items - self.submitted
        if pending and self.submitted:
            standing = f"{pending} still pending and {self.submitted} submitted"
        else:
            standing = f"still {'pending' if pending else 'submitted'}"
        return f"Set aside: {counted(self.items)}{whose} made with {self.name}, {standing}: {self.reason}"


class SetAsideRecipes:
    """The recipes set aside in one run, by any worker. Any thread may use it."""

    def __init__(self) -> None:
        self._found: dict[Key, SetAsideRecord] = {}
        self._singly: set[str] = set()
        """Keys of pending items that a server may have and that were passed over."""
        self._guard = threading.Lock()
        self._needs_a_person = False
        self._full: str | None = None

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds (`Item.kind`) of their items, but for items that a server may have."""
        with self._guard:
            return frozenset(kind_of(recipe, template) for recipe, template in self._found)

    @property
    def singly(self) -> frozenset[str]:
        """The keys of pending items that a server may have and that were passed over so far."""
        with self._guard:
            return frozenset(self._singly)

    @property
    def single_count(self) -> int:
        """How many pending items that a server may have were passed over so far."""
        return len(self._singly)

    @property
    def passes(self) -> bool:
        """Whether nothing but storage that does not answer is the reason."""
        return not self._needs_a_person

    @property
    def full(self) -> str | None:
        """Why an output root takes nothing more; None where each does, or where one only does not answer."""
        return self._full

    def add(self, item: Item, *, name: str, reason: str, output: str | None = None, passes: bool = False) -> bool:
        """Set this item's recipe aside; whether it was not before. `output`: the output root, if that is the reason.

        `passes`: nobody has to do anything about it.
        """
        with self._guard:
            self._needs_a_person = self._needs_a_person or not passes
            self._full = reason if output is not None and not passes else self._full
            self._note(item)
            before = self._found.get(key := _key(item))
            # Submitted items wait for an output root alone.
            if before is not None and (output is None or before.output is not None):
                return False
            recipe, template = key
            self._found[key] = SetAsideRecord(recipe=recipe, template=template, name=name, reason=reason, output=output)
            return True

    def passes_over(self, item: Item) -> bool:
        """Whether an item waits for a recipe that is set aside."""
        with self._guard:
            found = _key(item) in self._found
            if found:
                self._note(item)
            return found

    def _note(self, item: Item) -> None:
        if item.status is Status.PENDING and item.may_be_on_a_server:
            self._singly.add(item.key)

    def changed(self, key: str) -> None:
        """Another process changed this item: it may have another recipe now."""
        with self._guard:
            self._singly.discard(key)

    def records(self) -> tuple[SetAsideRecord, ...]:
        """For the burst's record."""
        with self._guard:
            return tuple(self._found.values())

    def report(self, store: Store, *, batch: str | None = None) -> tuple[SetAside, ...]:
        """What is set aside, with the number of waiting items, of the state or of one batch.

        Reads all remaining items; for the end of a run.
        """
        return waiting_for(self.records(), store.items(*DUE, batch=batch))


def waiting_for(records: Sequence[SetAsideRecord], remaining: Iterable[Item]) -> tuple[SetAside, ...]:
    """The recipes set aside that items wait for; those with the same name and reason are one.

    `remaining` is not read where nothing is set aside.
    """
    if not records:
        return ()
    found = {(one.recipe, one.template): one for one in records}
    items: Counter[tuple[str, str]] = Counter()
    submitted: Counter[tuple[str, str]] = Counter()
    batches: dict[tuple[str, str], dict[str, None]] = {}
    for item in remaining:
        one = found.get(_key(item))
        if one is not None and (one.output is not None or item.status is Status.PENDING):
            items[one.name, one.reason] += 1
            submitted[one.name, one.reason] += item.status is Status.SUBMITTED
            if item.batch is not None:
                batches.setdefault((one.name, one.reason), {})[item.batch] = None
    kinds = {(one.name, one.reason): one for one in records}
    return tuple(
        SetAside(
            recipe=one.recipe,
            template=one.template,
            name=one.name,
            reason=one.reason,
            output=one.output,
            items=items[kind],
            submitted=submitted[kind],
            batches=tuple(batches.get(kind, ())),
        )
        for kind, one in kinds.items()
        if items[kind]
    )


def usable(records: Sequence[SetAsideRecord]) -> Callable[[Item], bool] | None:
    """A test whether an item's recipe is none of these; None where there are none."""
    keys = {(one.recipe, one.template) for one in records}
    return (lambda item: _key(item) not in keys) if keys else None


def due_items(records: Sequence[SetAsideRecord], store: Store) -> list[Item]:
    """The due items that have one of these recipes. Reads all pending ones if there is a record."""
    if (is_usable := usable(records)) is None:
        return []
    waiting = set(store.waiting())
    return [item for item in store.items(Status.PENDING) if not is_usable(item) and item.key not in waiting]


def stages_waiting(records: Sequence[SetAsideRecord], store: Store, *, batch: str | None = None) -> int:
    """How many items, of the state or of one batch, wait for outputs of others, and for none of these recipes."""
    if batch is None and not records:
        return len(store.waiting())
    is_usable = usable(records) or (lambda item: True)
    return sum(is_usable(item) and batch in (None, item.batch) for item in store.get_many(store.waiting()))


def next_step(found: Sequence[SetAside], *, then: str = "burst run") -> str:
    """What to do before the items of these recipes can be rendered. `then`: the command after that."""
    changing = [one for one in found if one.items > one.submitted]
    if not changing:
        return f"fix what is named above; then `{then}`"
    commands = " and ".join(f"`{one.command()}`" for one in changing[:_LISTED_COMMANDS])
    more = " and so on" if len(changing) > _LISTED_COMMANDS else ""
    return f"fix what is named above, or give the items another recipe ({commands}{more}); then `{then}`"


def nothing_else(
    found: Sequence[SetAside], counts: Counts, *, stages: int = 0, passes: bool = False
) -> ConfigurationError | StopBurst | None:
    """The error of a run where all remaining items wait for recipes set aside; None where others remain.

    `stages`: how many others wait for outputs of items. `passes`: as of `SetAsideRecipes`.
    """
    waiting = sum(one.items for one in found)
    if not found or waiting + stages < counts.remaining:
        return None
    kind = StopBurst if passes else ConfigurationError
    if len(found) > 1:
        return kind(f"{counted(waiting)} remaining, made with {len(found)} recipes that cannot be used")
    return kind(f"{counted(waiting)} remaining, all made with {found[0].name}: {found[0].reason}")


def _key(item: Item) -> Key:
    return (item.recipe, None if item.recipe is not None else item.template)
