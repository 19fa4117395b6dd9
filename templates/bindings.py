"""Bindings: names for an item's values, and the inputs that each name sets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from orchestrator.errors import TemplateError, located
from orchestrator.wording import named
from templates.address import resolve_all, spelled
from templates.catalogue import Catalogue
from templates.graph import Graph, Target, describe, link_of
from templates.roles import find_roles

NAMES = (
    "prompt",
    "negative",
    "seed",
    "steps",
    "cfg",
    "guidance",
    "sampler",
    "scheduler",
    "denoise",
    "model",
    "lora",
    "lora_strength",
    "width",
    "height",
    "batch_size",
    "image",
    "mask",
    "video",
    "audio",
    "prefix",
)
"""The names that are detected automatically; overrides may add others."""

Bindings = Mapping[str, tuple[Target, ...]]
"""A name may set several inputs: the seeds of two samplers, or `text_g` and `text_l` of one encoder."""

_MOST_CHOICES = 6
_MAX_BITS = 1023
"""Always fits into a float. Python refuses to convert integers of a few thousand digits to or from text."""
_INTEGER_INPUTS = {"seed", "noise_seed", "steps", "width", "height", "batch_size"}


def find_bindings(
    graph: Graph, overrides: Mapping[str, str] = {}, *, catalogue: Catalogue | None = None
) -> dict[str, tuple[Target, ...]]:
    """The inputs that each name sets: detected from the graph's links, or given by `overrides` (name -> address, or
    several comma-separated ones; "" for the detected ones).

    `overrides` may contain names that are not in `NAMES`. Names without an input are left out. `catalogue`: the node
    classes of the server that renders; without it names alone are judged by. Errors: TemplateError for an address that
    does not match.
    """
    found = find_roles(graph, catalogue).bound
    automatic = {name: found[name] for name in NAMES if found.get(name)}
    return automatic | {name: _resolved(graph, name, addresses) for name, addresses in overrides.items() if addresses}


def find_candidates(graph: Graph, *, catalogue: Catalogue | None = None) -> dict[str, tuple[Target, ...]]:
    """Of each name that is not certain: the inputs that it may be meant to set, for somebody to choose from."""
    return dict(find_roles(graph, catalogue).candidates)


def probably_meant(name: str) -> str | None:
    """The name in `NAMES` that this one is a misspelling of; None for one of them, and for any other name.

    `seed2`, `prompt_b` and `hires_steps` are names of their own.
    """
    if name in NAMES:
        return None
    near = get_close_matches(name.lower(), NAMES, n=1, cutoff=0.8)
    is_own = any(re.fullmatch(rf"(.*[_-])?{known}([_-].*|\d+)?", name) for known in near)
    return near[0] if near and not is_own else None


def _resolved(graph: Graph, name: str, addresses: str) -> tuple[Target, ...]:
    with located(f"binding {name!r}", TemplateError):
        return resolve_all(graph, addresses)


def bind(graph: Graph, bindings: Bindings, values: Mapping[str, Any]) -> Graph:
    """A copy of the graph with the values set; nodes that no value changes are shared with the original.

    A name may also be an address (`3.steps`), which takes precedence over a binding that sets the same input. A value
    is converted to the type of the literal that it replaces: `"7"` for 20 becomes 7. Errors: TemplateError for a name
    that sets nothing in this graph, or a value of the wrong type.
    """
    bound = dict(graph)
    for name, value in sorted(values.items(), key=lambda pair: pair[0] not in bindings):
        for target in _targets(graph, bindings, name):
            if target.node_id not in bound:
                raise TemplateError(no_node(name, target))
            node = bound[target.node_id]
            converted = _converted(
                node["inputs"].get(target.input_name), value, _place(graph, name, target), target.input_name
            )
            bound[target.node_id] = node | {"inputs": node["inputs"] | {target.input_name: converted}}
    return bound


def no_binding(name: str, bindings: Bindings, *, advice: str | None = None, graph: Graph | None = None) -> str:
    """The message about a name that sets no input.

    `advice`: what to do about it, if not to bind the name. `graph`: where what the name may set is looked for.
    """
    available = ", ".join(known for known, targets in bindings.items() if targets) or "none"
    candidates = find_candidates(graph).get(name, ()) if graph is not None and advice is None else ()
    if graph is not None and candidates:
        return f"it is not certain what {name!r} sets in this workflow; {choice_of(graph, name, candidates)}"
    advice = advice or f"add one with {named('bindings', 'NODE.INPUT', key=name)} (see `burst template show`)"
    return f"this workflow has no binding {name!r} (available: {available}); {advice}"


def choice_of(graph: Graph, name: str, candidates: Sequence[Target]) -> str:
    """The advice to choose one of these inputs, each in a spelling that `--bind` takes as it stands."""
    shown = [named("bindings", spelled(graph, target), key=name) for target in candidates[:_MOST_CHOICES]]
    more = f" (and {len(candidates) - len(shown)} more)" if len(candidates) > len(shown) else ""
    return f"choose: {' or '.join(shown)}{more}"


def no_node(name: str, target: Target) -> str:
    """The message about a binding whose node is not in the graph."""
    return (
        f"binding {name!r} sets node {target.node_id}, which is not in the workflow; "
        f"set another one with {named('bindings', 'NODE.INPUT', key=name)}"
    )


def touched_nodes(graph: Graph, bindings: Bindings, names: Iterable[str]) -> set[str]:
    """Ids of the nodes that these names and addresses set inputs of. Errors: TemplateError for a wrong address."""
    return {target.node_id for name in names for target in _found(graph, bindings, name)}


def _found(graph: Graph, bindings: Bindings, name: str) -> tuple[Target, ...]:
    return bindings.get(name) or (resolve_all(graph, name) if "." in name else ())


def _targets(graph: Graph, bindings: Bindings, name: str) -> tuple[Target, ...]:
    targets = _found(graph, bindings, name)
    if targets:
        return targets
    raise TemplateError(no_binding(name, bindings))


def _place(graph: Graph, name: str, target: Target) -> str:
    return f'{name!r}: input "{target.input_name}" of node {describe(graph, target.node_id)}'


def _converted(existing: object, value: object, place: str, input_name: str) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateError(f"{place}: expected a finite number, got {value}")
    _check_digits(value, place)
    if not isinstance(value, str | int | float):
        raise TemplateError(f"{place}: expected a string, a number or true/false, got {_shown(value)}")
    if isinstance(existing, bool):
        return _boolean(value, place)
    if isinstance(existing, int):
        return _number(value, place, integer=input_name in _INTEGER_INPUTS)
    if isinstance(existing, float):
        return float(_number(value, place, integer=False))
    if isinstance(existing, str):
        return _text(value, place)
    if link_of(existing) and isinstance(value, str) and input_name in _INTEGER_INPUTS:
        return _number(value, place, integer=True)
    return value


def _boolean(value: str | int | float, place: str) -> bool:
    text = str(value).strip().lower()
    if text not in ("true", "false", "1", "0"):
        raise TemplateError(f"{place}: expected true or false, got {_shown(value)}")
    return text in ("true", "1")


def _number(value: str | int | float, place: str, *, integer: bool) -> int | float:
    """An int if the value is integral. Other values are refused if the input's name requires an integer.

    In JSON, a 7 that may become 7.5 looks like one that may not; only the input's name tells them apart.
    """
    if isinstance(value, bool):
        raise TemplateError(f"{place}: expected a number, got {_shown(value)}")
    try:
        number = _parsed(value) if isinstance(value, str) else value
    except ValueError as error:
        raise TemplateError(f"{place}: expected a number, got {_shown(value)}") from error
    _check_digits(number, place)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    if integer and not isinstance(number, int):
        raise TemplateError(f"{place}: expected a whole number, got {_shown(value)}")
    return number


def _check_digits(value: object, place: str) -> None:
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise TemplateError(f"{place}: the number has too many digits")


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
        raise TemplateError(f"{place}: expected a string, got {_shown(value)}")
    return str(value)


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
