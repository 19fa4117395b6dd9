"""Hypothesis strategies for damaged JSON and damaged bytes."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

LONE_SURROGATE = "\ud800"
"""JSON may spell it, UTF-8 cannot."""
HUGE = (2**63, 2**64, -(2**63) - 1, 10**30, 10**400)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from(HUGE),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["", ".", "..", "a/b", "true", "7", LONE_SURROGATE, "ä\n", "x" * 5000]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
"""Any JSON value, the huge ones and those that only Python takes (NaN) too."""

Place = tuple[Any, ...]


def nested(depth: int) -> Any:
    """Nested lists."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def places(value: Any, path: Place = ()) -> list[Place]:
    """The path to every part of a JSON value, except the value itself."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [found for key, part in inner for found in ((*path, key), *places(part, (*path, key)))]


def part(value: Any, path: Place) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def damaged(draw: st.DrawFn, whole: Any, *, most: int = 3) -> Any:
    """Copies of a JSON value with parts removed, replaced by another value or by a copy of another part."""
    spoiled = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, most))):
        there = places(spoiled)
        if not there:
            break
        *above, last = draw(st.sampled_from(there))
        holder = part(spoiled, tuple(above))
        match draw(st.sampled_from(["gone", "another", "another", "copied", "nested"])):
            case "gone":
                del holder[last]
            case "another":
                holder[last] = draw(JSON)
            case "copied":
                holder[last] = copy.deepcopy(part(spoiled, draw(st.sampled_from(there))))
            case "nested":
                holder[last] = nested(draw(st.sampled_from([3, 40, 400])))
    return spoiled


@st.composite
def damaged_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """Copies of some bytes: cut, with flipped bits, zeroed, partly repeated, or with other bytes inserted."""
    spoiled = bytearray(whole)
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(spoiled)))
        end = min(len(spoiled), at + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["cut", "flipped", "zeros", "doubled", "between", "gone"])):
            case "cut":
                del spoiled[at:]
            case "flipped":
                if spoiled:
                    spoiled[at % len(spoiled)] ^= draw(st.integers(1, 255))
            case "zeros":
                spoiled[at:end] = bytes(end - at)
            case "doubled":
                spoiled[at:at] = spoiled[at:end]
            case "between":
                spoiled[at:at] = draw(st.binary(max_size=5))
            case "gone":
                del spoiled[at:end]
    return bytes(spoiled)
