"""Graphs that came with pictures instead of a template's name: kept beside the state, where their items find them."""

from __future__ import annotations

import json
from pathlib import Path

import templates
from state.disk import Disk
from state.location import Location
from templates import Graph


def name_beside(state: Path, graph: Graph | None) -> str:
    """What a graph is called as a template: where it is to be kept, from the state's directory on."""
    assert graph is not None
    location = Location.of(state)
    path = location.aside("templates") / f"{templates.fingerprint(graph)[:16]}.json"
    return path.relative_to(location.home).as_posix()


def save_workflow(graph: Graph, path: Path) -> None:
    """Whole and durable on return, before any item names it. Safe to repeat, not by two at once. Errors: DiskFull."""
    disk = Disk()
    if disk.stamp(path) is not None:
        return
    disk.make_directory(path.parent)
    temporary = path.with_suffix(".tmp")
    with disk.create(temporary) as handle:
        handle.write(json.dumps(graph, indent=1, ensure_ascii=False).encode())
        handle.sync()
    disk.replace(temporary, path)
