"""Removing files of batches: only those that their records name and that are still as recorded.

The items stay completed, so nothing is rendered again; their records do not name what is gone, so `verify` misses none.
Any of it may be done beside a burst, may be killed in between, and is finished by doing it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product, takewhile
from typing import NamedTuple

import msgspec

from orchestrator.batches.batch_info import NAME, info_path
from orchestrator.batches.layouts import WITH_INFO
from orchestrator.errors import OutputRefused, RecipeUnusable
from orchestrator.outputs.placement import Placement
from orchestrator.places import Place
from orchestrator.trash_records import as_kept, trashed, with_trashed
from state.batch import BatchRecord, GoneRecord
from state.change import change_all
from state.item import Item, OutputRecord, Status, TrashedOutput
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
    batches: Mapping[str, BatchRecord],
    *,
    placement: Placement,
    ended_at: Mapping[str, datetime],
    at: datetime,
    dry_run: bool = False,
) -> Removed:
    """Remove outputs and batch_info.json of these batches, the directories that this empties, and mark them as gone.

    Their records have these outputs among the trashed ones, as of the end of their batch, before the first file goes:
    wherever this is killed, no record misses a file, and what is still there is deleted as the trash of that time is.
    Call it under the state's lock for adding. Errors: StateError, DiskFull, OSError.
    """
    ids = batches
    theirs = [item for batch in ids for item in store.items(Status.COMPLETED, batch=batch)]
    found = _Files(placement)
    found.keep_those_of(item for item in store.items() if item.batch not in ids)
    for item in theirs:
        found.choose(item, item.outputs)
        found.choose_marked(item, ended_at[str(item.batch)])
    found.choose_infos(record for record in batches.values() if record.layout in WITH_INFO)
    if ids and not dry_run:
        moments = {item.key: ended_at[str(item.batch)] for item in theirs}
        done = found.mark(store, theirs, moments)
        found.remove(without={item.key for item in theirs} - done.keys())
        theirs = [item for item in store.get_many(item.key for item in theirs) if item.status is Status.COMPLETED]
        change_all(store, theirs, lambda item: _forgotten(item, done.get(item.key, ())))
        store.batches.append(*(GoneRecord(batch=batch, at=at) for batch in ids))
        store.settle(at_end=True)
    return found.removed()


def _forgotten(item: Item, marks: Collection[TrashedOutput]) -> Item:
    """Without outputs, and without these in the trash."""
    left = tuple(one for one in item.trashed if one not in marks)
    return msgspec.structs.replace(item, outputs=(), trashed=left)


def in_the_trash(item: Item) -> list[TrashedOutput]:
    """Its deleted outputs that have a file."""
    return [one for one in item.trashed if one.kept_as is not None]


def remove_files_of(
    store: Store,
    items: Collection[Item],
    batches: Collection[BatchRecord],
    *,
    placement: Placement,
    at: datetime,
    dry_run: bool,
) -> Removed:
    """Remove every file that these items' records name, as they are recorded, and batch_info.json of `batches`.

    Their records have these outputs among the trashed ones before the first file goes: wherever this is killed, no
    record misses a file, and what is still there can be found, by the trash too. Files of what another process changes
    meanwhile stay. Safe to repeat; call it under the state's lock for adding, as all that changes the trash.
    Errors: StateError, OSError.
    """
    going = {item.key: item for item in items}
    found = _Files(placement)
    found.keep_those_of(item for item in store.items() if item.key not in going)
    for item in items:
        found.choose(item, item.outputs)
        found.choose_trashed(item)
    found.choose_infos(record for record in batches if record.layout in WITH_INFO)
    if dry_run:
        return found.removed()

    done = found.mark(store, items, dict.fromkeys(going, at))
    found.remove(without=going.keys() - done.keys())
    return found.removed()


class _File(NamedTuple):
    recorded: str
    """As the record names it."""
    bytes: int
    item: str | None
    """Whose it is; None of a batch's own."""


class _Files:
    """Files to remove, and the directories that may be empty then."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._others: set[str] = set()
        self._chosen: dict[Place, _File] = {}
        self._outputs: dict[str, list[tuple[OutputRecord, bool]]] = {}
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
                self._outputs.setdefault(item.key, []).append((output, not problems))
                self._add_of(item, output)

    def choose_trashed(self, item: Item) -> None:
        """What the trash has of it, or a kill left in its old place."""
        for one in in_the_trash(item):
            problems = self._placement.verify(item, full=True, outputs=[as_kept(one)])
            if any(problem.kind != "missing" for problem in problems):
                self.kept.append(str(one.kept_as))
                continue
            self._add_of(item, as_kept(one))
            self._choose_left(item, one)

    def choose_marked(self, item: Item, at: datetime) -> None:
        """What a kill left in its place, of those that were marked with this moment."""
        for one in item.trashed:
            if one.trashed_at == at:
                self._choose_left(item, one)

    def _choose_left(self, item: Item, one: TrashedOutput) -> None:
        """Of one whose file is gone, its folder."""
        problems = self._placement.verify(item, full=True, outputs=[one])
        if all(problem.kind == "missing" for problem in problems) and not self._is_anothers(item, one.path):
            self._add_of(item, one)

    def mark(
        self, store: Store, items: Iterable[Item], moments: Mapping[str, datetime]
    ) -> dict[str, list[TrashedOutput]]:
        """Have their records count the chosen outputs as trashed at these moments.

        Returns what became of each item, by key, without those that another process changes meanwhile.
        """
        marks: dict[str, list[TrashedOutput]] = {}
        going = {item.key: item for item in items}
        for key, item in going.items():
            chosen = self._outputs.get(key, ())
            marks[key] = [trashed(store, item, output, moments[key], is_there=is_there) for output, is_there in chosen]
        marked = [item for key, item in going.items() if marks[key]]
        done = {item.key for item in change_all(store, marked, lambda now: with_trashed(now, marks[now.key]))}
        return {key: outputs for key, outputs in marks.items() if not outputs or key in done}

    def choose_infos(self, records: Iterable[BatchRecord]) -> None:
        for record, root in product(records, self._placement.roots()):
            recorded = f"{record.directory}/{NAME}"
            with contextlib.suppress(OutputRefused):
                self._add(info_path(root, record), recorded, root, item=None)

    def remove(self, *, without: Collection[str] = ()) -> None:
        """`without`: items whose files stay after all. Errors: OSError. What is gone already is passed over."""
        self._chosen = {path: file for path, file in self._chosen.items() if file.item not in without}
        for path in self._chosen:
            path.unlink(missing_ok=True)
        for folder in sorted(self._folders, key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def removed(self) -> Removed:
        files = self._chosen.values()
        return Removed(tuple(file.recorded for file in files), sum(file.bytes for file in files), tuple(self.kept))

    def _is_anothers(self, item: Item, recorded: str) -> bool:
        return self._placement.real_path_of(item, recorded) in self._others

    def _add_of(self, item: Item, output: OutputRecord) -> None:
        placement = self._placement
        self._add(placement.path_of(item, output.path), output.path, placement.root_of(item), item=item.key)

    def _add(self, path: Place, recorded: str, root: Place, *, item: str | None) -> None:
        self._folders.update(takewhile(lambda folder: folder != root, path.parents))
        if path.is_file() and path not in self._chosen:
            self._chosen[path] = _File(recorded, path.stat().st_size, item)
