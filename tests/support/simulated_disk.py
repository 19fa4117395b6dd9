"""A disk in memory that loses unsynced data, can crash at any operation, and can be full or broken.

It keeps two views: what processes see, and what would survive a power loss. A file's content is durable up to its last
sync, a name (created, renamed, removed) once its directory is synced.
"""

from __future__ import annotations

import functools
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import DiskFull
from state.disk import Disk, Handle, Stamp, SyncFailed

_numbers = itertools.count(1)


class Crash(BaseException):
    """The process ends here: no handler may change the disk any more."""


class Operation(NamedTuple):
    """One operation on the disk. A write counts as two, so that a crash can tear it."""

    kind: str
    name: str


@dataclass
class Inode:
    content: bytes = b""
    durable: bytes = b""
    number: int = field(default_factory=lambda: next(_numbers))
    changed: int = field(default_factory=lambda: next(_numbers))

    def put(self, content: bytes) -> None:
        self.content = content
        self.changed = next(_numbers)

    def stamp(self) -> Stamp:
        return Stamp(inode=self.number, size_bytes=len(self.content), mtime_ns=self.changed)

    def torn(self) -> bytes:
        """The content if half of what was appended since the last sync reached the disk."""
        if not self.content.startswith(self.durable):
            return self.durable
        return self.content[: (len(self.durable) + len(self.content)) // 2]


Names = dict[Path, Inode | None]
"""None: a directory."""


class SimulatedHandle(Handle):
    def __init__(self, disk: SimulatedDisk, path: Path, inode: Inode) -> None:
        self.path = path
        self._disk = disk
        self._inode = inode

    def write(self, data: bytes) -> None:
        half = len(data) // 2
        for part in (data[:half], data[half:]):
            self._disk.begin("write", self.path)
            self._inode.put(self._inode.content + part)

    def read_from(self, offset: int) -> bytes:
        self._disk.look("read", self.path)
        return self._inode.content[offset:]

    def truncate(self, size_bytes: int) -> None:
        self._disk.begin("truncate", self.path)
        self._inode.put(self._inode.content[:size_bytes])

    def sync(self) -> None:
        self._disk.begin("sync", self.path)
        self._inode.durable = self._inode.content

    def stamp(self) -> Stamp:
        return self._inode.stamp()

    def close(self) -> None:
        pass


class SimulatedDisk(Disk):
    """A disk below `root`. Its directories also exist on the real disk, because lock files are real."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[Operation] = []
        self.crash_at: int | None = None
        self.full_at: int | None = None
        """From this operation on, operations that need space fail."""
        self.failing_sync_at: int | None = None
        self.before_look: Callable[[str, Path], None] = lambda kind, path: None
        """Called before every read."""
        self.before: Callable[[str, Path], None] = lambda kind, path: None
        """Called before every operation."""
        self._seen: Names = {root: None}
        self._durable: Names = {root: None}
        self._dead = False
        self._mirror()

    def begin(self, kind: str, path: Path) -> None:
        """Record an operation, or crash before it."""
        if self._dead or len(self.log) == self.crash_at:
            self._dead = True
            raise Crash(f"before {kind} of {path.name}")
        self.before(kind, path)
        at = len(self.log)
        self.log.append(Operation(kind, path.name))
        if kind in ("write", "create") and self.full_at is not None and at >= self.full_at:
            raise DiskFull(f"{path}: the disk is full; free some space and run again")
        if kind in ("sync", "sync_directory") and at == self.failing_sync_at:
            raise SyncFailed(f"{path}: the disk reports an input/output error")

    def look(self, kind: str, path: Path) -> None:
        self.before_look(kind, path)
        if self._dead:
            raise Crash

    def read(self, path: Path) -> bytes:
        self.look("read", path)
        return self._file(path).content

    def stamp(self, path: Path) -> Stamp | None:
        self.look("stamp", path)
        inode = self._seen.get(path)
        return inode.stamp() if inode is not None else None

    def create(self, path: Path, *, like: Path | None = None) -> Handle:
        self.begin("create", path)
        if self._seen.get(path) is None:
            self._name(path, Inode())
        else:
            self._file(path).put(b"")
        return SimulatedHandle(self, path, self._file(path))

    def append_to(self, path: Path, *, create: bool = False) -> Handle:
        if create and path not in self._seen:
            self.begin("create", path)
            self._name(path, Inode())
        return self.open_to_read(path)

    def open_to_read(self, path: Path) -> Handle:
        self.look("open", path)
        return SimulatedHandle(self, path, self._file(path))

    def rename(self, source: Path, target: Path, *, replace: bool = True) -> None:
        self.begin("rename", target)
        if not replace and self._seen.get(target) is not None:
            raise FileExistsError(target)
        self._name(target, self._file(source))
        del self._seen[source]

    def sync_directory(self, path: Path) -> None:
        self.begin("sync_directory", path)
        self._durable = _mixed(self._durable, self._seen, {path})

    def remove(self, path: Path) -> None:
        self.begin("remove", path)
        self._seen.pop(path, None)

    def make_directory(self, path: Path) -> None:
        for place in reversed((path, *path.parents)):
            if place.is_relative_to(self.root) and place not in self._seen:
                self.begin("make_directory", place)
                self._seen[place] = None
                place.mkdir(exist_ok=True)
                self.sync_directory(place.parent)

    def put_by_hand(self, path: Path, data: bytes) -> None:
        """Replace a file as an editor does; durable at once."""
        self._seen[path] = self._durable[path] = Inode(content=data, durable=data)

    def files(self) -> dict[str, bytes]:
        """The files as processes see them."""
        return {str(path.relative_to(self.root)): inode.content for path, inode in self._seen.items() if inode}

    def after_sigkill(self) -> SimulatedDisk:
        """The disk after SIGKILL: everything done is visible, and what is durable stays the same."""
        copies: dict[int, Inode] = {}

        def copy(names: Names) -> Names:
            return {
                path: inode and copies.setdefault(inode.number, Inode(inode.content, inode.durable))
                for path, inode in names.items()
            }

        disk = SimulatedDisk(self.root)
        disk._seen, disk._durable = copy(self._seen), copy(self._durable)
        disk._mirror()
        return disk

    def after_power_loss(self) -> Iterator[SimulatedDisk]:
        """The possible disks after a power loss: everything unsynced lost, kept, and mixtures, each once."""
        directories = [path for path, inode in self._seen.items() if inode is None]
        contents: list[Callable[[Inode], bytes]] = [
            lambda inode: inode.durable,
            lambda inode: inode.content,
            lambda inode: inode.torn(),
            lambda inode: inode.content if inode.number % 2 else inode.durable,
            lambda inode: inode.durable if inode.number % 2 else inode.content,
        ]
        found: list[dict[Path, bytes]] = []
        for count in range(len(directories) + 1):
            for kept in itertools.combinations(directories, count):
                names = self._reachable(_mixed(self._durable, self._seen, set(kept)))
                for content in contents:
                    files = {path: content(inode) for path, inode in names.items() if inode}
                    if files not in found:
                        found.append(files)
                        yield self._after(names, content)

    def after_forgetting(self) -> SimulatedDisk:
        """The disk after a power loss that lost everything unsynced."""
        return self._after(self._reachable(self._durable), lambda inode: inode.durable)

    def _reachable(self, names: Names) -> Names:
        return {
            path: inode for path, inode in names.items() if all(parent in names for parent in _above(path, self.root))
        }

    def _after(self, names: Names, content: Callable[[Inode], bytes]) -> SimulatedDisk:
        disk = SimulatedDisk(self.root)
        for path, inode in names.items():
            disk._seen[path] = inode and Inode(content(inode), content(inode))
        disk._durable = dict(disk._seen)
        disk._mirror()
        return disk

    def _mirror(self) -> None:
        """Recreate the directories of this disk on the real disk."""
        for place in self.root.iterdir():
            shutil.rmtree(place)
        for path, inode in self._seen.items():
            if inode is None:
                path.mkdir(exist_ok=True, parents=True)

    def _file(self, path: Path) -> Inode:
        inode = self._seen.get(path)
        if inode is None:
            raise IsADirectoryError(path) if path in self._seen else FileNotFoundError(path)
        return inode

    def _name(self, path: Path, inode: Inode) -> None:
        if path.parent not in self._seen:
            raise FileNotFoundError(path)
        self._seen[path] = inode


@functools.cache
def _above(path: Path, root: Path) -> list[Path]:
    """The directories that a file is in, up to `root`."""
    return [parent for parent in path.parents if parent.is_relative_to(root)]


def _mixed(durable: Names, seen: Names, directories: set[Path]) -> Names:
    """The names if these directories are as seen and all others as of their last sync."""
    names = {path: inode for path, inode in durable.items() if path.parent not in directories}
    return names | {path: inode for path, inode in seen.items() if path.parent in directories}
