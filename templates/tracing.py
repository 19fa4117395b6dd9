"""Follow links upstream: to a literal, a prompt text, a model, the source of the image size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from templates.graph import Graph, Link, Target, class_of, inputs_of, link_of, links

Side = Literal["positive", "negative"]
ValueKind = Literal["text", "number"]

SEED_INPUTS = ("seed", "noise_seed")
SIZE_INPUTS = ("width", "height", "batch_size")
_VALUE_INPUTS = {
    "text": ("text", "string", "value", "prompt"),
    "number": ("value", "seed", "noise_seed", "int", "float", "number"),
}
_TEXT_INPUTS = (
    "text",
    "text_g",
    "text_l",
    "clip_l",
    "clip_g",
    "t5xxl",
    "llama",
    "bert",
    "mt5xl",
    "prompt",
    "user_prompt",
    "tags",
)
_SIDE_TEXT_INPUTS = {"positive": ("positive_prompt", "positive"), "negative": ("negative_prompt", "negative")}
_MODEL_INPUTS = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name")
MODEL_LINKS = ("model", "model1", "model2")
CLIP_LINKS = ("clip", "clip1", "clip2")
_IMAGE_INPUTS = ("latent_image", "latent", "samples", "pixels", "image", "images")
_MASK_INPUTS = ("mask", "masks", "noise_mask", "source_mask")


def literal(graph: Graph, node_id: str, name: str, kind: ValueKind) -> Target | None:
    """The input with the literal value of this one: itself, or an input of the primitive node that it is linked to."""
    seen: set[Target] = set()
    target = Target(node_id, name)
    while target not in seen:
        seen.add(target)
        value = inputs_of(graph, target.node_id).get(target.input_name)
        link = link_of(value)
        if link is None:
            return target if _has_kind(value, kind) else None
        following = _value_input(inputs_of(graph, link[0]), kind)
        if following is None:
            return None
        target = Target(link[0], following)
    return None


def _has_kind(value: object, kind: ValueKind) -> bool:
    return isinstance(value, str) if kind == "text" else isinstance(value, int | float) and not isinstance(value, bool)


def _value_input(inputs: dict[str, Any], kind: ValueKind) -> str | None:
    """The input of a linked node that becomes its output; None if that is ambiguous."""
    named = [name for name in _VALUE_INPUTS[kind] if name in inputs]
    if named or len(inputs) == 1:
        return [*named, *inputs][0]
    return None


def literals(graph: Graph, node_id: str, names: Iterable[str], kind: ValueKind) -> tuple[Target, ...]:
    """The results of `literal` for all inputs of the node with one of these names."""
    inputs = inputs_of(graph, node_id)
    found = (literal(graph, node_id, name, kind) for name in names if name in inputs)
    return tuple(dict.fromkeys(target for target in found if target))


def text_encoders(graph: Graph, start: Link, side: Side) -> Iterator[tuple[Target, ...]]:
    """The text inputs of each text encoder that this conditioning comes from, through any nodes in between.

    A node with conditioning inputs for both sides (ControlNetApplyAdvanced) outputs the positive one at slot 0 and the
    negative one at slot 1.
    """
    stack, seen = [start], {start}
    while stack:
        node_id, slot = stack.pop()
        sources = _conditioning(graph, node_id, slot, side)
        texts = () if sources else _texts(graph, node_id, side)
        if texts:
            yield texts
        elif not sources:
            sources = only_link(graph, node_id)
        new = [link for link in sources if link not in seen]
        seen.update(new)
        stack.extend(reversed(new))


def _conditioning(graph: Graph, node_id: str, slot: int, side: Side) -> list[Link]:
    linked = {
        name: link
        for name, link in links(graph, node_id)
        if name.startswith(("positive", "negative")) or "cond" in name
    }
    both = any(name.startswith("positive") for name in linked) and any(name.startswith("negative") for name in linked)
    if both:
        taken = ("positive", "negative")[slot] if slot in (0, 1) else side
        return [link for name, link in linked.items() if name.startswith(taken)]
    return list(linked.values())


def _texts(graph: Graph, node_id: str, side: Side) -> tuple[Target, ...]:
    own_side = literals(graph, node_id, _SIDE_TEXT_INPUTS[side], "text")
    return own_side or literals(graph, node_id, _TEXT_INPUTS, "text")


def only_link(graph: Graph, node_id: str) -> list[Link]:
    """The link of a node that has only one, such as a reroute."""
    found = [link for _, link in links(graph, node_id)]
    return found if len(found) == 1 else []


def model_chain(graph: Graph, start: Link) -> tuple[list[Target], list[str]]:
    """Model name inputs along `model` links, and the nodes that load a LoRA, nearest first."""
    models: list[Target] = []
    loras: list[str] = []
    stack, seen = [start[0]], {start[0]}
    while stack:
        node_id = stack.pop()
        loras += [node_id] * bool(literals(graph, node_id, ("lora_name",), "text"))
        named = literals(graph, node_id, _MODEL_INPUTS, "text")
        models += named[:1]
        sources = [] if named else [source for name, (source, _) in links(graph, node_id) if name.startswith("model")]
        new = [source for source in sources or [link[0] for link in only_link(graph, node_id)] if source not in seen]
        seen.update(new)
        stack.extend(reversed(new))
    return models, loras


def image_chain(graph: Graph, start: Link, *, first: tuple[str, ...] = ()) -> list[str]:
    """The nodes that a latent or image comes through, nearest first, up to the one that creates or loads it.

    `first`: inputs to follow in preference to those for images.
    """
    chain: list[str] = []
    node_id: str | None = start[0]
    while node_id in graph and node_id not in chain:
        chain.append(node_id)
        if "batch_size" in inputs_of(graph, node_id):
            break
        linked = dict(links(graph, node_id))
        named = [linked[name] for name in (*first, *_IMAGE_INPUTS) if name in linked]
        node_id = next((source for source, _ in [*named, *only_link(graph, node_id)]), None)
    return chain


def mask_chains(graph: Graph, node_ids: Iterable[str]) -> Iterator[str]:
    """The nodes that the masks of these nodes come through, one mask after another, nearest first."""
    for node_id in node_ids:
        for name, link in links(graph, node_id):
            if name in _MASK_INPUTS:
                yield from image_chain(graph, link, first=_MASK_INPUTS)


def sizes(graph: Graph, chain: Iterable[str]) -> dict[str, tuple[Target, ...]]:
    """Width, height and batch size of the image: the first input for each in the chain."""
    found: dict[str, tuple[Target, ...]] = {}
    for node_id in chain:
        names = {"amount": "batch_size"} if class_of(graph, node_id).startswith("Repeat") else {}
        for input_name in [*names, *SIZE_INPUTS]:
            if targets := literals(graph, node_id, (input_name,), "number"):
                found.setdefault(names.get(input_name, input_name), targets)
    return found
