"""Detect which inputs have which role (prompt, seed, model, …) by following links from the samplers and save nodes.

The rules, in order of precedence:

- Only nodes that a save node depends on count. The first sampler is the one that the others depend on, of those that a
  text goes into: one that makes a depth map is not what the others refine.
- `seed` sets the seeds of all samplers, so that one seed always gives the same image.
- Every other name sets the inputs of the first sampler, and those of a later sampler if they have the same value in
  the template: a refiner with the same prompt and steps follows, a second pass with its own steps or a face prompt
  keeps them. What the first sampler lacks is not taken from a later one.
- What is not certain is not bound: a text that several inputs make together or that a node computes, one of several
  images. The user's own titles (Prompt, Negative) decide between them. The others are candidates, to be listed.
- A text that is used for both positive and negative is only the prompt.
- `lora_strength` sets the strengths of the nodes whose LoRA is set by `lora`.
- `width`, `height` and `batch_size` are those of the first sampler's latent or image.
- `image` is the image that is worked on: the first sampler's, or the only one; `mask` the one loaded for it.
- Without a sampler, `prompt` and `negative` are bound if there is exactly one candidate for each, `seed` to every
  input of that name, and `model` to the upscale model that what is saved comes through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import msgspec

from templates.catalogue import Catalogue
from templates.graph import Graph, Link, Target, inputs_of, links, upstream
from templates.loaders import InputImages, Kind
from templates.samplers import SETTINGS, parts_of, samplers, setting
from templates.saving import SaveNode, save_nodes
from templates.texts import TextFinder, Texts, text_inputs, title_says
from templates.tracing import (
    CLIP_LINKS,
    SEED_INPUTS,
    SIZES,
    Lora,
    batch_at,
    image_chain,
    literals,
    model_chain,
    size_at,
    sizes,
)
from templates.wiring import Side, Wiring

Group = tuple[Target, ...]

_CONDITIONING: dict[Side, tuple[str, ...]] = {
    "positive": ("positive", "conditioning", "cond1", "text_embeds"),
    "negative": ("negative", "neg_conditioning", "text_embeds"),
}
_LATENT = ("latent_image", "latent", "latents", "samples", "image_embeds", "image", "pixels")
_SAVED = ("images", "image", "video", "frames", "input", "samples")
_GUIDANCE = ("guidance", "embedded_guidance_scale")
_UPSCALE_MODEL_LINK, _UPSCALE_MODEL_NAMES = "upscale_model", ("model_name",)
_PLAIN_TEXTS: dict[Side, str] = {"positive": "prompt", "negative": "negative"}


class Roles(msgspec.Struct, frozen=True):
    """What was found in a graph."""

    bound: Mapping[str, Group]
    """The inputs that each name certainly sets."""
    candidates: Mapping[str, Group]
    """Of a name that is not bound: the inputs that it may be meant to set."""


def find_roles(graph: Graph, catalogue: Catalogue | None = None) -> Roles:
    """The inputs that each detected name sets. Never raises: a broken graph just has fewer of them.

    `catalogue`: the node classes of the server; without it everything is judged by names.
    """
    return _Detection(Wiring(graph, catalogue or {})).roles()


def sampling_links(graph: Graph) -> tuple[list[Link], list[Link]]:
    """The samplers' model links, and the text encoder links of all nodes that the samplers depend on."""
    detection = _Detection(Wiring(graph))
    encoding = (links(graph, node_id) for node_id in upstream(graph, detection.samplers))
    models = [link for parts in detection.parts for link in detection.models_of(parts)]
    return models, [link for found in encoding for name, link in found if name in CLIP_LINKS]


