"""`burst update`: pending items get a new recipe; what is on a server, and what is done, keeps its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.batches.suggestions import advice
from orchestrator.documents.lists import shortened
from orchestrator.errors import ItemError, UsageError
from orchestrator.formatting import counted, in_lines, key_lines
from orchestrator.migration import open_for_writing
from orchestrator.outputs.collisions import refuse_collisions
from orchestrator.outputs.elsewhere import images_elsewhere
from orchestrator.outputs.placement import Placement, placement_of
from orchestrator.preparation import InputsError, Preparation
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.selection import select
from orchestrator.settings import Overrides, Settings, load_settings, remember_servers
from orchestrator.wording import named
from state.change import change_all
from state.item import Item, Status
from state.open_store import open_store
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.states import UpdateDocument


@dataclass(frozen=True)
class UpdateReport:
    """Which items have a new recipe, or would have, and which keep theirs."""

    updated: tuple[str, ...]
    unchanged: int
    """Pending items whose recipe is this one already."""
    out: int
    """Items on a server: they keep their recipe, also when they are put back."""
    ended: int
    """Items named that are completed, failed or cancelled: they keep theirs."""
    recipes: tuple[str, ...]
    """The workflows that the updated items are made with now."""
    dry_run: bool
    notes: tuple[str, ...] = ()

    def as_json(self, *, everything: bool = False) -> UpdateDocument:
        """As `burst update --json` prints it; `everything`: with all entries of its lists."""
        document: UpdateDocument = {
            "schema": "burst.update/2",
            "dry_run": self.dry_run,
            "updated": list(self.updated),
            "updated_total": len(self.updated),
            "unchanged": self.unchanged,
            "out": self.out,
            "ended": self.ended,
            "workflows": list(self.recipes),
            "notes": list(self.notes),
        }
        return shortened(document, "updated", "notes", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person; `everything`: with all items."""
        verb = "would be updated" if self.dry_run else "updated"
        whose = f", made with {', '.join(self.recipes)}" if self.updated else ""
        lines = [f"{counted(len(self.updated))} {verb}{whose}"]
        lines += key_lines(self.updated, everything=everything)
        if self.unchanged:
            lines.append(f"{counted(self.unchanged)} already like that")
        if self.out:
            lines.append(f"{counted(self.out)} on a server keep their recipe, also when they are put back")
        if self.ended:
            lines.append(f"{counted(self.ended)} not pending keep their recipe; `burst retry` makes them due again")
        return in_lines([*lines, *(f"Note: {note}" for note in self.notes)])


def update_items(
    state: Path,
    names: Collection[str] = (),
    *,
    overrides: Overrides,
    made_with: str | None = None,
    dry_run: bool = False,
) -> UpdateReport:
    """Give pending items another workflow, bindings, output directory or servers; all pending ones without names.

    `made_with`: only those of this workflow, as recipes and reports name it or as a path from here.
    What `overrides` does not name stays as each item has it; items without a recipe start from the default. Works while
    a burst runs: an item that it sends meanwhile keeps its recipe. Safe to repeat.
    Errors: UsageError for a name that is not known, where nothing is to be changed, and for an item that would be saved
    where another one is; TemplateError, RecipeUnusable for a recipe that could not be used; StateError. Nothing was
    changed then.
    """
    nothing_but_outputs = not (overrides.template or overrides.bindings or overrides.output_dir or overrides.servers)
    if nothing_but_outputs and overrides.outputs is None and overrides.needs is None:
        *first, last = map(named, ("template", "bindings", "outputs", "output_dir", "servers", "needs"))
        raise UsageError(f"name what to change: {', '.join(first)} or {last}")
    settings = load_settings(state, overrides)
    with open_store(state, read_only=True) if dry_run else open_for_writing(state) as store:
        keys = select(store, names, Status.PENDING, Status.SUBMITTED)
        change = _Change(store, settings, overrides)
        items = store.get_many(keys)
        if made_with is not None:
            items = change.made_with(items, made_with)
        pending = [item for item in items if item.status is Status.PENDING and not item.may_be_on_a_server]
        out = sum(item.may_be_on_a_server for item in items)
        new = {item.key: change.of(item) for item in pending}
        changing = [item for item in pending if new[item.key].recipe.id != item.recipe]
        placement = placement_of(store, load_settings(state), recipes=change.recipes)
        moved = {item.key: placement.with_recipe(item, new[item.key].recipe.id) for item in changing}
        if overrides.output_dir is not None:
            refuse_collisions(placement, moved.values(), store=store, without=moved)
        done: Sequence[Item] = changing
        if not dry_run:
            if overrides.servers:
                with store.adding():
                    remember_servers(state, settings.servers)
            for loaded in {one.recipe.id: one for one in (new[item.key] for item in changing)}.values():
                change.recipes.keep(loaded)
            before = {item.key: item for item in changing}

            def edit(now: Item) -> Item:
                if now.recipe != before[now.key].recipe or now.template != before[now.key].template:
                    return now
                return msgspec.structs.replace(placement.with_recipe(now, new[now.key].recipe.id), template=None)

            changed = change_all(store, changing, edit)
            done = [item for item in changed if item.key in new and item.recipe == new[item.key].recipe.id]
            store.settle(at_end=True)
        used = Counter(new[item.key].name for item in done)
        return UpdateReport(
            updated=tuple(item.key for item in done),
            unchanged=len(pending) - len(changing),
            out=out,
            ended=len(items) - len(pending) - out,
            recipes=tuple(name for name, _ in used.most_common()),
            dry_run=dry_run,
            notes=tuple(_elsewhere(store, placement, settings, overrides)),
        )


