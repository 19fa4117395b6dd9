"""settings.toml: defaults for items that specify nothing themselves."""

from __future__ import annotations

from pathlib import Path

from state.disk import Disk, Stamp


class SettingsFile:
    """See `state.store.SettingsDocument` for what each public method promises."""

    def __init__(self, folder: Path, *, disk: Disk) -> None:
        self._path = folder / "settings.toml"
        self._disk = disk

    def shown(self) -> str:
        return str(self._path)

    def stamp(self) -> Stamp | None:
        return self._disk.stamp(self._path)

    def exists(self) -> bool:
        return self.stamp() is not None

    def read(self) -> str | None:
        try:
            return self._path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, text: str) -> None:
        data = text.encode()
        self._disk.make_directory(self._path.parent)
        self._disk.write_whole(self._path, data)
