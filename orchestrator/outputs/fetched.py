"""What lies between a download and its place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from state.item import OutputRecord


@dataclass(frozen=True)
class Placed:
    """An output in its place. `path` is relative to the output directory."""

    path: Path
    bytes: int
    sha256: str

    def as_record(self) -> OutputRecord:
        return OutputRecord(path=self.path.as_posix(), bytes=self.bytes, sha256=self.sha256)


@dataclass(frozen=True)
class Own:
    """How an item knows its own files: by the paths in its record, or by the prompts that saved them."""

    paths: Collection[str]
    prompt_ids: tuple[str, ...]


@dataclass(frozen=True)
class Waiting:
    """A synced temporary file, where it goes, and what it will be there."""

    temporary: Path
    target: Path
    placed: Placed


@dataclass(frozen=True)
class Fetched:
    """All outputs of one item, whole, checked and synced under temporary names: to be placed or discarded."""

    waiting: tuple[Waiting, ...]
    own: Own
