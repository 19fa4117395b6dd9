"""From what `burst generate` asks for to a batch: its record, and its items with their places. Nothing is written."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import templates
from orchestrator.batches.asked import Asked, Wish
from orchestrator.batches.batch_sizes import automatic_batch_size
from orchestrator.batches.knowing import unknown_names
from orchestrator.batches.layouts import directory_name, place_of
from orchestrator.batches.profiles import load_model_notes, load_profiles, profile_named
from orchestrator.batches.prompt_sources import read_wishes
from orchestrator.batches.sidecars import Recipe
from orchestrator.batches.values import parts_of
from orchestrator.batches.variations import Variation, vary
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.comfyui import ComfyUI
from orchestrator.errors import ItemError, UsageError
from orchestrator.prompts import Prompts
from orchestrator.settings import Settings
from state.batch import BatchRecord, Notify
from state.item import Item, Status
from templates import Graph

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_SHOWN_PROMPTS = 5
_FREE_INPUTS = frozenset({"prompt", "negative", "seed"})
"""What no server has a list of choices for: graphs that differ in these alone are checked once."""


@dataclass(frozen=True)
class Plan:
    """A batch that may be added."""

    record: BatchRecord
    items: tuple[Item, ...]
    first_graph: Graph
    """As it would be posted, but for the names of its files."""
    brought: Graph | None = None
    """A graph of its own, to be kept where `record.template` says, from the state's directory on."""


@dataclass(frozen=True)
class Planner:
    """What planning needs to know. `home`: the state file's directory. `servers`: asked for names and memory.

    `settings` has the template; `kept_template` is the one that later runs know without being told.
    """

    settings: Settings
    kept_template: str | None
    home: Path
    servers: Sequence[ComfyUI]
    secret_env: str | None = None
    """The environment variable with the key that signs what is told to others."""

    def plan(
        self,
        asked: Asked,
        *,
        at: datetime,
        taken: Callable[[str], bool],
        recipe: Recipe | None = None,
        stdin: BinaryIO | None = None,
    ) -> Plan:
        """`at`: local time, for the names. `taken`: whether a directory of this name is there.

        `recipe` is what `--from` named; what is said beside it wins. A graph that it brings goes by the settings' name.
        Errors: UsageError and TemplateError for what cannot be rendered as it is asked for; those of the servers.
        """
        asked = asked.checked()
        name = self.settings.template
        if name is None:
            shipped = ", ".join(templates.shipped_workflows())
            raise UsageError(f"--template: none is set; name a workflow file or a shipped one ({shipped})")
        brought = recipe.graph if recipe is not None else None
        vocabulary = self._vocabulary(name, brought)
        wanted = self._with_profile(asked, vocabulary)
        asked = self._with_batch_size(wanted, vocabulary).settled(vocabulary)
        automatic = {"batch_size": asked.batch_size} if wanted.batch_size == "auto" and asked.batch_size else {}
        if recipe is not None:
            wishes = [_wish(recipe, asked)]
        else:
            wishes = read_wishes(asked, vocabulary=vocabulary, stdin=stdin)
        said = replace(asked, batch_size=None) if automatic else asked
        variations = vary(wishes, asked=said, has_seed=vocabulary.binds("seed"))
        record = self._record(asked, variations, automatic=bool(automatic), at=at, taken=taken)
        template = name if name != self.kept_template else None
        items = tuple(_items(record, variations, template=template, automatic=automatic))
        return Plan(record, items, self._checked(items, template=name, brought=brought), brought)

    def _vocabulary(self, template: str, brought: Graph | None) -> Vocabulary:
        graph = brought or templates.load_workflow(template, relative_to=self.home).graph
        return Vocabulary(graph, templates.find_bindings(graph, self.settings.bindings))

    def _with_profile(self, asked: Asked, vocabulary: Vocabulary) -> Asked:
        """What nothing else says and the template takes."""
        if asked.profile is None:
            return asked
        profile = profile_named(asked.profile, load_profiles(self.home))
        said = {vocabulary.meaning(name) for name in (*asked.sets, *asked.sweeps)} | asked.flagged().keys()
        free = {name: value for name, value in profile.inputs().items() if name not in said and vocabulary.binds(name)}
        if profile.batch_size == "auto" and asked.batch_size is None and "batch_size" not in said:
            free["batch_size"] = "auto"
        if profile.seed_mode is not None and asked.seed_mode == "increment":
            free["seed_mode"] = profile.seed_mode
        return replace(asked, **free)

    def _with_batch_size(self, asked: Asked, vocabulary: Vocabulary) -> Asked:
        """`auto` becomes what the first server has memory for."""
        if asked.batch_size != "auto":
            return asked
        if not vocabulary.binds("batch_size"):
            return replace(asked, batch_size=None)
        model = asked.model
        if model is None and vocabulary.binds("model"):
            target = vocabulary.bindings["model"][0]
            model = str(vocabulary.graph[target.node_id]["inputs"][target.input_name])
        stats = self.servers[0].system_stats() if self.servers else {}
        return replace(asked, batch_size=automatic_batch_size(stats, load_model_notes(self.home), model))

    def _record(
        self,
        asked: Asked,
        variations: Sequence[Variation],
        *,
        automatic: bool,
        at: datetime,
        taken: Callable[[str], bool],
    ) -> BatchRecord:
        batch = f"{at:%Y%m%d_%H%M%S}_{''.join(secrets.choice(_ALPHABET) for _ in range(4))}"
        prompts = dict.fromkeys(variation.prompt for variation in variations)
        parameters = asked.inputs()
        if automatic:
            # Not the number: it may become smaller, and each picture's own record says what it was.
            parameters["batch_size"] = "auto"
        if (seed := variations[0].inputs.get("seed")) is not None:
            parameters["seed"] = seed
        return BatchRecord(
            batch=batch,
            created_at=at.astimezone(UTC),
            total=len(variations),
            layout=asked.layout,
            directory=directory_name(asked.layout, at, batch, taken=taken),
            stem=asked.stem,
            prompts=tuple(prompts)[:_SHOWN_PROMPTS],
            parameters=parameters,
            axes={name: list(values) for name, values in asked.sweeps.items()},
            template=self.settings.template,
            priority=asked.priority,
            on_error=asked.on_error,
            notify=tuple(Notify(url=url, secret_env=self.secret_env) for url in asked.notify),
        )

    def _checked(self, items: Iterable[Item], *, template: str, brought: Graph | None) -> Graph:
        """The first item's graph. Errors: UsageError for items that cannot be made, or name what no server has."""
        prompts = Prompts(template=template, bindings=self.settings.bindings, home=self.home)
        if brought is not None:
            prompts.bring(template, brought)
        kinds: dict[object, Item] = {}
        for item in items:
            kinds.setdefault(tuple((name, repr(value)) for name, value in _choices(item)), item)
        try:
            graphs = [prompts.prepare(item).graph for item in kinds.values()]
        except ItemError as error:
            raise UsageError(str(error)) from error
        unknown = unknown_names(self.servers, graphs) if self.servers else []
        if unknown:
            raise UsageError("; ".join(unknown))
        return graphs[0]


