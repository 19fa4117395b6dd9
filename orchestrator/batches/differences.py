"""What tells one image of a batch from the others, and what a batch of several prompts is called."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.batches.text_axis import text_axis
from orchestrator.batches.values import parted
from state.batch import BatchRecord
from state.item import Item

_SHARED = frozenset({"seed", "prompt", "prefix"})
_SHOWN_PROMPTS = 5
"""So many the record of a batch has."""


def differences(record: BatchRecord, item: Item) -> list[str]:
    """The values of its sweeps, its prompt where the batch has several, and what its row gave it; not its seed."""
    texts = texts_of(item)
    swept = {part for name, values in record.axes.items() for part in (name, *_parts(name, values))}
    found = [*_of_axes(record, item, texts)]
    several = len(record.prompts) > min(_SHOWN_PROMPTS, math.prod(len(record.axes.get(name, [None])) for name in texts))
    if several or (texts and len(found) < len(record.axes)):
        found.insert(0, written_prompt(item))
    own = item.inputs.keys() - record.parameters.keys() - swept - _SHARED
    found += [axis_words(name, item.inputs[name]) for name in item.inputs if name in own]
    return [words for words in found if words]


def title_of(prompts: Sequence[str]) -> str:
    """The only prompt, else the first few that the record has. `a fox · a cat · …`."""
    more = ["…"] if len(prompts) >= _SHOWN_PROMPTS else []
    return " · ".join([*prompts, *more]) if len(prompts) > 1 else "".join(prompts)


def texts_of(item: Item) -> Mapping[str, Any]:
    """What sweeps over texts put into it."""
    axes = item.dynamic.get("axes")
    return axes if isinstance(axes, dict) else {}


def written_prompt(item: Item) -> str:
    """As it was written, before sweeps over texts replaced anything; else as it is sent."""
    written = item.dynamic.get("texts") if texts_of(item) else None
    prompt = written.get("prompt") if isinstance(written, dict) else None
    return str(prompt if prompt is not None else item.own_text or item.inputs.get("prompt") or "").strip()


def axis_words(name: str, value: Any) -> str:
    """`cfg 7.5`; `fox → cat` of a sweep over texts."""
    axis = text_axis(name)
    return f"{name} {value}" if axis is None else axis.label(value)


def _of_axes(record: BatchRecord, item: Item, texts: Mapping[str, Any]) -> Iterator[str]:
    for name, values in record.axes.items():
        made = texts if name in texts else item.inputs
        for value in values:
            if all(made.get(part) == wanted for part, wanted in parted(name, value).items()):
                yield axis_words(name, value)
                break


def _parts(name: str, values: Sequence[Any]) -> Iterator[str]:
    if text_axis(name) is None and values:
        yield from parted(name, values[0])
