"""What lies between a download and its place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec

from orchestrator.places import Place
from state.item import OutputRecord


class Placed(msgspec.Struct, frozen=True):
    """An output in its place. `path` is relative to the output directory."""

    path: Path
    bytes: int
    sha256: str

    def as_record(self) -> OutputRecord:
        return OutputRecord(path=self.path.as_posix(), bytes=self.bytes, sha256=self.sha256)


class Written(msgspec.Struct, frozen=True):
    """A file that was filled. `start`: its first `containers.START_BYTES`, where it came from a server."""

    size: int
    sha256: str
    start: bytes = b""


class Own(msgspec.Struct, frozen=True):
    """How an item knows its own files: by the paths in its record, or by the prompts that saved them."""

    paths: Collection[str]
    prompt_ids: tuple[str, ...]


class Waiting(msgspec.Struct, frozen=True):
    """A synced temporary file, where it goes, and what it will be there."""

    temporary: Path
    target: Place
    placed: Placed


class Sidecar(msgspec.Struct, frozen=True):
    """What is to be said of an item's outputs in a file of its own. `path` is relative to the output directory."""

    path: str
    told: Callable[[Sequence[OutputRecord]], str]
    """Its text, once the outputs are known."""


class Fetched(msgspec.Struct, frozen=True):
    """All outputs of one item, whole, checked and synced under temporary names: to be placed or discarded."""

    waiting: tuple[Waiting, ...]
    own: Own
