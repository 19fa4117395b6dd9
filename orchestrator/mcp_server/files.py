"""Which files of this host an agent may name: those below the directories that the user allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import UsageError, located
from orchestrator.wording import named


class AllowedFiles:
    """Files below some directories, links followed. A relative path is seen from the first of them."""

    def __init__(self, roots: Sequence[Path]) -> None:
        """Errors: UsageError for one that is no directory."""
        for root in roots:
            if not root.is_dir():
                raise UsageError(f"{named('roots')} {root}: there is no such directory")
        self.roots = tuple(root.resolve() for root in roots)

    def file(self, name: str) -> Path:
        """Errors: UsageError."""
        path = self._inside(name)
        if not path.is_file():
            raise UsageError(f"{name}: there is no such file below {self._shown()}")
        return path

    def directory(self, name: str) -> Path:
        """Errors: UsageError."""
        path = self._inside(name)
        if not path.is_dir():
            raise UsageError(f"{name}: there is no such directory below {self._shown()}")
        return path

    def _inside(self, name: str) -> Path:
        if not self.roots:
            raise UsageError("no files may be read here; start `burst mcp --root DIR` to allow a directory")
        # A path that leads elsewhere is refused in the same words whether it is there or not.
        with located(name, OSError, ValueError, RuntimeError, into=UsageError):
            path = (self.roots[0] / name).resolve()
        if not any(path.is_relative_to(root) for root in self.roots):
            raise UsageError(f"{name}: only files below {self._shown()} may be read (`burst mcp --root DIR` adds one)")
        return path

    def _shown(self) -> str:
        return ", ".join(map(str, self.roots))
