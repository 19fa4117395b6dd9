"""UI files with a part taken away or replaced: a graph or one TemplateError, and nothing else ever."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.ui_files import BOTH, NEWER

from orchestrator.errors import TemplateError
from templates.catalogue import read_catalogue
from templates.embedded import embedded_documents
from templates.ui import classes_in, convert, sent_classes
from templates.workflow import parse_graph

DATA = Path(__file__).parent.parent / "data/ui_format"
CATALOGUES = [
    read_catalogue(json.loads((DATA / f"{name}.json").read_text())["classes"]) for name in ("0.3.64", "0.33.0")
]
FILES = [make() for make in (*BOTH, *NEWER)]
ODD = (
    None,
    True,
    -1,
    0,
    3,
    2**70,
    0.5,
    "",
    "x",
    "-10",
    [],
    [[]],
    [None],
    {},
    {"id": 1},
    "KSampler",
    "Reroute",
    "GetNode",
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in parts:
        yield from _places(inner, (*path, key))


PLACES = [list(_places(file)) for file in FILES]


def _has(holder: Any, key: Any) -> bool:
    if isinstance(holder, dict):
        return key in holder
    return isinstance(holder, list) and isinstance(key, int) and key < len(holder)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    at = draw(st.integers(0, len(FILES) - 1))
    document = copy.deepcopy(FILES[at])
    for path in draw(st.lists(st.sampled_from(PLACES[at]), min_size=1, max_size=4)):
        holder: Any = document
        for key in path[:-1]:
            holder = holder[key] if _has(holder, key) else None
        if _has(holder, path[-1]):
            holder[path[-1]] = draw(st.sampled_from(ODD))
    return document


@given(document=damaged(), newer=st.booleans())
def test_a_damaged_file_is_a_graph_or_one_error(document: dict[str, Any], newer: bool) -> None:
    catalogue = CATALOGUES[newer]
    try:
        classes_in(document, where="w.json")
        sent_classes(document, where="w.json")
        graph = convert(document, catalogue, where="w.json")
    except TemplateError as error:
        message = str(error)
    else:
        message = "w.json"
        if graph:
            parse_graph(graph, where="w.json")
            json.dumps(graph, allow_nan=False)
    assert message.startswith("w.json")


@given(
    data=st.binary(max_size=300),
    start=st.sampled_from(
        [b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPEXIF", b"\x1aE\xdf\xa3", b"\0\0\0\x10ftyp", b"\0\0\1\0moov"]
    ),
)
def test_no_bytes_are_more_than_no_workflow(data: bytes, start: bytes) -> None:
    assert embedded_documents(io.BytesIO(start + data)) == {}
