"""ComfyUI's folders (output, input and temp): naming saved files and finding requested ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

KINDS = ("output", "input", "temp")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


class NameRefused(Exception):
    """A name that /view or an upload rejects; `status` is the HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


@dataclass(frozen=True)
class SavePlace:
    """Where the next files with a prefix are saved."""

    folder: Path
    name: str
    counter: int
    subfolder: str

    def filename(self, index: int, *, suffix: str = ".png") -> str:
        """`<name>_00001_.png` and so on, like ComfyUI's own save nodes."""
        name = self.name.replace("%batch_num%", str(index))
        return f"{name}_{self.counter + index:05}_{suffix}"


class Files:
    """The three folders under one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        for kind in KINDS:
            self.folder(kind).mkdir(parents=True, exist_ok=True)

    def folder(self, kind: str) -> Path:
        return self.directory / kind

    def wipe(self, kind: str) -> None:
        """Empty a folder."""
        shutil.rmtree(self.folder(kind), ignore_errors=True)
        self.folder(kind).mkdir(parents=True, exist_ok=True)

    def save_place(self, prefix: str, *, kind: str, width: int, height: int) -> SavePlace:
        """The folder, created if missing, and the next free number. Errors: ValueError if it is outside."""
        prefix = os.path.normpath(_filled(prefix, width=width, height=height))
        subfolder, name = os.path.split(prefix)
        base = self.folder(kind)
        folder = Path(os.path.abspath(base / subfolder))
        if not folder.is_relative_to(base):
            raise ValueError(
                "**** ERROR: Saving image outside the output folder is not allowed."
                f"\n full_output_folder: {folder}\n         output_dir: {base}"
                f"\n         commonpath: {os.path.commonpath((folder, base))}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        taken = [_number(entry, name) for entry in os.listdir(folder) if entry.startswith(f"{name}_")]
        return SavePlace(folder, name, max(taken, default=0) + 1, subfolder)

    def find(self, filename: str, *, kind: str, subfolder: str | None) -> Path:
        """The file requested by GET /view. Errors: NameRefused 400, 403 or 404."""
        filename, kind = annotated(filename, kind)
        if not filename or filename.startswith("/") or ".." in filename or kind not in KINDS:
            raise NameRefused(400)
        base = self.folder(kind)
        folder = base if subfolder is None else Path(os.path.abspath(base / subfolder))
        if not folder.is_relative_to(base):
            raise NameRefused(403)
        found = folder / os.path.basename(filename)
        if not found.is_file():
            raise NameRefused(404)
        return found

    def input_file(self, name: str) -> Path:
        """The file of a LoadImage node's input: `sub/b.png`, or `b.png [output]` in another folder."""
        name, kind = annotated(name, "input")
        return self.folder(kind) / name

    def input_names(self) -> list[str]:
        """The images directly in the input folder, as listed by LoadImage."""
        entries = self.folder("input").iterdir()
        return sorted(entry.name for entry in entries if entry.suffix.lower() in _PICTURES and entry.is_file())

    def upload(self, filename: str, data: bytes, *, kind: str, subfolder: str, overwrite: bool) -> str:
        """Store an upload and return its name, numbered if other bytes have that name. Errors: NameRefused."""
        base = self.folder(kind)
        path = Path(os.path.abspath(base / os.path.normpath(subfolder) / filename))
        if kind not in KINDS or not path.is_relative_to(base) or path == base:
            raise NameRefused(400)
        path.parent.mkdir(parents=True, exist_ok=True)
        stem, suffix = os.path.splitext(filename)
        number = 0
        while not overwrite and path.exists() and path.read_bytes() != data:
            number += 1
            filename = f"{stem} ({number}){suffix}"
            path = path.with_name(os.path.basename(filename))
        path.write_bytes(data)
        return filename

    def fingerprint(self, name: str) -> str:
        """A hash of an input file's bytes, so that the cache detects another file with the same name."""
        path = self.input_file(name)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def annotated(name: str, kind: str) -> tuple[str, str]:
    """Split `b.png [output]` into name and folder; `kind` is the default."""
    for each in KINDS:
        mark = f"[{each}]"
        if name.endswith(mark):
            return name.removesuffix(mark).rstrip(), each
    return name, kind


def _filled(prefix: str, *, width: int, height: int) -> str:
    now = time.localtime()
    parts = {"width": str(width), "height": str(height), "year": str(now.tm_year)}
    parts |= {"month": f"{now.tm_mon:02}", "day": f"{now.tm_mday:02}", "hour": f"{now.tm_hour:02}"}
    parts |= {"minute": f"{now.tm_min:02}", "second": f"{now.tm_sec:02}"}
    for name, value in parts.items():
        prefix = prefix.replace(f"%{name}%", value)
    return prefix


def _number(entry: str, name: str) -> int:
    digits = entry[len(name) + 1 :].split("_")[0]
    return int(digits) if digits.isdecimal() else 0
