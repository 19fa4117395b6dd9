"""Following links upstream: to a literal, a prompt text, a model, the source of the picture's size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from templates.graph import Graph, Link, Target, class_of, inputs_of, link_of, links

Side = Literal["positive", "negative"]
Wanted = Literal["text", "number"]

SEED_INPUTS = ("seed", "noise_seed")
SIZES = ("width", "height", "batch_size")
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
_PICTURE_INPUTS = ("latent_image", "latent", "samples", "pixels", "image", "images")
_MASK_INPUTS = ("mask", "masks", "noise_mask", "source_mask")


def literal(graph: Graph, node_id: str, name: str, wanted: Wanted) -> Target | None:
    """The input that holds the value of this one: itself, or one of the primitive node that it is linked to."""
    seen: set[Target] = set()
    target = Target(node_id, name)
    while target not in seen:
        seen.add(target)
        value = inputs_of(graph, target.node_id).get(target.input_name)
        link = link_of(value)
        if link is None:
            return target if _is(value, wanted) else None
        following = _value_input(inputs_of(graph, link[0]), wanted)
        if following is None:
            return None
        target = Target(link[0], following)
    return None


def _is(value: object, wanted: Wanted) -> bool:
    return (
        isinstance(value, str) if wanted == "text" else isinstance(value, int | float) and not isinstance(value, bool)
    )


def _value_input(inputs: dict[str, Any], wanted: Wanted) -> str | None:
    """Which input of a linked node becomes its output; None where that is not plain."""
    named = [name for name in _VALUE_INPUTS[wanted] if name in inputs]
    if named or len(inputs) == 1:
        return [*named, *inputs][0]
    return None


def literals(graph: Graph, node_id: str, names: Iterable[str], wanted: Wanted) -> tuple[Target, ...]:
    """What `literal` finds for those of the named inputs that the node has."""
    inputs = inputs_of(graph, node_id)
    found = (literal(graph, node_id, name, wanted) for name in names if name in inputs)
    return tuple(dict.fromkeys(target for target in found if target))


def text_encoders(graph: Graph, start: Link, side: Side) -> Iterator[tuple[Target, ...]]:
    """The text inputs of each text encoder that this conditioning comes from, through whatever it passes on the way.

    A node with conditioning inputs of both sides (ControlNetApplyAdvanced) gives the positive one at slot 0, the
    negative one at slot 1.
    """
    waiting, seen = [start], {start}
    while waiting:
        node_id, slot = waiting.pop()
        through = _conditioning(graph, node_id, slot, side)
        texts = () if through else _texts(graph, node_id, side)
        if texts:
            yield texts
        elif not through:
            through = only_link(graph, node_id)
        fresh = [link for link in through if link not in seen]
        seen.update(fresh)
        waiting.extend(reversed(fresh))


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
    """The link of a node that has just one, such as a reroute."""
    found = [link for _, link in links(graph, node_id)]
    return found if len(found) == 1 else []


def model_chain(graph: Graph, start: Link) -> tuple[list[Target], list[str]]:
    """Model names along `model` links, and the nodes that name a LoRA, the nearest first."""
    models: list[Target] = []
    loras: list[str] = []
    waiting, seen = [start[0]], {start[0]}
    while waiting:
        node_id = waiting.pop()
        loras += [node_id] * bool(literals(graph, node_id, ("lora_name",), "text"))
        named = literals(graph, node_id, _MODEL_INPUTS, "text")
        models += named[:1]
        through = [] if named else [source for name, (source, _) in links(graph, node_id) if name.startswith("model")]
        fresh = [source for source in through or [link[0] for link in only_link(graph, node_id)] if source not in seen]
        seen.update(fresh)
        waiting.extend(reversed(fresh))
    return models, loras


def picture_chain(graph: Graph, start: Link, *, first: tuple[str, ...] = ()) -> list[str]:
    """The nodes that the latent or picture comes through, nearest first, up to where it is made or loaded.

    `first`: inputs that go before those of pictures.
    """
    chain: list[str] = []
    node_id: str | None = start[0]
    while node_id in graph and node_id not in chain:
        chain.append(node_id)
        if "batch_size" in inputs_of(graph, node_id):
            break
        linked = dict(links(graph, node_id))
        named = [linked[name] for name in (*first, *_PICTURE_INPUTS) if name in linked]
        node_id = next((source for source, _ in [*named, *only_link(graph, node_id)]), None)
    return chain


def mask_chains(graph: Graph, node_ids: Iterable[str]) -> Iterator[str]:
    """The nodes that the masks of these nodes come through, mask by mask, nearest first."""
    for node_id in node_ids:
        for name, link in links(graph, node_id):
            if name in _MASK_INPUTS:
                yield from picture_chain(graph, link, first=_MASK_INPUTS)


def sizes(graph: Graph, chain: Iterable[str]) -> dict[str, tuple[Target, ...]]:
    """Width, height and batch size of the picture: the first that the chain holds of each."""
    found: dict[str, tuple[Target, ...]] = {}
    for node_id in chain:
        names = {"amount": "batch_size"} if class_of(graph, node_id).startswith("Repeat") else {}
        for input_name in [*names, *SIZES]:
            if targets := literals(graph, node_id, (input_name,), "number"):
                found.setdefault(names.get(input_name, input_name), targets)
    return found
