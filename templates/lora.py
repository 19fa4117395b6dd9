"""LoRAs: how they are written, and loaders for them spliced into a graph that has none.

A loader goes between the node that loads the model and everything that takes the model, or its text encoder, from
there: `LoraLoader`, or `LoraLoaderModelOnly` where no text is encoded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from orchestrator.errors import TemplateError
from templates.bindings import Bindings
from templates.graph import Graph, Link, describe, inputs_of, link_of, links
from templates.roles import sampling_links
from templates.tracing import CLIP_LINKS, MODEL_LINKS

_WITH_STRENGTH = re.compile(r"(.+):([+-]?(?:\d+\.?\d*|\.\d+))", re.DOTALL | re.ASCII)
_NAMES_A_FILE = re.compile(r"_name\d*$")


def parse_lora(text: str) -> tuple[str, float | None]:
    """The name and the strength of `NAME` or `NAME:STRENGTH`; a colon that no number follows belongs to the name.

    Errors: TemplateError for no name, or a strength beyond all numbers.
    """
    found = _WITH_STRENGTH.fullmatch(text)
    name = (found[1] if found else text).strip()
    if not name or name.startswith(":"):
        raise TemplateError(f"{text!r} names no LoRA; write NAME or NAME:STRENGTH")
    return name, _strength(found[2]) if found else None


def with_loras(graph: Graph, bindings: Bindings, values: Mapping[str, Any]) -> tuple[Graph, dict[str, Any]]:
    """The graph with what `lora` asks for beyond its bindings, and the values that are left to be bound to it.

    `lora` is `NAME`, `NAME:STRENGTH` or a list of these. The first one is bound where the graph has a LoRA node; all
    others are spliced in, one after another. `lora_strength` is for those that say none themselves; one that nobody
    gives a strength has 1.0 where it is spliced in, and the template's where it is bound.
    Errors: TemplateError.
    """
    if "lora" not in values:
        return graph, dict(values)
    left = {name: value for name, value in values.items() if name not in ("lora", "lora_strength")}
    loras = _each(values["lora"], values.get("lora_strength"))
    if loras and bindings.get("lora"):
        (name, strength), *loras = loras
        left |= {"lora": name} | ({} if strength is None else {"lora_strength": strength})
    for name, strength in loras:
        graph = splice_lora(graph, name, strength=1.0 if strength is None else strength)
    return graph, left


def _each(value: object, common: object) -> list[tuple[str, float | None]]:
    loras = [parse_lora(_text(one)) for one in (value if isinstance(value, list) else [value])]
    if common is None:
        return loras
    if all(strength is not None for _, strength in loras):
        raise TemplateError("'lora_strength' is for a LoRA that does not say its own; give it no NAME:STRENGTH beside")
    return [(name, _strength(common) if strength is None else strength) for name, strength in loras]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TemplateError("'lora' takes a text, NAME or NAME:STRENGTH, or a list of these")
    return value


def _strength(value: object) -> float:
    try:
        strength = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        strength = math.nan
    if not math.isfinite(strength):
        raise TemplateError("the strength of a LoRA is a finite number, such as 0.8")
    return strength


def splice_lora(graph: Graph, name: str, *, strength: float = 1.0) -> Graph:
    """A copy of the graph with one more loader, which gives this LoRA the strength for model and text encoder alike.

    Other nodes are shared with the original where nothing in them changes. Errors: TemplateError where no sampler
    takes a model, or where several nodes load one.
    """
    model_links, clip_links = sampling_links(graph)
    model = _only_source(graph, model_links, MODEL_LINKS, what="models")
    if model is None:
        raise TemplateError(
            f"there is no place for the LoRA {name!r}: nothing in this workflow samples with a model that it loads; "
            "use a template that does"
        )
    clip = _only_source(graph, clip_links, CLIP_LINKS, what="text encoders")
    node_id = _free_id(graph)
    moved = {model: [node_id, 0]} | ({clip: [node_id, 1]} if clip else {})
    relinked = {other: _relinked(node, moved) for other, node in graph.items()}
    return relinked | {node_id: _loader(name, _strength(strength), model, clip)}


def _only_source(graph: Graph, starts: Iterable[Link], names: tuple[str, ...], *, what: str) -> Link | None:
    found = _sources(graph, starts, names)
    if len(found) > 1:
        nodes = ", ".join(dict.fromkeys(describe(graph, node_id) for node_id, _ in found))
        raise TemplateError(
            f"this workflow has several {what}, of {nodes}, so a LoRA cannot be added to it; put a LoraLoader where it "
            "belongs and bind it with --bind lora=NODE.lora_name"
        )
    return found[0] if found else None


def _sources(graph: Graph, starts: Iterable[Link], names: tuple[str, ...]) -> list[Link]:
    """Where these links begin, followed back through every node that passes on what it takes under one of the names."""
    waiting = list(dict.fromkeys(starts))
    seen, found = set(waiting), []
    for link in waiting:
        node_id = link[0]
        through = [further for name, further in links(graph, node_id) if name in names] or _rerouted(graph, node_id)
        if not through and node_id in graph:
            found.append(link)
        waiting += [further for further in dict.fromkeys(through) if further not in seen]
        seen.update(through)
    return found


def _rerouted(graph: Graph, node_id: str) -> list[Link]:
    """The one input of a reroute, whatever it is called; not the linked file name of a loader."""
    inputs = inputs_of(graph, node_id)
    if len(inputs) != 1:
        return []
    return [link for name, link in links(graph, node_id) if not _NAMES_A_FILE.search(name)]


def _free_id(graph: Graph) -> str:
    """A number that is no part of an id either: `98` is taken where there is a `98:6`."""
    taken = {part for node_id in graph for part in node_id.split(":")}
    return next(number for number in map(str, count(len(graph) + 1)) if number not in taken)


def _relinked(node: dict[str, Any], moved: Mapping[Link, list[Any]]) -> dict[str, Any]:
    changed = {
        name: list(moved[link])
        for name, value in node["inputs"].items()
        if (link := link_of(value)) is not None and link in moved
    }
    return node | {"inputs": node["inputs"] | changed} if changed else node


def _loader(name: str, strength: float, model: Link, clip: Link | None) -> dict[str, Any]:
    inputs: dict[str, Any] = {"model": list(model), "lora_name": name, "strength_model": strength}
    if clip is None:
        return {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
    return {"class_type": "LoraLoader", "inputs": inputs | {"clip": list(clip), "strength_clip": strength}}
