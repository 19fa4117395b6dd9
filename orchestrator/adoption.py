"""Saving what waits in a server's own queue: each prompt becomes an item that is submitted under its own prompt_id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import templates
from orchestrator.clients import client_for
from orchestrator.clock import Clock
from orchestrator.comfyui.responses import QueuedGraph
from orchestrator.documents.lists import shortened
from orchestrator.errors import LockHeld, RecipeUnusable, TemplateError
from orchestrator.formatting import counted, in_lines, key_lines
from orchestrator.migration import open_for_writing
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.retries import settled
from orchestrator.servers import Server
from orchestrator.settings import Overrides, Settings, load_settings, refuse_secrets, save_settings
from orchestrator.shared_graphs import first_that_makes, skeleton
from state.change import change_all
from state.counts import Counts
from state.item import Item, Status
from state.store import Store
from templates import Graph

if TYPE_CHECKING:
    from orchestrator.documents.states import AdoptDocument

FOLDER = "adopted"
"""The beginning of the items' keys, and the folder of their images below the output directory."""
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECRET = re.compile(r"key|token|secret|auth", re.IGNORECASE)


@dataclass(frozen=True)
class AdoptReport:
    """What was found in the queues, and what is kept now."""

    state: Path
    keys: tuple[str, ...]
    """The items that were added."""
    known: int
    """Prompts that this state had already."""
    others: int
    """Prompts of another burst state, which has them."""
    recipes: int
    """How many recipes the added items have."""
    counts: Counts
    notes: tuple[str, ...] = ()

    def as_json(self, *, everything: bool = False) -> AdoptDocument:
        """As `burst adopt --json` prints it; `everything`: with all entries of its lists."""
        document: AdoptDocument = {
            "schema": "burst.adopt/1",
            "state": str(self.state),
            "items": list(self.keys),
            "items_total": len(self.keys),
            "known": self.known,
            "others": self.others,
            "recipes": self.recipes,
            "counts": self.counts.as_json(),
            "notes": list(self.notes),
        }
        return shortened(document, "items", "notes", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person, with what to type next."""
        of = f", made with {counted(self.recipes, 'recipe')}" if self.keys else ""
        lines = [f"{counted(len(self.keys), 'prompt')} of the queue saved as items{of}"]
        lines += key_lines(self.keys, everything=everything)
        if self.known:
            lines.append(f"{counted(self.known, 'prompt')} in this state already")
        if self.others:
            lines.append(f"{counted(self.others, 'prompt')} of another burst state left out; its own runs collect them")
        lines += [f"Note: {note}" for note in self.notes]
        return in_lines([*lines, *(["Next: burst run"] if self.counts.remaining else [])])


def adopt(
    state: Path,
    *,
    overrides: Overrides | None = None,
    patience_seconds: float = 20.0,
    clock: Clock | None = None,
) -> AdoptReport:
    """Save what runs and waits on the servers as items of a state, begun where there is none. Safe to repeat.

    From then on runs collect it, and submit it again where a server lost it. `patience_seconds`: how long a server
    that does not answer is asked again. Errors: TransientError, SettingsError; StateError, DiskFull.
    """
    settings = load_settings(state, overrides or Overrides())
    refuse_secrets(settings)
    queues = [(server, _queue_of(server, settings, patience_seconds)) for server in settings.servers]
    with open_for_writing(state, create=True, clock=clock) as store:
        if not store.settings.exists():
            save_settings(state, settings)
        adoption = Adoption(store, settings, state.resolve().parent, clock=clock or Clock())
        for server, queued in queues:
            adoption.take_in(server, queued)
        notes = (*adoption.notes, *settled(store))
        return AdoptReport(
            state=state,
            keys=tuple(adoption.added),
            known=adoption.known,
            others=adoption.others,
            recipes=len(adoption.used),
            counts=store.counts(),
            notes=notes,
        )


def _queue_of(server: Server, settings: Settings, patience_seconds: float) -> Sequence[QueuedGraph]:
    with client_for(server, settings, retry_seconds=patience_seconds) as client:
        return client.queued_graphs()


@dataclass
class Adoption:
    """Takes queues into one state. Killed at any point and repeated, it ends with the same items."""

    store: Store
    settings: Settings
    home: Path
    clock: Clock
    added: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    """Ids of the recipes of what was added."""
    known: int = 0
    others: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._recipes = Recipes(self.store.recipes, self.home)

    def take_in(self, server: Server, queued: Sequence[QueuedGraph]) -> None:
        """What a server has. The recipes are durable before the items, and those wait as pending items with a
        prompt_id, which a run looks up, until they are submitted."""
        new: list[Item] = []
        unfinished: list[str] = []
        left_out: list[str] = []
        with_keys = 0
        bases = _Bases(self._recipes, self.settings, server.kept_name)
        for prompt in queued:
            key = f"{FOLDER}/{_name_of(prompt.prompt_id)}"
            if self._has(prompt, key):
                unfinished += [key] if self._is_unfinished(key, prompt) else []
            elif "burst" in prompt.extra_data:
                self.others += 1
            elif (item := self._item(key, prompt, server, bases)) is None:
                left_out.append(prompt.prompt_id)
            else:
                new.append(item)
                with_keys += _has_secret(prompt.extra_data)
        # A prompt that was given up by a kill between the two steps counts as added now.
        self.known -= len(unfinished)
        bases.keep()
        added = [item.key for item in self.store.add(new)] if new else []
        self._submit([*unfinished, *added])
        self.added += [*unfinished, *added]
        self.used |= {item.recipe for item in self.store.get_many([*unfinished, *added]) if item.recipe is not None}
        self._note(server, left_out, with_keys)

    def _has(self, prompt: QueuedGraph, key: str) -> bool:
        ours = prompt.extra_data.get("burst")
        named = ours.get("item") if isinstance(ours, dict) else None
        keys = [key, *([named] if isinstance(named, str) else [])]
        for item in self.store.get_many(keys):
            if item.key == key or prompt.prompt_id in (item.prompt_id, *item.previous_prompt_ids):
                self.known += 1
                return True
        return False

    def _is_unfinished(self, key: str, prompt: QueuedGraph) -> bool:
        return any(
            item.status is Status.PENDING and item.prompt_id == prompt.prompt_id for item in self.store.get_many([key])
        )

    def _item(self, key: str, prompt: QueuedGraph, server: Server, bases: _Bases) -> Item | None:
        found = bases.recipe_for(prompt)
        if found is None:
            return None
        recipe, inputs = found
        return Item(
            key=key,
            status=Status.PENDING,
            subfolder=FOLDER,
            filename=_name_of(prompt.prompt_id),
            inputs=inputs,
            recipe=recipe.recipe.id,
            prompt_id=prompt.prompt_id,
            server=server.name,
            submitted_at=self.clock.now(),
        )

    def _submit(self, keys: Sequence[str]) -> None:
        """Where a run is at work they stay as they are: it takes them and looks them up, as it does with nothing that
        is submitted by others."""
        if not keys:
            return
        try:
            lease = self.store.lease()
        except LockHeld:
            self.notes.append("a run is at work: it takes over what waits")
            return
        with lease:
            pending = [item for item in self.store.get_many(keys) if item.status is Status.PENDING]
            change_all(self.store, pending, _submitted)

    def _note(self, server: Server, left_out: Sequence[str], with_keys: int) -> None:
        if left_out:
            named = ", ".join(left_out[:3])
            self.notes.append(f"{counted(len(left_out), 'prompt')} on {server.shown} cannot be kept as items: {named}")
        if with_keys:
            self.notes.append(
                f"{counted(with_keys, 'prompt')} on {server.shown} came with a key for partner nodes, which is not "
                "kept: submitted again after a crash they are sent without it"
            )


class _Bases:
    """The recipes of what waits on one server: one for all graphs that differ in literals alone."""

    def __init__(self, recipes: Recipes, settings: Settings, server: str) -> None:
        self._recipes = recipes
        self._settings = settings
        self._server = server
        self._known: dict[str, list[LoadedRecipe]] = {}
        self._new: dict[str, LoadedRecipe] = {}
        output = recipes.kept(settings.output_dir)
        for recipe_id, recipe in recipes.all().items():
            if recipe.workflow_name == "" and recipe.servers == (server,) and recipe.output == output:
                try:
                    self._remember(recipes.loaded(recipe_id))
                except RecipeUnusable:
                    continue

    def recipe_for(self, prompt: QueuedGraph) -> tuple[LoadedRecipe, dict[str, Any]] | None:
        """The recipe and the inputs of an item; None where they cannot give this graph."""
        try:
            graph = templates.parse_graph(_bare(prompt.graph), where=f"prompt {prompt.prompt_id}")
        except TemplateError:
            return None
        known = {id(one.graph): one for one in self._known.get(skeleton(graph), ())}
        found = first_that_makes([one.graph for one in known.values()], graph)
        if found is not None:
            return known[id(found[0])], found[1]
        own = first_that_makes([graph], graph)
        if own is None:
            return None
        recipe = self._recipes.of_prompt(graph, self._settings, servers=(self._server,))
        self._remember(recipe)
        self._new[recipe.recipe.id] = recipe
        return recipe, own[1]

    def keep(self) -> None:
        for recipe in self._new.values():
            self._recipes.keep(recipe)

    def _remember(self, recipe: LoadedRecipe) -> None:
        self._known.setdefault(skeleton(recipe.graph), []).append(recipe)


def _submitted(item: Item) -> Item:
    return item.mark_in_doubt().accept(prompt_id=item.prompt_id or "")


def _name_of(prompt_id: str) -> str:
    """A server takes any text as an id; a file name is made of it."""
    return prompt_id if _FILE_NAME.fullmatch(prompt_id) else hashlib.sha256(prompt_id.encode()).hexdigest()[:32]


def _bare(graph: dict[str, Any]) -> Graph:
    """Without what the server writes into the nodes of a prompt that it runs."""
    return {
        node_id: {name: node[name] for name in ("class_type", "inputs", "_meta") if name in node}
        for node_id, node in graph.items()
        if isinstance(node, dict)
    }


def _has_secret(extra_data: dict[str, Any]) -> bool:
    return any(_SECRET.search(name) and isinstance(value, str) and value for name, value in extra_data.items())
