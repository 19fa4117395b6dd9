"""`burst trash`: deleting images so that they can be brought back, bringing them back, and emptying the trash."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.clock import Clock
from orchestrator.documents.lists import shortened
from orchestrator.errors import OutputRefused, RecipeUnusable, UsageError
from orchestrator.formatting import counted, in_lines, spoken_bytes
from orchestrator.marks import named_outputs
from orchestrator.migration import open_for_writing
from orchestrator.outputs.numbering import numbered
from orchestrator.outputs.placement import Placement, placement_of
from orchestrator.selection import key_called, select
from orchestrator.settings import Overrides, load_settings
from orchestrator.trash import KEPT_FOR, Kept, Moved, Trash, Trashed
from orchestrator.wording import named
from state.item import Status
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import TrashDocument

Action = Literal["list", "trash", "restore", "empty"]
_SAID: dict[Action, str] = {
    "list": "in the trash",
    "trash": "moved to the trash",
    "restore": "restored",
    "empty": "permanently deleted",
}
_SHOWN = 10


@dataclass(frozen=True)
class TrashReport:
    """What was done with which files, or what there is."""

    action: Action
    files: tuple[Trashed, ...]
    kept: tuple[Kept, ...] = ()
    dry_run: bool = False

    def as_json(self, *, everything: bool = False) -> TrashDocument:
        """As `burst trash --json` prints it; `everything`: with all entries of its lists."""
        document: TrashDocument = {
            "schema": "burst.trash/1",
            "action": self.action,
            "dry_run": self.dry_run,
            "files": [
                {
                    "item": one.item.key,
                    "path": one.output.path,
                    "bytes": one.output.bytes,
                    "trashed_at": one.output.trashed_at.isoformat(),
                    "trash": one.id or None,
                }
                for one in self.files
            ],
            "files_total": len(self.files),
            "bytes": sum(one.output.bytes for one in self.files),
            "kept": [{"path": one.path, "reason": one.reason} for one in self.kept],
            "kept_total": len(self.kept),
        }
        return shortened(document, "files", "kept", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person; `everything`: with all files."""
        if self.action == "list" and not self.files:
            return "The trash is empty."
        size = spoken_bytes(sum(one.output.bytes for one in self.files))
        would = "would be " if self.dry_run else ""
        lines = [f"{counted(len(self.files), 'file')} ({size}) {would}{_SAID[self.action]}"]
        shown = self.files if everything else self.files[:_SHOWN]
        lines += [f"  {one.output.path}, deleted {one.output.trashed_at:%Y-%m-%d %H:%M} UTC" for one in shown]
        if len(shown) < len(self.files):
            lines.append(f"  and {len(self.files) - len(shown)} more ({named('everything', True)} lists all)")
        lines += [f"Skipped: {one.path} {one.reason}" for one in self.kept]
        if self.action == "trash" and self.files:
            lines.append(f"`burst trash --restore` restores them, for {KEPT_FOR.days} days.")
        return in_lines(lines)


def trash_images(
    state: Path, names: Collection[str], *, overrides: Overrides | None = None, clock: Clock | None = None
) -> TrashReport:
    """Move images to the trash: those of the named items and batches, and output files by their paths.

    Their items stay completed and are not rendered again. Works while a burst runs; safe to repeat.
    Errors: UsageError for no names, and a name that is none of these; StateError, DiskFull.
    """
    if not names:
        raise UsageError("name the items, images or batches to delete")
    with _opened(state, overrides, clock) as (store, placement, trash):
        meant = named_outputs(store, placement, names)
        chosen = {
            item.key: [output for number, output in numbered(item).items() if _is_meant(number, meant[item.key])]
            for item in store.get_many(meant)
            if item.status is Status.COMPLETED
        }
        trash.empty_old()
        return _report("trash", trash.put(chosen))


def restore_images(
    state: Path, names: Collection[str] = (), *, overrides: Overrides | None = None, clock: Clock | None = None
) -> TrashReport:
    """Bring images back from the trash, each to the place that it had, if that is free: all, or the named ones.

    `names`: as for `trash_images`; a file by the path that it had. Safe to repeat. Errors: UsageError for a name of
    which nothing is in the trash; StateError, DiskFull.
    """
    with _opened(state, overrides, clock) as (store, placement, trash):
        there = trash.files()
        ids = _named_in(there, names, store, placement) if names else [one.id for one in there]
        return _report("restore", trash.restore(ids))


def list_trash(state: Path, *, overrides: Overrides | None = None) -> TrashReport:
    """What is in the trash, the last deleted first. Errors: StateError, SettingsError."""
    with _opened(state, overrides, None) as (_, _, trash):
        return TrashReport("list", tuple(trash.files()))


def empty_trash(
    state: Path,
    *,
    older_than: timedelta = timedelta(),
    dry_run: bool = False,
    overrides: Overrides | None = None,
    clock: Clock | None = None,
) -> TrashReport:
    """Delete for good what was moved to the trash so long ago. Safe to repeat. Errors: StateError, DiskFull."""
    clock = clock or Clock()
    with _opened(state, overrides, clock) as (_, _, trash):
        before = clock.now() - older_than if older_than else None
        moved = trash.empty(before=before, dry_run=dry_run)
        return TrashReport("empty", moved.files, moved.kept, dry_run)


@contextmanager
def _opened(state: Path, overrides: Overrides | None, clock: Clock | None) -> Iterator[tuple[Store, Placement, Trash]]:
    settings = load_settings(state, overrides)
    with open_for_writing(state, clock=clock) as store:
        placement = placement_of(store, settings)
        yield store, placement, Trash(store, placement, clock=clock)


def _report(action: Action, moved: Moved) -> TrashReport:
    return TrashReport(action, moved.files, moved.kept)


def _is_meant(number: int, numbers: frozenset[int] | None) -> bool:
    return numbers is None or number in numbers


def _named_in(there: Sequence[Trashed], names: Collection[str], store: Store, placement: Placement) -> list[str]:
    """Errors: UsageError."""
    found: dict[str, None] = {}
    for name in names:
        key = key_called(store, name)
        ids = [one.id for one in there if name in (one.id, one.output.path) or key == one.item.key]
        ids = ids or [one.id for one in there if _place(one, placement) == os.path.abspath(name)]
        ids = ids or [one.id for one in there if one.item.batch == name]
        if not ids:
            # Refuses what is no name of anything.
            keys = set() if Path(name).suffix and "/" in name else set(select(store, [name], *Status))
            ids = [one.id for one in there if one.item.key in keys]
        if not ids:
            raise UsageError(f"nothing of {name!r} is in the trash; `burst trash` lists what is")
        found |= dict.fromkeys(ids)
    return list(found)


def _place(one: Trashed, placement: Placement) -> str | None:
    try:
        return os.path.abspath(str(placement.path_of(one.item, one.output.path)))
    except (OutputRefused, RecipeUnusable):
        return None
