"""The quick look at a file made by hand finds every fault that the slow one finds, and sounds no alarm for nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.errors import StateError
from state.json.snapshot import needs_thorough_check
from state.json.store import JsonStore

NAMES = st.sampled_from(["a", "b", "status", "a:b", ":", "\\u0061", "\\u003a", "a\\u003Ab", "\\\\u003a", "ä", ""])
STRINGS = st.sampled_from(["", ":", "http://a:1", "\\u003a", "\\\\u003a", '\\":', "{", "ä", "(fox:1.2)"])
SPACE = st.sampled_from(["", " ", "\n  "])


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    """JSON objects whose names may stand twice, in every spelling."""
    members = draw(st.lists(st.tuples(NAMES, SPACE, SPACE, values), max_size=4))
    return "{" + ",".join(f'"{name}"{before}:{after}{value}' for name, before, after, value in members) + "}"


SCALARS = STRINGS.map('"{}"'.format) | st.sampled_from(["1", "-2.5e3", "true", "null", "1e400"])
VALUES = st.recursive(
    SCALARS, lambda inner: objects(inner) | st.lists(inner, max_size=2).map(lambda found: f"[{','.join(found)}]")
)
STATES = objects(objects(VALUES) | SCALARS).map(str.encode)


def has_double_key(data: bytes) -> bool:
    double = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        double.append(len(dict(pairs)) < len(pairs))

    json.loads(data, object_pairs_hook=look)
    return any(double)


def looks_suspicious(data: bytes) -> bool:
    return needs_thorough_check(data, msgspec.json.decode(data, type=dict[str, msgspec.Raw]))


@given(data=STATES)
@example(data=b"{}")
@example(data=b'{"a": {"b": [1, {"c": 1}], "d": []}}')
@example(data=b'{"a": {"b": [{"c": 1, "c": 1}]}}')
@example(data=b'{"a": {"b": 1, "b" : "\\u003a"}}')
@example(data=b'{"a": {"b": {}, "b" : {"\\u003A": 1}}}')
@example(data=b'{"a": {"b": 1}, "a": {"b": ":"}}')
@example(data=b'{"a": {"b": 1, "\\u0062": 1}}')
@example(data=b'{"a": {"x": {"b": ":", "b": ":"}}}')
@example(data=b'{"a:": {"b": 1}, "a:": {"b": 1}}')
@example(data=b'{"a": {}, "a": "x"}')
def test_no_key_that_stands_twice_is_missed(data: bytes) -> None:
    assert looks_suspicious(data) or not has_double_key(data)


@pytest.mark.parametrize("value", ['{"x": 1}', '[":", {}]', '"a:b"', '"\\u003a"', '"ä"', "7"])
@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_one_member_is_missed_in_any_number_of_records(value: str, count: int) -> None:
    records = [f'"{number}": {{"a": {value}, "b": {value}}}' for number in range(count)]
    assert not looks_suspicious(f"{{{', '.join(records)}}}".encode())
    for spelled in ('"a"', '"\\u0061"'):
        double = [*records[:-1], records[-1].replace('"b"', spelled)]
        assert looks_suspicious(f"{{{', '.join(double)}}}".encode())
    assert looks_suspicious(f"{{{', '.join([*records, records[0]])}}}".encode())


TEXTS = st.text(max_size=20)
FIELDS = st.recursive(
    TEXTS | st.integers(-(2**63), 2**63) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(TEXTS, FIELDS, max_size=4)


@given(records=st.dictionaries(TEXTS, RECORDS, max_size=5), indent=st.sampled_from([None, 2]), plain=st.booleans())
@example(
    records={"http://a:1": {"server": "http://a:1", "prompt_text": '(fox:1.2), {a|b}: "x": '}}, indent=2, plain=False
)
def test_a_faultless_file_needs_no_close_look(records: dict[str, Any], indent: int | None, plain: bool) -> None:
    assert not looks_suspicious(json.dumps(records, indent=indent, ensure_ascii=plain).encode())


@pytest.mark.parametrize("before", ["", "x" * 5000, "ä"])
@pytest.mark.parametrize("field", [b'"x": {"y": "\xff"}', b'"\xff": 1', b'"x": "\xc3"'])
def test_bytes_that_are_not_utf_8_in_fields_that_nobody_reads_are_refused(
    tmp_path: Path, before: str, field: bytes
) -> None:
    path = tmp_path / "state.json"
    start = f'{{"a": {{"status": "pending", "w": "{before}", '.encode()
    path.write_bytes(start + field + b"}}")
    at = len(start) + field.index(b"\xff" if b"\xff" in field else b"\xc3")
    with pytest.raises(StateError, match=f"not UTF-8 at byte {at}"):
        JsonStore.open(path)
