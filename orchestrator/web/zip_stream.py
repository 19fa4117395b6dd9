"""A ZIP that is made while it is sent: stored, for pictures are compressed already, and never whole anywhere."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO

from zipstream import ZipStream  # type: ignore[import-untyped]

from orchestrator.formatting import folded
from orchestrator.places import Place

MISSING = "missing.txt"
_CHUNK_BYTES = 256 << 10


def zipped(files: Iterable[tuple[str, Place | None]], *, beside: Mapping[str, bytes]) -> Generator[bytes, None, None]:
    """The archive's bytes, of files by their names in it; then what is to be `beside` them.

    Each file is opened when it is its turn, one at a time. One that is not there then (None: or is no file of ours) is
    left out and named in missing.txt. Closed in the middle, it lets go of its file. Errors: OSError while one is read.
    """
    archive, missing = ZipStream(), []
    for name, path in files:
        handle = _opened(path)
        if handle is None:
            missing.append(name)
            continue
        with handle:
            archive.add(_chunks(handle), name, size=_size_of(handle))
            yield from archive.file()
    for name, data in beside.items():
        archive.add(data, name)
    if missing:
        archive.add("\n".join(["Not there any more:", *missing, ""]), MISSING)
    yield from archive.finalize()


def names_in_zip(paths: Iterable[str], directory: str) -> dict[str, str]:
    """Recorded path → its name in the archive: as on the disk, from the batch's directory on.

    Two that a disk may take for one get different names.
    """
    recorded = list(dict.fromkeys(paths))
    wanted = (path.removeprefix(f"{directory}/") if directory else path for path in recorded)
    return dict(zip(recorded, different_names(wanted), strict=True))


def different_names(paths: Iterable[str]) -> list[str]:
    """Each of these as it is, or with a number where a disk may take it for one before it."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        wanted = PurePosixPath(path)
        name, number = str(wanted), 1
        while folded(name) in taken:
            number += 1
            name = str(wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}"))
        taken.add(folded(name))
        names.append(name)
    return names


def _opened(path: Place | None) -> IO[bytes] | None:
    try:
        return path.open("rb") if path is not None else None
    except OSError:
        return None


def _size_of(handle: IO[bytes]) -> int:
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    return size


def _chunks(handle: IO[bytes]) -> Iterator[bytes]:
    while chunk := handle.read(_CHUNK_BYTES):
        yield chunk
