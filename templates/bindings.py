"""Bindings: the names that an item's values go by, and the inputs that each one sets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.errors import TemplateError, located
from templates.address import resolve_all
from templates.graph import Graph, Target, describe, link_of
from templates.roles import find_roles

NAMES = (
    "prompt",
    "negative",
    "seed",
    "steps",
    "cfg",
    "sampler",
    "scheduler",
    "model",
    "lora",
    "lora_strength",
    "width",
    "height",
    "batch_size",
    "image",
    "mask",
    "prefix",
)
"""The names that are found without being told; others may be added by an override."""

Bindings = Mapping[str, tuple[Target, ...]]
"""One name may set several inputs: the seeds of two samplers, `text_g` and `text_l` of one encoder."""

_LARGEST_BITS = 1023
"""What a float can hold surely. Python reads and writes no number of some thousand digits more."""
_WHOLE_NUMBERS = {"seed", "noise_seed", "steps", "width", "height", "batch_size"}


def find_bindings(graph: Graph, overrides: Mapping[str, str] = {}) -> dict[str, tuple[Target, ...]]:
    """What each name sets in this graph: found by its links, or told by `overrides` (name -> address, several with
    commas between).

    A name not in `NAMES` is allowed in `overrides`. A name for which nothing was found is left out. Raises
    `TemplateError` for an address that does not match.
    """
    found = find_roles(graph)
    automatic = {name: found[name] for name in NAMES if found.get(name)}
    return automatic | {name: _told(graph, name, addresses) for name, addresses in overrides.items()}


def _told(graph: Graph, name: str, addresses: str) -> tuple[Target, ...]:
    with located(f"binding {name!r}", TemplateError):
        return resolve_all(graph, addresses)


def bind(graph: Graph, bindings: Bindings, values: Mapping[str, Any]) -> Graph:
    """A copy of the graph with the values in their places; nodes that no value touches are shared with the original.

    A name may be an address (`3.steps`) that nothing is bound to; it then says more than a name for the same input. A
    value keeps the type of the literal that it replaces: `"7"` for 20 becomes 7. Raises `TemplateError` for a name
    that sets nothing here, or a value that does not fit.
    """
    bound = dict(graph)
    for name, value in sorted(values.items(), key=lambda told: told[0] not in bindings):
        for target in _targets(graph, bindings, name):
            if target.node_id not in bound:
                raise TemplateError(
                    f"binding {name!r}: node {target.node_id} is not in the workflow; find the bindings again"
                )
            node = bound[target.node_id]
            fitted = _fitted(
                node["inputs"].get(target.input_name), value, _place(graph, name, target), target.input_name
            )
            bound[target.node_id] = node | {"inputs": node["inputs"] | {target.input_name: fitted}}
    return bound


def touched_nodes(graph: Graph, bindings: Bindings, names: Iterable[str]) -> set[str]:
    """Ids of the nodes that values of these names and addresses go into. Raises `TemplateError` for a wrong address."""
    return {target.node_id for name in names for target in _found(graph, bindings, name)}


def _found(graph: Graph, bindings: Bindings, name: str) -> tuple[Target, ...]:
    return bindings.get(name) or (resolve_all(graph, name) if "." in name else ())


def _targets(graph: Graph, bindings: Bindings, name: str) -> tuple[Target, ...]:
    targets = _found(graph, bindings, name)
    if targets:
        return targets
    known = ", ".join(known for known, found in bindings.items() if found) or "none"
    raise TemplateError(
        f"nothing in this workflow is bound to {name!r} (bound are: {known}); bind it with --bind {name}=NODE.INPUT"
    )


def _place(graph: Graph, name: str, target: Target) -> str:
    return f'{name!r}: input "{target.input_name}" of node {describe(graph, target.node_id)}'


def _fitted(existing: object, value: object, place: str, input_name: str) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateError(f"{place} takes a finite number, not {value}")
    _refuse_endless(value, place)
    if not isinstance(value, str | int | float):
        raise TemplateError(f"{place} takes a text, a number or true/false, not {_shown(value)}")
    if isinstance(existing, bool):
        return _boolean(value, place)
    if isinstance(existing, int):
        return _number(value, place, whole=input_name in _WHOLE_NUMBERS)
    if isinstance(existing, float):
        return float(_number(value, place, whole=False))
    if isinstance(existing, str):
        return _text(value, place)
    if link_of(existing) and isinstance(value, str) and input_name in _WHOLE_NUMBERS:
        return _number(value, place, whole=True)
    return value


def _boolean(value: str | int | float, place: str) -> bool:
    spelled = str(value).strip().lower()
    if spelled not in ("true", "false", "1", "0"):
        raise TemplateError(f"{place} is true or false; {_shown(value)} is neither")
    return spelled in ("true", "1")


def _number(value: str | int | float, place: str, *, whole: bool) -> int | float:
    """An int where the value is whole; anything else is refused where the input's name wants a whole number.

    JSON does not tell a 7 that may become 7.5 from one that may not, so only the name can.
    """
    if isinstance(value, bool):
        raise TemplateError(f"{place} is a number; {_shown(value)} is not")
    try:
        number = _parsed(value) if isinstance(value, str) else value
    except ValueError as error:
        raise TemplateError(f"{place} is a number; {_shown(value)} is not") from error
    _refuse_endless(number, place)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    if whole and not isinstance(number, int):
        raise TemplateError(f"{place} is a whole number; {_shown(value)} is not")
    return number


def _refuse_endless(value: object, place: str) -> None:
    if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
        raise TemplateError(f"{place} takes a number of fewer digits than that")


def _parsed(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("not finite") from None
        return number


def _text(value: str | int | float, place: str) -> str:
    if isinstance(value, bool):
        raise TemplateError(f"{place} is a text; {_shown(value)} is not")
    return str(value)


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
