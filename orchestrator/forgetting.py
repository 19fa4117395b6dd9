"""`burst forget`: items and batches leave the state; their files stay, or go with them."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.batches.completion import end_without, mark_of
from orchestrator.batches.removal import Removed, in_the_trash, remove_files_of
from orchestrator.clock import Clock
from orchestrator.documents.lists import shortened
from orchestrator.errors import StaleChange, UsageError
from orchestrator.formatting import counted, first_of, in_lines, key_lines, spoken_bytes
from orchestrator.gone_files import gone_items
from orchestrator.migration import open_for_writing
from orchestrator.outputs.placement import placement_of
from orchestrator.retries import keys_of, settled
from orchestrator.selection import named_in
from orchestrator.settings import Overrides, load_settings
from orchestrator.wording import named
from state.batch import BatchNote, BatchRecord, GoneRecord
from state.change import Change
from state.counts import Counts
from state.item import Item, Status
from state.open_store import open_store
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import ForgetDocument

_NAMED = 3


@dataclass(frozen=True)
class Forgotten:
    """What the state has no record of any more, or would not have."""

    keys: tuple[str, ...]
    batches: tuple[str, ...]
    """Ids of those of which no item is left."""
    files: Removed
    """With `remove_files`; nothing without."""
    images_left: int
    """Files that these items' records named, and that stay."""
    counts: Counts
    dry_run: bool
    notes: tuple[str, ...] = ()

    def as_json(self, *, everything: bool = False) -> ForgetDocument:
        """As `burst forget --json` prints it; `everything`: with all entries of its lists."""
        document: ForgetDocument = {
            "schema": "burst.forget/1",
            "dry_run": self.dry_run,
            "items": list(self.keys),
            "items_total": len(self.keys),
            "batches": list(self.batches),
            "removed": list(self.files.files),
            "removed_total": len(self.files.files),
            "bytes": self.files.bytes,
            "kept": list(self.files.kept),
            "kept_total": len(self.files.kept),
            "left": self.images_left,
            "counts": self.counts.as_json(),
            "notes": list(self.notes),
        }
        return shortened(document, "items", "batches", "removed", "kept", "notes", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person; `everything`: with all items."""
        lines = [f"{counted(len(self.keys))} {'would be forgotten' if self.dry_run else 'forgotten'}"]
        lines += key_lines(self.keys, everything=everything)
        lines += [f"With batch {batch}, of which nothing is left" for batch in self.batches]
        if self.files.files:
            verb = "would be removed" if self.dry_run else "removed"
            lines.append(f"{counted(len(self.files.files), 'file')} {verb} ({spoken_bytes(self.files.bytes)})")
        lines += [f"Kept, because it is not as recorded or another item's: {path}" for path in self.files.kept]
        if self.images_left:
            lines.append(
                f"{counted(self.images_left, 'file')} of theirs left where they are; {named('remove_files', True)} "
                "removes such files"
            )
        return in_lines([*lines, *(f"Note: {note}" for note in self.notes)])


def forget(
    state: Path,
    names: Collection[str] = (),
    *,
    gone: bool = False,
    remove_files: bool = False,
    dry_run: bool = False,
    overrides: Overrides | None = None,
    clock: Clock | None = None,
) -> Forgotten:
    """Take items and batches out of the state: whatever became of them, but for what is on a server.

    A batch of which no item is left goes too, so the same request makes another one. `gone`: the items whose prompt
    file or images are not on the disk any more. Files stay where they are; with `remove_files` those go that are as
    recorded and no other item's. Works while a burst runs. Killed in between and repeated, it goes on; until then
    outputs whose files go count as deleted, and those that are still there can be brought back from the trash.
    Errors: UsageError for no names and unknown ones, and, with nothing changed, where an item is on a server;
    LockHeld, StateError, SettingsError, OSError.
    """
    if not (names or gone):
        raise UsageError(f"name the items or batches to forget, or use {named('gone', True)}")
    settings, clock = load_settings(state, overrides), clock or Clock()
    with contextlib.ExitStack() as held:
        store = held.enter_context(
            open_store(state, read_only=True) if dry_run else open_for_writing(state, clock=clock)
        )
        if remove_files and not dry_run:
            held.enter_context(store.adding())
            store.refresh()
        chosen = _Chosen(store, names, gone=gone)
        files = Removed((), 0, ())
        if remove_files:
            placement, at = placement_of(store, settings), clock.now()
            files = remove_files_of(store, chosen.items, chosen.emptied, placement=placement, at=at, dry_run=dry_run)
        recorded = sum(len(item.outputs) for item in chosen.items)
        notes: tuple[str, ...] = tuple(_stage_notes(store, chosen.items, dry_run=dry_run))
        deleted = sum(len(in_the_trash(item)) for item in chosen.items)
        if deleted and not remove_files:
            notes += (f"{counted(deleted, 'deleted file')} of theirs stay in .burst-trash of their output directory",)
        if not dry_run:
            chosen = _take_out(store, chosen, names, gone=gone)
            store.batches.append(*chosen.batch_notes(clock))
            notes += settled(store)
        return Forgotten(
            keys=keys_of(chosen.items),
            batches=tuple(record.batch for record in chosen.emptied),
            files=files,
            images_left=0 if remove_files else recorded,
            counts=store.counts(),
            dry_run=dry_run,
            notes=notes,
        )


def _stage_notes(store: Store, items: Sequence[Item], *, dry_run: bool) -> Iterator[str]:
    """Which pending items were to be made from outputs of these, and cannot be any more."""
    going = {item.key for item in items}
    keys = dict.fromkeys(stage for item in items for stage in store.stages_of(item.key) if stage not in going)
    waiting = [item.key for item in store.get_many(keys) if item.status is Status.PENDING]
    if waiting:
        shown = first_of(waiting, _NAMED)
        verb = "would fail" if dry_run else "failed"
        yield f"{counted(len(waiting))} made from their outputs {verb} with them ({shown})"


def _take_out(store: Store, chosen: _Chosen, names: Collection[str], *, gone: bool) -> _Chosen:
    """In one change set; chosen anew where a burst has just sent or ended one of them. Errors: as `_Chosen`."""
    while True:
        try:
            store.apply([Change(item.key, item.status, lambda now: None) for item in chosen.items])
        except StaleChange:
            store.refresh()
            chosen = _Chosen(store, names, gone=gone)
        else:
            return chosen


class _Chosen:
    """What is to be forgotten, as it is now."""

    def __init__(self, store: Store, names: Collection[str], *, gone: bool) -> None:
        """Errors: UsageError where an item that was named is on a server."""
        keys, batches = named_in(store, names)
        items = {item.key: item for item in store.get_many(keys)}
        items |= {item.key: item for batch in batches for item in store.items(batch=batch)}
        _refuse_out([item for item in items.values() if item.may_be_on_a_server], names)
        if gone:
            items |= {item.key: item for item in gone_items(store) if not item.may_be_on_a_server}
        self.items: Sequence[Item] = list(items.values())
        known = store.batches.read() if batches or any(item.batch for item in self.items) else {}
        whose = dict.fromkeys([*batches, *(item.batch for item in self.items if item.batch is not None)])
        self._before = {name: list(store.items(batch=name)) for name in whose}
        left = {name: [item for item in there if item.key not in items] for name, there in self._before.items()}
        self._batches = [(known[name], left[name]) for name in whose if name in known and not known[name].gone]
        """With what is left of each."""

    @property
    def emptied(self) -> list[BatchRecord]:
        """The batches of which nothing is left."""
        return [batch.record for batch, left in self._batches if not left]

    def batch_notes(self, clock: Clock) -> list[BatchNote]:
        """What is to be noted of the batches: those that are gone, and that an ended one ended with fewer items."""
        notes: list[BatchNote] = [GoneRecord(batch=record.batch, at=clock.now()) for record in self.emptied]
        for batch, left in self._batches:
            if left and batch.ends and batch.ends[-1].mark == mark_of(self._before[batch.id]):
                notes.append(end_without(batch.ends[-1], left))
        return notes


def _refuse_out(out: Sequence[Item], names: Collection[str]) -> None:
    if not out:
        return
    keys = first_of(keys_of(out), _NAMED)
    cancel = shlex.join(["burst", "cancel", *names][: 2 + _NAMED]) + (" …" if len(names) > _NAMED else "")
    verb = "is" if len(out) == 1 else "are"
    raise UsageError(f"{counted(len(out))} {verb} on a server ({keys}): `{cancel}`, then forget again")