def _wish(recipe: Recipe, asked: Asked) -> Wish:
    """What is to be made again, but for what is said now."""
    said = asked.inputs().keys() | {part for name in asked.sweeps for part in parts_of(name)}
    inputs = {name: value for name, value in recipe.inputs.items() if name not in said}
    if recipe.seed is not None and asked.seed is None and asked.seed_mode != "random" and "seed" not in said:
        inputs["seed"] = recipe.seed
    return Wish(prompt=recipe.prompt or "", inputs=inputs, where=str(asked.from_file))


def _choices(item: Item) -> list[tuple[str, Any]]:
    return sorted((name, value) for name, value in item.inputs.items() if name not in _FREE_INPUTS)


def _items(
    record: BatchRecord, variations: Sequence[Variation], *, template: str | None, automatic: Mapping[str, Any]
) -> Iterable[Item]:
    """`automatic`: the batch size, where `auto` chose it, of those whose row says none."""
    width = max(3, len(str(record.total)))
    for variation in variations:
        place = place_of(record.layout, variation, directory=record.directory, total=record.total, stem=record.stem)
        yield Item(
            key=f"{record.batch}/{variation.index:0{width}d}",
            status=Status.PENDING,
            prompt_text=variation.prompt or None,
            inputs={**automatic, **variation.inputs},
            batch_size_auto=bool(automatic) and "batch_size" not in variation.inputs,
            template=template,
            batch=record.batch,
            index=variation.index,
            priority=record.priority,
            subfolder=place.subfolder,
            filename=place.filename,
            sidecar=place.sidecar,
        )
