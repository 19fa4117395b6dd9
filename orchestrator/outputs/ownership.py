"""Whose file is it? Nothing but an item's own file is ever replaced."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import OutputDamaged, OutputRefused
from orchestrator.outputs.names import SIDECARS
from orchestrator.outputs.pictures import embedded_graph
from orchestrator.places import Place

if TYPE_CHECKING:
    from orchestrator.comfyui import OutputFile

_CHUNK_BYTES = 1 << 20
_LARGEST_SIDECAR_BYTES = 64 << 20


def refuse_foreign(file: OutputFile, temporary: Path, prompt_id: str) -> None:
    """Errors: OutputDamaged where the graph inside a picture says that another prompt saved it."""
    graph = embedded_graph(temporary)
    if graph is not None and not _saves_under(graph, (prompt_id,)):
        raise OutputDamaged(f"the server's {file.filename} is another prompt's image, not that of {prompt_id}")


def saved_by(path: Place, prompt_ids: Collection[str]) -> bool:
    """Does a graph inside this picture say that one of these prompts saved it, or a sidecar that it is about one?"""
    if path.suffix in SIDECARS:
        return _is_about(path, prompt_ids)
    graph = embedded_graph(path)
    return graph is not None and _saves_under(graph, prompt_ids)


def _is_about(sidecar: Place, prompt_ids: Collection[str]) -> bool:
    """By the one line on which either form names its prompt."""
    with sidecar.open("rb") as stream:
        lines = set(stream.read(_LARGEST_SIDECAR_BYTES).split(b"\n"))
    quoted = {prompt_id: json.dumps(prompt_id, ensure_ascii=False) for prompt_id in prompt_ids if prompt_id}
    marks = {f"prompt_id: {told}" for one in quoted.items() for told in one}
    marks |= {f' "prompt_id": {told},' for told in quoted.values()}
    return not lines.isdisjoint(mark.encode("utf-8", "replace") for mark in marks)


def is_there(path: Path) -> bool:
    """Also a dangling link: renaming over it would destroy it.

    Errors: OutputRefused for a name that this file system does not take, OSError.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise OutputRefused(
            f"the output name {path.name[:60]!r} or the way to it is too long for this file system; shorten it"
        ) from error
    return True


def what_blocks(directory: Path) -> str | None:
    """What stands where this directory is or should be; None where nothing is in the way. Errors: as `is_there`."""
    # In this order: another thread may be making it.
    if not is_there(directory) or directory.is_dir():
        return None
    return "a link that leads nowhere" if directory.is_symlink() else "a file"


def sha256_of(path: Place) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _saves_under(graph: Mapping[str, Any], prompt_ids: Collection[str]) -> bool:
    nodes = [node for node in graph.values() if isinstance(node, dict)]
    inputs = [node["inputs"] for node in nodes if isinstance(node.get("inputs"), dict)]
    prefixes = [prefix for given in inputs if isinstance(prefix := given.get("filename_prefix"), str)]
    return any(prompt_id and prompt_id in prefix for prompt_id in prompt_ids for prefix in prefixes)
