"""Durable files: the operations with which states and outputs are written.

What survives a power loss: written data once `Handle.sync` has returned; a name once `replace` or `sync_directory` has.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from orchestrator.errors import DiskFull
from state import operating_system
from state.owners import give_to_directory_owner, owner_of_refused, take_after

_REFUSED = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EROFS: "the file system is read-only; remount it or choose another directory",
    errno.EACCES: "permission denied; make it writable or choose another directory",
    errno.EPERM: "not permitted; make it writable or choose another directory",
    errno.ENOTDIR: "a file stands where a directory should be; move it away or choose another directory",
    errno.EEXIST: "a file stands where a directory should be; move it away or choose another directory",
    errno.EISDIR: "a directory stands where a file should be; move it away or choose another name",
    errno.EFBIG: "larger than the file system or the process limit allows; raise the limit or choose another disk",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.ELOOP: "too many symbolic links, probably a loop; remove it or choose another directory",
    errno.ESTALE: "the network directory is gone; mount it again and run again",
    errno.ENOTCONN: "the network directory is gone; mount it again and run again",
    errno.EIO: "the disk reports an input/output error; check the disk before running again",
}

_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
"""Of renameat2(2)."""

TEMPORARY_SUFFIXES = (".tmp", ".part")
"""Of files that get another name when they are whole."""


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a `DiskFull` that names the path and what to do.

    FileNotFoundError passes: that a file is not there is for the caller to judge.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno is None:  # a time-out of a lock, for one
            raise
        raise refusal(error, path) from error


def is_known(error: OSError) -> bool:
    """Whether `refusal` has advice about it."""
    return error.errno in _REFUSED


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError that names no file, as of a read, names this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None or isinstance(error.filename, int):
            error.filename = str(path)
        raise


def refusal(error: OSError, path: Path | str) -> DiskFull:
    """The error that says what the operating system refused at this path, and what to do where that is known."""
    number, path = error.errno or 0, _place(Path(path))
    kind = OutOfSpace if number in (errno.ENOSPC, errno.EDQUOT) else DiskFull
    owner = owner_of_refused(path) if number in (errno.EACCES, errno.EPERM) else None
    advice = _REFUSED.get(number) or error.strerror or error
    if number == errno.EACCES and os.path.isfile(path) and not os.access(path, os.R_OK):
        advice = "permission denied; make it readable for this user"
    return kind(f"{path}: {f'owned by {owner}; ' if owner else ''}{advice}")


def _place(path: Path) -> Path:
    """What a person knows of a path: the directory where a temporary file was refused."""
    return path.parent if path.suffix in TEMPORARY_SUFFIXES else path


class OutOfSpace(DiskFull):
    """The disk is full or the quota is used up, so no file on that disk can grow."""


class SyncFailed(DiskFull):
    """A sync failed: what was written before it may be lost. Never retry it."""


@contextlib.contextmanager
def _syncing(path: Path) -> Iterator[None]:
    try:
        with refusals(path):
            yield
    except (DiskFull, OSError) as error:
        raise SyncFailed(f"{path}: the last writes may not be on the disk: {error}") from error


class Stamp(msgspec.Struct, frozen=True):
    """Identifies a version of a file without reading it."""

    inode: int
    size_bytes: int
    mtime_ns: int


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(inode=found.st_ino, size_bytes=found.st_size, mtime_ns=found.st_mtime_ns)


class Handle:
    """An open file. Not shared between threads."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Write all of `data`; at the end of the file if it was opened by `append_to`."""
        left = memoryview(data)
        with refusals(self.path):
            while left:
                left = left[os.write(self._descriptor, left) :]

    def read_from(self, offset: int) -> bytes:
        """Everything from `offset` to the end."""
        parts = []
        with refusals(self.path):
            while part := operating_system.read_at(self._descriptor, 1 << 20, offset):
                parts.append(part)
                offset += len(part)
        return b"".join(parts)

    def truncate(self, size_bytes: int) -> None:
        with refusals(self.path):
            os.ftruncate(self._descriptor, size_bytes)

    def sync(self) -> None:
        """Make everything written so far durable. Errors: SyncFailed, after which it must not be called again."""
        with _syncing(self.path):
            os.fsync(self._descriptor)

    def stamp(self) -> Stamp:
        return _stamp(os.fstat(self._descriptor))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Disk:
    """The real disk. Tests use one that can lose what was not synced.

    Root that works in another user's directory leaves everything to that user (see `state.owners`).
    """

    def read(self, path: Path) -> bytes:
        """Errors: FileNotFoundError; OSError, which names the path, also for what is no ordinary file."""
        flags = os.O_RDONLY | operating_system.NEVER_WAITS | operating_system.BINARY
        with naming(path), open(os.open(path, flags), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not an ordinary file")
            return stream.read()

    def stamp(self, path: Path) -> Stamp | None:
        """None if there is no file."""
        try:
            return _stamp(os.stat(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def create(self, path: Path, *, like: Path | None = None) -> Handle:
        """Create an empty file or truncate the existing one; with owner and permissions of `like`, if that exists."""
        with refusals(path):
            handle = Handle(path, _opened(path, os.O_RDWR | os.O_TRUNC | operating_system.BINARY))
        if like is not None:
            take_after(path, like)
        return handle

    def append_to(self, path: Path, *, create: bool = False) -> Handle:
        """Open for reading and appending. Errors: FileNotFoundError without `create`."""
        flags = os.O_RDWR | os.O_APPEND | operating_system.BINARY
        with refusals(path):
            return Handle(path, _opened(path, flags) if create else os.open(path, flags))

    def open_to_read(self, path: Path) -> Handle:
        """Errors: FileNotFoundError."""
        return Handle(path, os.open(path, os.O_RDONLY | operating_system.BINARY))

    def write_whole(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        """Replace the file, if there is one, with its owner and permissions; after an error the old one is unchanged.

        Durable on return (with `sync`); without it a power loss may leave an empty file. The caller must ensure that
        there is only one writer at a time, since all use the same temporary file. Errors: DiskFull, SyncFailed.
        """
        temporary = path.with_name(path.name + ".tmp")
        try:
            with self.create(temporary, like=path) as handle:
                handle.write(data)
                if sync:
                    handle.sync()
            self.rename(temporary, path)
        except BaseException:
            self.remove(temporary)
            raise
        if sync:
            self.sync_directory(path.parent)

    def replace(self, source: Path, target: Path) -> None:
        """Rename and make the new name durable."""
        self.rename(source, target)
        self.sync_directory(target.parent)

    def rename(self, source: Path, target: Path, *, replace: bool = True) -> None:
        """Rename over an existing file, whose owner and permissions are kept; without `replace`, to a free name only.

        Durable once `sync_directory` has returned for the target's directory. Errors: DiskFull, also where a device, a
        pipe or a socket would be replaced; FileExistsError without `replace`.
        """
        try:
            with refusals(target):
                if not replace:
                    return rename_exclusively(source, target)
                _refuse_special(target)
                take_after(source, target)
                operating_system.replace(source, target)
        except DiskFull as error:
            if not replace and isinstance(error.__cause__, FileExistsError):
                raise error.__cause__ from None
            raise

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable. Errors: SyncFailed."""
        with _syncing(path):
            operating_system.sync_directory(path)

    def remove(self, path: Path) -> None:
        """Remove a file; no error if there is none."""
        with refusals(path), contextlib.suppress(FileNotFoundError):
            operating_system.remove(path)

    def make_directory(self, path: Path) -> None:
        """Create a directory and its parents, durably; no error if it exists."""
        missing = []
        with refusals(path):
            for place in (path, *path.parents):
                if place.is_dir():
                    break
                missing.append(place)
            try:
                path.mkdir(parents=True, exist_ok=True)
            except FileNotFoundError as error:  # on file systems such as /proc
                raise DiskFull(f"{path}: no directory can be made here; choose another one") from error
            except PermissionError as error:
                raise refusal(error, place) from error
        for place in reversed(missing):
            give_to_directory_owner(place)
        for place in missing:
            self.sync_directory(place.parent)


def rename_exclusively(source: Path, target: Path) -> None:
    """Rename to a name that nothing has. Where the system cannot do both at once, a look and then the renaming.

    Errors: FileExistsError, OSError.
    """
    found = _renameat2()
    if found is not None:
        import ctypes

        if found(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(number, os.strerror(number), str(target))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    os.rename(source, target)


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """The function of Linux that Python does not offer; None on other systems."""
    if sys.platform != "linux":
        return None
    import ctypes

    function: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return function


def _refuse_special(target: Path) -> None:
    """Errors: OSError for what stands there for another purpose."""
    with contextlib.suppress(FileNotFoundError):
        kind = stat.S_IFMT(os.stat(target).st_mode)
        if kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
            raise OSError(errno.EINVAL, "not an ordinary file; choose another name")


def _opened(path: Path, flags: int) -> int:
    """Open the file, made where there is none."""
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT, 0o666)
    give_to_directory_owner(path)
    return descriptor
