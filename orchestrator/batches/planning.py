"""From what `burst generate` asks for to a batch: its record, and its items with their places. Nothing is written."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

import templates
from orchestrator.batches.batch_sizes import automatic_batch_size
from orchestrator.batches.dynamic_prompts import Expansion, expansion_of, refuse_dynamic
from orchestrator.batches.equal_prompts import same_image_notes
from orchestrator.batches.layouts import directory_name
from orchestrator.batches.lora_tags import LoraTags
from orchestrator.batches.model_files import ModelFiles
from orchestrator.batches.name_check import unknown_names
from orchestrator.batches.picks import request_of
from orchestrator.batches.planned_items import planned_items
from orchestrator.batches.profiles import load_model_notes, load_profiles, profile_named
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.request_identity import digest_of, request_parts
from orchestrator.batches.sidecars import Reproduction
from orchestrator.batches.sources import Listed, read_list, read_source
from orchestrator.batches.spec import BatchSpec, without_requested
from orchestrator.batches.text_axes import TextAxes
from orchestrator.batches.text_axis import axis_meaning
from orchestrator.batches.variation import Variation
from orchestrator.batches.variations import Terms, vary
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.batches.wildcards import Wildcards
from orchestrator.comfyui import ComfyUI
from orchestrator.errors import ItemError, TemplateError, UsageError, located
from orchestrator.input_files import refuse_unreadable, stand_ins
from orchestrator.node_classes import ClassSource, kept_classes
from orchestrator.preparation import Preparation
from orchestrator.prompt_directories import key_of
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.settings import Overrides, Settings
from orchestrator.wording import named
from state.batch import BatchRecord, Idempotency, Notify
from state.item import Item
from templates import Graph

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_SHOWN_PROMPTS = 5
_FREE_INPUTS = frozenset({"prompt", "negative", "seed"})
"""What no server has a list of choices for: graphs that differ in these alone are checked once."""


@dataclass(frozen=True)
class Draft:
    """A request that is understood: everything about it but what servers have to say, and its seeds."""

    spec: BatchSpec
    """With what its profile says; not yet by the template's names."""
    asked: BatchSpec
    """Without that."""
    vocabulary: Vocabulary
    data: bytes
    """What its source of prompts holds."""
    parts: Mapping[str, Any]
    """What it is compared by."""
    reproduction: Reproduction | None = None
    listed: Listed | None = None
    """Its prompts, but for `from_file`."""
    expansion: Expansion | None = None
    """Of its dynamic prompts, which are read: nothing in them or their wildcards is at fault."""


@dataclass(frozen=True)
class Plan:
    """A batch that may be added."""

    record: BatchRecord
    items: tuple[Item, ...]
    first_graph: Graph
    """As it would be posted, but for the names of its files."""
    recipes: tuple[LoadedRecipe, ...]
    """What its items are made with, the batch's own first; to be kept before they are added."""
    variations: tuple[Variation, ...] = ()
    """What each item is, in their order."""
    notes: tuple[str, ...] = ()
    """What was left out of its list, and the like."""


def requested_recipe(
    recipes: Recipes,
    settings: Settings,
    overrides: Overrides,
    *,
    base: LoadedRecipe | None = None,
    servers: Sequence[str] = (),
    classes: ClassSource = kept_classes,
) -> LoadedRecipe:
    """What a request's items are made with. `base`: in place of the settings' template, unless `overrides` name one.

    `classes`: where the node classes come from that its bindings go by.

    Errors: TemplateError, UsageError where there is none.
    """
    if base is not None and overrides.template is None:
        return recipes.again(base, settings, bindings=overrides.bindings, outputs=overrides.outputs, servers=servers)
    if settings.template is None:
        shipped = ", ".join(templates.shipped_workflows())
        raise UsageError(f"{named('template')}: none is set; name a workflow file or a shipped one ({shipped})")
    return recipes.from_settings(settings, servers=servers, classes=classes)


