"""Whether a server is sick: different items fail on it in a row, and so does a probe, although it has completed their
recipe since it started. Then no item is charged, and the server gets nothing more.

What is counted is in the store, by server, so that the next run and other hosts go on counting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import msgspec

from orchestrator.comfyui import HistoryEntry
from orchestrator.cycle.completions import Completions
from orchestrator.cycle.context import WorkerContext, log
from orchestrator.cycle.dispatch_target import DispatchTarget
from orchestrator.errors import RecipeUnusable, ServerSick, TemplateError, UnexpectedAnswer
from orchestrator.formatting import counted
from state.facts import PromptFailure, ServerHealth
from state.item import DUE, Item

OUT_OF_MEMORY = "out_of_memory"
_ROW = 3
"""So many different items that fail in a row with one kind of error make a server suspect."""
_KEPT = 4
_CHOICE = 200
"""Of so many due items the last one is the probe: those that stand together may be bad together."""
_MOST_SPARED = 60


def kind_of(entry: HistoryEntry) -> str:
    """The kind of error that a failed prompt ended with."""
    if entry.out_of_memory:
        return OUT_OF_MEMORY
    return (entry.failure.exception_type if entry.failure is not None else "") or "execution_error"


class Breaker:
    """Of one worker's server, called by the worker's thread. `withdraw` takes back what waits in the server's queue."""

    def __init__(self, context: WorkerContext, withdraw: Callable[[], None]) -> None:
        self._context = context
        self._withdraw = withdraw
        self._completions = Completions(context.dispatch.completed, context.server, context.client)
        self._health = ServerHealth(server=context.server.name, health="well", at=context.clock.now())
        self._latest: tuple[PromptFailure, ...] = ()
        """Prompts that the server knows as long as it is not restarted."""
        self._tripped = self._withdrawn = False
        self._probe: str | None = None
        self._is_offered = False
        """Whether the probe was taken to be sent."""
        self._tried: set[str] = set()
        """Items that were to be the probe and did not end."""
        self._is_believed = False
        """The failures are the items' own: nothing is held back for them."""
        self._charged: set[str] = set()
        """Items that failed in this run since anything was completed."""
        self._out: set[str] = set()
        self._is_unproven = False
        """Nothing was completed on the server since it started."""
        self._holds_back = False
        self._verdict: ServerSick | None = None
        self._behind: set[str] = set()
        """Items that failed on it for the second time, and are charged."""

    def begin(self) -> None:
        """Go on with what earlier runs and other hosts counted, unless the server was restarted since."""
        known = self._context.store.facts.read().health.get(self._context.server.name)
        if known is not None:
            self._health, self._latest = known, known.failures
            self._tripped = not self.forget_if_restarted() and len(known.failures) >= _ROW

    def forget_if_restarted(self) -> bool:
        """Whether the server was restarted since the last failures: its history has none of them."""
        if not self._latest or any(self._is_in_history(one) for one in self._latest):
            return False
        log.info("%s was restarted: what failed there counts no more", self._context.server.name)
        self._change(lambda now, at: now.restarted(at=at))
        self._forget()
        return True

    def advise_restart(self, health: str, reason: str) -> None:
        """What is lost by the restart is blamed on no item."""
        self._change(lambda now, at: now.advising_restart(health, reason, at=at))

    # Results of prompts

    def succeeded(self, item: Item) -> None:
        """A prompt was completed; its outputs are still on the server."""
        self._completions.succeeded(item)
        if self._health.failures or self._health.health != "well":
            self._change(lambda now, at: now.without_failures(at=at))
        self._forget()

    def spares(self, item: Item, kind: str) -> bool:
        """A prompt failed. Whether its item is not charged: as the probe it shows that the server is sick."""
        if not self._tripped or item.key != self._probe:
            return False
        # A server that is sick may fail in more than one way.
        self._count(item, self._health.failures[-1].kind, charged=0)
        return self._judge(probe=item.key)

    def failed(self, item: Item, kind: str) -> None:
        """A prompt failed, and its item was charged an attempt."""
        self._count(item, kind, charged=1)
        self._charged.add(item.key)
        if sum(not one.again for one in self._health.failures) >= _ROW and not self._verdict:
            self._tripped = True

    def _count(self, item: Item, kind: str, *, charged: int) -> None:
        assert item.prompt_id is not None
        row = self._health.failures
        in_row = sum(one.charged for one in row if (one.item, one.kind) == (item.key, kind))
        failure = PromptFailure(
            item=item.key,
            prompt_id=item.prompt_id,
            kind=kind,
            recipe=item.recipe,
            charged=charged,
            again=item.attempts > in_row,
        )
        self._change(lambda now, at: now.with_failure(failure, at=at))
        self._latest = (*self._latest, failure)[-_ROW:]

    # What may be sent

    def allowance(self, *, out: int) -> int | None:
        """How many more prompts the server may get while it has `out`; None: any number.

        One at a time while it is not known whose fault two failures are, or one for want of memory.
        """
        if self._tripped:
            return 0 if out or self._probe is None else 1
        row = self._health.failures
        if (len(row) > 1 or (row and row[-1].kind == OUT_OF_MEMORY)) and not self._is_believed:
            return 0 if out else 1
        return None

    def accepts(self, item: Item) -> bool:
        """Whether this item may be sent now."""
        if self._tripped:
            self._is_offered = self._is_offered or item.key == self._probe
            return item.key == self._probe
        if self._is_unproven and item.key not in self._charged:
            if len(self._charged | self._out) >= self._context.dispatch.size:
                self._holds_back = True
                return False
            self._out.add(item.key)
        return True

    def advance(self, worker: DispatchTarget, *, out: Callable[[], Iterable[str]]) -> None:
        """Call it before items are taken: withdraws what waits, chooses the probe. Errors: ServerSick.

        `out`: keys of what the server has, or is about to get.
        """
        self._holds_back = False
        self._out = set(out())
        self._context.transitions.move_behind(self._behind)
        self._behind.clear()
        if self._verdict is not None:
            verdict, self._verdict = self._verdict, None
            raise verdict
        if self._tripped and not self._withdrawn:
            self._suspect()
            self._out = set(out())
        if not self._tripped or self._out or self._context.dispatch.pause is not None:
            return
        if self._probe is not None and self._is_offered:
            self._tried.add(self._probe)
        self._probe, self._is_offered = self._choose(worker), False
        if self._probe is None:
            self._judge(probe=None)

    def refuse_unproven(self) -> None:
        """Nothing is out, and nothing was taken. Errors: ServerSick where that is because nothing is ever completed."""
        if self._holds_back:
            raise ServerSick(
                f"{self._context.client.url}: {counted(len(self._charged))} failed in a row, the last with "
                f"{self._latest[-1].kind}, and nothing was completed there since it started, so this run sends no "
                "more. Try one by hand in ComfyUI and look at its log; `burst log` shows what failed"
            )

    # Judging

    def _suspect(self) -> None:
        """Withdraw what waits, if anything could accuse the server."""
        row = tuple(one for one in self._health.failures if self._is_in_history(one))
        if len(row) < _ROW:
            # It was restarted between them.
            self._change(lambda now, at: msgspec.structs.replace(now, failures=row, at=at))
            self._tripped = False
        elif not self._accusers(row):
            self._judge(probe=None)
        else:
            log.info("%s: %s failed in a row: one probe is sent", self._context.server.name, counted(len(row)))
            self._withdraw()
            self._withdrawn = True

    def _judge(self, *, probe: str | None) -> bool:
        """`probe`: the item that failed as such; None where nothing can accuse. Whether that item is not charged."""
        row, spared = self._health.failures, self._health.spared
        is_accused = probe is not None and self._completions.any_readable(recipes={one.recipe for one in row})
        self._tripped = self._withdrawn = False
        self._probe = None
        self._tried.clear()
        fresh = [one for one in row if (one.charged or one.item == probe) and one.item not in spared]
        if is_accused:
            self._behind |= {one.item for one in row if one.charged or one.item == probe} & set(spared)
            if fresh:
                self._accuse(row, fresh)
                return probe not in spared
        else:
            self._is_believed = True
            self._is_unproven = not self._completions.any_readable()
        self._change(lambda now, at: now.without_failures(at=at))
        return False

    def _accuse(self, row: Sequence[PromptFailure], fresh: Sequence[PromptFailure]) -> None:
        """What was charged in the row is given back; the verdict stands until the server is restarted."""
        self._context.transitions.give_back({one.item: one for one in fresh if one.charged})
        spared = (*self._health.spared, *(one.item for one in fresh))[-_MOST_SPARED:]
        kept = tuple(msgspec.structs.replace(one, charged=0) for one in row[-_KEPT:])
        reason = self._diagnosis(row)

        def edit(now: ServerHealth, at: datetime) -> ServerHealth:
            sick = msgspec.structs.replace(now, failures=kept, spared=spared)
            return sick.advising_restart("sick", reason, at=at)

        self._change(edit)
        self._verdict = ServerSick(reason)

    def _diagnosis(self, row: Sequence[PromptFailure]) -> str:
        kind = row[-1].kind
        remedy = (
            "End other programs that use the GPU's memory, or restart ComfyUI"
            if kind == OUT_OF_MEMORY
            else "Restart ComfyUI: after some errors, such as CUDA's, it fails everything until then"
        )
        return (
            f"{self._context.client.url} seems sick: {len(row)} different items in a row failed with {kind}, the last "
            "one as a probe, although it has completed such items since it started. None is charged; what waited "
            f"there was withdrawn. {remedy}, then run again"
        )

    # The probe

    def _accusers(self, row: Sequence[PromptFailure]) -> set[str | None]:
        """Recipes of the row, and due ones, of which the server has completed something since it started."""
        recipes = {one.recipe for one in row} | self._context.store.recipe_counts(*DUE).keys()
        if None in recipes:
            with contextlib.suppress(TemplateError):
                default = self._context.preparation.default()
                recipes.add(None if default is None else default.recipe.id)
        return {recipe for recipe in recipes if recipe and self._completions.any_readable(recipes={recipe})}

    def _recipe_of(self, item: Item) -> str | None:
        """What it would be sent with."""
        try:
            return self._context.preparation.recipe_of(item).recipe.id
        except (RecipeUnusable, TemplateError):
            return item.recipe

    def _choose(self, worker: DispatchTarget) -> str | None:
        """A due item of another recipe, else of another batch, else with other inputs; rather none that was spared."""
        row = self._health.failures
        failed = self._context.store.get_many(one.item for one in row)
        names, recipes = {one.item for one in row}, {one.recipe for one in row}
        batches, inputs = {one.batch for one in failed}, [_inputs(one) for one in failed[-1:]]
        able = self._accusers(row)
        may_accuse = bool(recipes & able)
        tests: list[Callable[[Item], bool]] = []
        if able - recipes or not may_accuse:
            tests.append(lambda item: self._recipe_of(item) in able - recipes)
        if may_accuse:
            tests += [
                lambda item: self._recipe_of(item) not in recipes,
                lambda item: item.batch not in batches,
                lambda item: item.key not in names and _inputs(item) not in inputs,
                lambda item: _inputs(item) not in inputs,
            ]
        for passed_over in (self._tried.union(self._health.spared), self._tried):
            for test in tests:
                found = self._context.dispatch.find_due(worker, _CHOICE, skip=passed_over, accept=test)
                if found:
                    return found[-1].key
        return None

    def _is_in_history(self, failure: PromptFailure) -> bool:
        try:
            return self._context.client.history(failure.prompt_id) is not None
        except UnexpectedAnswer:
            return True

    def _change(self, edit: Callable[[ServerHealth, datetime], ServerHealth]) -> None:
        at = self._context.lease.now()
        facts = self._context.store.facts
        self._health = facts.change_health(self._context.server.name, lambda now: edit(now, at), at=at)

    def _forget(self) -> None:
        self._tripped = self._withdrawn = self._is_believed = self._is_unproven = self._holds_back = False
        self._probe = None
        self._tried.clear()
        self._charged.clear()
        self._latest = ()


def _inputs(item: Item) -> object:
    """What its prompt depends on besides its recipe; the key where its text is in a file."""
    return item.inputs, item.upload_sources, item.key if item.own_text is None else item.own_text
