"""LoRAs: parsing `NAME:STRENGTH`, and splicing LoRA loaders into a graph.

A loader goes between the node that loads the model and all nodes that use its model or text encoder: `LoraLoader`, or
`LoraLoaderModelOnly` in a graph without a text encoder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from orchestrator.errors import TemplateError
from orchestrator.wording import named
from templates.bindings import Bindings
from templates.graph import Graph, Link, describe, inputs_of, link_of, links
from templates.roles import sampling_links
from templates.tracing import CLIP_LINKS, MODEL_LINKS

_WITH_STRENGTH = re.compile(r"(.+):([+-]?(?:\d+\.?\d*|\.\d+))", re.DOTALL | re.ASCII)
_FILE_NAME_INPUT = re.compile(r"_name\d*$")


def parse_lora(text: str) -> tuple[str, float | None]:
    """The name and strength in `NAME` or `NAME:STRENGTH`; a colon without a number after it is part of the name.

    Errors: TemplateError for an empty name or an infinite strength.
    """
    found = _WITH_STRENGTH.fullmatch(text)
    name = (found[1] if found else text).strip()
    if not name or name.startswith(":"):
        raise TemplateError(f"{text!r} has no LoRA name; write NAME or NAME:STRENGTH")
    return name, _strength(found[2]) if found else None


def with_loras(graph: Graph, bindings: Bindings, values: Mapping[str, Any]) -> tuple[Graph, dict[str, Any]]:
    """The graph with loaders for the LoRAs in `values["lora"]`, and the remaining values, to be bound to that graph.

    `lora` is `NAME`, `NAME:STRENGTH` or a list of these. If the graph has a LoRA node, the first LoRA is bound to it;
    all others are spliced in, one after another. `lora_strength` applies to LoRAs without a strength of their own. The
    default strength is 1.0 for a spliced LoRA, and the template's value for a bound one.
    Errors: TemplateError.
    """
    if "lora" not in values:
        return graph, dict(values)
    rest = {name: value for name, value in values.items() if name not in ("lora", "lora_strength")}
    loras = _parsed_all(values["lora"], values.get("lora_strength"))
    if loras and bindings.get("lora"):
        (name, strength), *loras = loras
        rest |= {"lora": name} | ({} if strength is None else {"lora_strength": strength})
    for name, strength in loras:
        graph = splice_lora(graph, name, strength=1.0 if strength is None else strength)
    return graph, rest


def _parsed_all(value: object, default: object) -> list[tuple[str, float | None]]:
    loras = [parse_lora(_text(each)) for each in (value if isinstance(value, list) else [value])]
    if default is None:
        return loras
    if all(strength is not None for _, strength in loras):
        raise TemplateError(
            "'lora_strength' applies only to a LoRA without a strength of its own, and all have one; remove either"
        )
    return [(name, _strength(default) if strength is None else strength) for name, strength in loras]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TemplateError("'lora': expected NAME, NAME:STRENGTH or a list of these")
    return value


def _strength(value: object) -> float:
    try:
        strength = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        strength = math.nan
    if not math.isfinite(strength):
        raise TemplateError("the strength of a LoRA must be a finite number, such as 0.8")
    return strength


def splice_lora(graph: Graph, name: str, *, strength: float = 1.0) -> Graph:
    """A copy of the graph with one more LoRA loader; the strength applies to both model and text encoder.

    Unchanged nodes are shared with the original. Errors: TemplateError if no sampler uses a model, or if several nodes
    load one.
    """
    model_links, clip_links = sampling_links(graph)
    model = _only_source(graph, model_links, MODEL_LINKS, what="models")
    if model is None:
        raise TemplateError(
            f"cannot add the LoRA {name!r}: no sampler in this workflow uses a model that the workflow loads; "
            "use a template where one does"
        )
    clip = _only_source(graph, clip_links, CLIP_LINKS, what="text encoders")
    node_id = _free_id(graph)
    replaced = {model: [node_id, 0]} | ({clip: [node_id, 1]} if clip else {})
    relinked = {other: _relinked(node, replaced) for other, node in graph.items()}
    return relinked | {node_id: _loader(name, _strength(strength), model, clip)}


def _only_source(graph: Graph, starts: Iterable[Link], names: tuple[str, ...], *, what: str) -> Link | None:
    found = _sources(graph, starts, names)
    if len(found) > 1:
        nodes = ", ".join(dict.fromkeys(describe(graph, node_id) for node_id, _ in found))
        raise TemplateError(
            f"cannot add a LoRA: this workflow loads several {what} ({nodes}); add a LoraLoader node to it and bind "
            f"that with {named('bindings', 'NODE.lora_name', key='lora')}"
        )
    return found[0] if found else None


def _sources(graph: Graph, starts: Iterable[Link], names: tuple[str, ...]) -> list[Link]:
    """The origins of these links, followed back through every node with an input of one of these names."""
    queue = list(dict.fromkeys(starts))
    seen, found = set(queue), []
    for link in queue:
        node_id = link[0]
        origins = [origin for name, origin in links(graph, node_id) if name in names] or _rerouted(graph, node_id)
        if not origins and node_id in graph:
            found.append(link)
        queue += [origin for origin in dict.fromkeys(origins) if origin not in seen]
        seen.update(origins)
    return found


def _rerouted(graph: Graph, node_id: str) -> list[Link]:
    """The link of a node with a single input, such as a reroute; not the linked file name of a loader."""
    inputs = inputs_of(graph, node_id)
    if len(inputs) != 1:
        return []
    return [link for name, link in links(graph, node_id) if not _FILE_NAME_INPUT.search(name)]


def _free_id(graph: Graph) -> str:
    """A number that is not used as part of an id either: with a node `98:6`, `98` is taken."""
    taken = {part for node_id in graph for part in node_id.split(":")}
    return next(number for number in map(str, count(len(graph) + 1)) if number not in taken)


def _relinked(node: dict[str, Any], replaced: Mapping[Link, list[Any]]) -> dict[str, Any]:
    changed = {
        name: list(replaced[link])
        for name, value in node["inputs"].items()
        if (link := link_of(value)) is not None and link in replaced
    }
    return node | {"inputs": node["inputs"] | changed} if changed else node


def _loader(name: str, strength: float, model: Link, clip: Link | None) -> dict[str, Any]:
    inputs: dict[str, Any] = {"model": list(model), "lora_name": name, "strength_model": strength}
    if clip is None:
        return {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
    return {"class_type": "LoraLoader", "inputs": inputs | {"clip": list(clip), "strength_clip": strength}}