@dataclass(frozen=True)
class Planner:
    """What planning needs to know. `home`: the state file's directory. `servers`: asked for names and memory."""

    recipe: LoadedRecipe
    preparation: Preparation
    home: Path
    servers: Sequence[ComfyUI]
    secret_env: str | None = None
    """The environment variable with the key that signs what is told to others."""
    then: str | None = None
    """The name of the command that is run once the batch is done."""
    row_recipe: Callable[[str, str], LoadedRecipe] | None = None
    """Of rows with a template or an output directory of their own, `""` for the batch's. Errors: TemplateError."""

    names_are_ids: bool = False
    """Whether a column `name` tells rows apart, whatever the layout."""
    takes_paths: bool = True
    """Whether a list may name files, templates and output directories of this host."""

    def draft(self, spec: BatchSpec, *, reproduction: Reproduction | None = None, data: bytes | None = None) -> Draft:
        """What is requested, as far as that is known without asking a server. `data`: what `read_source` gave.

        `reproduction` is what `--from` named; what is said beside it wins.
        Errors: UsageError and TemplateError for what cannot be rendered as it is asked for.
        """
        spec = spec.checked()
        vocabulary = Vocabulary(self.recipe.graph, self.recipe.bindings)
        wanted = self._with_profile(spec, vocabulary)
        if data is None:
            data = read_source(spec)
        settled, recipe = wanted.settled(vocabulary), self.recipe.recipe.request_id
        listed, expansion = None, None
        if spec.source != "from_file":
            listed = read_list(
                settled,
                vocabulary=vocabulary,
                data=data,
                vocabulary_of=self._vocabulary_of,
                names_are_ids=self.names_are_ids,
                takes_paths=self.takes_paths,
            )
        if spec.dynamic and listed is not None:
            axes = TextAxes.of(settled, vocabulary)
            expansion = expansion_of(settled, listed.entries, Wildcards.found(spec.wildcards, home=self.home), axes)
        parts = request_parts(
            settled,
            source=data if spec.from_batch is None else request_of(data).encode(),
            recipe=recipe,
            secret_env=self.secret_env,
            then=self.then,
            wildcards=expansion.digest if expansion is not None else None,
            rows=self._digest_of_rows(listed.entries) if listed is not None else None,
        )
        return Draft(wanted, spec, vocabulary, data, parts, reproduction, listed, expansion)

    def plan(
        self,
        draft: Draft,
        *,
        at: datetime,
        taken: Callable[[str], bool],
        idempotency: Idempotency | None = None,
        base_seed: int | None = None,
    ) -> Plan:
        """`at`: local time, for the names. `taken`: whether a directory of this name is there.

        `base_seed`: the first variation of a prompt has it, where the request names none.

        Errors: as `draft`; those of the servers.
        """
        wanted, vocabulary, reproduction = draft.spec, draft.vocabulary, draft.reproduction
        spec = self._with_batch_size(wanted, vocabulary).settled(vocabulary)
        automatic = {"batch_size": spec.batch_size} if wanted.batch_size == "auto" and spec.batch_size else {}
        if reproduction is not None:
            entries: Sequence[PromptEntry] = [_wish(reproduction, spec, vocabulary)]
        else:
            assert draft.listed is not None
            entries = draft.listed.entries
        files = ModelFiles(self.servers, vocabulary)
        if any(entry.has_model_stem for entry in entries):
            entries = [files.named(entry) for entry in entries]
        # An image of our own is made again of the text that was sent.
        is_taken = spec.literal or (reproduction is not None and not reproduction.has_foreign_values)
        if not spec.dynamic and not spec.literal:
            is_new = reproduction is None and (spec.from_batch is None or spec.prompt is not None)
            refuse_dynamic(spec, entries, is_new=is_new)
        said = replace(spec, batch_size=None) if automatic else spec
        variations = vary(
            entries,
            spec=said,
            has_seed=vocabulary.binds("seed"),
            expansion=draft.expansion,
            axes=TextAxes.of(said, vocabulary),
            base=base_seed,
            terms=self._terms(draft, said) if any(entry.template or entry.count for entry in entries) else None,
            tags=None if is_taken else LoraTags(files.lora),
        )
        record = self._record(spec, variations, automatic=bool(automatic), at=at, taken=taken)
        record = msgspec.structs.replace(
            record, request=digest_of(draft.parts), request_parts=dict(draft.parts), idempotency=idempotency
        )
        items = tuple(planned_items(record, variations, home=self.home, recipe_of=self._recipe_of, automatic=automatic))
        rows = {(entry.template, entry.output) for entry in entries if entry.template or entry.output}
        recipes = {loaded.recipe.id: loaded for loaded in (self.recipe, *(self._recipe_of(*row) for row in rows))}
        notes = draft.listed.notes if draft.listed is not None else ()
        graph = self._checked(items)
        notes = (*notes, *same_image_notes(items))
        return Plan(record, items, graph, tuple(recipes.values()), tuple(variations), notes)

    def _recipe_of(self, template: str, output: str) -> LoadedRecipe:
        """Errors: TemplateError."""
        if not (template or output):
            return self.recipe
        if self.row_recipe is None:
            raise UsageError("rows with a template or an output directory of their own are not taken here")
        return self.row_recipe(template, output)

    def _vocabulary_of(self, template: str) -> Vocabulary:
        """Errors: UsageError."""
        with located(f"template {template!r}", TemplateError, into=UsageError):
            loaded = self._recipe_of(template, "")
        return Vocabulary(loaded.graph, loaded.bindings)

    def _digest_of_rows(self, entries: Iterable[PromptEntry]) -> str | None:
        """Of what their cells name: workflows, output directories, files by their paths."""
        named_there: dict[tuple[str, ...], None] = {}
        for entry in entries:
            paths = [source for source in entry.uploads.values() if isinstance(source, str)]
            if entry.template or entry.output or paths:
                recipe = self._recipe_of(entry.template, entry.output).recipe.request_id
                named_there[recipe, *(key_of(Path(path), self.home) for path in paths)] = None
        return f"sha256:{digest_of({'rows': sorted(named_there)})}" if named_there else None

    def _terms(self, draft: Draft, said: BatchSpec) -> Callable[[PromptEntry], Terms]:
        """`said`: the request by the names of the batch's own template. A batch size of `auto` is that one's alone."""
        known: dict[tuple[str, int | None], Terms] = {}

        def terms(entry: PromptEntry) -> Terms:
            if (entry.template, entry.count) not in known:
                spec, vocabulary = said, draft.vocabulary
                with located(entry.where, UsageError):
                    if entry.template:
                        vocabulary = self._vocabulary_of(entry.template)
                        spec = self._with_profile(draft.asked, vocabulary)
                        spec = replace(spec, batch_size=None) if spec.batch_size == "auto" else spec
                        spec = spec.settled(vocabulary)
                spec = replace(spec, count=entry.count or spec.count)
                known[entry.template, entry.count] = Terms(
                    spec, vocabulary.binds("seed"), TextAxes.of(spec, vocabulary)
                )
            return known[entry.template, entry.count]

        return terms

    def _with_profile(self, spec: BatchSpec, vocabulary: Vocabulary) -> BatchSpec:
        """What nothing else says and the template takes."""
        if spec.profile is None:
            return spec
        profile = profile_named(spec.profile, load_profiles(self.home))
        said = {*map(vocabulary.meaning, spec.sets), *(axis_meaning(key, vocabulary) for key in spec.sweeps)}
        said |= spec.flagged().keys()
        free = {name: value for name, value in profile.inputs().items() if name not in said and vocabulary.binds(name)}
        if profile.batch_size == "auto" and spec.batch_size is None and "batch_size" not in said:
            free["batch_size"] = "auto"
        if profile.seed_mode is not None and spec.seed_mode == "increment":
            free["seed_mode"] = profile.seed_mode
        return replace(spec, **free)

    def _with_batch_size(self, spec: BatchSpec, vocabulary: Vocabulary) -> BatchSpec:
        """`auto` becomes what the first server has memory for."""
        if spec.batch_size != "auto":
            return spec
        if not vocabulary.binds("batch_size"):
            return replace(spec, batch_size=None)
        model = spec.model
        if model is None and vocabulary.binds("model"):
            target = vocabulary.bindings["model"][0]
            model = str(vocabulary.graph[target.node_id]["inputs"][target.input_name])
        stats = self.servers[0].system_stats() if self.servers else {}
        return replace(spec, batch_size=automatic_batch_size(stats, load_model_notes(self.home), model))

    def _record(
        self,
        spec: BatchSpec,
        variations: Sequence[Variation],
        *,
        automatic: bool,
        at: datetime,
        taken: Callable[[str], bool],
    ) -> BatchRecord:
        batch = f"{at:%Y%m%d_%H%M%S}_{''.join(secrets.choice(_ALPHABET) for _ in range(4))}"
        prompts = dict.fromkeys(variation.prompt for variation in variations)
        parameters = spec.inputs()
        if automatic:
            # Not the number: it may become smaller, and each picture's own record says what it was.
            parameters["batch_size"] = "auto"
        if (seed := variations[0].inputs.get("seed")) is not None:
            parameters["seed"] = seed
        return BatchRecord(
            batch=batch,
            created_at=at.astimezone(UTC),
            total=len(variations),
            layout=spec.layout,
            directory=directory_name(spec.layout, at, batch, taken=taken),
            stem=spec.stem,
            prompts=tuple(prompts)[:_SHOWN_PROMPTS],
            parameters=parameters,
            axes={name: list(values) for name, values in spec.sweeps.items()},
            wildcards=tuple(key_of(Path(folder).absolute(), self.home) for folder in spec.wildcards),
            template=self.recipe.recipe.workflow_name,
            recipe=self.recipe.recipe.id,
            priority=spec.priority,
            on_error=spec.on_error,
            name=spec.name,
            then=self.then,
            notify=tuple(Notify(url=url, secret_env=self.secret_env) for url in spec.notify),
        )

    def _graph_of(self, item: Item) -> Graph:
        if item.awaits:
            return self.preparation.prepare(item, stand_ins(item.uploads)).graph
        return self.preparation.prepare(item).graph

    def _checked(self, items: Iterable[Item]) -> Graph:
        """The first item's graph. Errors: UsageError for items that cannot be made, or name what no server has."""
        kinds: dict[object, Item] = {}
        for item in items:
            kinds.setdefault((item.recipe, *((name, repr(value)) for name, value in _choices(item))), item)
            if item.uploads:
                refuse_unreadable(item.upload_paths, self.preparation.locate)
        try:
            graphs = [self._graph_of(item) for item in kinds.values()]
        except ItemError as error:
            raise UsageError(str(error)) from error
        unknown = unknown_names(self.servers, graphs) if self.servers else {}
        if unknown:
            inputs = (entry for item in kinds.values() for entry in item.inputs.items())
            given = {name for name, value in inputs if value in unknown.values()}
            raise UsageError("; ".join(unknown), parameter=given.pop() if len(given) == 1 else None)
        return graphs[0]


def _wish(reproduction: Reproduction, spec: BatchSpec, vocabulary: Vocabulary) -> PromptEntry:
    """What is to be made again, but for what is said now."""
    seed = {"seed": reproduction.seed} if reproduction.seed is not None else {}
    inputs = without_requested({**reproduction.inputs, **seed}, spec)
    if reproduction.has_foreign_values:
        inputs = {name: value for name, value in inputs.items() if vocabulary.binds(name)}
    return PromptEntry(
        prompt=reproduction.prompt or "",
        inputs=inputs,
        where=str(spec.from_file),
        has_model_stem=reproduction.has_foreign_values,
    )


def _choices(item: Item) -> list[tuple[str, Any]]:
    return sorted((name, value) for name, value in item.inputs.items() if name not in _FREE_INPUTS)
