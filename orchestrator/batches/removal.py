"""Removing files of batches: only those that their records name and that are still as recorded.

The items stay completed, so nothing is rendered again; their records do not name what is gone, so `verify` misses none.
Any of it may be done beside a burst, may be killed in between, and is finished by doing it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import product, takewhile

import msgspec

from orchestrator.batches.batch_info import NAME, info_path
from orchestrator.batches.layouts import WITH_INFO
from orchestrator.errors import OutputRefused, RecipeUnusable
from orchestrator.outputs.placement import Placement
from orchestrator.places import Place
from state.batch import BatchRecord, GoneRecord
from state.change import change_all
from state.item import Item, OutputRecord, Status
from state.store import Store


@dataclass(frozen=True)
class Removed:
    """What is gone, or would be. Paths are relative to the output directory, as the records name them."""

    files: tuple[str, ...]
    bytes: int
    kept: tuple[str, ...]
    """Files that are not as recorded any more, or that another item's record names."""


def remove_batches(
    store: Store,
    batches: Collection[BatchRecord],
    *,
    placement: Placement,
    at: datetime,
    dry_run: bool = False,
) -> Removed:
    """Remove outputs and batch_info.json of these batches, the directories that this empties, and mark them as gone.

    Errors: StateError, DiskFull, OSError.
    """
    ids = dict.fromkeys(record.batch for record in batches)
    theirs = [item for batch in ids for item in store.items(Status.COMPLETED, batch=batch)]
    found = _Files(placement)
    found.keep_those_of(item for item in store.items() if item.batch not in ids)
    for item in theirs:
        found.choose(item, item.outputs)
    found.choose_infos(record for record in batches if record.layout in WITH_INFO)
    if ids and not dry_run:
        found.remove()
        change_all(store, theirs, lambda item: msgspec.structs.replace(item, outputs=()))
        store.batches.append(*(GoneRecord(batch=record.batch, at=at) for record in batches))
        store.settle(at_end=True)
    return found.removed()


def in_the_trash(item: Item) -> list[OutputRecord]:
    """Its files in the trash, where they lie."""
    kept = (one for one in item.trashed if one.kept_as is not None)
    return [OutputRecord(path=str(one.kept_as), bytes=one.bytes, sha256=one.sha256) for one in kept]


def remove_files_of(
    store: Store, items: Collection[Item], batches: Collection[BatchRecord], *, placement: Placement, dry_run: bool
) -> Removed:
    """Remove every file that these items' records name, as they are recorded, and batch_info.json of `batches`.

    The records stay as they are. Safe to repeat. Errors: StateError, OSError.
    """
    going = {item.key for item in items}
    found = _Files(placement)
    found.keep_those_of(item for item in store.items() if item.key not in going)
    for item in items:
        found.choose(item, item.outputs)
        found.choose(item, in_the_trash(item))
    found.choose_infos(record for record in batches if record.layout in WITH_INFO)
    if not dry_run:
        found.remove()
    return found.removed()


class _Files:
    """Files to remove, and the directories that may be empty then."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._others: set[str] = set()
        self._chosen: dict[Place, str] = {}
        """As their records name them."""
        self._bytes = 0
        self.kept: list[str] = []
        self._folders: set[Place] = set()
        """Those of the files that go, or went when this was killed before; the output directories stay."""

    def keep_those_of(self, items: Iterable[Item]) -> None:
        """What the records of these name stays."""
        for item in items:
            for output in item.outputs:
                with contextlib.suppress(OutputRefused, RecipeUnusable):
                    self._others.add(self._placement.real_path_of(item, output.path))

    def choose(self, item: Item, outputs: Iterable[OutputRecord]) -> None:
        """All of these that are there."""
        for output in outputs:
            problems = self._placement.verify(item, full=True, outputs=[output])
            if any(problem.kind != "missing" for problem in problems) or self._is_anothers(item, output.path):
                self.kept.append(output.path)
            else:
                self._add(self._placement.path_of(item, output.path), output.path, self._placement.root_of(item))

    def choose_infos(self, records: Iterable[BatchRecord]) -> None:
        for record, root in product(records, self._placement.roots()):
            recorded = f"{record.directory}/{NAME}"
            with contextlib.suppress(OutputRefused):
                self._add(info_path(root, record), recorded, root)

    def remove(self) -> None:
        """Errors: OSError. What is gone already is passed over."""
        for path in self._chosen:
            path.unlink(missing_ok=True)
        for folder in sorted(self._folders, key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def removed(self) -> Removed:
        return Removed(tuple(self._chosen.values()), self._bytes, tuple(self.kept))

    def _is_anothers(self, item: Item, recorded: str) -> bool:
        return self._placement.real_path_of(item, recorded) in self._others

    def _add(self, path: Place, recorded: str, root: Place) -> None:
        self._folders.update(takewhile(lambda folder: folder != root, path.parents))
        if path.is_file() and path not in self._chosen:
            self._chosen[path] = recorded
            self._bytes += path.stat().st_size