def _elsewhere(store: Store, placement: Placement, settings: Settings, overrides: Overrides) -> Iterator[str]:
    if overrides.output_dir is not None:
        yield from images_elsewhere(store, placement, root=settings.output_dir)


class _Change:
    """From an item's recipe to the one that it gets; each recipe is worked out once, and checked with one item."""

    def __init__(self, store: Store, settings: Settings, overrides: Overrides) -> None:
        self.recipes = Recipes(store.recipes, store.location.home)
        self._preparation = Preparation(
            self.recipes, load_settings(store.location.path), store.location.home, items=store
        )
        self._settings = replace(settings, bindings=overrides.bindings)
        self._overrides = overrides
        self._known: dict[tuple[str | None, str | None], LoadedRecipe] = {}

    def made_with(self, items: Sequence[Item], name: str) -> list[Item]:
        """Those of these items whose workflow is called so. Errors: UsageError where none is, with those that are."""
        wanted = {name, self.recipes.kept(Path(name).absolute())}
        called = {item.key: self._preparation.name_of(item) for item in items}
        found = [item for item in items if called[item.key] in wanted]
        if not found:
            raise UsageError(
                f"{named('made_with', name)}: no item is made with it; {advice(name, set(called.values()))}"
            )
        return found

    def of(self, item: Item) -> LoadedRecipe:
        """Errors: RecipeUnusable, TemplateError, UsageError."""
        key = (item.recipe, item.template if item.recipe is None else None)
        if key not in self._known:
            self._known[key] = self._changed(item)
        return self._known[key]

    def _changed(self, item: Item) -> LoadedRecipe:
        """Errors: as `of`."""
        loaded = self._rebound(item) if self._overrides.template is None else self._recipes_of_template()
        before = self.recipes.recipe(item.recipe) if item.recipe is not None else loaded.recipe
        named, output, servers = self._overrides, before.output, before.servers
        needs = before.needs if named.needs is None else named.needs
        if named.output_dir is not None:
            output = self.recipes.kept(self._settings.output_dir)
        if named.servers:
            servers = tuple(server.kept_name for server in self._settings.servers)
        changed = msgspec.structs.replace(loaded.recipe, output=output, servers=servers, needs=needs)
        found = replace(loaded, recipe=changed)
        self._check(item, found)
        return self.recipes.remember(found)

    def _check(self, item: Item, found: LoadedRecipe) -> None:
        """What is wrong with the item's own files shows when it is sent. Errors: TemplateError, UsageError."""
        try:
            self._preparation.prepare(item, {} if item.uploads else None, recipe=found)
        except InputsError as error:
            raise UsageError(f"{item.key}: {error}") from error
        except ItemError:
            pass

    def _rebound(self, item: Item) -> LoadedRecipe:
        """The item's own workflow, with the bindings that are named."""
        said = self._overrides
        base = self._preparation.recipe_of(item)
        return self.recipes.again(base, self._settings, bindings=said.bindings, outputs=said.outputs)

    def _recipes_of_template(self) -> LoadedRecipe:
        """The workflow that is named; bindings of another workflow do not fit it, so only those named with it count."""
        return self.recipes.from_settings(self._settings)
