"""Which places are taken during a run, whatever root and links lead to them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from orchestrator.formatting import folded
from orchestrator.places import ObjectPath, Place, is_named_root, is_object_address


class RealPaths:
    """Where paths lead once links are followed. Each directory is looked at once; any thread may ask."""

    def __init__(self) -> None:
        self._directories: dict[str, str] = {}

    def of(self, path: Place) -> str:
        """The real directory of `path`, and its own name, which may be that of a link or of nothing yet."""
        if isinstance(path, ObjectPath):
            return str(path)
        return os.path.join(self.directory(str(path.parent)), path.name)

    def directory(self, path: str) -> str:
        """The real directory of one that links may lead to, whether it is there or not."""
        if is_object_address(path) or is_named_root(path):
            return path
        found = self._directories.get(path)
        if found is None:
            parent, name = os.path.split(path)
            if name in ("", ".", "..") or not parent:
                found = os.path.realpath(path)
            else:
                found = os.path.join(self.directory(parent), name)
                found = os.path.realpath(found) if os.path.islink(found) else found
            self._directories[path] = found
        return found


class Claims:
    """The places of one run: those promised to items, and those that nothing may replace. Any thread may use it."""

    def __init__(self, real_paths: RealPaths | None = None) -> None:
        self._real = real_paths or RealPaths()
        self.making_directories = threading.Lock()
        """Held by who makes one: another output directory may lie in it."""
        self._mutex = threading.Lock()
        self._promises: dict[str, str] = {}
        """The key of the item that a place is kept for."""
        self._spared: set[str] = set()

    def promise(self, key: str, places: Iterable[Place]) -> str | None:
        """Keep these places for an item until they are filled; the other item that has one of them, and none is kept.

        Names that only some disks take for one are two: what is in the way then shows later.
        """
        real = [self._real.of(place) for place in places]
        with self._mutex:
            other = next((one for place in real if (one := self._promises.get(place, key)) != key), None)
            if other is None:
                self._promises |= dict.fromkeys(real, key)
            return other

    def filled(self, place: Place) -> None:
        """Its item's file is there."""
        real = self._real.of(place)
        with self._mutex:
            self._promises.pop(real, None)

    def spare(self, places: Iterable[Place]) -> None:
        """Nothing replaces what is there; names that some disks take for one are one."""
        real = {folded(self._real.of(place)) for place in places}
        with self._mutex:
            self._spared |= real

    def is_spared(self, place: Place) -> bool:
        return folded(self._real.of(place)) in self._spared
