"""Making items due again: retry and reset."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from orchestrator.documents.lists import shortened
from orchestrator.errors import DiskFull
from orchestrator.formatting import counted, in_lines, key_lines
from orchestrator.migration import open_for_writing
from orchestrator.selection import select
from orchestrator.wording import named
from state.change import change_all
from state.counts import Counts
from state.item import DUE, Item, Status
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import CancelDocument, ResetDocument, RetryDocument


@dataclass(frozen=True)
class Changed:
    """What a command did to which items."""

    command: Literal["retry", "cancel", "reset", "star", "tag"]
    what: str
    """Said of one item: `due again`."""
    keys: tuple[str, ...]
    counts: Counts
    notes: tuple[str, ...] = ()

    def as_json(self, *, everything: bool = False) -> RetryDocument | CancelDocument | ResetDocument:
        """As the command prints it with `--json`; `everything`: with all entries of its lists."""
        document = {
            "schema": f"burst.{self.command}/2",
            "items": list(self.keys),
            "items_total": len(self.keys),
            "counts": self.counts.as_json(),
            "notes": list(self.notes),
        }
        return cast("RetryDocument", shortened(document, "items", "notes", everything=everything))

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person; `everything`: with all items."""
        option = named("list_all" if self.command == "cancel" else "everything", True)
        lines = [f"{counted(len(self.keys))} {self.what}"]
        lines += key_lines(self.keys, everything=everything, option=option)
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
        changed = change_all(store, chosen, lambda item: item.start_over())
        done = [item for item in changed if not item.has_ended]
        notes = (*(_with_its_source(item) for item in changed if item.has_ended), *settled(store))
        if not (done or names):
            notes += ("no item has failed; name one to redo it",)
        return Changed("retry", "due again", keys_of(done), store.counts(), notes)


def reset(state: Path) -> Changed:
    """Forget all progress: every item is due again. Pictures stay where they are, until they are rendered anew.

    Errors: LockHeld while a burst runs; StateError.
    """
    with open_for_writing(state) as store:
        with store.lease() as lease:
            out = len(lease.take_over(item.key for item in lease.left_behind()))
            done = change_all(lease, list(store.items()), lambda item: item.start_over())
            notes = settled(store)
        if out:
            notes += (f"{counted(out)} of them submitted: what the server still renders of them is rendered twice",)
        return Changed("reset", "due again", keys_of(done), store.counts(), notes)


def _with_its_source(item: Item) -> str:
    """It ended again at once, for what it is made from did."""
    message = item.error.message.removeprefix("it ") if item.error is not None else ""
    return f"{item.key} {message}: retry that"


def settled(store: Store) -> tuple[str, ...]:
    """Bring the state file up to date after changes, which hold without that; a note where a disk refuses it."""
    try:
        store.settle(at_end=True)
    except DiskFull as full:
        return (f"done, and the journal has it; the state file follows later: {full}",)
    return ()


def keys_of(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(item.key for item in items)
