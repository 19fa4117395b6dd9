"""live.json and live_preview: what the run at work sees. Never synced, and removed at its end."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from orchestrator.errors import DiskFull
from state.disk import Disk
from state.live import Live

_decode = msgspec.json.Decoder(Live).decode


class LiveFile:
    """Written by one process, read by any."""

    def __init__(self, folder: Path, *, disk: Disk) -> None:
        self._path, self._preview_path = folder / "live.json", folder / "live_preview"
        self._disk = disk
        self._is_written = False

    def write(self, live: Live, *, preview: bytes | None) -> None:
        """What cannot be written is not shown. `preview`: a new one."""
        self._is_written = True
        with contextlib.suppress(OSError, DiskFull):
            if preview is not None:
                self._disk.write_whole(self._preview_path, preview, sync=False)
            self._disk.write_whole(self._path, msgspec.json.encode(live) + b"\n", sync=False)

    def read(self) -> Live | None:
        """None if there is none, or a damaged one."""
        try:
            return _decode(self._disk.read(self._path))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def preview(self) -> bytes | None:
        try:
            return self._disk.read(self._preview_path)
        except OSError:
            return None

    def remove(self) -> None:
        """What this object wrote."""
        if not self._is_written:
            return
        self._is_written = False
        with contextlib.suppress(OSError, DiskFull):
            self._disk.remove(self._path)
            self._disk.remove(self._preview_path)