class _Detection:
    """Of one graph."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.graph = wiring.graph
        self.saves: list[SaveNode] = save_nodes(wiring.graph)
        self.live = upstream(self.graph, [save.node_id for save in self.saves] or self.graph)
        self.samplers = samplers(wiring, self.live)
        self.parts = [parts_of(wiring, sampler) for sampler in self.samplers]
        self._texts = TextFinder(wiring)
        self._positive = self._encoders("positive")
        self._main_first()

    def _main_first(self) -> None:
        """A sampler without any text, such as one that makes a depth map, is not the one that the others refine."""
        order = sorted(range(len(self.samplers)), key=lambda at: not self._positive[at])
        self.samplers = [self.samplers[at] for at in order]
        self.parts = [self.parts[at] for at in order]
        self._positive = [self._positive[at] for at in order]

    def roles(self) -> Roles:
        prompts = self._prompts() if self.samplers else self._plain_texts()
        found = dict(prompts.bound) | (self._settings() if self.samplers else self._without_sampler())
        files = self._files()
        found |= files.bound
        found["prefix"] = tuple(Target(save.node_id, save.prefix_input) for save in self.saves if save.prefix_input)
        bound = {name: targets for name, targets in found.items() if targets}
        open_ = {**prompts.candidates, **files.candidates}
        return Roles(bound, {name: group for name, group in open_.items() if group and name not in bound})

    def models_of(self, parts: list[str]) -> list[Link]:
        """The model links of a sampler: of its nearest part that has one."""
        found = (self.wiring.models(node_id, None) for node_id in parts)
        return next((links_[:1] for links_ in found if links_), [])

    def _settings(self) -> dict[str, Group]:
        found = {
            name: self._like_the_first([setting(self.graph, parts, name) for parts in self.parts]) for name in SETTINGS
        }
        found["seed"] = _flatten(setting(self.graph, parts, "seed") for parts in self.parts)
        return found | self._models() | {"guidance": self._guidance()} | sizes(self.wiring, self._start)

    def _like_the_first(self, groups: list[Group]) -> Group:
        """The first group, and every other that has the same values in the template; nothing if the first is empty."""
        return self._same_values(groups) if groups and groups[0] else ()

    def _same_values(self, groups: Iterable[Group]) -> Group:
        present = [group for group in groups if group]
        return _flatten(group for group in present if self._values(group) == self._values(present[0]))

    def _values(self, group: Group) -> list[object]:
        return [inputs_of(self.graph, target.node_id)[target.input_name] for target in group]

    def _models(self) -> dict[str, Group]:
        pipes = [self.wiring.pipes(sampler) for sampler in self.samplers]
        starts = [self.models_of(parts) for parts in self.parts]
        chains = [model_chain(self.wiring, start, pipe) for start, pipe in zip(starts, pipes, strict=True)]
        loras: list[Lora] = [lora for _, found in chains for lora in found]
        lora = self._same_values((each.name,) for each in loras)
        chosen = dict.fromkeys(each for each in loras if each.name in lora)
        models = [[(model,) for model in models] for models, _ in chains]
        return {
            "model": self._same_values(group for groups in models for group in groups) if models[0] else (),
            "lora": lora,
            "lora_strength": self._same_values(each.strengths for each in chosen),
        }

    def _guidance(self) -> Group:
        """Of distilled models: on the way of the first sampler's conditioning, or its own."""
        found: list[Group] = []
        for parts in self.parts:
            starts = [link[0] for link, _ in self._conditioning_starts(parts, "positive")]
            nodes = [*parts, *self._conditioning_nodes(starts)]
            groups = (literals(self.graph, node_id, _GUIDANCE, "number") for node_id in nodes)
            found.append(next((group for group in groups if group), ()))
        return self._like_the_first(found)

    def _conditioning_nodes(self, starts: list[str]) -> list[str]:
        nodes = list(dict.fromkeys(starts))
        for node_id in nodes:
            found = self.wiring.conditionings(node_id, None, "positive")
            passed = [] if found else self.wiring.passed(node_id)
            nodes += [s for (s, _) in [*(link for link, _ in found), *passed] if s not in nodes]
        return nodes

    # --- texts

    def _conditioning_starts(self, parts: list[str], side: Side) -> list[tuple[Link, Side]]:
        found = (
            link
            for node_id in parts
            for name in _CONDITIONING[side]
            for linked, link in self.wiring.links(node_id)
            if linked == name
        )
        first = next(found, None)
        return [(first, side)] if first is not None else []

    def _encoders(self, side: Side) -> list[list[Texts]]:
        """The texts of each sampler's encoders."""
        return [
            list(
                self._texts.encoders(
                    self._conditioning_starts(parts, side), pipes=self.wiring.pipes(parts[0]), side=side
                )
            )
            for parts in self.parts
        ]

    def _prompts(self) -> Roles:
        positive = self._positive
        found = [group for encoders in positive for texts in encoders for group in (*texts.groups, texts.encoder)]
        shared = set(_flatten(found))
        negative = [[_without(texts, shared) for texts in encoders] for encoders in self._encoders("negative")]
        prompt, candidates = self._decided(positive, "positive")
        unwanted, others = self._decided(negative, "negative")
        free = candidates or (() if prompt else self._free_texts())
        return Roles({"prompt": prompt, "negative": unwanted}, {"prompt": free, "negative": others})

    def _decided(self, encoders: list[list[Texts]], side: Side) -> tuple[Group, Group]:
        """The first sampler's text with those of later samplers that are the same, or else its candidates."""
        first = [texts for texts in encoders[0] if texts.groups or not texts.complete]
        written = _flatten(group for texts in first for group in texts.groups)
        candidates = _flatten([written, *(texts.encoder for texts in first)])
        chosen = self._chosen(first, side)
        if not chosen:
            return (), candidates
        rest = [texts.only for found in encoders for texts in found if texts.only]
        return self._same_values([chosen, *(group for group in rest if group != chosen)]), ()

    def _chosen(self, encoders: list[Texts], side: Side) -> Group:
        """The text that is certain: the only one, the only one for the whole image, or the one titled so."""
        whole = [texts for texts in encoders if not texts.regional] or encoders
        groups = list(dict.fromkeys(group for texts in whole for group in texts.groups))
        if groups and all(texts.only for texts in whole):
            values = [self._values(group) for group in groups]
            if all(value == values[0] for value in values):
                return groups[0]
        titled = [group for group in groups if title_says(self.wiring, group, side)]
        return titled[0] if len(titled) == 1 else ()

    def _free_texts(self) -> Group:
        """Every text that is written in a node that counts, for somebody to choose from."""
        found = ((node_id, name) for node_id in self.live for name in text_inputs(self.wiring, node_id))
        return tuple(Target(*each) for each in found if isinstance(inputs_of(self.graph, each[0])[each[1]], str))

    def _plain_texts(self) -> Roles:
        """Of a graph without a sampler: the only text, if it is no question about an image."""
        found: dict[str, Group] = {}
        others: dict[str, Group] = {}
        for side, name in _PLAIN_TEXTS.items():
            groups = self._plain(side)
            found[name] = groups[0] if len(groups) == 1 else ()
            others[name] = () if len(groups) == 1 else _flatten(groups)
        return Roles(found, others)

    def _plain(self, side: Side) -> list[Group]:
        nodes = [node_id for node_id in self.live if not self._texts.computes(node_id)]
        sided = [(node_id, self._texts.plain(node_id, side)) for node_id in nodes]
        found = [literals(self.graph, node_id, names, "text") for node_id, names in sided if names]
        return list(dict.fromkeys((target,) for group in found for target in group))

    # --- sizes and files

    @cached_property
    def _start(self) -> list[str]:
        """The nodes that the first sampler's latent or image comes through, nearest first; else what is saved."""
        if not self.samplers:
            return self._saved_chain()
        sampler = self.samplers[0]
        linked = dict(self.wiring.links(sampler))
        start = next((linked[name] for name in _LATENT if name in linked), None)
        start = start or next(iter(self.wiring.pipes(sampler)), None)
        return image_chain(self.wiring, start) if start else self.samplers[:1]

    def _saved_chain(self) -> list[str]:
        """Of a graph without a sampler: what the only lasting save node saves comes through."""
        saves = [save for save in self.saves if not save.temporary] or self.saves
        found = [dict(self.wiring.links(save.node_id)) for save in saves]
        starts = [next((linked[name] for name in _SAVED if name in linked), None) for linked in found]
        chains = [image_chain(self.wiring, start) for start in dict.fromkeys(starts) if start is not None]
        return chains[0] if len(chains) == 1 else []

    def _files(self) -> Roles:
        conditioning = [
            source for parts in self.parts[:1] for (source, _), _ in self._conditioning_starts(parts, "positive")
        ]
        around = [*self._conditioning_nodes(conditioning), *(node for parts in self.parts[:1] for node in parts)]
        images = InputImages(self.wiring, self.live, self._start, around)
        found: dict[str, list[Target]] = {kind: images.of_kind(kind) for kind in _FILES}
        chosen = {"image": images.chosen(), "mask": images.chosen_mask()}
        bound = {kind: self._file(targets, chosen.get(kind)) for kind, targets in found.items()}
        return Roles(bound, {kind: tuple(targets) for kind, targets in found.items() if not bound[kind]})

    def _file(self, found: list[Target], chosen: Target | None) -> Group:
        """The chosen file, or the only one, and every other input with the same file."""
        groups: list[Group] = [(target,) for target in found]
        if chosen is not None:
            return self._same_values([(chosen,), *(group for group in groups if group != (chosen,))])
        same = self._same_values(groups)
        return same if len(same) == len(groups) else ()

    def _without_sampler(self) -> dict[str, Group]:
        found = {"seed": _flatten(literals(self.graph, node_id, SEED_INPUTS, "number") for node_id in self.live)}
        found["batch_size"] = self._same_values(batch_at(self.graph, node_id) for node_id in self.live)
        makers = [n for n in self.live if "batch_size" in inputs_of(self.graph, n) and batch_at(self.graph, n)]
        for size in SIZES:
            at = (size_at(self.wiring, node_id, size) for node_id in makers)
            found[size] = self._same_values((target,) for target in at if target is not None)
        found["model"] = self._same_values(
            literals(self.graph, source, _UPSCALE_MODEL_NAMES, "text")
            for node_id in self._start
            for name, (source, _) in self.wiring.links(node_id)
            if name == _UPSCALE_MODEL_LINK
        )
        return found


_FILES: tuple[Kind, ...] = ("image", "mask", "video", "audio")


def _without(texts: Texts, shared: set[Target]) -> Texts:
    """What is left of a negative text without the inputs of the positive one."""
    groups = (tuple(target for target in group if target not in shared) for group in texts.groups)
    encoder = tuple(target for target in texts.encoder if target not in shared)
    return Texts(tuple(group for group in groups if group), texts.complete, texts.regional, encoder)


def _flatten(groups: Iterable[Group]) -> Group:
    return tuple(dict.fromkeys(target for group in groups for target in group))
