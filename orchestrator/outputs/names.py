"""Where an item's outputs go. No name leaves the output directory, whether it comes from a person or from a server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import overload

from orchestrator.errors import OutputRefused
from orchestrator.places import Place
from state.file_names import stem_of

LONGEST_NAME_BYTES = 255
LONGEST_PATH_BYTES = 4000
_SAFE_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,16}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z", re.IGNORECASE)
_SAFE_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
TEMPORARY = ".burst-"
SIDECARS = (".txt", ".json")
"""What a sidecar's name ends in, which says its form."""


def output_names(subfolder: str, filename: str, extensions: Sequence[str]) -> list[PurePosixPath]:
    """One name for each extension, relative to the output directory: `a.png`, `a_002.png`, `a_003.txt`.

    Errors: OutputRefused for a name that would leave the directory, or that a file system does not take.
    """
    folder, stem = checked_folder(subfolder), _checked_stem(filename)
    names = []
    for number, extension in enumerate(extensions, 1):
        if not _SAFE_EXTENSION.match(extension):
            raise OutputRefused(f"{extension!r} is not an output extension; it must be a dot, letters and digits")
        name = numbered_stem(stem, number) + extension
        path = folder / name
        _check_length(filename, name, path)
        names.append(path)
    return names


def numbered_stem(stem: str, number: int) -> str:
    """The name of an item's n-th output, from 1, without its extension: `a`, `a_002`, `a_003`."""
    return f"{stem}_{number:03d}" if number > 1 else stem


def checked_folder(subfolder: str) -> PurePosixPath:
    """A subfolder relative to the output directory; `""` is the directory itself. Errors: OutputRefused."""
    _check_characters("subfolder", subfolder)
    if subfolder.startswith("/"):
        raise OutputRefused(f"the subfolder {subfolder!r} is absolute; give one relative to the output directory")
    parts = [part for part in subfolder.split("/") if part not in ("", ".")]
    for part in parts:
        if part == "..":
            raise OutputRefused(f"the subfolder {subfolder!r} leaves the output directory; take the .. out")
        if _RESERVED.match(part):
            raise OutputRefused(f"the subfolder {subfolder!r} holds the reserved name {part!r}; choose another")
        if len(part.encode()) > LONGEST_NAME_BYTES:
            raise OutputRefused(f"a name in {subfolder[:60]!r}… is over {LONGEST_NAME_BYTES} bytes; shorten it")
    return PurePosixPath(*parts)


def sidecar_name(path: str) -> PurePosixPath:
    """The name of a sidecar, relative to the output directory. Errors: OutputRefused."""
    folder, _, name = path.rpartition("/")
    extension = PurePosixPath(name).suffix
    if extension not in SIDECARS or path.startswith("/"):
        raise OutputRefused(
            f"the sidecar {path!r} must end in {' or '.join(SIDECARS)} and be relative to the output directory"
        )
    return output_names(folder, name, (extension,))[0]


def server_extension(filename: str) -> str:
    """The extension of a name that the server gave, or `.bin`: nothing else of that name is ever used here."""
    found = _SAFE_EXTENSION.search(PurePosixPath(filename).suffix)
    return found[0].lower() if found else ".bin"


def check_served(filename: str, subfolder: str) -> None:
    """Refuse to ask the server for a name that points out of its directories. Errors: OutputRefused.

    A Windows server sends its subfolders with backslashes, so those may be there.
    """
    parts = re.split(r"[/\\]", subfolder)
    leaves = ".." in parts or (subfolder[:1] in ("/", "\\")) or _DRIVE.match(subfolder)
    if leaves or _CONTROL.search(subfolder) or re.search(r"[/\\]|\.\.", filename) or _CONTROL.search(filename):
        raise OutputRefused(f"the server names an output {subfolder!r} / {filename!r}; such a path is not fetched")


def temporary_name(prompt_id: str, number: int) -> str:
    return f"{temporary_prefix(prompt_id)}{number}.part"


def temporary_prefix(prompt_id: str) -> str:
    """A server may choose the prompt_id, so one that is no plain word is hashed."""
    word = prompt_id if _SAFE_ID.match(prompt_id) else hashlib.sha256(prompt_id.encode("utf-8", "replace")).hexdigest()
    return f"{TEMPORARY}{word}-"


@overload
def inside(output_dir: Path, recorded: str) -> Path: ...
@overload
def inside(output_dir: Place, recorded: str) -> Place: ...
def inside(output_dir: Place, recorded: str) -> Place:
    """The file of a recorded path. Errors: OutputRefused for one that leaves the output directory."""
    folder, _, name = recorded.rpartition("/")
    _check_characters("output path", recorded)
    if name in ("", ".", "..") or recorded.startswith("/"):
        raise OutputRefused(f"the recorded output {recorded!r} leaves the output directory")
    return output_dir / checked_folder(folder) / name


def _checked_stem(filename: str) -> str:
    _check_characters("filename", filename)
    if "/" in filename:
        raise OutputRefused(f"the filename {filename!r} holds a /; use the subfolder for directories")
    stem = stem_of(filename)
    if stem.strip(" .") == "":
        raise OutputRefused(f"the filename {filename!r} has nothing before its extension; give it a name")
    if _RESERVED.match(stem) or stem.startswith(TEMPORARY):
        raise OutputRefused(f"the filename {filename!r} is a reserved name; choose another")
    return stem


def _check_characters(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OutputRefused(f"the {what} {text!r} is not Unicode text; rename it") from None
    if _CONTROL.search(text):
        raise OutputRefused(f"the {what} {text!r} holds a control character; rename it")
    if "\\" in text or _DRIVE.match(text):
        raise OutputRefused(f"the {what} {text!r} holds a backslash or a drive letter; use / and relative names")


def _check_length(filename: str, name: str, path: PurePosixPath) -> None:
    if len(name.encode()) > LONGEST_NAME_BYTES:
        raise OutputRefused(f"the output name for {filename[:60]!r}… is over {LONGEST_NAME_BYTES} bytes; shorten it")
    if len(str(path).encode()) > LONGEST_PATH_BYTES:
        raise OutputRefused(f"the output path for {filename[:60]!r} is over {LONGEST_PATH_BYTES} bytes; shorten it")
