"""The trash: outputs that the user deleted, which can be restored.

They leave `outputs` of their record for `trashed`, so nothing counts or renders them any more, and lie in a dot folder
of the same output root, which no scan enters: a directory, or a prefix in object storage. The record is changed before
a file is moved there, and after it is moved back: wherever this is killed, no record misses a file, and what is not
where it should be is moved by the next call. One process at a time does any of it, under the state's lock for adding;
bursts need not wait.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath

import msgspec

from orchestrator.batches.batch_info import NAME, info_path, infos_of, write_batch_info
from orchestrator.batches.layouts import WITH_INFO
from orchestrator.clock import Clock
from orchestrator.errors import BurstError, OutputRefused, OutputRootAway, RecipeUnusable
from orchestrator.outputs.placement import Placement, file_at, path_at
from orchestrator.outputs.verification import Problem
from orchestrator.places import ObjectPath, Place, UnknownRoot, local
from orchestrator.statistics import is_picture, pictures_of
from orchestrator.trash_moves import Moves
from orchestrator.trash_records import as_kept, trashed, with_restored, with_trashed, without_files
from state.batch import BackRecord, Batch, GoneRecord
from state.change import change_all
from state.counts import Counts
from state.disk import Disk
from state.item import Item, OutputRecord, Status, TrashedOutput
from state.store import Store

KEPT_FOR = timedelta(days=30)
"""After this they are deleted for good by the next use of the trash."""


@dataclass(frozen=True)
class Trashed:
    """One file in the trash."""

    item: Item
    output: TrashedOutput

    @property
    def id(self) -> str:
        """What it goes by; another one each time that the same file is deleted."""
        return PurePosixPath(self.output.kept_as or "").parent.name


@dataclass(frozen=True)
class Kept:
    """A file with which nothing was done. `path`: as its record names it."""

    path: str
    reason: str


@dataclass(frozen=True)
class Moved:
    """What was done with which files."""

    files: tuple[Trashed, ...] = ()
    kept: tuple[Kept, ...] = ()
    batches: tuple[str, ...] = ()
    """Ids of the batches that are gone now, or back."""

    @property
    def bytes(self) -> int:
        return sum(one.output.bytes for one in self.files)


class Trash:
    """Of one open state. Safe to repeat after a kill. Errors of all: LockHeld, StateError, DiskFull."""

    def __init__(
        self, store: Store, placement: Placement, *, clock: Clock | None = None, disk: Disk | None = None
    ) -> None:
        self._store = store
        self._placement = placement
        self._clock = clock or Clock()
        self._disk = disk or Disk()
        self._moves = Moves(store, disk=self._disk)

    def files(self) -> list[Trashed]:
        """Those that can be brought back, the last deleted first."""
        self._store.refresh()
        self._moves.begin()
        there = list(self._recorded())
        away = {one.id for one in self._without_file(there) if self.path_of(one) is None}
        found = [one for one in there if one.id not in away]
        return sorted(found, key=lambda one: one.output.trashed_at, reverse=True)

    def path_of(self, one: Trashed) -> Place | None:
        """Where the file is, which a kill may have left in its old place; None where it is not there."""
        if (found := self._file(one)) is not None or self._placement.verify(one.item, full=False, outputs=[one.output]):
            return found
        return self._placement.found(one.item, one.output.path)

    def put(self, chosen: Mapping[str, Collection[OutputRecord]], *, batches: Sequence[Batch] = ()) -> Moved:
        """Move outputs of completed items there, with an item's last image its sidecar too, and mark `batches` gone.

        A file that is not as recorded any more, or that another item's record names, stays, and so does its record.
        """
        with self._alone():
            self._finish()
            named = self._named()
            kept: list[Kept] = []
            going: dict[str, list[TrashedOutput]] = {}
            for item in self._store.get_many(chosen):
                found, refused = self._going(item, [one for one in item.outputs if one in chosen[item.key]], named)
                kept += refused
                if found:
                    going[item.key] = found
            items = self._store.get_many(going)
            change_all(self._store, items, lambda now: _deleted(now, going[now.key]))
            moved: list[Trashed] = []
            for item in self._store.get_many(going):
                for output in going[item.key]:
                    if output not in item.trashed:
                        kept.append(Kept(output.path, f"{item.key} was changed meanwhile"))
                    elif (reason := self._move_away(item, output)) is not None:
                        change_all(self._store, [item], partial(with_restored, output=output))
                        kept.append(Kept(output.path, reason))
                    else:
                        moved.append(Trashed(item, output))
            gone = [batch for batch in batches if not batch.gone]
            self._settle(items, gone=gone)
            return Moved(tuple(moved), tuple(kept), tuple(batch.id for batch in gone))

    def restore(self, ids: Collection[str]) -> Moved:
        """Bring files back, each to the place that it had, if that is free, and their batches, if those are gone.

        With an image comes what was deleted with it, such as its sidecar.
        """
        with self._alone():
            self._finish()
            there = {one.id: one for one in self._recorded()}
            kept = [Kept(one, "is not in the trash") for one in ids if one not in there]
            named = self._named()
            moved: list[Trashed] = []
            for one in _with_company([there[name] for name in dict.fromkeys(ids) if name in there], there.values()):
                if (reason := self._move_back(one, named)) is not None:
                    kept.append(Kept(one.output.path, reason))
                    continue
                done = change_all(self._store, [one.item], partial(with_restored, output=one.output))
                if not done:
                    self._move_away(one.item, one.output)
                    kept.append(Kept(one.output.path, f"{one.item.key} was changed meanwhile"))
                    continue
                moved.append(one)
            back = self._bring_back(one.item.batch for one in moved)
            self._settle([one.item for one in moved])
            return Moved(tuple(moved), tuple(kept), back)

    def empty(self, *, before: datetime | None = None, dry_run: bool = False) -> Moved:
        """Delete what is there for good; `before`: only what was deleted before then."""
        with contextlib.nullcontext() if dry_run else self._alone():
            left = [] if dry_run else self._finish()
            there = (one for one in self._recorded() if one not in left)
            going = [one for one in there if before is None or one.output.trashed_at < before]
            if going and not dry_run:
                for one in going:
                    if (path := self._file(one)) is not None:
                        self._moves.remove(path, self._root(one.item))
                outputs = {one.output for one in going}
                items = self._store.get_many(dict.fromkeys(one.item.key for one in going))
                change_all(self._store, items, lambda now: without_files(now, outputs))
                self._store.settle(at_end=True)
            return Moved(tuple(going))

    def empty_old(self) -> Moved:
        """What was deleted 30 days ago."""
        return self.empty(before=self._clock.now() - KEPT_FOR)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._store.adding():
            self._store.refresh()
            self._moves.begin()
            yield
            self._moves.end()

    def _recorded(self) -> Iterator[Trashed]:
        keys = [key for key, part in self._store.parts(_Part) if any(one.kept_as is not None for one in part.trashed)]
        for item in self._store.get_many(keys):
            yield from (Trashed(item, output) for output in item.trashed if output.kept_as is not None)

    def _file(self, one: Trashed) -> Place | None:
        return self._placement.found(one.item, str(one.output.kept_as))

    def _without_file(self, these: Iterable[Trashed]) -> list[Trashed]:
        """Those of which the trash has no file; of object storage a list says so, a request a thousand."""
        found = []
        for one in these:
            try:
                root = self._root(one.item)
            except (OutputRefused, RecipeUnusable):
                found.append(one)
                continue
            if isinstance(root, ObjectPath):
                is_there = self._moves.has(root, str(one.output.kept_as))
            else:
                is_there = self._file(one) is not None
            if not is_there:
                found.append(one)
        return found

    def _root(self, item: Item) -> Place:
        """Errors: OutputRefused where nobody knows here where it is; RecipeUnusable."""
        root = self._placement.root_of(item)
        if isinstance(root, UnknownRoot):
            raise OutputRefused(root.reason)
        return root

    def _path(self, item: Item, relative: str) -> Place:
        """Errors: as `_root`."""
        return path_at(self._root(item), relative)

    def _problems(self, item: Item, output: OutputRecord) -> list[Problem]:
        """Whether all of it is as recorded; of an object by the digest that it was put with, if it has one."""
        with contextlib.suppress(OutputRefused, RecipeUnusable):
            path = self._placement.path_of(item, output.path)
            if isinstance(path, ObjectPath) and not isinstance(path, UnknownRoot):
                found = path.bucket.look(path.key)
                if found is not None and (found.size_bytes, found.sha256) == (output.bytes, output.sha256):
                    return []
        return self._placement.verify(item, full=True, outputs=[output])

    def _named(self) -> dict[str, set[str]]:
        """Real paths of outputs, and the items whose records name them."""
        found: dict[str, set[str]] = {}
        for item in self._store.items():
            for output in item.outputs:
                with contextlib.suppress(OutputRefused, RecipeUnusable):
                    found.setdefault(self._placement.real_path_of(item, output.path), set()).add(item.key)
        return found

    def _going(
        self, item: Item, wanted: Sequence[OutputRecord], named: Mapping[str, set[str]]
    ) -> tuple[list[TrashedOutput], list[Kept]]:
        if item.status is not Status.COMPLETED:
            return [], [Kept(output.path, f"{item.key} is {item.status}") for output in wanted]
        reasons = {output: self._why_not(item, output, named) for output in wanted}
        going = [output for output, reason in reasons.items() if reason is None]
        left = [output for output in item.outputs if output not in going]
        if going and not pictures_of(msgspec.structs.replace(item, outputs=tuple(left))):
            reasons |= {output: self._why_not(item, output, named) for output in left}
            going += [output for output in left if reasons[output] is None]
        at = self._clock.now()
        kept = [Kept(output.path, reason) for output, reason in reasons.items() if reason is not None]
        there = {one: not self._placement.verify(item, full=False, outputs=[one]) for one in going}
        return [trashed(self._store, item, one, at, is_there=there[one]) for one in going], kept

    def _why_not(self, item: Item, output: OutputRecord, named: Mapping[str, set[str]]) -> str | None:
        try:
            root = self._root(item)
        except BurstError as error:
            return str(error)
        problems = self._problems(item, output)
        if any(problem.kind != "missing" for problem in problems):
            return "was changed since it was saved"
        if problems and not _has_anything(root):
            return f"cannot be found: {root} is empty or missing; perhaps its disk is not mounted"
        if self._placement.leads_out(item, output.path):
            return "leads out of its output directory"
        if named.get(self._placement.real_path_of(item, output.path), set()) - {item.key}:
            return "is another item's too"
        return None

    def _move_away(self, item: Item, output: TrashedOutput) -> str | None:
        """Into the trash; why not, where the disk refuses or the root has none."""
        if output.kept_as is None:
            return None
        try:
            source, target = self._path(item, output.path), self._path(item, output.kept_as)
        except (OutputRefused, RecipeUnusable) as error:
            return str(error)
        if isinstance(target, Path) and target.parent.parent.is_symlink():
            return f"cannot be moved: {target.parent.parent} is a link; remove it"
        try:
            self._moves.move(source, target, self._root(item), is_own=True)
        except OutputRootAway:
            # Nobody knows what has arrived: the record says where it goes, and the next call moves it there.
            return None
        except (BurstError, OSError) as error:
            return str(error)
        return None

    def _move_back(self, one: Trashed, named: Mapping[str, set[str]]) -> str | None:
        """To its place; why not."""
        item, output = one.item, one.output
        if item.status is not Status.COMPLETED:
            return f"{item.key} is {item.status}: it will be rendered again"
        target, kept = self._path(item, output.path), self._file(one)
        if named.get(self._placement.real_path_of(item, output.path)) or _is_taken(target):
            return "another file has its name now"
        if _leads_out(target, self._root(item)):
            return "its place leads out of its output directory"
        if kept is None or self._problems(item, as_kept(output)):
            return "the file in the trash is gone or was changed"
        try:
            self._moves.move(kept, target, self._root(item), is_own=False)
        except FileExistsError:
            return "another file has its name now"
        except (BurstError, OSError) as error:
            return str(error)
        return None

    def _finish(self) -> list[Trashed]:
        """Move what a kill left in its old place, or brought back without its record. Returns what stays there."""
        there = list(self._recorded())
        half = self._without_file(there)
        known = {one.id for one in half}
        half += [one for one in there if one.id not in known and self._moves.was_cut_off(self._root(one.item))]
        named = self._named() if half else {}
        left = []
        for one in half:
            is_there = not self._problems(one.item, one.output)
            if is_there and not named.get(self._placement.real_path_of(one.item, one.output.path)):
                left += [one] if self._move_away(one.item, one.output) is not None else []
        return left

    def _bring_back(self, batches: Iterable[str | None]) -> tuple[str, ...]:
        known = self._store.batches.read()
        gone = [name for name in dict.fromkeys(batches) if name is not None and name in known and known[name].gone]
        self._store.batches.append(*(BackRecord(batch=name, at=self._clock.now()) for name in gone))
        return tuple(gone)

    def _settle(self, items: Iterable[Item], *, gone: Sequence[Batch] = ()) -> None:
        """What follows from it: batch_info.json of their batches, and that these batches are gone."""
        known = self._store.batches.read()
        going = {batch.id for batch in gone}
        for name in dict.fromkeys([*(item.batch for item in items), *going]):
            if name is not None and name in known and known[name].record.layout in WITH_INFO:
                self._tell(known[name], is_gone=name in going)
        self._store.batches.append(*(GoneRecord(batch=name, at=self._clock.now()) for name in going))
        self._store.settle(at_end=True)

    def _tell(self, batch: Batch, *, is_gone: bool) -> None:
        """Two processes never write it: until the end of a batch is noted, bursts do."""
        items = sorted(self._store.items(batch=batch.id), key=lambda item: item.index or 0)
        if is_gone:
            for root in self._placement.roots():
                with contextlib.suppress(OutputRefused):
                    is_known = not isinstance(root, UnknownRoot)
                    if is_known and file_at(root, f"{batch.record.directory}/{NAME}") is not None:
                        self._moves.remove(info_path(root, batch.record), root)
        elif batch.ends and not Counts.of(items).remaining:
            with contextlib.suppress(OutputRefused, RecipeUnusable):
                for path, told in infos_of(self._placement, batch.record, items, ended_at=batch.ends[-1].at):
                    if isinstance(path, ObjectPath) or path.parent.is_dir():
                        write_batch_info(path, told, disk=self._disk)


class _Part(msgspec.Struct, frozen=True, gc=False):
    trashed: tuple[TrashedOutput, ...] = ()


def _with_company(wanted: Sequence[Trashed], there: Iterable[Trashed]) -> list[Trashed]:
    """These, and what is no image of the same items that was deleted with them."""
    moments = {(one.item.key, one.output.trashed_at) for one in wanted}
    found = {one.id: one for one in wanted}
    for one in there:
        if (one.item.key, one.output.trashed_at) in moments and not is_picture(one.output):
            found[one.id] = one
    return list(found.values())


def _deleted(item: Item, going: Sequence[TrashedOutput]) -> Item:
    return with_trashed(item, going) if item.status is Status.COMPLETED else item


def _is_taken(target: Place) -> bool:
    """As far as it shows: an object with the same bytes is one that a kill left with both names."""
    return isinstance(target, Path) and os.path.lexists(target)


def _leads_out(target: Place, root: Place) -> bool:
    """Whether a link leads it out of its root."""
    if not isinstance(target, Path):
        return False
    return not target.parent.resolve().is_relative_to(local(root).resolve())


def _has_anything(directory: Place) -> bool:
    if isinstance(directory, ObjectPath):
        return directory.bucket.holds_any(directory.key)
    try:
        with os.scandir(directory) as entries:
            return any(True for _ in entries)
    except OSError:
        return False
