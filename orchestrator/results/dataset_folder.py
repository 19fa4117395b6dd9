"""A folder that an export fills: which files in it are its own, and how one gets there whole or not at all.

`.burst-export.jsonl` says what was written here, one line a file, and is written before the file has its name. A file
that it does not tell of is somebody else's; one that is not as it tells was changed by somebody. Neither is replaced.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from orchestrator.errors import UsageError
from orchestrator.formatting import folded
from state.disk import Disk, Handle, refusals
from state.write_lock import WriteLock

LIST = ".burst-export.jsonl"
METADATA = "metadata.jsonl"
_PART = ".burst-export.part"
_STREAM_PART = ".burst-export.metadata.part"
"""Of what is written while other files are."""
_LINK = "link:"

Placed = Literal["written", "unchanged", "kept"]
"""`kept`: somebody changed it since, so it stays as it is."""


class _Head(msgspec.Struct, frozen=True):
    """The first line: what the folder holds an export of."""

    burst_export: int
    state: str
    selection: str


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that was written, or is about to be."""

    file: str
    digest: str
    """SHA-256 of its bytes; of a link, `link:` and where it leads."""
    of: str = ""
    """The image that it is: its item and its path. Empty for other files."""


@dataclass(frozen=True)
class Content:
    """What a file is to hold."""

    pieces: Iterable[bytes]
    digest: str | None = None
    """SHA-256, where it is known."""
    link: Path | None = None
    """A link to this in place of the bytes."""


