"""Batch directories that no state knows any more: their batch_info.json says what they are. Shown, never changed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.batches.batch_info import NAME, SCHEMA
from orchestrator.clock import Clock
from orchestrator.errors import OutputRefused, SettingsError
from orchestrator.outputs.placement import directories_at, file_at, path_at
from orchestrator.places import local
from orchestrator.web.image_files import Picture, image_id
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
    name: str | None = None
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
    name: str | None
    state: WatchedState
    root: Path
    """The output directory of that state in which it lies."""
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
        path = file_at(self.root, f"{self.directory}/{NAME}")
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path is not None else {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}


@dataclass(frozen=True)
class _Spot:
    """Where a batch_info.json may be."""

    state: WatchedState
    root: Path
    folder: str
    """From the root on."""
    path: Path


class OrphanedBatches:
    """Those in the local output directories of all states. Any thread may ask."""

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
        seen = [spot for state, root in self._roots() for spot in self._spots(state, root)]
        self._read = {spot.path: self._read_again(spot) for spot in seen}
        found = {left.id: left for _, left in self._read.values() if left is not None}
        if found != self._found:
            self._found = found
            self.version += 1

    def _roots(self) -> Iterator[tuple[WatchedState, Path]]:
        """Each output directory once, with a state that it belongs to."""
        seen = set()
        for state in self._watched.states:
            try:
                roots = state.placement.roots()
            except SettingsError:
                continue
            for root in (root for root in roots if isinstance(root, Path)):
                real = root.resolve()
                if real not in seen:
                    seen.add(real)
                    yield state, root

    def _spots(self, state: WatchedState, root: Path) -> Iterator[_Spot]:
        """Where a batch_info.json may be that no state knows."""
        known = {batch.record.directory for one in self._watched.states for batch in one.batches().values()}
        for place in _PLACES:
            for name in directories_at(root, place):
                folder = f"{place}/{name}" if place else name
                if folder not in known:
                    with contextlib.suppress(OutputRefused):
                        yield _Spot(state, root, folder, local(path_at(root, f"{folder}/{NAME}")))

    def _read_again(self, spot: _Spot) -> tuple[tuple[int, int, int], OrphanedBatch | None]:
        """What it says, read only where it is not the file that was read before."""
        try:
            stat = spot.path.stat()
        except OSError:
            return (0, 0, 0), None
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        before = self._read.get(spot.path)
        return before if before is not None and before[0] == stamp else (stamp, _leftover(spot))

    def _is_known(self, batch_id: str) -> bool:
        return any(state.knows(batch_id) for state in self._watched.states)


def _leftover(spot: _Spot) -> OrphanedBatch | None:
    """None for what is no batch_info.json of ours."""
    path = file_at(spot.root, f"{spot.folder}/{NAME}")
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
        name=info.name,
        state=spot.state,
        root=spot.root,
        directory=spot.folder,
        created_at=info.created_at,
        ended_at=info.ended_at,
        template=info.template,
        prompts=info.prompts,
        parameters=info.parameters,
        totals=info.totals,
        pictures=tuple(_pictures(spot, info)),
    )


def _pictures(spot: _Spot, info: _Info) -> Iterator[OrphanedImage]:
    """Those in its own directory, with the ids that they had."""
    counts: dict[int, int] = {}
    for image in info.images:
        if image.file is None or not image.file.startswith(f"{spot.folder}/"):
            continue
        index = max(0, image.index or 0)
        number = counts[index] = counts.get(index, 0) + 1
        name = image_id(index, number)
        seed = image.seed if isinstance(image.seed, int) else None
        picture = Picture(spot.state, info.batch, name, spot.root, image.file, None)
        yield OrphanedImage(picture, index, seed, image.seconds)
