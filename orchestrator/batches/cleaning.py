"""Old batches' files: removed, and the batches marked as gone.

The items stay completed, so nothing is rendered again; their records name no outputs any more, so `verify` misses none.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from orchestrator.batches import batch_info
from orchestrator.batches.layouts import WITH_INFO
from orchestrator.batches.looking import BatchView, views_of
from orchestrator.clock import Clock
from orchestrator.errors import OutputRefused, UsageError
from orchestrator.outputs import verify
from orchestrator.outputs.names import inside
from orchestrator.settings import Overrides, load_settings
from orchestrator.wording import counted, in_lines, spoken_bytes
from state.batch import BatchLog, GoneRecord
from state.item import Item, Status
from state.json_store import JsonStore
from state.store import change_all

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_DURATION = re.compile(r"([0-9]{1,6})([hdw])")


@dataclass(frozen=True)
class Cleaned:
    """What `batches clean` removed, or would."""

    batches: tuple[str, ...]
    removed: tuple[str, ...]
    """Relative to the output directory, as the records name them."""
    bytes: int
    kept: tuple[str, ...]
    """Files that are not as recorded any more, or that another item's record names: they stay."""
    dry_run: bool

    def as_json(self) -> dict[str, Any]:
        """Stable keys under the schema name `burst.clean/1`."""
        return {
            "schema": "burst.clean/1",
            "dry_run": self.dry_run,
            "batches": list(self.batches),
            "removed": list(self.removed),
            "bytes": self.bytes,
            "kept": list(self.kept),
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        if not self.batches:
            return "No batch that has ended is that old."
        would = "Would remove" if self.dry_run else "Removed"
        of = f"{len(self.batches)} batches" if len(self.batches) > 1 else "1 batch"
        lines = [f"{would} {counted(len(self.removed), 'file')} ({spoken_bytes(self.bytes)}) of {of}:"]
        lines += [f"  {batch}" for batch in self.batches]
        lines += [f"Kept, because it is not as recorded or another item's: {path}" for path in self.kept]
        return in_lines(lines)


def parse_duration(text: str) -> timedelta:
    """`12h`, `30d`, `2w`. Errors: UsageError."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r} is no duration; write hours, days or weeks, such as 12h, 30d or 2w")
    return int(found[1]) * _UNITS[found[2]]


def clean_batches(
    state: Path,
    *,
    older_than: timedelta,
    dry_run: bool = False,
    overrides: Overrides | None = None,
    clock: Clock | None = None,
) -> Cleaned:
    """Remove the pictures and sidecars of batches that ended so long ago, and the directories that this empties.

    Only files that their records name and that are still as recorded, and a batch directory's own batch_info.json.
    Killed in between and repeated, it goes on: what is gone is passed over. Errors: StateError, SettingsError, OSError.
    """
    output_dir = load_settings(state, overrides).output_dir
    clock = clock or Clock()
    store = JsonStore.open(state, read_only=dry_run, clock=clock)
    log = BatchLog(store.folder)
    try:
        there = [batch for batch in log.read().values() if not batch.gone]
        before = clock.now() - older_than
        old = {view.id: view for view in views_of(store, there) if not view.left and view.last_at < before}
        theirs = [item for item in store.items(Status.COMPLETED) if item.batch in old] if old else []
        others = {output.path for item in store.items() for output in item.outputs if item.batch not in old}
        found = _Files(output_dir)
        found.choose(theirs, sparing=others)
        found.choose_infos(view for view in old.values() if view.record.layout in WITH_INFO)
        if old and not dry_run:
            found.remove()
            change_all(store, theirs, lambda item: msgspec.structs.replace(item, outputs=()))
            log.append(*(GoneRecord(batch=batch, at=clock.now()) for batch in old))
            store.settle(at_end=True)
        return Cleaned(tuple(old), tuple(found.chosen), found.bytes, tuple(found.kept), dry_run)
    finally:
        store.close()


class _Files:
    """Files to remove, by their paths relative to the output directory."""

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = output_dir
        self.chosen: dict[str, Path] = {}
        self.bytes = 0
        self.kept: list[str] = []
        self._missing: list[str] = []

    def choose(self, items: Iterable[Item], *, sparing: Collection[str]) -> None:
        """All recorded outputs of these items that are there."""
        for output in (output for item in items for output in item.outputs):
            problems = verify(self._output_dir, [output], full=True)
            if output.path in sparing or any(problem.kind != "missing" for problem in problems):
                self.kept.append(output.path)
            elif problems:
                self._missing.append(output.path)
            else:
                self._add(output.path)

    def choose_infos(self, views: Iterable[BatchView]) -> None:
        for view in views:
            with contextlib.suppress(OutputRefused):
                self._add(f"{view.record.directory}/{batch_info.NAME}")

    def remove(self) -> None:
        """Errors: OSError. What is gone already is passed over."""
        for path in self.chosen.values():
            path.unlink(missing_ok=True)
        for folder in sorted(set(self._folders()), key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _add(self, recorded: str) -> None:
        path = inside(self._output_dir, recorded)
        if path.is_file() and recorded not in self.chosen:
            self.chosen[recorded] = path
            self.bytes += path.stat().st_size

    def _folders(self) -> Iterator[Path]:
        """Those of the files that go, or went when this was killed before; the output directory stays."""
        for recorded in (*self.chosen, *self._missing):
            yield from (self._output_dir / folder for folder in PurePosixPath(recorded).parents[:-1])
