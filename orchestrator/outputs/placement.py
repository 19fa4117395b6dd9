"""The one door from an output directory and a path to a file: where an item's files are, and what lies there.

Nobody else joins the two. `Outputs` is how a run brings files to such a directory.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import OutputRefused
from orchestrator.outputs import names
from orchestrator.outputs.claims import Claims, RealPaths
from orchestrator.outputs.directory import Outputs
from orchestrator.outputs.fetched import Fetched, Placed
from orchestrator.outputs.verification import Problem, verify
from state.disk import Disk
from state.item import Item, OutputRecord

if TYPE_CHECKING:
    from state.batch import BatchRecord


class Placement:
    """Of one state. Any thread may use it; `place` one at a time."""

    def __init__(self, default: Path, *, home: Path, disk: Disk | None = None, overwrite: bool = False) -> None:
        """`default`: where the outputs of items are that name no other place. `home`: the state file's directory.

        `overwrite`: as of `Outputs`.
        """
        self.default = default
        self._home = home
        self._disk = disk or Disk()
        self._overwrite = overwrite
        self._real = RealPaths()
        self._claims = Claims(self._real)
        self._mutex = threading.RLock()
        self._outputs: dict[str, Outputs] = {}
        self._abandoned = False

    def roots(self) -> list[Path]:
        """Every directory that outputs of its items may be in, the default first."""
        return [self.default]

    def root_of(self, item: Item) -> Path:
        """The directory that the item's paths are relative to."""
        return self.default

    def path_of(self, item: Item, relative: str) -> Path:
        """One of its files. Errors: OutputRefused for a path that leaves its directory."""
        return names.inside(self.root_of(item), relative)

    def found(self, item: Item, relative: str) -> Path | None:
        """One of its files that is there, and that neither its name nor a link leads out of its directory."""
        return file_at(self.root_of(item), relative)

    def real_path_of(self, item: Item, relative: str) -> str:
        """Where a file of it lies once links are followed: the same for all ways to one place. Errors: as `path_of`."""
        return self._real.of(self.path_of(item, relative))

    def verify(self, item: Item, *, full: bool, outputs: Sequence[OutputRecord] | None = None) -> list[Problem]:
        """What of its recorded outputs, or of these of them, is not as recorded; see `verification.verify`."""
        return verify(self.root_of(item), item.outputs if outputs is None else outputs, full=full)

    def root_of_batch(self, batch: BatchRecord) -> Path:
        """The directory that a batch's own is relative to."""
        return self.default

    def directory_of(self, batch: BatchRecord) -> Path:
        """A batch's own directory. Errors: OutputRefused."""
        return self.root_of_batch(batch) / names.checked_folder(batch.directory)

    def batch_path(self, batch: BatchRecord, name: str) -> Path:
        """A file in a batch's own directory. Errors: OutputRefused."""
        return names.inside(self.directory_of(batch), name)

    def outputs_of(self, item: Item) -> Outputs:
        """What brings the item's files to their places."""
        return self.outputs_at(self.root_of(item))

    def outputs_at(self, root: Path) -> Outputs:
        """The same for a directory: one for all ways to it. They share what is promised, spared and abandoned."""
        real = self._real.directory(str(root))
        with self._mutex:
            if real not in self._outputs:
                made = Outputs(root, disk=self._disk, overwrite=self._overwrite, claims=self._claims)
                if self._abandoned:
                    made.abandon()
                self._outputs[real] = made
            return self._outputs[real]

    def place(self, fetched: Sequence[tuple[Item, Fetched]]) -> list[list[Placed] | OutputRefused]:
        """As `Outputs.place`, for items of any directories."""
        outcomes: dict[int, list[Placed] | OutputRefused] = {}
        groups: dict[Outputs, list[int]] = {}
        for position, (item, _) in enumerate(fetched):
            groups.setdefault(self.outputs_of(item), []).append(position)
        try:
            for outputs, positions in groups.items():
                placed = outputs.place([fetched[position][1] for position in positions])
                outcomes |= zip(positions, placed, strict=True)
        finally:
            for outputs, positions in groups.items():
                for position in positions:
                    outputs.discard(fetched[position][1])
        return [outcomes[position] for position in range(len(fetched))]

    def spare(self, items: Iterable[Item]) -> None:
        """Nothing replaces the outputs of these items, nor the images that they are made of."""
        self._claims.spare(place for item in items for place in self._never_replaced(item))

    def _never_replaced(self, item: Item) -> Iterator[Path]:
        yield from (self._home / upload for upload in item.upload_paths.values())
        for output in item.outputs:
            with contextlib.suppress(OutputRefused):
                yield self.path_of(item, output.path)

    def abandon(self) -> None:
        """As `Outputs.abandon`, for all of them."""
        with self._mutex:
            self._abandoned = True
            for outputs in self._outputs.values():
                outputs.abandon()


def path_at(root: Path, relative: str) -> Path:
    """A file below `root`, there or not. Errors: OutputRefused for a path that leaves it."""
    return names.inside(root, relative)


def directories_at(root: Path, relative: str) -> list[str]:
    """The names of the directories in one below `root` (`""`: in itself), sorted; links are none."""
    try:
        with os.scandir(root / names.checked_folder(relative)) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def leads_out(root: Path, relative: str) -> bool:
    """Whether something is there that its name or a link leads out of `root`."""
    return (root / relative).exists() and file_at(root, relative) is None


def file_at(root: Path, relative: str) -> Path | None:
    """A file below `root` that is there, and that neither its name nor a link leads out of it."""
    try:
        found = names.inside(root, relative).resolve(strict=True)
        home = root.resolve(strict=True)
    except (OutputRefused, OSError, RuntimeError, ValueError):
        return None
    return found if found.is_relative_to(home) and found.is_file() else None
