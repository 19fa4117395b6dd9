"""Follow links upstream: to a literal value, the file of a model, LoRAs, the source of an image and its size."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from templates.graph import Graph, Link, Target, class_of, inputs_of, link_of, links
from templates.wiring import Wiring

ValueKind = Literal["text", "number"]

SEED_INPUTS = ("seed", "noise_seed")
SIZES = {
    "width": ("width", "empty_latent_width", "target_width"),
    "height": ("height", "empty_latent_height", "target_height"),
}
MODEL_LINKS = ("model", "model1", "model2")
CLIP_LINKS = ("clip", "clip1", "clip2")
_VALUE_INPUTS = {"text": ("text", "string", "value", "prompt"), "number": ("value", "int", "float", "number")}
_MODEL_INPUTS = ("ckpt_name", "unet_name", "model_name", "base_ckpt_name", "gguf_name", "model_path", "model")
_MODEL_FILE = re.compile(r"\.(safetensors|sft|ckpt|pth?|bin|gguf)$", re.IGNORECASE)
_NO_MODEL_INPUT = re.compile(r"lora|vae|clip|t5|text_encoder|config|refiner|motion|control|upscale", re.IGNORECASE)
_LORA_NAME = re.compile(r"^(?P<before>lora_?)(?P<number>\d{1,2})?(?P<after>_?name)?(?P<last>_\d{1,2})?$")
_LORA_LINKS = re.compile(r"(^|_)loras?(_stack)?$|^prev_lora$")
_OFF = (False, "Off", "off", "disable", "None", 0)
SHOWS = re.compile(r"Show|Display|Preview|Console|Debug", re.IGNORECASE)
"""Classes of nodes that show what comes in; some keep it among their inputs."""
_IMAGE_INPUTS = (
    "latent_image",
    "latent",
    "latents",
    "samples",
    "image_embeds",
    "pixels",
    "image",
    "images",
    "start_image",
    "input_image",
    "frames",
    "video",
)
_RESCALES = re.compile(r"Scale|Resize|Upscale|Crop|Pad|Rotate|Megapixel|Tile(?!d)|Outpaint", re.IGNORECASE)
_SCALING_INPUTS = ("resolution", "megapixels", "scale_by", "scale", "factor", "side_length", "longest_side", "size")
_MOST_READINGS = 20
"""So often the size of one image is read off another before it is given up: a graph may have a cycle."""
_READS_SIZE = re.compile(r"(Get|Image|Latent).*(Size|Resolution|Dimension)", re.IGNORECASE)


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
        following = _value_input(graph, link[0], name, kind)
        if following is None:
            return None
        target = Target(link[0], following)
    return None


def _has_kind(value: object, kind: ValueKind) -> bool:
    return isinstance(value, str) if kind == "text" else isinstance(value, int | float) and not isinstance(value, bool)


def _value_input(graph: Graph, node_id: str, wanted: str, kind: ValueKind) -> str | None:
    """The input of a linked node that becomes its output; None if that is ambiguous.

    A node that has an input of the wanted name passes it on, but a size that also has other settings may be computed.
    What a node shows is what comes in, not the text that it kept of the last time.
    """
    inputs = inputs_of(graph, node_id)
    linked = [name for name, _ in links(graph, node_id)]
    if SHOWS.search(class_of(graph, node_id)) and linked:
        return linked[0] if len(linked) == 1 else None
    names = (*_VALUE_INPUTS[kind], *SEED_INPUTS) if wanted in SEED_INPUTS else _VALUE_INPUTS[kind]
    aliases = (wanted, *(("sampler",) if wanted == "sampler_name" else ()))
    is_plain = all(_has_kind(value, "number") for value in inputs.values())
    own = aliases if is_plain or not _is_size(wanted) else ()
    found = [name for name in (*own, *names) if name in inputs]
    only = [name for name in inputs if not _names_image(name)] if len(inputs) == 1 else []
    return next(iter([*found, *only]), None)


def _is_size(name: str) -> bool:
    return name == "batch_size" or any(name in spellings for spellings in SIZES.values())


def _names_image(name: str) -> bool:
    return name in _IMAGE_INPUTS or name == "mask"


def literals(graph: Graph, node_id: str, names: Iterable[str], kind: ValueKind) -> tuple[Target, ...]:
    """The results of `literal` for all inputs of the node with one of these names."""
    inputs = inputs_of(graph, node_id)
    found = (literal(graph, node_id, name, kind) for name in names if name in inputs)
    return tuple(dict.fromkeys(target for target in found if target))


class Lora(msgspec.Struct, frozen=True):
    """One LoRA that the graph applies: the input with its name, and those with its strengths."""

    name: Target
    strengths: tuple[Target, ...]


def model_chain(wiring: Wiring, starts: list[Link], pipes: list[Link]) -> tuple[list[Target], list[Lora]]:
    """The files of the models that come in by these links, and the LoRAs on the way, nearest first.

    `pipes`: bundles to look into where there is no such link. A node that takes a model loads none, whatever it names:
    a motion module, a patch.
    """
    models: list[Target] = []
    loras: list[Lora] = []
    stack: list[tuple[str, int | None]] = [*reversed(starts)] or [(node, None) for node, _ in reversed(pipes)]
    seen = set(stack)
    while stack:
        node_id, slot = stack.pop()
        loras += [lora for lora in loras_at(wiring, node_id) if lora not in loras]
        sources: list[tuple[str, int | None]] = [*wiring.models(node_id, slot)]
        if not sources and (named := _model_file(wiring, node_id)):
            models.append(named)
        elif not sources:
            sources = [(source, None) for source, _ in wiring.pipes(node_id)] or [*wiring.passed(node_id)]
        new = [source for source in sources if source not in seen]
        seen.update(new)
        stack += reversed(new)
    return list(dict.fromkeys(models)), loras


def _model_file(wiring: Wiring, node_id: str) -> Target | None:
    """The input of a loader that names the model; None where none does, or several may."""
    inputs = inputs_of(wiring.graph, node_id)
    for name in _MODEL_INPUTS:
        if name in inputs and (target := literal(wiring.graph, node_id, name, "text")):
            return target
    files = [
        name
        for name, value in inputs.items()
        if isinstance(value, str) and _MODEL_FILE.search(value) and not _NO_MODEL_INPUT.search(name)
    ]
    return Target(node_id, files[0]) if len(files) == 1 else None


def loras_at(wiring: Wiring, node_id: str) -> Iterator[Lora]:
    """The LoRAs that a node applies, and those of the stacks that it takes."""
    waiting, seen = [node_id], {node_id}
    for node in waiting:
        yield from _own_loras(wiring.graph, node)
        linked = [source for name, (source, _) in wiring.links(node) if _LORA_LINKS.search(name) and source not in seen]
        seen.update(linked)
        waiting += linked


def _own_loras(graph: Graph, node_id: str) -> Iterator[Lora]:
    inputs = inputs_of(graph, node_id)
    for name in inputs:
        found = _LORA_NAME.fullmatch(name)
        if found is None or not (found["after"] or found["number"] or found["last"] or name == "lora"):
            continue
        number = found["number"] or (found["last"] or "").strip("_")
        target = literal(graph, node_id, name, "text")
        if target is None or (number and not _is_on(inputs, number, inputs[name])):
            continue
        yield Lora(target, literals(graph, node_id, _strengths(inputs, found, number), "number"))


def _is_on(inputs: dict[str, Any], number: str, value: object) -> bool:
    """Whether an entry of a stack is applied at all; a value bound to one that is not would have no effect."""
    switch = next((inputs[name] for name in (f"switch_{number}", f"toggle_{number}") if name in inputs), True)
    count = next((inputs[name] for name in ("lora_count", "num_loras") if isinstance(inputs.get(name), int)), 99)
    return str(value).lower() != "none" and switch not in _OFF and int(number) <= count


def _strengths(inputs: dict[str, Any], found: re.Match[str], number: str) -> list[str]:
    if not number:
        names = ("strength_model", "strength_clip", "lora_strength", "lora_model_strength", "lora_clip_strength")
        return [name for name in (*names, "model_strength", "clip_strength", "strength") if name in inputs][:2]
    name = re.compile(rf"(lora_?{number}|.*)_?(strength|weight|wt|str)(_.*)?")
    return [each for each in inputs if name.fullmatch(each) and re.findall(r"\d+", each) == [number]]


def image_chain(wiring: Wiring, start: Link, *, first: tuple[str, ...] = ()) -> list[str]:
    """The nodes that a latent or image comes through, nearest first, up to the one that creates or loads it.

    `first`: inputs to follow in preference to those for images.
    """
    chain: list[str] = []
    node_id: str | None = start[0]
    while node_id in wiring.graph and node_id not in chain:
        chain.append(node_id)
        if _creates(wiring.graph, node_id):
            break
        node_id = _image_source(wiring, node_id, first)
    return chain


def _image_source(wiring: Wiring, node_id: str, first: tuple[str, ...]) -> str | None:
    linked = dict(wiring.links(node_id))
    switched = wiring.switched(node_id)
    if switched is not None:
        return switched[0][0] if len(switched) == 1 else None
    named = [linked[name] for name in (*first, *_IMAGE_INPUTS) if name in linked]
    found = [*named, *wiring.pipes(node_id)[: not named], *wiring.passed(node_id)]
    return next((source for source, _ in found), None)


def _creates(graph: Graph, node_id: str) -> bool:
    """Whether a node makes its latents or images itself; a chunk size of a node that takes images is no batch."""
    inputs = inputs_of(graph, node_id)
    if "batch_size" not in inputs:
        return False
    has_size = any(name in inputs for name in (*SIZES["width"], *SIZES["height"]))
    return has_size or not any(_names_image(name) for name, _ in links(graph, node_id))


def sizes(wiring: Wiring, chain: Iterable[str], readings: int = 0) -> dict[str, tuple[Target, ...]]:
    """Width, height and batch size of the image: the first input for each in the chain.

    Behind a node that scales by a factor, the size is another one: it is not taken.
    """
    found: dict[str, tuple[Target, ...]] = {}
    is_same = True
    for node_id in chain:
        own = {size: size_at(wiring, node_id, size, readings) for size in SIZES} if is_same else {}
        for size, target in own.items():
            if target is not None:
                found.setdefault(size, (target,))
        if batch := batch_at(wiring.graph, node_id):
            found.setdefault("batch_size", batch)
        is_same = is_same and not any(own.values()) and not _rescales(wiring.graph, node_id)
    return found


def _rescales(graph: Graph, node_id: str) -> bool:
    scaling = _RESCALES.search(class_of(graph, node_id))
    return scaling is not None or any(name in inputs_of(graph, node_id) for name in _SCALING_INPUTS)


def batch_at(graph: Graph, node_id: str) -> tuple[Target, ...]:
    """The number of latents or images that a node makes."""
    if class_of(graph, node_id).startswith("Repeat"):
        return literals(graph, node_id, ("amount",), "number")
    return literals(graph, node_id, ("batch_size",), "number") if _creates(graph, node_id) else ()


def size_at(wiring: Wiring, node_id: str, size: str, readings: int = 0) -> Target | None:
    """The input that sets the width or height of what a node makes, also where that is read off another image."""
    inputs = inputs_of(wiring.graph, node_id)
    if "Mask" in class_of(wiring.graph, node_id):
        return None
    for name in SIZES[size]:
        if name in inputs:
            link = link_of(inputs[name]) if readings < _MOST_READINGS else None
            return literal(wiring.graph, node_id, name, "number") or _read_off(wiring, link, size, readings + 1)
    return None


def _read_off(wiring: Wiring, link: Link | None, size: str, readings: int) -> Target | None:
    """The size of an image that a node like GetImageSize reads, if that is set by a node."""
    seen: set[str] = set()
    while link is not None and link[0] not in seen:
        node_id = link[0]
        seen.add(node_id)
        image = [of for name, of in wiring.links(node_id) if wiring.is_image(node_id, name, of)]
        if image:
            return _size_of_image(wiring, node_id, image, size, readings)
        passed = wiring.passed(node_id)
        link = passed[0] if len(passed) == 1 else None
    return None


def _size_of_image(wiring: Wiring, node_id: str, image: list[Link], size: str, readings: int) -> Target | None:
    inputs = inputs_of(wiring.graph, node_id)
    if any(name in inputs for name in SIZES[size]):
        return size_at(wiring, node_id, size, readings)
    if len(image) != 1 or not _READS_SIZE.search(class_of(wiring.graph, node_id)):
        return None
    found = sizes(wiring, image_chain(wiring, image[0]), readings).get(size)
    return found[0] if found else None