class DatasetFolder:
    """Open for one export at a time; see the module. Errors of all methods: UsageError, DiskFull, LockHeld."""

    def __init__(self, path: Path, *, state: str, selection: str, disk: Disk | None = None) -> None:
        self.path = path
        self._head = _Head(1, state, selection)
        self._disk = disk or Disk()
        self._digests: dict[str, set[str]] = {}
        """By file: of all that was ever written there."""
        self._last: dict[str, _Line] = {}
        self._names: dict[str, str] = {}
        """By image."""
        self._taken: dict[str, str] = {}
        """By folded stem: whose it is."""
        self._used: set[str] = set()
        """The files of this export."""
        self._list: Handle | None = None
        self._lock = WriteLock(path, disk=self._disk, name=".burst-export.lock")

    def __enter__(self) -> DatasetFolder:
        self._disk.make_directory(self.path)
        self._lock.__enter__()
        try:
            self._open()
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._list is not None:
            self._list.close()
        for part in (_PART, _STREAM_PART):
            self._disk.remove(self.path / part)
        self._lock.__exit__(None, None, None)

    def keep(self, name: str, digest: str) -> bool:
        """Whether a file of these bytes is there, which then stays."""
        if self._digest_of(name) != digest:
            return False
        self._used.add(name)
        return True

    def name_for(self, image: str, path: str) -> str:
        """The name of an image's file, the same each time; of two that a disk may take for one the later gets a number.

        `path`: of its output. Captions have the same stem, so stems differ.
        """
        if (known := self._names.get(image)) is not None:
            return known
        wanted = PurePosixPath(PurePosixPath(path).name)
        stem, number = wanted.stem, 1
        while self._taken.get(folded(stem), image) != image or stem.startswith(".burst-export"):
            number += 1
            stem = f"{wanted.stem}_{number}"
        self._taken[folded(stem)] = image
        name = f"{stem}{wanted.suffix}"
        self._names[image] = name
        return name

    def put(self, name: str, content: Content, *, image: str = "") -> Placed:
        """Bring a file to its place. Safe to repeat. Errors: UsageError for somebody else's file; OSError of a source.

        `image`: which one it is. What was changed since it was written stays as it is.
        """
        self._used.add(name)
        known, found = self._digests.get(name, set()), self._digest_of(name)
        link = f"{_LINK}{content.link}" if content.link is not None else None
        if found is not None and found == (content.digest if link is None else link):
            return "unchanged"
        if found is not None and found not in known:
            if known:
                return "kept"
            raise UsageError(self._in_the_way(name))
        digest = self._stage(content.pieces, _PART) if content.link is None else self._stage_link(content.link)
        self._note(_Line(name, digest, image))
        self._commit(_PART, name, replace=found is not None)
        return "written"

    def put_stream(self, name: str, pieces: Iterable[bytes]) -> None:
        """The same for a file that is made while others are put. Errors: also where it was changed since."""
        self._used.add(name)
        found = self._digest_of(name)
        if found is not None and found not in self._digests.get(name, ()):
            raise UsageError(self._in_the_way(name))
        digest = self._stage(pieces, _STREAM_PART)
        if digest != found:
            self._note(_Line(name, digest), sync=True)
            self._commit(_STREAM_PART, name, replace=found is not None)

    def text_of(self, name: str) -> str:
        """A text that is there."""
        return self._disk.read(self.path / name).decode("utf-8", "replace").strip()

    def remove_others(self) -> int:
        """Remove what earlier exports wrote here and this one did not, as far as nobody changed it; how many files."""
        count = 0
        for name in [name for name in self._digests if name not in self._used]:
            if self._digest_of(name) in self._digests[name]:
                self._disk.remove(self.path / name)
                count += 1
        return count

    def finish(self) -> None:
        """What is left to remember is the files of this export."""
        assert self._list is not None
        self._list.close()
        self._list = None
        lines = [self._head, *(self._last[name] for name in sorted(self._used) if name in self._last)]
        self._disk.write_whole(self.path / LIST, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        self._disk.sync_directory(self.path)

    def _open(self) -> None:
        place = self.path / LIST
        try:
            data = self._disk.read(place)
        except FileNotFoundError:
            data = b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole:
            self._read(place, whole.splitlines())
        self._list = self._disk.append_to(place, create=True)
        # A line that a kill tore is of a file that never got its name.
        self._list.truncate(len(whole))
        if not whole:
            self._list.write(msgspec.json.encode(self._head) + b"\n")

    def _read(self, place: Path, lines: list[bytes]) -> None:
        try:
            head = msgspec.json.decode(lines[0], type=_Head)
            known = [msgspec.json.decode(line, type=_Line) for line in lines[1:]]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{place}: not the list of an export: {error}; choose another folder") from error
        if head != self._head:
            raise UsageError(
                f"{self.path} holds the export of {head.selection!r} of {head.state}; choose another folder for "
                f"{self._head.selection!r}, or remove that one"
            )
        for line in known:
            self._remember(line)

    def _remember(self, line: _Line) -> None:
        self._digests.setdefault(line.file, set()).add(line.digest)
        self._last[line.file] = line
        if line.of:
            self._names[line.of] = line.file
            self._taken[folded(PurePosixPath(line.file).stem)] = line.of

    def _note(self, line: _Line, *, sync: bool = False) -> None:
        assert self._list is not None
        self._list.write(msgspec.json.encode(line) + b"\n")
        if sync:
            self._list.sync()
        self._remember(line)

    def _digest_of(self, name: str) -> str | None:
        """Of what stands there; None where nothing does."""
        place = self.path / name
        with refusals(place):
            if place.is_symlink():
                return f"{_LINK}{os.readlink(place)}"
            if not place.exists():
                return None
            if not place.is_file():
                return "no file"
            with place.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()

    def _stage(self, pieces: Iterable[bytes], part: str) -> str:
        """The SHA-256 of what is in the temporary file now, durably."""
        digest = hashlib.sha256()
        self._disk.remove(self.path / part)
        with self._disk.create(self.path / part) as handle:
            for piece in pieces:
                digest.update(piece)
                handle.write(piece)
            handle.sync()
        return digest.hexdigest()

    def _stage_link(self, target: Path) -> str:
        part = self.path / _PART
        self._disk.remove(part)
        with refusals(part):
            part.symlink_to(target)
        return f"{_LINK}{target}"

    def _commit(self, part: str, name: str, *, replace: bool) -> None:
        source, target = self.path / part, self.path / name
        try:
            if replace:
                with refusals(target):
                    os.replace(source, target)
            else:
                self._disk.rename(source, target, replace=False)
        except FileExistsError as error:
            raise UsageError(self._in_the_way(name)) from error

    def _in_the_way(self, name: str) -> str:
        what = "was changed since it was exported" if name in self._digests else "is not of this export"
        return f"{self.path / name} {what} and is not replaced; move it away, or choose another folder"
