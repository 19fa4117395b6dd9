"""Which nodes sample, and which hold a sampler's settings: noise, guider, sampler, sigmas."""

from __future__ import annotations

from collections.abc import Iterable

from templates.graph import Graph, Target, inputs_of, links
from templates.tracing import SEED_INPUTS, ValueKind, literals
from templates.wiring import Wiring

Group = tuple[Target, ...]

SETTINGS: dict[str, tuple[tuple[str, ...], ValueKind]] = {
    "steps": (("steps",), "number"),
    "cfg": (("cfg", "cfg_conds", "cfg_scale"), "number"),
    "sampler": (("sampler_name", "sampler"), "text"),
    "scheduler": (("scheduler",), "text"),
    "denoise": (("denoise", "denoise_strength"), "number"),
    "seed": (SEED_INPUTS, "number"),
}
"""The names of a sampler's settings, the inputs that hold them, and of what kind they are."""
_SETTING_LINKS = ("noise", "guider", "sampler", "sigmas", "sigmas_1", "sigmas_2")
_SAMPLING = ("steps", "cfg", "cfg_scale", "guidance_scale", "sampler_name", "scheduler", "denoise", "denoise_strength")
_LATENT = ("latent_image", "latent", "latents", "samples", "pipeline")
_POSITIVE = ("positive", "conditioning", "cond1", "text_embeds")


def samplers(wiring: Wiring, live: Iterable[str]) -> list[str]:
    """Those of the nodes that sample, judged by their inputs, so that custom samplers count too.

    Also one whose model and conditioning come in a bundle, such as a detailer; a loader with a seed is none.
    """
    return [node_id for node_id in live if _samples(wiring, node_id)]


def _samples(wiring: Wiring, node_id: str) -> bool:
    linked = {name for name, _ in links(wiring.graph, node_id)}
    inputs = inputs_of(wiring.graph, node_id)
    has_seed = any(name in inputs for name in SEED_INPUTS)
    if {"guider", "sigmas"} <= linked or (has_seed and "model" in linked and not linked.isdisjoint(_POSITIVE)):
        return True
    is_set = sum(name in inputs for name in _SAMPLING) >= 2 or (has_seed and "steps" in inputs)
    has_sides = has_seed and {"positive", "negative"} <= linked
    may_sample = has_sides or (is_set and (has_seed or bool(wiring.pipes(node_id))))
    return may_sample and _works_on_something(wiring, node_id)


def _works_on_something(wiring: Wiring, node_id: str) -> bool:
    """Unlike a node that only gathers settings for others."""
    found = wiring.links(node_id)
    if wiring.pipes(node_id) or wiring.models(node_id, None) or any(name in _LATENT for name, _ in found):
        return True
    return any(wiring.is_image(node_id, name, link) for name, link in found)


def parts_of(wiring: Wiring, sampler: str) -> list[str]:
    """The sampler and the nodes with its settings (guider, noise, sigmas), nearest first."""
    parts = [sampler]
    for node_id in parts:
        found = [source for name, (source, _) in wiring.links(node_id) if name in _SETTING_LINKS]
        passed = [source for source, _ in wiring.passed(node_id)] if not found and node_id != sampler else []
        parts += [source for source in dict.fromkeys([*found, *passed]) if source not in parts]
    return parts


def setting(graph: Graph, parts: list[str], name: str) -> Group:
    """The inputs that a setting of this name sets, of the nearest part that has one."""
    inputs, kind = SETTINGS[name]
    found = (literals(graph, node_id, inputs, kind) for node_id in parts)
    return next((group for group in found if group), ())
