"""Every image of a state with what it was made with, read one item at a time: nothing is opened but the state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.batches.batch_parameters import template_values
from orchestrator.errors import OutputRefused, RecipeUnusable
from orchestrator.marks import is_favourite
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import is_text_of_a_file
from orchestrator.recipes import LoadedRecipe
from orchestrator.results.loras import UsedLora, loaded_loras, named_loras
from orchestrator.results.prompt_texts import text_in_file
from orchestrator.statistics import pictures_of
from state.batch import BatchRecord
from state.item import Item, OutputRecord, Record, Status
from state.store import Store


@dataclass(frozen=True, slots=True)
class Rendered:
    """An output file of a completed item that is neither text nor JSON, and that is not in the trash."""

    item: Item
    output: OutputRecord
    batch: BatchRecord | None
    prompt: str
    values: Mapping[str, Any]
    """By binding or address: what its item asked for, else what its workflow says."""
    loras: tuple[UsedLora, ...]
    favorite: bool
    workflow: str | None = None
    """Where that of its recipe came from."""

    @property
    def at(self) -> datetime | None:
        """When it was completed, as far as that is known."""
        return self.item.completed_at

    @property
    def template(self) -> str | None:
        of_batch = self.batch.template if self.batch is not None else None
        return self.item.template or of_batch or self.workflow

    @property
    def seed(self) -> int | None:
        found = self.values.get("seed")
        return found if type(found) is int else None

    def text(self, name: str) -> str | None:
        """The value of this name, where it is a text."""
        found = self.values.get(name)
        return found if isinstance(found, str) else None

    def number(self, name: str) -> float | None:
        """The value of this name, where it is a number."""
        found = self.values.get(name)
        return found if isinstance(found, int | float) and not isinstance(found, bool) else None


@dataclass(frozen=True)
class _Workflow:
    """What a recipe says where an item asks for nothing else."""

    values: Mapping[str, Any]
    prompt: str = ""
    loras: tuple[tuple[str, UsedLora], ...] = ()
    named: frozenset[str] = frozenset()
    """The nodes whose LoRA `lora` sets."""
    name: str | None = None


class Walk:
    """Over an open state. What it has read of workflows and batches stays; items do not."""

    def __init__(self, store: Store, placement: Placement) -> None:
        self.store = store
        self.placement = placement
        self.batches = store.batches.read()
        self._home = store.location.home
        self._values_of = template_values(placement.recipes)
        self._workflows: dict[str | None, _Workflow] = {}

    def images(
        self, *, batch: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Rendered]:
        """In the order in which the items were added; of a time, from and before which, in the order of their ends.

        `batch`: its id. Errors: StateError.
        """
        for item in self._items(batch, since, until):
            yield from self._images_of(item)

    def shown_file(self, one: Rendered) -> str:
        """Where it is, for people and programs; relative where nobody knows its output root."""
        try:
            return str(self.placement.path_of(one.item, one.output.path))
        except (OutputRefused, RecipeUnusable):
            return one.output.path

    def names(self) -> set[str]:
        """Of all values that images have. Reads the whole state."""
        found = {name for recipe in self.placement.recipes.all() for name in self._workflow(recipe).values}
        for item in self.store.items(Status.COMPLETED):
            found.update(item.inputs)
        return found | {name.rpartition(".")[2] for name in found}

    def _items(self, batch: str | None, since: datetime | None, until: datetime | None) -> Iterator[Item]:
        if since is None and until is None:
            return self.store.items(Status.COMPLETED, batch=batch)
        found = self.store.completions(Record, batch=batch, since=since, until=until)
        return (_as_item(key, record) for key, record in found if record.status is Status.COMPLETED)

    def _images_of(self, item: Item) -> Iterator[Rendered]:
        if not (pictures := pictures_of(item)):
            return
        workflow = self._workflow(item.recipe)
        values = {**workflow.values, **item.inputs}
        text = item.own_text or values.pop("prompt", None) or text_in_file(self._home, item)
        if not text and not is_text_of_a_file(item):
            text = workflow.prompt
        values.pop("prompt", None)
        loras = _loras_of(item, workflow)
        record = self.batches[item.batch].record if item.batch in self.batches else None
        for output in pictures:
            favorite = is_favourite(item, output.path)
            yield Rendered(item, output, record, str(text), values, loras, favorite, workflow.name)

    def _workflow(self, recipe: str | None) -> _Workflow:
        if recipe not in self._workflows:
            self._workflows[recipe] = self._read(recipe)
        return self._workflows[recipe]

    def _read(self, recipe: str | None) -> _Workflow:
        try:
            loaded = self.placement.recipes.loaded(recipe) if recipe is not None else None
        except RecipeUnusable:
            loaded = None
        if loaded is None:
            return _Workflow({})
        values = {**self._values_of(recipe)}
        if type(seed := _bound(loaded, "seed")) is int:
            values["seed"] = seed
        prompt = _bound(loaded, "prompt")
        return _Workflow(
            values,
            prompt if isinstance(prompt, str) else "",
            tuple(loaded_loras(loaded.graph)),
            frozenset(target.node_id for target in loaded.bindings.get("lora", ())),
            loaded.recipe.workflow_name,
        )


def _bound(loaded: LoadedRecipe, name: str) -> object:
    """What a workflow has at the first input of this name."""
    for target in loaded.bindings.get(name, ())[:1]:
        found: object = loaded.graph[target.node_id]["inputs"].get(target.input_name)
        return found
    return None


def _loras_of(item: Item, workflow: _Workflow) -> tuple[UsedLora, ...]:
    """Its own first: the first of them takes the place of the one that `lora` sets, and its strength where it has none.

    As `templates.with_loras` makes the graph.
    """
    if "lora" not in item.inputs:
        strength = item.inputs.get("lora_strength")
        if not isinstance(strength, int | float):
            return tuple(one for _, one in workflow.loras)
        return tuple(UsedLora(one.name, strength) if node in workflow.named else one for node, one in workflow.loras)
    bound = next((one.strength for node, one in workflow.loras if node in workflow.named), 1.0)
    own = named_loras(item.inputs, first_strength=bound)
    return (*own, *(one for node, one in workflow.loras if node not in workflow.named))


def _as_item(key: str, record: Record) -> Item:
    return Item(key=key, **{name: getattr(record, name) for name in Record.__struct_fields__})
