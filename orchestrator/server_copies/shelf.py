"""Burst's own files in a server's output folder: which are there, and how one is removed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

import templates
from orchestrator.outputs.ownership import sha256_of

_FOLDER = re.compile(r"[0-9a-f]{2}")
_BURST = "burst"


class ServerFile(msgspec.Struct, frozen=True):
    """A file that a prompt of some burst saved."""

    path: str
    """From the server's output folder, with `/`."""
    bytes: int
    prompt_id: str


class Shelf(Protocol):
    """One server's output folder."""

    def files(self) -> list[ServerFile]:
        """All that bear a name of `templates.prefix_for`, of whatever state. Links are none. Errors: OSError."""
        ...

    def is_one_of(self, file: ServerFile, inodes: Collection[tuple[int, int]]) -> bool:
        """Whether it is, under another name, one of these files of this host."""
        ...

    def holds(self, file: ServerFile, digests: Collection[str]) -> bool:
        """Whether the file still has its size and one of these SHA-256. Changes nothing. Errors: OSError."""
        ...

    def remove(self, file: ServerFile) -> None:
        """Safe to repeat. Errors: OSError."""
        ...

    def empty_folders(self, *, without: Collection[str] = ()) -> list[str]:
        """The folders of burst in which nothing is, or nothing but these files. Errors: OSError."""
        ...

    def remove_folders(self, names: Iterable[str]) -> None:
        """Those of them that are empty. Safe to repeat."""
        ...


class LocalShelf:
    """A server's output folder on a disk of this host. Never leaves the folder, and follows no link in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> list[ServerFile]:
        found = [*self._of("", _entries(self.folder))]
        for folder in self._folders():
            found += self._of(f"{_BURST}/{folder.name}/", _entries(folder))
        return found

    def is_one_of(self, file: ServerFile, inodes: Collection[tuple[int, int]]) -> bool:
        with contextlib.suppress(OSError):
            return inode_of(self.folder / file.path) in inodes
        return False

    def holds(self, file: ServerFile, digests: Collection[str]) -> bool:
        if not digests:
            return False
        path = self.folder / file.path
        try:
            return path.lstat().st_size == file.bytes and sha256_of(path) in digests
        except FileNotFoundError:
            return False

    def remove(self, file: ServerFile) -> None:
        (self.folder / file.path).unlink(missing_ok=True)

    def empty_folders(self, *, without: Collection[str] = ()) -> list[str]:
        return [
            folder.name
            for folder in self._folders()
            if all(f"{_BURST}/{folder.name}/{entry.name}" in without for entry in _entries(folder))
        ]

    def remove_folders(self, names: Iterable[str]) -> None:
        for name in names:
            # Something may have been saved there just now.
            with contextlib.suppress(OSError):
                (self.folder / _BURST / name).rmdir()

    def _folders(self) -> list[Path]:
        folders = (entry for entry in _entries(self.folder / _BURST) if _FOLDER.fullmatch(entry.name))
        return sorted(Path(entry.path) for entry in folders if entry.is_dir(follow_symlinks=False))

    @staticmethod
    def _of(before: str, entries: Iterator[os.DirEntry[str]]) -> Iterator[ServerFile]:
        for entry in entries:
            path = before + entry.name
            prompt_id = templates.prompt_of_file(path)
            if prompt_id is not None and entry.is_file(follow_symlinks=False):
                yield ServerFile(path, entry.stat(follow_symlinks=False).st_size, prompt_id)


def inode_of(path: Path) -> tuple[int, int]:
    """What is the same for all names of one file. Errors: OSError."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder; nothing in one that is a link or is not there."""
    if folder.is_symlink() and folder.name == _BURST:
        return
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from entries
