"""The address of a state."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from state.json.folder import burst_folder


@dataclass(frozen=True)
class Location:
    """The address of a state, which may not exist yet."""

    path: Path
    """The state file: absolute, with links resolved."""

    @classmethod
    def of(cls, location: Location | Path | str) -> Location:
        return location if isinstance(location, Location) else cls(Path(os.path.realpath(location)))

    @property
    def home(self) -> Path:
        """The directory to which the paths of the state are relative."""
        return self.path.parent

    def shown(self) -> str:
        """The address for messages; never contains a password."""
        return str(self.path)

    def auxiliary(self, name: str) -> Path:
        """The path of a cache, log or other file that is not part of the state. Not created."""
        return burst_folder(self.path) / name
