"""Small file systems that can be full, read-only or gone. Mounting them takes root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system takes root")


class Mounts:
    """What one test mounts; all of it is gone after `close`."""

    def __init__(self, directory: Path) -> None:
        """`directory`: where file systems that have a name alone are mounted."""
        self._directory = directory
        self._mounted: list[Path] = []

    def tmpfs(self, place: str | Path, size_kib: int) -> Path:
        """A file system of so many KiB at this place, or in a directory of this name. Skips where it cannot be made."""
        where = self._directory / place
        where.mkdir(parents=True, exist_ok=True)
        self._mount(where, "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs")
        return where

    def bind(self, source: Path, place: Path) -> None:
        """Show what is at `source` at this place, too."""
        place.mkdir(parents=True, exist_ok=True)
        self._mount(place, "--bind", str(source))

    def read_only(self, place: Path, *, is_so: bool = True) -> None:
        subprocess.run(["mount", "-o", f"remount,{'ro' if is_so else 'rw'}", str(place)], check=True)

    def unmount(self, place: Path) -> None:
        """Also while it is in use."""
        self._mounted.remove(place)
        subprocess.run(["umount", "--lazy", str(place)], check=True)

    def close(self) -> None:
        for place in reversed(self._mounted.copy()):
            self.unmount(place)

    def _mount(self, place: Path, *arguments: str) -> None:
        if subprocess.run(["mount", *arguments, str(place)], capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
        self._mounted.append(place)


def fill(place: Path, *, leave_bytes: int = 0) -> Path:
    """Use the space up, but for so many bytes, in whole pages; the file that does."""
    ballast = place / "ballast"
    free = shutil.disk_usage(place).free - leave_bytes
    ballast.write_bytes(b"\0" * max(0, free))
    return ballast
