"""Moving files into the trash and back, within one output root, so that whatever was cut off can be ended.

A directory's file has one name at any time. An object is copied, then deleted: killed in between, it has both names,
which nothing but a look at each would show. So a mark lies beside it in the trash while objects are being moved, and
whoever finds that of his own state there looks.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from orchestrator.errors import BurstError, OutputRootAway
from orchestrator.outputs.claims import Claims
from orchestrator.outputs.placement import path_at
from orchestrator.outputs.root import OutputRoot, root_at
from orchestrator.places import ObjectPath, Place
from orchestrator.trash_records import FOLDER
from state.disk import Disk
from state.store import Store


class Moves:
    """Of the trash of one state; held by one process at a time between its first move and `end`."""

    def __init__(self, store: Store, *, disk: Disk) -> None:
        self._mark = f"{FOLDER}/moving-{hashlib.sha256(store.location.shown().encode()).hexdigest()[:16]}"
        self._disk = disk
        self._doors: dict[Place, OutputRoot] = {}
        self._listed: dict[ObjectPath, set[str]] = {}
        self._marked: set[ObjectPath] = set()
        self._is_away = False

    def begin(self) -> None:
        """What was seen before counts no more."""
        self._marked.clear()
        self._listed.clear()
        self._is_away = False

    def has(self, root: ObjectPath, kept_as: str) -> bool:
        """Whether the trash of this root had it when it was first looked at. Errors: OutputRootUnusable."""
        return _below(root, kept_as).key in self._keys(root)

    def _keys(self, root: ObjectPath) -> set[str]:
        if root not in self._listed:
            folder = _below(root, FOLDER)
            self._listed[root] = {one.key for one in folder.bucket.every(folder.key)}
        return self._listed[root]

    def was_cut_off(self, root: Place) -> bool:
        """Whether a kill, or a storage that went away, ended moves of this state there: objects may have two names."""
        if not isinstance(root, ObjectPath) or _below(root, self._mark).key not in self._keys(root):
            return False
        self._marked.add(root)
        return True

    def move(self, source: Place, target: Place, root: Place, *, is_own: bool) -> None:
        """Errors: as of `OutputRoot.move`."""
        if self._is_away:
            raise OutputRootAway(str(root), "it did not answer a moment ago")
        try:
            if isinstance(root, ObjectPath) and root not in self._marked:
                _below(root, self._mark).write_whole(b"")
                self._marked.add(root)
            self._door(root).move(source, target, is_own=is_own)
        except OutputRootAway:
            self._is_away = True
            raise
        except (BurstError, OSError):
            _remove_empty(target.parent, root)
            raise
        _remove_empty(source.parent, root)

    def remove(self, path: Place, root: Place) -> None:
        """For good, with the directories that this empties. Errors: DiskFull."""
        self._door(root).remove(path)
        _remove_empty(path.parent, root)

    def end(self) -> None:
        """All of it is done, or on record. Errors: OutputRootUnusable."""
        for root in () if self._is_away else self._marked:
            _below(root, self._mark).unlink()

    def _door(self, root: Place) -> OutputRoot:
        if root not in self._doors:
            self._doors[root] = root_at(root, disk=self._disk, claims=Claims())
        return self._doors[root]


def _below(root: ObjectPath, relative: str) -> ObjectPath:
    place = path_at(root, relative)
    assert isinstance(place, ObjectPath), "the root is one"
    return place


def _remove_empty(folder: Place, root: Place) -> None:
    """A directory and those above it, as long as they are empty; never `root`."""
    while isinstance(folder, Path) and isinstance(root, Path) and folder != root and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
