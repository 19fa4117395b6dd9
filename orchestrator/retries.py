"""Making items due again: retry and reset."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.formatting import counted, in_lines
from orchestrator.migration import open_for_writing
from orchestrator.selection import select
from state.change import change_all
from state.counts import Counts
from state.item import DUE, Item, Status

_SHOWN = 20


@dataclass(frozen=True)
class Changed:
    """What a command did to which items."""

    schema: str
    what: str
    """Said of one item: `due again`."""
    keys: tuple[str, ...]
    counts: Counts
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Stable keys; the schema name is the command's."""
        return {
            "schema": self.schema,
            "items": list(self.keys),
            "counts": self.counts.as_json(),
            "notes": list(self.notes),
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        lines = [f"{counted(len(self.keys))} {self.what}"]
        lines += [f"  {key}" for key in self.keys[:_SHOWN]]
        if len(self.keys) > _SHOWN:
            lines.append(f"  … and {len(self.keys) - _SHOWN} more")
        return in_lines([*lines, *(f"Note: {note}" for note in self.notes)])


def retry(state: Path, names: Collection[str] = (), *, cancelled: bool = False) -> Changed:
    """Make failed items due again (with `cancelled` those too): all, or those of the named batches; and the items that
    are named themselves, whatever they ended as.

    Their attempts start anew. Works while a burst runs. Errors: UsageError for a name that is neither an item, a
    batch's name nor the beginning of one batch's id; StateError.
    """
    with open_for_writing(state) as store:
        keys = select(store, names, Status.FAILED, *([Status.CANCELLED] if cancelled else []))
        chosen = [item for item in store.get_many(keys) if item.status not in DUE]
        done = change_all(store, chosen, lambda item: item.start_over())
        store.settle(at_end=True)
        return Changed("burst.retry/1", "due again", keys_of(done), store.counts())


def reset(state: Path) -> Changed:
    """Forget all progress: every item is due again. Pictures stay where they are, until they are rendered anew.

    Errors: LockHeld while a burst runs; StateError.
    """
    with open_for_writing(state) as store:
        with store.lease() as lease:
            out = len(lease.take_over(item.key for item in lease.left_behind()))
            done = change_all(lease, list(store.items()), lambda item: item.start_over())
            store.settle(at_end=True)
        notes = (f"{counted(out)} of them submitted: what the server still renders of them is rendered twice",)
        return Changed("burst.reset/1", "due again", keys_of(done), store.counts(), notes if out else ())


def keys_of(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(item.key for item in items)
