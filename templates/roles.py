"""Detect which inputs have which role (prompt, seed, model, …) by following links from the samplers and save nodes.

The rules, in order of precedence:

- Only nodes that a save node depends on count. The first sampler is the one that the others depend on.
- `seed` sets the seeds of all samplers, so that one seed always gives the same image.
- Every other name sets the inputs of the first sampler, and those of a later sampler if they have the same value in
  the template: a refiner with the same prompt and steps follows, a second pass with its own steps or a face prompt
  keeps them. The same applies to several texts combined into one conditioning. The inputs of one encoder (`text_g`,
  `text_l`) are set together.
- A text that is used for both positive and negative is only the prompt.
- `lora_strength` sets both strengths of the nodes whose LoRA is set by `lora`.
- `width`, `height` and `batch_size` are those of the first sampler's latent or image.
- `image` is the first sampler's input image, otherwise the first loaded image that is not a mask.
- `mask` is the first image loaded by LoadImageMask or for a mask input, unless it is already `image`.
- Without a sampler, `prompt` and `negative` are bound if there is exactly one candidate for each, and `seed` to every
  input of that name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from templates.graph import Graph, Link, Target, class_of, inputs_of, link_of, links, upstream
from templates.saving import SaveNode, save_nodes
from templates.tracing import (
    CLIP_LINKS,
    SEED_INPUTS,
    SIZE_INPUTS,
    Side,
    ValueKind,
    image_chain,
    literals,
    mask_chains,
    model_chain,
    sizes,
    text_encoders,
)

Group = tuple[Target, ...]

_SETTING_LINKS = ("noise", "guider", "sampler", "sigmas", "sigmas_1", "sigmas_2")
_CONDITIONING: dict[Side, tuple[str, ...]] = {
    "positive": ("positive", "conditioning", "cond1", "text_embeds"),
    "negative": ("negative", "neg_conditioning", "text_embeds"),
}
_STRENGTHS = ("strength_model", "strength_clip")
_LATENT = ("latent_image", "latent", "samples", "image", "pixels")
_PLAIN_TEXTS = {
    "prompt": ("text", "prompt", "positive_prompt", "string"),
    "negative": ("negative_prompt", "negative"),
}


def find_roles(graph: Graph) -> dict[str, Group]:
    """The inputs that each detected name sets. Never raises: a broken graph just has fewer of them."""
    saves = save_nodes(graph)
    live = _saved_nodes(graph, saves)
    samplers = _samplers(graph, live)
    found = _with_samplers(graph, samplers) if samplers else _without_sampler(graph, live)
    found |= _images(graph, samplers, live)
    found["prefix"] = tuple(Target(save.node_id, save.prefix_input) for save in saves if save.prefix_input)
    return {name: targets for name, targets in found.items() if targets}


def sampling_links(graph: Graph) -> tuple[list[Link], list[Link]]:
    """The samplers' model links, and the text encoder links of all nodes that the samplers depend on."""
    samplers = _samplers(graph, _saved_nodes(graph, save_nodes(graph)))
    encoding = (links(graph, node_id) for node_id in upstream(graph, samplers))
    return (
        list(_model_links(graph, [_parts(graph, sampler) for sampler in samplers])),
        [link for found in encoding for name, link in found if name in CLIP_LINKS],
    )


def _saved_nodes(graph: Graph, saves: list[SaveNode]) -> list[str]:
    return upstream(graph, [save.node_id for save in saves] or graph)


def _samplers(graph: Graph, live: list[str]) -> list[str]:
    return [node_id for node_id in live if _is_sampler(graph, node_id)]


def _is_sampler(graph: Graph, node_id: str) -> bool:
    """Whether a node is a sampler, judged by its inputs, so that custom samplers count too."""
    linked = {name for name, _ in links(graph, node_id)}
    if {"guider", "sigmas"} <= linked or ({"positive", "negative"} <= linked and _has_seed(graph, node_id)):
        return True
    return "model" in linked and not linked.isdisjoint(_CONDITIONING["positive"]) and _has_seed(graph, node_id)


def _has_seed(graph: Graph, node_id: str) -> bool:
    return any(name in inputs_of(graph, node_id) for name in SEED_INPUTS)


def _with_samplers(graph: Graph, samplers: list[str]) -> dict[str, Group]:
    parts = [_parts(graph, sampler) for sampler in samplers]
    settings = {
        "steps": _same_values(graph, (_setting(graph, part, ("steps",), "number") for part in parts)),
        "cfg": _same_values(graph, (_setting(graph, part, ("cfg", "cfg_conds"), "number") for part in parts)),
        "sampler": _same_values(graph, (_setting(graph, part, ("sampler_name",), "text") for part in parts)),
        "scheduler": _same_values(graph, (_setting(graph, part, ("scheduler",), "text") for part in parts)),
        "seed": _flatten(_setting(graph, part, SEED_INPUTS, "number") for part in parts),
    }
    return settings | _models(graph, parts) | _prompts(graph, parts) | sizes(graph, _image_source(graph, samplers))


