"""Which values tell images apart in a table: what a sweep varied, and what else differs among those that are listed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.batches.values import parts_of
from orchestrator.results.rendered import Rendered

MOST_COLUMNS = 4
_HAVE_COLUMNS = frozenset({"seed", "model", "lora", "lora_strength", "prompt", "negative", "filename_prefix"})
"""They stand in every line, or are texts too long for it."""
_FIRST = ("sampler", "scheduler", "steps", "cfg", "denoise", "width", "height")
_LONGEST = 24


def columns(rows: Sequence[Rendered]) -> list[str]:
    """Names of values, of which these images have several: those of sweeps first, then the usual ones."""
    found: dict[str, set[str]] = {}
    for one in rows:
        for name, value in one.values.items():
            if name not in _HAVE_COLUMNS:
                found.setdefault(name, set()).add(_text(value))
    differing = {name for name, values in found.items() if len(values) > 1}
    swept = dict.fromkeys(name for one in rows for name in _swept(one))
    in_order = (*swept, *_FIRST, *sorted(differing))
    return [name for name in dict.fromkeys(in_order) if name in differing][:MOST_COLUMNS]


def cells(one: Rendered, names: Collection[str] | None) -> Iterator[str]:
    """`cfg 7.5`. `names`: of the columns; None: what its own batch sweeps, for those who see one image at a time."""
    for name in _swept(one)[:MOST_COLUMNS] if names is None else names:
        if name in one.values:
            text = _text(one.values[name])
            yield f"{name} {text if len(text) <= _LONGEST else f'{text[: _LONGEST - 1]}…'}"


def _swept(one: Rendered) -> list[str]:
    axes: Mapping[str, Any] = one.batch.axes if one.batch is not None else {}
    names: Iterable[str] = (name for axis in axes for name in parts_of(axis))
    return [name for name in names if name not in _HAVE_COLUMNS]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
