"""UI files of our own, converted as ComfyUI's own frontend converted them once (`tests/ui_format/record.py`)."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.ui_files import BOTH, NEWER, files_for

from templates.catalogue import read_catalogue
from templates.ui import convert

RECORDED = Path(__file__).parent.parent / "data/ui_format"
VERSIONS = ("0.3.64", "0.33.0")


@functools.cache
def recorded(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{version}.json").read_text())
    return found


CASES = [(version, make) for version in VERSIONS for make in files_for(version)]


@pytest.mark.parametrize(("version", "make"), CASES, ids=lambda each: getattr(each, "__name__", each))
def test_the_graph_is_the_one_that_the_editor_queues(version: str, make: Callable[[], dict[str, Any]]) -> None:
    ours = convert(make(), read_catalogue(recorded(version)["classes"]), where="file.json")
    theirs = recorded(version)["graphs"][make.__name__]
    named = {str(node["id"]) for node in make()["nodes"] if node.get("title")}
    for graph in (ours, theirs):
        for node_id, node in graph.items():
            # A title that nobody gave is the class's name, which newer editors translate.
            node["_meta"] = node["_meta"] if node_id in named else None
    assert ours == theirs
    assert ours


def test_every_recorded_graph_has_its_file() -> None:
    assert recorded("0.33.0")["graphs"].keys() == {make.__name__ for make in (*BOTH, *NEWER)}
    assert recorded("0.3.64")["graphs"].keys() == {make.__name__ for make in BOTH}
