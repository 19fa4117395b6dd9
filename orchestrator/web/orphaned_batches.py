"""Batch directories that no state knows any more: their batch_info.json says what they are. Shown, never changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.batches.batch_info import NAME, SCHEMA
from orchestrator.clock import Clock
from orchestrator.errors import SettingsError
from orchestrator.web.image_files import Picture, file_inside, image_id
from orchestrator.web.states import WatchedState, WatchedStates
from state.item import UtcTime

_LOOK_SECONDS = 2.0
"""How old what was seen may be: a look costs a step for each directory."""
_LARGEST_INFO_BYTES = 64 << 20
_PLACES = ("", "batches")
"""Where batches have their directories, relative to the output directory."""


class _Image(msgspec.Struct, frozen=True):
    file: str | None = None
    index: int | None = None
    seed: Any = None
    seconds: float | None = None


class _Info(msgspec.Struct, frozen=True):
    schema: str
    batch: str
    created_at: UtcTime
    ended_at: UtcTime | None = None
    template: str | None = None
    prompts: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    totals: dict[str, int] = {}
    images: tuple[_Image, ...] = ()


_decode = msgspec.json.Decoder(_Info).decode


@dataclass(frozen=True)
class OrphanedImage:
    """A picture that a batch_info.json names."""

    picture: Picture
    index: int
    seed: int | None
    seconds: float | None


@dataclass(frozen=True)
class OrphanedBatch:
    """A batch that only its directory knows."""

    id: str
    state: WatchedState
    """In whose output directory it lies."""
    directory: str
    created_at: datetime
    ended_at: datetime | None
    template: str | None
    prompts: tuple[str, ...]
    parameters: dict[str, Any]
    totals: dict[str, int]
    pictures: tuple[OrphanedImage, ...]

    def read_info(self) -> dict[str, Any]:
        """All that its batch_info.json says now; empty where that is gone."""
        path = file_inside(self.state.settings.output_dir, f"{self.directory}/{NAME}")
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path is not None else {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}


class OrphanedBatches:
    """Those in the output directories of all states. Any thread may ask."""

    def __init__(self, watched: WatchedStates, *, clock: Clock | None = None) -> None:
        self._watched = watched
        self._clock = clock or Clock()
        self._mutex = threading.Lock()
        self._looked_at: float | None = None
        self._read: dict[Path, tuple[tuple[int, int, int], OrphanedBatch | None]] = {}
        """By its path, what a batch_info.json said, and inode, time and size of it then."""
        self._found: dict[str, OrphanedBatch] = {}
        self.version = 0
        """Another number whenever something is different."""

    def batches(self) -> dict[str, OrphanedBatch]:
        """By id, as they were at most two seconds ago. A batch that a state knows, gone ones too, is none."""
        with self._mutex:
            now = self._clock.monotonic()
            if self._looked_at is None or now - self._looked_at >= _LOOK_SECONDS:
                self._looked_at = now
                self._look()
            return {name: found for name, found in self._found.items() if not self._is_known(name)}

    def _look(self) -> None:
        seen = {path: (state, folder) for state in self._outputs() for path, folder in self._infos(state)}
        self._read = {path: self._read_again(path, *place) for path, place in seen.items()}
        found = {left.id: left for _, left in self._read.values() if left is not None}
        if found != self._found:
            self._found = found
            self.version += 1

    def _outputs(self) -> Iterator[WatchedState]:
        """One state for each output directory."""
        seen = set()
        for state in self._watched.states:
            try:
                directory = state.settings.output_dir.resolve()
            except SettingsError:
                continue
            if directory not in seen:
                seen.add(directory)
                yield state

    def _infos(self, state: WatchedState) -> Iterator[tuple[Path, str]]:
        """Where a batch_info.json may be that no state knows, and its directory relative to the output directory."""
        known = {batch.record.directory for one in self._watched.states for batch in one.batches().values()}
        for place in _PLACES:
            try:
                with os.scandir(state.settings.output_dir / place) as entries:
                    names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            except OSError:
                continue
            for name in names:
                folder = f"{place}/{name}" if place else name
                if folder not in known:
                    yield state.settings.output_dir / folder / NAME, folder

    def _read_again(
        self, path: Path, state: WatchedState, folder: str
    ) -> tuple[tuple[int, int, int], OrphanedBatch | None]:
        """What it says, read only where it is not the file that was read before."""
        try:
            stat = path.stat()
        except OSError:
            return (0, 0, 0), None
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        before = self._read.get(path)
        return before if before is not None and before[0] == stamp else (stamp, _leftover(state, folder))

    def _is_known(self, batch_id: str) -> bool:
        return any(state.knows(batch_id) for state in self._watched.states)


def _leftover(state: WatchedState, folder: str) -> OrphanedBatch | None:
    """None for what is no batch_info.json of ours."""
    path = file_inside(state.settings.output_dir, f"{folder}/{NAME}")
    try:
        if path is None or path.stat().st_size > _LARGEST_INFO_BYTES:
            return None
        info = _decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if info.schema != SCHEMA:
        return None
    return OrphanedBatch(
        id=info.batch,
        state=state,
        directory=folder,
        created_at=info.created_at,
        ended_at=info.ended_at,
        template=info.template,
        prompts=info.prompts,
        parameters=info.parameters,
        totals=info.totals,
        pictures=tuple(_pictures(state, folder, info)),
    )


def _pictures(state: WatchedState, folder: str, info: _Info) -> Iterator[OrphanedImage]:
    """Those in its own directory, with the ids that they had."""
    counts: dict[int, int] = {}
    for image in info.images:
        if image.file is None or not image.file.startswith(f"{folder}/"):
            continue
        index = max(0, image.index or 0)
        number = counts[index] = counts.get(index, 0) + 1
        name = image_id(index, number)
        seed = image.seed if isinstance(image.seed, int) else None
        yield OrphanedImage(Picture(state, info.batch, name, image.file, None), index, seed, image.seconds)
