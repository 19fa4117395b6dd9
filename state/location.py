"""Where a state is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from state.json.folder import burst_folder


@dataclass(frozen=True)
class Location:
    """A state's address; it need not exist yet."""

    path: Path
    """The state file, absolute, links followed."""

    @classmethod
    def of(cls, location: Location | Path | str) -> Location:
        return location if isinstance(location, Location) else cls(Path(location).resolve())

    @property
    def home(self) -> Path:
        """The directory that the state's relative paths start from."""
        return self.path.parent

    def shown(self) -> str:
        """For messages; never holds a password."""
        return str(self.path)

    def aside(self, name: str) -> Path:
        """A place beside the state for files that hold nothing of it, such as caches and logs. Not created."""
        return burst_folder(self.path) / name
