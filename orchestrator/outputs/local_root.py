"""A local directory as an output root: files are staged beside their places, renamed, and synced by directory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestrator.errors import DiskFull, OutputRefused
from orchestrator.outputs.ownership import is_there, saved_by, sha256_of, what_blocks
from orchestrator.places import Place, local
from state.disk import Disk, refusals

if TYPE_CHECKING:
    from orchestrator.outputs.fetched import Waiting

_A = TypeVar("_A")
_B = TypeVar("_B")


class LocalRoot:
    """See `OutputRoot`."""

    commits_one_by_one = True
    largest_bytes: int | None = None

    def __init__(
        self, path: Path, *, disk: Disk, making_directories: contextlib.AbstractContextManager[object]
    ) -> None:
        """`making_directories`: held by who makes one, since another root may lie in it."""
        self._path = path
        self._disk = disk
        self._making_directories = making_directories
        self._prepared: set[Path] = set()

    def refuse_blocked(self, folder: Place) -> None:
        """Something else stands where a directory should be: in everybody's way, or in that of some items."""
        folder = local(folder)
        if folder in self._prepared:
            return
        with refusals(folder):
            if what := what_blocks(self._path):
                raise DiskFull(
                    f"{self._path}: the output directory is {what}; move it away or choose another directory"
                )
            inside = folder.relative_to(self._path)
            for place in (self._path / part for part in reversed((inside, *inside.parents))):
                if what := what_blocks(place):
                    raise OutputRefused(f"{place} is {what} where a directory should be; move it away")

    def prepare(self, folder: Place) -> None:
        folder = local(folder)
        if folder in self._prepared:
            return
        self.refuse_blocked(folder)
        self.make_staging(folder)
        self._prepared.add(folder)

    def staging(self, folder: Place) -> Path:
        return local(folder)

    def make_staging(self, staging: Path) -> None:
        # One thread at a time: another would find the directory there before its name is durable.
        with self._making_directories:
            self._disk.make_directory(staging)

    def is_directory(self, target: Place) -> bool:
        return local(target).is_dir()

    def holds_another(
        self, target: Place, *, replaceable: bool, sha256: str | None, prompt_ids: Collection[str]
    ) -> bool:
        target = local(target)
        with refusals(target):
            if not is_there(target):
                return False
            if target.is_dir():
                return True
            if replaceable:
                return False
            if not target.is_file():
                return True
            try:
                return sha256_of(target) != sha256 and not saved_by(target, prompt_ids)
            except PermissionError:
                return True

    def commit(self, one: Waiting, *, replace: bool, prompt_id: str) -> None:
        self._disk.rename(one.temporary, local(one.target), replace=replace)

    def settle(self, folders: Iterable[Place]) -> None:
        for folder in folders:
            self._disk.sync_directory(local(folder))

    def move(self, source: Place, target: Place, *, is_own: bool) -> None:
        folder = local(target).parent
        self.make_staging(folder)
        self._disk.rename(local(source), local(target), replace=False)
        self._disk.sync_directory(folder)

    def remove(self, target: Place) -> None:
        self._disk.remove(local(target))

    def remove_parts(self, prompt_ids: Collection[str]) -> int:
        return 0

    def each(self, function: Callable[[_A], _B], these: Sequence[_A]) -> list[_B]:
        return [function(one) for one in these]
