"""The address of a state."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import msgspec

from state.json.folder import burst_folder

_DATABASE = re.compile(r"(sqlite|postgresql|postgres)://")


class Location(msgspec.Struct, frozen=True):
    """The address of a state, which may not exist yet."""

    path: Path
    """The state file: absolute, with links resolved. Of a state on a database server: where this host keeps caches."""
    url: str | None = None
    """Of a state in a SQL database: `sqlite:///FILE` or `postgresql://…`, as it was given."""

    @classmethod
    def of(cls, location: Location | Path | str) -> Location:
        if isinstance(location, Location):
            return location
        given = str(location)
        found = _DATABASE.match(given)
        if found is None:
            return cls(Path(os.path.realpath(location)))
        if found[1] == "sqlite":
            return cls(Path(os.path.realpath(given.removeprefix("sqlite:///"))), given)
        digest = hashlib.sha256(given.encode()).hexdigest()[:16]
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(caches / "burst" / digest / "state", given)

    @property
    def home(self) -> Path:
        """The directory to which the paths of the state are relative."""
        if self.url is not None and not self.url.startswith("sqlite"):
            return Path.cwd()
        return self.path.parent

    def shown(self) -> str:
        """The address for messages; never contains a password."""
        if self.url is None or self.url.startswith("sqlite"):
            return str(self.path)
        return re.sub(r"(://[^:/@]*):[^@]*@", r"\1@", self.url).partition("?")[0]

    def auxiliary(self, name: str) -> Path:
        """The path of a cache, log or other file that is not part of the state. Not created."""
        return burst_folder(self.path) / name
