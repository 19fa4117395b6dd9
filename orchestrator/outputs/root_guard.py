"""Whether an output root can be used in this run: after its first refusal it is not tried again."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import DiskFull, OutputRootUnusable
from orchestrator.places import Place
from state.disk import OutOfSpace, SyncFailed, refusals

_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_Identity = tuple[int, int]
"""Device and inode of a directory."""


class RootGuard:
    """Of one output root. Any thread may use it."""

    def __init__(self, root: Place, *, home: Path) -> None:
        """`home`: the state's directory."""
        self._root = root
        self._directory = root if isinstance(root, Path) else _staging()
        """Where this process writes."""
        self._home = home
        self._refusal: OutputRootUnusable | None = None
        self._seen: _Identity | None = None
        self._mutex = threading.Lock()

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Guards work below the root: what the disk refuses in it ends the use of this root for the run.

        Errors: OutputRootUnusable; DiskFull where the state's own files are on the same disk, and that is full or has
        failed to sync.
        """
        if self._refusal is not None:
            raise type(self._refusal)(self._refusal.root, str(self._refusal))
        try:
            self._refuse_another_disk()
            yield
        except DiskFull as error:
            if self._is_the_states_disk(error):
                raise
            if isinstance(error, OutputRootUnusable):
                self._refusal = error
                raise
            self._refusal = OutputRootUnusable(self._root, str(error))
            raise self._refusal from error

    def _refuse_another_disk(self) -> None:
        """A disk that is unmounted during a run leaves an empty directory, where nobody would look for files.

        Errors: DiskFull.
        """
        if self._directory is not self._root:
            return
        with refusals(self._directory):
            found = _identity(self._directory)
        with self._mutex:
            seen = self._seen or found
            # An automounter may give the same directory another device; one that was made again has another inode.
            if found[0] != seen[0] and found[1] != seen[1]:
                raise DiskFull(f"{self._root}: its disk is not mounted any more; mount it and run again")
            self._seen = found

    def _is_the_states_disk(self, error: DiskFull) -> bool:
        if not isinstance(error, OutOfSpace | SyncFailed):
            return False
        try:
            return _identity(self._directory)[0] == _identity(self._home)[0]
        except OSError:
            return False


def _staging() -> Path:
    """Where files for object storage wait; not loaded where there is none."""
    from orchestrator.outputs.object_root import staging_directory

    return staging_directory()


def _identity(directory: Path) -> _Identity:
    """Of the directory, or of the nearest one above it that is there."""
    path = str(directory)
    while True:
        try:
            # The dot has an automounter mount it.
            found = os.stat(os.path.join(path, "."))
            return found.st_dev, found.st_ino
        except OSError as error:
            if error.errno not in _NO_DIRECTORY or path == (path := os.path.dirname(os.path.realpath(path))):
                raise