def _parts(graph: Graph, sampler: str) -> list[str]:
    """The sampler and the nodes with its settings (guider, noise, sigmas), nearest first."""
    parts = [sampler]
    for node_id in parts:
        parts += [
            source for name, (source, _) in links(graph, node_id) if name in _SETTING_LINKS and source not in parts
        ]
    return parts


def _setting(graph: Graph, parts: list[str], names: tuple[str, ...], kind: ValueKind) -> Group:
    found = (literals(graph, node_id, names, kind) for node_id in parts)
    return next((group for group in found if group), ())


def _part_link(graph: Graph, parts: list[str], names: tuple[str, ...]) -> Link | None:
    found = (link_of(inputs_of(graph, node_id).get(name)) for node_id in parts for name in names)
    return next((link for link in found if link), None)


def _model_links(graph: Graph, parts: list[list[str]]) -> Iterator[Link]:
    starts = (_part_link(graph, part, ("model", "model1")) for part in parts)
    return (start for start in starts if start)


def _models(graph: Graph, parts: list[list[str]]) -> dict[str, Group]:
    chains = [model_chain(graph, start) for start in _model_links(graph, parts)]
    named = {node_id: literals(graph, node_id, ("lora_name",), "text") for _, loras in chains for node_id in loras}
    lora = _same_values(graph, named.values())
    chosen = [node_id for node_id, names in named.items() if names[0] in lora]
    return {
        "model": _same_values(graph, ((model,) for models, _ in chains for model in models)),
        "lora": lora,
        "lora_strength": _same_values(graph, (literals(graph, node_id, _STRENGTHS, "number") for node_id in chosen)),
    }


def _prompts(graph: Graph, parts: list[list[str]]) -> dict[str, Group]:
    positive = list(_encoders(graph, parts, "positive"))
    shared = set(_flatten(positive))
    negative = (tuple(t for t in group if t not in shared) for group in _encoders(graph, parts, "negative"))
    return {"prompt": _same_values(graph, positive), "negative": _same_values(graph, negative)}


def _encoders(graph: Graph, parts: list[list[str]], side: Side) -> Iterator[Group]:
    for part in parts:
        if start := _part_link(graph, part, _CONDITIONING[side]):
            yield from text_encoders(graph, start, side)


def _image_source(graph: Graph, samplers: list[str]) -> list[str]:
    """The nodes that produce the first sampler's input latent or image, nearest first."""
    start = _part_link(graph, samplers[:1], _LATENT)
    return image_chain(graph, start) if start else samplers[:1]


def _images(graph: Graph, samplers: list[str], live: list[str]) -> dict[str, Group]:
    """The file name inputs of loaded images and masks, distinguished by what the loaded image is used for."""
    start = _image_source(graph, samplers)
    nearest = list(dict.fromkeys([*start, *live]))
    loaders = [node_id for node_id in nearest if class_of(graph, node_id).startswith("LoadImage")]
    images = [node_id for node_id in loaders if "Mask" not in class_of(graph, node_id)]
    used_as_mask = [node_id for node_id in mask_chains(graph, nearest) if node_id in loaders]
    image = ([node_id for node_id in images if node_id in start or node_id not in used_as_mask] or images)[:1]
    named = [node_id for node_id in loaders if node_id not in images]
    masks = [node_id for node_id in dict.fromkeys([*used_as_mask, *named]) if node_id not in image]
    found = {"image": [node_id for node_id in images if node_id not in masks], "mask": masks}
    return {
        name: _same_values(graph, (literals(graph, node_id, ("image",), "text") for node_id in node_ids))
        for name, node_ids in found.items()
    }


def _without_sampler(graph: Graph, live: list[str]) -> dict[str, Group]:
    found = {name: _single(graph, live, names) for name, names in _PLAIN_TEXTS.items()}
    found["seed"] = _flatten(literals(graph, node_id, SEED_INPUTS, "number") for node_id in live)
    sources = [node_id for node_id in live if "batch_size" in inputs_of(graph, node_id)]
    return found | {
        name: _same_values(graph, (literals(graph, n, (name,), "number") for n in sources)) for name in SIZE_INPUTS
    }


def _single(graph: Graph, live: list[str], names: tuple[str, ...]) -> Group:
    """The only text input with one of these names; nothing if there are several candidates."""
    primitive = ("value",) if "prompt" in names else ()
    found = _flatten(
        literals(graph, node_id, (*names, *primitive) if "String" in class_of(graph, node_id) else names, "text")
        for node_id in live
    )
    return found if len(found) == 1 else ()


def _same_values(graph: Graph, groups: Iterable[Group]) -> Group:
    """The first group, and every other group that has the same values in the template."""
    present = [group for group in groups if group]
    return _flatten(group for group in present if _values(graph, group) == _values(graph, present[0]))


def _values(graph: Graph, group: Group) -> list[object]:
    return [inputs_of(graph, target.node_id)[target.input_name] for target in group]


def _flatten(groups: Iterable[Group]) -> Group:
    return tuple(dict.fromkeys(target for group in groups for target in group))
