"""Are the recorded outputs still what was recorded?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from orchestrator.errors import OutputRefused
from orchestrator.outputs import names, wholeness
from orchestrator.outputs.containers import Kind, kind_of
from orchestrator.outputs.listed_objects import ListedObjects
from orchestrator.outputs.ownership import sha256_of
from orchestrator.places import ObjectPath, Place
from state.item import OutputRecord

ProblemKind = Literal["missing", "cut", "changed", "refused", "unknown", "damaged"]


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a recorded output."""

    path: str
    kind: ProblemKind
    message: str


def verify(
    output_dir: Place, outputs: Iterable[OutputRecord], *, full: bool, listed: ListedObjects | None = None
) -> list[Problem]:
    """What of an item's recorded outputs is missing or cut; with `full`, also what has other bytes. Changes nothing.

    `listed`: an object that it has in its recorded size is not asked for.
    """
    return [problem for output in outputs if (problem := _problem(output_dir, output, full=full, listed=listed))]


def damaged(output_dir: Place, outputs: Iterable[OutputRecord]) -> list[Problem]:
    """Which of these, as they are recorded, are not whole: videos, audio, 3D and latents of before that was looked at.

    Images were decoded before they were recorded. What cannot be read is no finding. Changes nothing.
    """
    found = []
    for output in outputs:
        with contextlib.suppress(OSError, OutputRefused):
            path = names.inside(output_dir, output.path)
            is_image = kind_of(output.path) in (Kind.IMAGE, Kind.OTHER)
            fault = None if is_image else wholeness.fault_of(path.suffix.lower(), path)
            if fault is not None:
                found.append(Problem(output.path, "damaged", f"{path} {fault}, as it came from the server"))
    return found


def _problem(output_dir: Place, output: OutputRecord, *, full: bool, listed: ListedObjects | None) -> Problem | None:
    try:
        path = names.inside(output_dir, output.path)
    except OutputRefused as error:
        return Problem(output.path, "refused", str(error))
    size = None
    if listed is not None and isinstance(path, ObjectPath) and isinstance(output_dir, ObjectPath):
        size = listed.size_of(output_dir, path)
    if size != output.bytes:
        size = _size_of(path)
    if size is None:
        return Problem(output.path, "missing", f"{path} is missing")
    if size != output.bytes:
        kind: ProblemKind = "cut" if size < output.bytes else "changed"
        return Problem(output.path, kind, f"{path} has {size} bytes, {output.bytes} were recorded")
    if full and sha256_of(path) != output.sha256:
        return Problem(output.path, "changed", f"{path} has the recorded size but other bytes")
    return None


def _size_of(path: Place) -> int | None:
    """None where there is no file."""
    if isinstance(path, ObjectPath):
        found = path.bucket.look(path.key)
        return None if found is None else found.size_bytes
    return path.stat().st_size if path.is_file() else None
