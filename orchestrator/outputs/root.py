"""The door to one output root, for whoever fills it: look, stage, commit, settle, remove.

A local directory (`LocalRoot`) and object storage (`ObjectRoot`) keep the same promises: a file appears under its name
whole or not at all, no file is replaced unasked, and after `settle` a checkpoint may name what was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from orchestrator.outputs.local_root import LocalRoot
from orchestrator.places import ObjectPath, Place

if TYPE_CHECKING:
    from orchestrator.outputs.claims import Claims
    from orchestrator.outputs.fetched import Waiting
    from state.disk import Disk

_A = TypeVar("_A")
_B = TypeVar("_B")


class OutputRoot(Protocol):
    """Of one output root. Any thread may use it."""

    commits_one_by_one: bool
    """Whether a commit is over in a moment, so that nothing else is done meanwhile."""
    largest_bytes: int | None
    """Of one file; None where there is no limit of its own."""

    def refuse_blocked(self, folder: Place) -> None:
        """Whether files can be placed in `folder`, there or not. Nothing is written.

        Errors: DiskFull where the root cannot be used, OutputRefused where something is in the way of this folder.
        """

    def prepare(self, folder: Place) -> None:
        """Make sure that files can be staged for `folder` and committed to it. Errors: as `refuse_blocked`."""

    def staging(self, folder: Place) -> Path:
        """The local directory of the temporary files of what goes into `folder`."""

    def make_staging(self, staging: Path) -> None:
        """Make that directory, also one that was removed in mid-run. Errors: DiskFull."""

    def is_directory(self, target: Place) -> bool:
        """Whether a directory stands at this place."""

    def holds_another(
        self, target: Place, *, replaceable: bool, sha256: str | None, prompt_ids: Collection[str]
    ) -> bool:
        """Whether something is there that must not be replaced: no file of these bytes, nor one of these prompts.

        `replaceable`: any file there may be. Errors: OutputRefused for a name that cannot be, DiskFull.
        """

    def commit(self, one: Waiting, *, replace: bool, prompt_id: str) -> None:
        """Give a staged file its name; without `replace`, a free name only.

        Errors: FileExistsError without `replace`; FileNotFoundError where the staged file is gone; DiskFull.
        """

    def settle(self, folders: Iterable[Place]) -> None:
        """What was committed to these folders is durable on return. Errors: SyncFailed."""

    def move(self, source: Place, target: Place, *, is_own: bool) -> None:
        """Give a file of this root another name of it, a free one, whole or not at all; durable on return.

        `is_own`: nobody else uses that name, so that what has it is from a move of before.

        Killed in between, an object has both names, and moving it again ends it. Errors: FileNotFoundError;
        FileExistsError; DiskFull.
        """

    def remove(self, target: Place) -> None:
        """Remove a file; no error if there is none. Errors: DiskFull."""

    def remove_parts(self, prompt_ids: Collection[str]) -> int:
        """Remove what a killed run left of these prompts under the root itself; how many files."""

    def each(self, function: Callable[[_A], _B], these: Sequence[_A]) -> list[_B]:
        """What `function` returns for each, in order: one after the other, or several at once."""


def root_at(path: Place, *, disk: Disk, claims: Claims) -> OutputRoot:
    """The door to this root."""
    if isinstance(path, ObjectPath):
        from orchestrator.outputs.object_root import ObjectRoot

        return ObjectRoot(path, disk=disk)
    return LocalRoot(path, disk=disk, making_directories=claims.making_directories)
