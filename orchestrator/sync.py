"""`burst sync`: a list is the wanted state of a named batch; what the list has more, other or less is brought in.

What is there keeps its key, number, file name and seed. New rows take numbers that no item has had, so that nothing is
ever renamed. Done twice it is done once, and after a kill in the middle the next call does the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from orchestrator.amendment import amend
from orchestrator.batches.layouts import place_of
from orchestrator.batches.planning import Plan
from orchestrator.batches.row_matching import match_rows
from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.sync_report import Synced, SyncedRow
from orchestrator.batches.synced_spec import kept_fields, source_of
from orchestrator.batches.variation import Variation
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.clock import Clock
from orchestrator.cycle.request import Request
from orchestrator.errors import RequestConflict, StaleChange, UsageError
from orchestrator.formatting import counted
from orchestrator.generation import Generation
from orchestrator.intake import Intake, made_of
from orchestrator.migration import open_for_writing
from orchestrator.outputs.collisions import refuse_collisions
from orchestrator.outputs.placement import Placement, placement_of
from orchestrator.places import root_at_home
from orchestrator.preparation import Preparation
from orchestrator.recipes import LoadedRecipe, Recipes
from orchestrator.retries import settled
from orchestrator.settings import Overrides, Settings, kept_settings
from orchestrator.withdrawal import AskedServers
from orchestrator.wording import named
from state.batch import BatchRecord, GrownRecord, ThenRecord
from state.change import Change, change_all
from state.item import DUE, Item, Status
from state.open_store import open_store
from state.store import Store

_NEXT = "burst run"


@dataclass(frozen=True)
class _Steps:
    """What is to be done, by the items as they were looked at."""

    new: tuple[Item, ...]
    back: Mapping[str, int]
    """Key → number of the wanted item. So the two below."""
    changed: Mapping[str, int]
    kept: Mapping[str, int]
    gone: tuple[Item, ...]


@dataclass(frozen=True)
class _Rows:
    """What is shown of them."""

    added: Sequence[SyncedRow]
    changed: Sequence[SyncedRow] = ()
    gone: Sequence[SyncedRow] = ()
    unchanged: int = 0

    @classmethod
    def of_new(cls, items: Iterable[Item]) -> _Rows:
        return cls([SyncedRow(item, "new") for item in items])

    def after(self, done: Mapping[str, Item]) -> _Rows:
        """What came of it: items that a server renders are left as they were. `done`: those that were changed."""
        changed = [row if row.item.key in done else replace(row, what="left") for row in self.changed]
        gone = [
            row if row.what != "pruned" or row.item.key in done else replace(row, what=str(row.item.status))
            for row in self.gone
        ]
        return replace(self, changed=changed, gone=gone)


class Synchronisation(Generation):
    """One call of `burst sync`; `bring` may be called once.

    `given`: fields of a `BatchSpec` that this call names; a batch that is there has the others already. `prune`: cancel
    what is due and has no row any more. `then`: the name of the command that is run from now on, each time the batch is
    done. Servers are contacted only to withdraw prompts.
    """

    _names_are_ids = True

    def __init__(
        self,
        path: str,
        name: str,
        given: Mapping[str, Any],
        request: Request,
        *,
        prune: bool = False,
        dry_run: bool = False,
        then: str | None = None,
        clock: Clock | None = None,
        patience_seconds: float = 20.0,
    ) -> None:
        self._source: dict[str, Any] = {source_of(path): path}
        self._name = name
        self._given = given
        self._prune = prune
        self._record: BatchRecord | None = None
        self._servers = AskedServers(request.state, Overrides(), patience_seconds)
        super().__init__(
            BatchSpec(**self._source, name=name, **given),
            request,
            queue_only=True,
            dry_run=dry_run,
            then=then,
            clock=clock,
            patience_seconds=patience_seconds,
        )

    def bring(self) -> Synced:
        """Errors, with nothing changed: as `Generation.execute`, and UsageError for a layout that the batch lacks."""
        self._find()
        if self._record is None:
            self._asked = self._asked.checked()
            created = self._create()
            if created is not None:
                return created
            self._find()
        record = self._record
        assert record is not None
        self._asked = self._spec_of(record)
        drafted = self._draft()
        plan = self._plan(drafted, base_seed=_seed_of(record))
        notes = plan.notes
        if self._dry_run:
            with open_store(self._state, read_only=True) as store:
                steps = self._looked(store, plan, record)
                self._refuse_taken(steps, drafted.recipes, drafted.settings, store)
                rows = self._rows(store, plan, steps)
                notes = (*notes, *self._news_of_command(record))
                if out := sum(row.item.may_be_on_a_server for row in rows.changed):
                    notes = (*notes, f"{counted(out)} on a server: withdrawn first, if not rendered yet")
                return self._synced(record, rows, notes=notes)
        with self._parts.adding(), open_for_writing(self._state, clock=self._clock) as store:
            record = self._parts.batches.read()[record.batch].record
            steps = self._looked(store, plan, record)
            self._refuse_taken(steps, drafted.recipes, drafted.settings, store)
            if news := self._news_of_command(record):
                # Before anything is due: an end that comes of it is one with this command.
                self._parts.batches.append(ThenRecord(batch=record.batch, name=self._then or ""))
            notes = (*notes, *news)
            book = Recipes(store.recipes, self._state.parent)
            for recipe in plan.recipes:
                book.keep(recipe)
            rows = self._rows(store, plan, steps)
            done = self._bring(store, plan, record, steps)
            notes = (*notes, *self._servers.notes, *settled(store))
        return self._synced(record, rows.after(done), notes=notes)

    def _find(self) -> None:
        """The batch of this name that has items."""
        if not self._parts.exists():
            return
        with open_store(self._state, read_only=True) as store:
            for batch in reversed(list(self._parts.batches.read().values())):
                is_it = batch.record.name == self._name and not batch.gone
                if is_it and store.counts(batch=batch.id).total:
                    self._record = batch.record
                    return

    def _create(self) -> Synced | None:
        """Add the batch; None where another process has added it meanwhile."""
        if self._dry_run:
            planned = self._planned()
            plan, items = planned.plan, planned.plan.items
            return self._synced(plan.record, _Rows.of_new(items), created=True, notes=plan.notes)
        try:
            chosen = self._choose()
        except RequestConflict:
            return None
        if chosen.continued:
            return None
        with open_store(self._state, read_only=True) as store:
            items = tuple(store.items(batch=chosen.record.batch))
        return self._synced(chosen.record, _Rows.of_new(items), created=True, notes=chosen.notes)

    def _news_of_command(self, record: BatchRecord) -> tuple[str, ...]:
        if self._then in (None, record.then):
            return ()
        return (f"command {self._then} is run from now on, each time that the batch is done",)

    def _spec_of(self, record: BatchRecord) -> BatchSpec:
        """This request, with what the batch was made with where this call does not say otherwise."""
        for name in ("layout", "stem"):
            if self._given.get(name) not in (None, getattr(record, name)):
                raise UsageError(
                    f"{named(name, self._given[name])}: batch {record.label} has {getattr(record, name) or 'none'}, "
                    "and nothing in it is renamed; leave it out"
                )
        recipes = Recipes(self._parts.recipes, self._state.parent)
        base = recipes.loaded(record.recipe) if record.recipe is not None else None
        vocabulary = Vocabulary(base.graph, base.bindings) if base is not None else None
        fields = kept_fields(record, self._given, vocabulary, home=self._state.parent)
        given = {**self._given, "sets": {**fields["sets"], **self._given.get("sets", {})}}
        return BatchSpec(**{**fields, **given, **self._source, "name": self._name}).checked()

    def _requested(
        self, recipes: Recipes, settings: Settings, base: LoadedRecipe | None, servers: Sequence[str]
    ) -> LoadedRecipe:
        """What the batch is made with, where this call names nothing else."""
        overrides, record = self._request.overrides, self._record
        if record is None or record.recipe is None or overrides.template is not None:
            return super()._requested(recipes, settings, base, servers)
        there = recipes.loaded(record.recipe)
        is_named = overrides.bindings or overrides.output_dir or overrides.servers
        if not is_named and overrides.outputs is None and overrides.needs is None:
            return there
        if overrides.output_dir is None:
            settings = replace(settings, output_dir=root_at_home(there.recipe.output, self._state.parent))
        return super()._requested(recipes, settings, there, servers or there.recipe.servers)

    def _looked(self, store: Store, plan: Plan, record: BatchRecord) -> _Steps:
        there = list(store.items(batch=record.batch))
        matching = match_rows(plan.items, there)
        back, changed, kept = dict[str, int](), dict[str, int](), dict[str, int]()
        for number, item in matching.pairs.items():
            wanted = plan.items[number]
            is_same = not item.row_digest or item.row_digest == wanted.row_digest
            if item.row_gone and item.status is Status.CANCELLED:
                back[item.key] = number
            elif not is_same or self._has_other_priority(plan, number, item):
                changed[item.key] = number
            else:
                kept[item.key] = number
        new = tuple(self._numbered(plan, matching.added, record, there))
        return _Steps(new, back, changed, kept, tuple(matching.gone))

    @staticmethod
    def _has_other_priority(plan: Plan, number: int, item: Item) -> bool:
        """Only where the row says one: `burst priority` is not taken back."""
        entry = plan.variations[number].entry
        said = entry.priority if entry is not None else None
        return said is not None and said != item.priority and item.status in DUE

    def _numbered(self, plan: Plan, added: Sequence[int], record: BatchRecord, there: Sequence[Item]) -> Iterator[Item]:
        """New items, with numbers that none of the batch has had, as wide as those that are there."""
        widths = [len(item.key.rpartition("/")[2]) for item in there if item.key.startswith(f"{record.batch}/")]
        width = min(widths, default=3)
        first = max([record.total, *(item.index or 0 for item in there)]) + 1
        for index, number in enumerate(added, first):
            variation = msgspec.structs.replace(plan.variations[number], index=index)
            place = place_of(
                record.layout, variation, directory=record.directory, total=10**width - 1, stem=record.stem
            )
            yield msgspec.structs.replace(
                plan.items[number],
                key=f"{record.batch}/{index:0{width}d}",
                batch=record.batch,
                index=index,
                subfolder=place.subfolder,
                filename=place.filename,
                sidecar=place.sidecar,
            )

    def _refuse_taken(self, steps: _Steps, recipes: Recipes, settings: Settings, store: Store) -> None:
        refuse_collisions(Placement(recipes, self._default(settings)), steps.new, store=store)

    def _bring(self, store: Store, plan: Plan, record: BatchRecord, steps: _Steps) -> dict[str, Item]:
        """The items that were changed, by key; each step by itself may be the last one before a kill."""
        settings, recipes = kept_settings(self._state), Recipes(store.recipes, self._state.parent)
        placement = placement_of(store, settings)
        intake = Intake(store, recipes, Preparation(recipes, settings, self._state.parent), settings.output_dir)
        numbers = {**steps.back, **steps.changed}
        wanted = {number: intake.one(plan.items[number]) for number in numbers.values()}

        def renewed(now: Item) -> Item:
            number = numbers[now.key]
            return self._renewed(now, wanted[number], plan.variations[number], placement)

        done = {item.key: item for item in amend(store, list(numbers), renewed, servers=self._servers).changed}
        self._adopt(store, plan, steps.kept)
        if intake.takes_in:
            _take_in_again(store, intake, steps.kept)
        if self._prune:
            due = [item.key for item in steps.gone if item.status in DUE]
            done |= {item.key: item for item in amend(store, due, _pruned, servers=self._servers).changed}
        if steps.new:
            last = steps.new[-1].index or 0
            store.add(intake.all(steps.new), batch=GrownRecord(batch=record.batch, total=last))
        return done

    def _renewed(self, now: Item, wanted: Item, variation: Variation, placement: Placement) -> Item:
        """An item as its row says now; what is over is due again, unless the user cancelled it."""
        is_back = now.row_gone and now.status is Status.CANCELLED
        is_other = now.row_digest != wanted.row_digest
        if is_back or (is_other and now.status in (Status.COMPLETED, Status.FAILED)):
            now = now.start_over()
        entry = variation.entry
        if entry is not None and entry.priority is not None:
            now = msgspec.structs.replace(now, priority=entry.priority)
        now = msgspec.structs.replace(now, row_id=wanted.row_id, row_gone=False)
        if not is_other:
            return now
        inputs = dict(wanted.inputs)
        # What a dynamic prompt became is of the seed that it was drawn with.
        if variation.seed_is_drawn and "seed" in now.inputs and not wanted.dynamic:
            inputs["seed"] = now.inputs["seed"]
        now = placement.with_recipe(now, wanted.recipe) if now.recipe != wanted.recipe else now
        return msgspec.structs.replace(
            now,
            prompt_text=wanted.prompt_text,
            inputs=inputs,
            uploads=wanted.uploads,
            taken_in=wanted.taken_in,
            dynamic=wanted.dynamic,
            batch_size_auto=wanted.batch_size_auto,
            row_digest=wanted.row_digest,
            template=None,
        )

    def _adopt(self, store: Store, plan: Plan, kept: Mapping[str, int]) -> None:
        """Items of rows that are as they were remember the id that their row has now."""

        def is_news(item: Item) -> bool:
            wanted = plan.items[kept[item.key]]
            return (item.row_id, item.row_digest) != (wanted.row_id, wanted.row_digest)

        def adopted(now: Item) -> Item:
            wanted = plan.items[kept[now.key]]
            return msgspec.structs.replace(now, row_id=wanted.row_id, row_digest=wanted.row_digest)

        _change_whatever(store, [item.key for item in store.get_many(kept) if is_news(item)], adopted)

    def _rows(self, store: Store, plan: Plan, steps: _Steps) -> _Rows:
        """What is to be done, before it is."""
        before = {item.key: item for item in store.get_many([*steps.back, *steps.changed])}

        def shown(key: str, number: int) -> Item:
            wanted = plan.items[number]
            return msgspec.structs.replace(before[key], prompt_text=wanted.prompt_text, row_id=wanted.row_id)

        back = [SyncedRow(shown(key, number), "back") for key, number in steps.back.items()]
        changed = [
            SyncedRow(shown(key, number), _alteration(before[key], plan.items[number]))
            for key, number in steps.changed.items()
        ]
        gone = [
            SyncedRow(item, "pruned" if self._prune and item.status in DUE else str(item.status)) for item in steps.gone
        ]
        return _Rows((*back, *(SyncedRow(item, "new") for item in steps.new)), changed, gone, len(steps.kept))

    def _synced(
        self, record: BatchRecord, rows: _Rows, *, created: bool = False, notes: tuple[str, ...] = ()
    ) -> Synced:
        is_due = False
        if not self._dry_run:
            with open_store(self._state, read_only=True) as store:
                is_due = store.counts(batch=record.batch).remaining > 0
        return Synced(
            batch=record.batch,
            name=self._name,
            created=created,
            dry_run=self._dry_run,
            added=rows.added,
            changed=rows.changed,
            gone=rows.gone,
            unchanged=rows.unchanged,
            notes=notes,
            next=_NEXT if is_due else None,
        )


def sync_list(
    path: str,
    name: str,
    *,
    request: Request | None = None,
    prune: bool = False,
    dry_run: bool = False,
    then: str | None = None,
    **given: Any,
) -> Synced:
    """`burst sync` for scripts: the batch of this name becomes what the list at `path` says.

    `given`: fields of a `BatchSpec` that count instead of what the batch was made with. `prune`: cancel what is due and
    has no row any more. `then`: as of `Synchronisation`. Errors: as `Synchronisation.bring`.
    """
    return Synchronisation(path, name, given, request or Request(), prune=prune, dry_run=dry_run, then=then).bring()


def _alteration(item: Item, wanted: Item) -> str:
    if item.row_digest == wanted.row_digest:
        return "priority"
    if item.status is Status.CANCELLED:
        return "cancelled"
    return "redone" if item.status in (Status.COMPLETED, Status.FAILED) else "edited"


def _pruned(now: Item) -> Item:
    return msgspec.structs.replace(now.cancel(), row_gone=True) if now.status is Status.PENDING else now


def _take_in_again(store: Store, intake: Intake, keys: Iterable[str]) -> None:
    """Pending items of rows that are as they were are made from the files as they are now, as in a JSON state."""
    there = [item for item in store.get_many(keys) if item.status is Status.PENDING and item.upload_paths]
    renewed = {item.key: intake.one(item) for item in there}
    changed = [item for item in there if made_of(item) != made_of(renewed[item.key])]
    change_all(store, changed, lambda now: msgspec.structs.replace(now, taken_in=renewed[now.key].taken_in))


def _seed_of(record: BatchRecord) -> int | None:
    seed = record.parameters.get("seed")
    return seed if isinstance(seed, int) else None


def _change_whatever(store: Store, keys: Sequence[str], edit: Callable[[Item], Item]) -> None:
    """Change these items, whatever becomes of them meanwhile."""
    while keys:
        with contextlib.suppress(StaleChange):
            store.apply([Change(item.key, item.status, edit) for item in store.get_many(keys)])
            return
        store.refresh()
