"""Object storage as an output root: files are staged on a local disk and put under free names, whole."""

from __future__ import annotations

import contextlib
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestrator.errors import DiskFull
from orchestrator.object_storage.bucket import LARGEST_BYTES, LARGEST_IN_ONE_BYTES, PROMPT_ID, SHA256
from orchestrator.outputs.names import TEMPORARY, temporary_prefix
from orchestrator.outputs.ownership import saved_by, sha256_of
from orchestrator.places import ObjectPath, Place
from state import operating_system
from state.disk import Disk, refusals

if TYPE_CHECKING:
    from orchestrator.outputs.fetched import Waiting

_A = TypeVar("_A")
_B = TypeVar("_B")

PUTS_AT_ONCE = 4
_PARTS = ".burst-parts"
"""Below the root: where large files are until they have their names."""
_CONTENT_TYPES = {
    ".png": "image/png",
    ".apng": "image/apng",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
}


class ObjectRoot:
    """See `OutputRoot`. What a `put` meets decides nothing where its answer was lost: then what is there is looked at.

    Each object's metadata names its SHA-256 and the prompt that made it.
    """

    commits_one_by_one = False
    largest_bytes: int | None = LARGEST_BYTES

    def __init__(self, path: ObjectPath, *, disk: Disk) -> None:
        self._path = path
        self._disk = disk

    def refuse_blocked(self, folder: Place) -> None:
        """Nothing can be in the way of a folder, which is only a part of names."""
        self._path.bucket.check()

    def prepare(self, folder: Place) -> None:
        self.make_staging(staging_directory())

    def staging(self, folder: Place) -> Path:
        """One for all: the names of temporary files are those of their prompts."""
        return staging_directory()

    def make_staging(self, staging: Path) -> None:
        """Errors: DiskFull, also where it is another user's."""
        with refusals(staging), contextlib.suppress(FileExistsError):
            staging.mkdir(mode=0o700)
        with refusals(staging):
            found = staging.lstat()
        if (
            not stat.S_ISDIR(found.st_mode)
            or not operating_system.is_own(found.st_uid)
            or found.st_mode & operating_system.OTHERS
        ):
            raise DiskFull(f"{staging}: not a private directory of this user; remove it, or set TMPDIR to another one")

    def is_directory(self, target: Place) -> bool:
        return False

    def holds_another(
        self, target: Place, *, replaceable: bool, sha256: str | None, prompt_ids: Collection[str]
    ) -> bool:
        if replaceable:
            return False
        found = _object(target).bucket.look(_object(target).key)
        if found is None or (sha256 is not None and found.sha256 == sha256):
            return False
        if found.prompt_id is not None and found.prompt_id in map(_plain, prompt_ids):
            return False
        return sha256_of(target) != sha256 and not saved_by(target, prompt_ids)

    def commit(self, one: Waiting, *, replace: bool, prompt_id: str) -> None:
        try:
            self._put(one, replace=replace, prompt_id=prompt_id)
        except FileExistsError:
            if not self._is_ours(one, prompt_id):
                raise
        with contextlib.suppress(DiskFull):
            self._disk.remove(one.temporary)

    def settle(self, folders: Iterable[Place]) -> None:
        """What was put is durable."""

    def move(self, source: Place, target: Place, *, is_own: bool) -> None:
        old, new = _object(source), _object(target)
        try:
            old.bucket.copy(old.key, new.key, replace=is_own)
        except FileExistsError:
            if not _are_same(old, new):
                raise
        old.unlink()

    def remove(self, target: Place) -> None:
        _object(target).unlink()

    def remove_parts(self, prompt_ids: Collection[str]) -> int:
        removed = 0
        for prompt_id in prompt_ids:
            for key in self._path.bucket.keys((self._parts_of(prompt_id)).key):
                self._path.bucket.delete(key)
                removed += 1
        return removed

    def each(self, function: Callable[[_A], _B], these: Sequence[_A]) -> list[_B]:
        if len(these) < 2:
            return [function(one) for one in these]
        with ThreadPoolExecutor(PUTS_AT_ONCE, thread_name_prefix="puts") as pool:
            return list(pool.map(function, these))

    def _put(self, one: Waiting, *, replace: bool, prompt_id: str) -> None:
        target = _object(one.target)
        if one.placed.bytes > LARGEST_IN_ONE_BYTES and not replace:
            aside = self._parts_of(prompt_id) / one.temporary.name
            target.bucket.put_in_parts(target.key, one.temporary, aside=aside.key)
            return
        kind = _CONTENT_TYPES.get(target.suffix)
        attributes = {SHA256: one.placed.sha256, PROMPT_ID: _plain(prompt_id)}
        attributes |= {"Content-Type": kind} if kind is not None else {}
        target.bucket.put(target.key, one.temporary, replace=replace, attributes=attributes)

    def _is_ours(self, one: Waiting, prompt_id: str) -> bool:
        """Whether what has the name is surely from a commit of this prompt, whose answer was lost.

        What was sent in parts does not tell: then it counts as somebody else's, and as the same bytes.
        """
        target = _object(one.target)
        found = target.bucket.look(target.key)
        return found is not None and (found.size_bytes, found.sha256, found.prompt_id) == (
            one.placed.bytes,
            one.placed.sha256,
            _plain(prompt_id),
        )

    def _parts_of(self, prompt_id: str) -> ObjectPath:
        return self._path / _PARTS / _plain(prompt_id)


def staging_directory() -> Path:
    """This user's own, on this host's disk for temporary files."""
    return Path(tempfile.gettempdir(), f"burst-{operating_system.user_id()}")


def _plain(prompt_id: str) -> str:
    """A server may choose it, and metadata travel in headers."""
    return temporary_prefix(prompt_id).removeprefix(TEMPORARY).removesuffix("-")


def _are_same(one: ObjectPath, other: ObjectPath) -> bool:
    """By their bytes: what was put in parts has no digest on it."""
    found, there = one.bucket.look(one.key), other.bucket.look(other.key)
    if found is None or there is None or found.size_bytes != there.size_bytes:
        return False
    if found.sha256 is not None and there.sha256 is not None:
        return found.sha256 == there.sha256
    return sha256_of(one) == sha256_of(other)


def _object(target: Place) -> ObjectPath:
    assert isinstance(target, ObjectPath)
    return target
