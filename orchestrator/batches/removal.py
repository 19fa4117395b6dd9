"""Removing files of batches: only those that their records name and that are still as recorded.

The items stay completed, so nothing is rendered again; their records do not name what is gone, so `verify` misses none.
Any of it may be done beside a burst, may be killed in between, and is finished by doing it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

import msgspec

from orchestrator.batches.batch_info import NAME, batch_info, counts_of, write_batch_info
from orchestrator.batches.layouts import WITH_INFO
from orchestrator.errors import OutputRefused
from orchestrator.outputs import verify
from orchestrator.outputs.names import inside
from orchestrator.statistics import pictures_of
from state.batch import Batch, BatchRecord, GoneRecord
from state.disk import Disk
from state.item import Item, OutputRecord, Status, remaining
from state.store import Store, change_all


@dataclass(frozen=True)
class Removed:
    """What is gone, or would be. Paths are relative to the output directory, as the records name them."""

    files: tuple[str, ...]
    bytes: int
    kept: tuple[str, ...]
    """Files that are not as recorded any more, that another item's record names, or that were to be spared."""


def remove_batches(
    store: Store,
    batches: Collection[BatchRecord],
    *,
    output_dir: Path,
    at: datetime,
    dry_run: bool = False,
    spare: Callable[[str], bool] = lambda path: False,
) -> Removed:
    """Remove outputs and batch_info.json of these batches, the directories that this empties, and mark them as gone.

    `spare` names outputs that stay where they are. Errors: StateError, DiskFull, OSError.
    """
    ids = {record.batch for record in batches}
    theirs = [item for item in store.items(Status.COMPLETED) if item.batch in ids] if ids else []
    others = {output.path for item in store.items() for output in item.outputs if item.batch not in ids}
    found = _Files(output_dir)
    found.choose(_outputs(theirs), sparing=lambda path: path in others or spare(path))
    found.choose_infos((record for record in batches if record.layout in WITH_INFO), sparing=spare)
    if ids and not dry_run:
        found.remove()
        change_all(store, theirs, lambda item: msgspec.structs.replace(item, outputs=()))
        store.batches.append(*(GoneRecord(batch=record.batch, at=at) for record in batches))
        store.settle(at_end=True)
    return found.removed()


def remove_picture(store: Store, batch: Batch, key: str, picture: OutputRecord, *, output_dir: Path) -> Removed:
    """Remove one picture of an item; with its last one, its sidecar and other files too.

    A picture that has to be kept stays on record, and nothing is changed. The batch's batch_info.json is brought up to
    date, unless a burst does that anyway. Errors: KeyError, StateError, DiskFull, OSError.
    """
    item = store.get(key)
    left = _without(item.outputs, [picture])
    going = [output for output in item.outputs if output == picture]
    if going and not pictures_of(msgspec.structs.replace(item, outputs=left)):
        going, left = [picture, *left], ()
    others = {output.path for other in store.items() for output in other.outputs if other.key != key}
    found = _Files(output_dir)
    found.choose(going, sparing=others.__contains__)
    if picture.path in found.kept:
        return Removed((), 0, tuple(found.kept))
    found.remove()
    change_all(store, [item], lambda now: msgspec.structs.replace(now, outputs=_without(now.outputs, going)))
    store.settle(at_end=True)
    if batch.record.layout in WITH_INFO:
        _tell(store, batch, output_dir)
    return found.removed()


def _outputs(items: Iterable[Item]) -> Iterator[OutputRecord]:
    return (output for item in items for output in item.outputs)


def _without(outputs: Sequence[OutputRecord], going: Collection[OutputRecord]) -> tuple[OutputRecord, ...]:
    return tuple(output for output in outputs if output not in going)


def _tell(store: Store, batch: Batch, output_dir: Path) -> None:
    """Write batch_info.json anew where it is. Two processes never do: until its end is noted, bursts write it."""
    items = sorted((item for item in store.items() if item.batch == batch.id), key=lambda item: item.index or 0)
    if not batch.ends or remaining(counts_of(items)):
        return
    with contextlib.suppress(OutputRefused):
        path = inside(output_dir, f"{batch.record.directory}/{NAME}")
        if path.is_file():
            write_batch_info(path, batch_info(batch.record, items, ended_at=batch.ends[-1].at), disk=Disk())


class _Files:
    """Files to remove, by their paths relative to the output directory."""

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = output_dir
        self._chosen: dict[str, Path] = {}
        self._bytes = 0
        self.kept: list[str] = []
        self._missing: list[str] = []

    def choose(self, outputs: Iterable[OutputRecord], *, sparing: Callable[[str], bool]) -> None:
        """All of these that are there."""
        for output in outputs:
            problems = verify(self._output_dir, [output], full=True)
            if sparing(output.path) or any(problem.kind != "missing" for problem in problems):
                self.kept.append(output.path)
            elif problems:
                self._missing.append(output.path)
            else:
                self._add(output.path)

    def choose_infos(self, records: Iterable[BatchRecord], *, sparing: Callable[[str], bool]) -> None:
        for record in records:
            path = f"{record.directory}/{NAME}"
            with contextlib.suppress(OutputRefused):
                if not sparing(path):
                    self._add(path)

    def remove(self) -> None:
        """Errors: OSError. What is gone already is passed over."""
        for path in self._chosen.values():
            path.unlink(missing_ok=True)
        for folder in sorted(set(self._folders()), key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def removed(self) -> Removed:
        return Removed(tuple(self._chosen), self._bytes, tuple(self.kept))

    def _add(self, recorded: str) -> None:
        path = inside(self._output_dir, recorded)
        if path.is_file() and recorded not in self._chosen:
            self._chosen[recorded] = path
            self._bytes += path.stat().st_size

    def _folders(self) -> Iterator[Path]:
        """Those of the files that go, or went when this was killed before; the output directory stays."""
        for recorded in (*self._chosen, *self._missing):
            yield from (self._output_dir / folder for folder in PurePosixPath(recorded).parents[:-1])
