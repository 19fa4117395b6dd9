"""What the flags of `burst generate` spell: a size, settings, sweeps."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any

from orchestrator.batches.text_axis import fitted_axis, spelled_axis
from orchestrator.batches.values import fitted, sides
from orchestrator.batches.vocabulary import spelled
from orchestrator.errors import UsageError, located
from orchestrator.wording import named

_SELECTED = re.compile(r"(?:title|class)=[^.]*\.[^=]*(?==)")
"""The address in `title=Positive Prompt.text=a cat`, which has an `=` of its own."""


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of `1024x768`, in pixels. Errors: UsageError."""
    with located(named("size", text), UsageError):
        return sides(fitted("size", text))


def parse_set(text: str) -> tuple[str, Any]:
    """The name or address, and the value, of `3.steps=20`. Errors: UsageError."""
    name, value = _divided(text, field_name="sets", example="3.steps=20")
    with located(named("sets", text), UsageError):
        return name, fitted(name, value)


def parse_sweep(text: str) -> tuple[str, tuple[Any, ...]]:
    """The name, address or text, and the values, of `cfg=5,7,9` or `prompt:fox=fox,cat`.

    `"…"` stands around a value that holds a comma, as in CSV.

    Errors: UsageError.
    """
    name, listed = _divided(text, field_name="sweeps", example="cfg=5,7,9")
    place = named("sweeps", text)
    try:
        (values,) = csv.reader([listed], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise UsageError(f'{place}: write values with commas between, "…" around one that holds a comma') from error
    if not values or not all(value.strip() for value in values):
        raise UsageError(f"{place}: a value is empty; write it, or take out a comma")
    with located(place, UsageError):
        name = spelled_axis(name)
        return name, tuple(fitted_axis(name, value.strip()) for value in values)


def parse_sets(texts: Iterable[str]) -> dict[str, Any]:
    """What each `--set` says. Errors: UsageError, also for a name that is said twice."""
    return _once(map(parse_set, texts), field_name="sets")


def parse_sweeps(texts: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """What each `--sweep` says. Errors: UsageError, also for a name that is said twice."""
    return _once(map(parse_sweep, texts), field_name="sweeps")


def _divided(text: str, *, field_name: str, example: str) -> tuple[str, str]:
    selected = _SELECTED.match(text)
    name, equals, value = (selected[0], "=", text[selected.end() + 1 :]) if selected else text.partition("=")
    if not (name.strip() and equals):
        raise UsageError(
            f"{named(field_name, text)}: write NAME=VALUE or NODE.INPUT=VALUE, such as {named(field_name, example)}"
        )
    return spelled(name), value


def _once(pairs: Iterable[tuple[str, Any]], *, field_name: str) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in pairs:
        if name in said:
            raise UsageError(f"{named(field_name, key=name)} is given twice; give it once")
        said[name] = value
    return said
