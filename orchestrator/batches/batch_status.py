"""How batches stand: counted from their items, as any reader of the state sees them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from orchestrator.batches.standing import StandingName, standing_of
from orchestrator.batches.suggestions import advice
from orchestrator.clock import Clock
from orchestrator.cycle.set_aside import SetAside, due_items, next_step, waiting_for
from orchestrator.documents.lists import FIRST, shortened
from orchestrator.errors import (
    EXIT_DONE,
    EXIT_ITEMS_FAILED,
    EXIT_NOTHING_LEFT_SOME_FAILED,
    SettingsError,
    UsageError,
)
from orchestrator.failures import failure_documents
from orchestrator.formatting import in_lines, more_lines, spoken_seconds
from orchestrator.outputs.placement import Placement, placement_of
from orchestrator.recipes import Recipes
from orchestrator.settings import kept_settings
from orchestrator.time_left import batch_seconds_left, pace_of
from state.batch import Batch, BatchRecord
from state.burst_record import SetAsideRecord
from state.counts import Counts
from state.holder import Holder
from state.item import DUE, Item, Status
from state.open_store import open_store
from state.store import Store

if TYPE_CHECKING:
    from orchestrator.documents.batches import BatchDocument, BatchEntryDocument, BatchesDocument

_PROMPT_SHOWN = 60


def check_code_of(counts: Counts) -> int:
    """For `status --check`: 0 nothing is left, 1 work remains, 3 nothing is left and some items failed."""
    if counts.remaining:
        return EXIT_ITEMS_FAILED
    return EXIT_NOTHING_LEFT_SOME_FAILED if counts.failed else EXIT_DONE


@dataclass(frozen=True)
class BatchView:
    """A batch at one moment. Times in seconds."""

    record: BatchRecord
    counts: Counts
    seconds_left: float | None
    """Until its last item is done, those that are due before it included; None where no pace is known."""
    last_at: datetime
    """When it was last heard of: asked for, an item completed, or its end noted."""
    directories: tuple[str, ...]
    """Where its images go: one, unless some of its items were given another output root since."""
    failed: tuple[Item, ...] = ()
    """The first ten, or all."""
    set_aside: tuple[SetAside, ...] = ()
    """Recipes that the last burst could not use, and how many items of this batch wait for each."""
    stages_waiting: int = 0
    """How many of its items wait for outputs of others."""

    @property
    def id(self) -> str:
        return self.record.batch

    @property
    def total(self) -> int:
        return self.counts.total

    @property
    def done(self) -> int:
        return self.counts.completed

    @property
    def remaining(self) -> int:
        """Items still due or out on a server."""
        return self.counts.remaining

    @property
    def waiting(self) -> int:
        """How many of them wait for a recipe that is set aside."""
        return sum(one.items for one in self.set_aside)

    @property
    def percent(self) -> int:
        """What has ended, however it did: 100 only when nothing is left."""
        return 100 * (self.total - self.remaining) // self.total if self.total else 100

    @property
    def standing(self) -> StandingName:
        """As in JSON; see `BatchStanding`."""
        return standing_of(self.counts).name_in_json

    @property
    def check_code(self) -> int:
        """For `--check`; see `check_code_of`."""
        return check_code_of(self.counts)

    def describe(self, *, everything: bool = False) -> BatchEntryDocument:
        """An entry of a list; `everything`: with all prompts."""
        document: BatchEntryDocument = {
            "batch": self.id,
            "name": self.record.name,
            "standing": self.standing,
            "created_at": self.record.created_at.isoformat(),
            "priority": self.record.priority,
            "directory": self.record.directory,
            "directories": list(self.directories),
            "total": self.total,
            "percent": self.percent,
            "remaining": self.remaining,
            "waiting": self.stages_waiting,
            "counts": self.counts.as_json(),
            "seconds_left": self.seconds_left,
            "prompts": list(self.record.prompts),
        }
        return shortened(document, "prompts", everything=everything)

    def as_json(self, *, everything: bool = False) -> BatchDocument:
        """As `burst status BATCH --json` prints it; `everything`: with all entries of its lists."""
        document = {
            "schema": "burst.batch/2",
            **self.describe(everything=everything),
            "layout": self.record.layout,
            "parameters": dict(self.record.parameters),
            "axes": {name: list(values) for name, values in self.record.axes.items()},
            "failures": failure_documents(self.failed),
            "failures_total": self.counts.failed,
            "set_aside": [one.as_json(everything=everything) for one in self.set_aside],
        }
        return cast("BatchDocument", shortened(document, "failures", "set_aside", everything=everything))

    def line(self) -> str:
        """One line of a list."""
        urgency = f" ({self.record.priority})" if self.record.priority != "normal" else ""
        return f"{self.record.label}{urgency}: {self.progress()}"

    def progress(self) -> str:
        """`running, 40 % of 10: 4 done, 0 failed, 6 left, about 12.0 s`."""
        said = [f"{self.done} done", f"{self.counts.failed} failed"]
        if cancelled := self.counts.cancelled:
            said.append(f"{cancelled} cancelled")
        said.append(f"{self.remaining} left")
        if self.stages_waiting:
            said.append(f"{self.stages_waiting} of them waiting for others")
        if self.waiting:
            said.append(f"{self.waiting} of them set aside")
        if self.remaining and self.seconds_left is not None:
            said.append(f"about {spoken_seconds(self.seconds_left)}")
        return f"{standing_of(self.counts).text}, {self.percent} % of {self.total}: {', '.join(said)}"

    def as_text(self, *, everything: bool = False) -> str:
        """A few lines for a person."""
        at = f"{self.record.created_at:%Y-%m-%d %H:%M:%S} UTC"
        lines = [self.line(), f"Requested {at}; images go to {' and '.join(self.directories)}"]
        lines += [f"Prompt: {_shortened(prompt)}" for prompt in self.record.prompts[:3]]
        if self.record.parameters:
            lines.append(
                "Parameters: " + ", ".join(f"{name} {value}" for name, value in self.record.parameters.items())
            )
        lines += [f"Sweep: {name} = {', '.join(map(str, values))}" for name, values in self.record.axes.items()]
        lines += [f"Failed: {item.key}: {item.error.message}" for item in self.failed if item.error]
        lines += more_lines(self.counts.failed - len(self.failed), "more failed")
        lines += [one.as_text() for one in self.set_aside]
        lines += [f"Next: {next_step(self.set_aside)}"] if self.set_aside else []
        return in_lines(lines)


@dataclass(frozen=True)
class BatchList:
    """Every batch that was not cleaned away, oldest first."""

    batches: tuple[BatchView, ...]

    def as_json(self, *, everything: bool = False) -> BatchesDocument:
        """As `burst batches list --json` prints it, newest first; `everything`: with all entries of its lists."""
        document: BatchesDocument = {
            "schema": "burst.batches/2",
            "batches": [view.describe(everything=everything) for view in reversed(self.batches)],
            "batches_total": len(self.batches),
        }
        return shortened(document, "batches", everything=everything)

    def as_text(self, *, everything: bool = False) -> str:
        """One line each."""
        return in_lines(view.line() for view in self.batches) or "No batches. `burst generate` makes one."


def find_batch(batches: Mapping[str, Batch], wanted: str) -> Batch:
    """The batch of this id or name, or of the one id that begins so; not one that is gone. Errors: UsageError."""
    if (exact := batch_called(batches, wanted)) is not None:
        if exact.gone:
            raise UsageError(f"the batch {wanted} was cleaned away")
        return exact
    there = [name for name, batch in batches.items() if not batch.gone]
    found = [name for name in there if wanted and name.startswith(wanted)]
    if len(found) > 1:
        raise UsageError(f"{wanted!r} begins the ids of {len(found)} batches: {', '.join(found[:8])}")
    if not found:
        names = [batch.record.name for batch in batches.values() if batch.record.name is not None and not batch.gone]
        raise UsageError(f"no batch {wanted!r}; {advice(wanted, [*names, *there])}")
    return batches[found[0]]


def batch_called(batches: Mapping[str, Batch], wanted: str) -> Batch | None:
    """The batch of exactly this id or name. Of several of one name the last: those before it are gone, or empty."""
    if wanted in batches:
        return batches[wanted]
    named = [batch for batch in batches.values() if batch.record.name == wanted]
    return next((batch for batch in reversed(named) if not batch.gone), named[-1] if named else None)


def views_of(store: Store, batches: Iterable[Batch], *, first: int | None = 0) -> list[BatchView]:
    """How these batches stand in an open store; `first`: with so many failed items of each, None for all."""
    with store.at_one_moment():
        return _views_of(store, batches, first=first)


def _views_of(store: Store, batches: Iterable[Batch], *, first: int | None) -> list[BatchView]:
    chosen = list(batches)
    if not chosen:
        return []
    records = store.bursts.read()
    at_work, placement = store.holders(), _placement(store)
    pace = pace_of(store, records, at_work=at_work)
    unused = records[-1].set_aside if records else ()
    waiting = {item.key: item.batch for item in due_items(unused, store)}
    return [
        _view(batch, store, placement, pace=pace, waiting=waiting, unused=unused, first=first, at_work=at_work)
        for batch in chosen
    ]


def read_batch(state: Path, wanted: str, *, clock: Clock | None = None, all_failed: bool = False) -> BatchView:
    """How a batch stands, with its first ten failed items, or all.

    Errors: UsageError for an id that no batch or more than one begins with; StateError. Takes no lock.
    """
    with open_store(state, read_only=True, clock=clock) as store:
        return view_of(store, wanted, all_failed=all_failed)


def view_of(store: Store, wanted: str, *, all_failed: bool = False) -> BatchView:
    """How the batch of this id, name, or beginning of an id stands in an open store. Errors: UsageError."""
    chosen = [find_batch(store.batches.read(), wanted)]
    # Of one batch alone, the whole state would be too much.
    (view,) = _views_of(store, chosen, first=None if all_failed else FIRST)
    return view


def list_batches(state: Path) -> BatchList:
    """Errors: StateError. Takes no lock."""
    with open_store(state, read_only=True) as store:
        batches = [batch for batch in store.batches.read().values() if not batch.gone]
        return BatchList(tuple(views_of(store, batches)))


def _placement(store: Store) -> Placement:
    """Settings that cannot be read keep nobody from seeing how a batch stands."""
    with contextlib.suppress(SettingsError):
        return placement_of(store, kept_settings(store.location.path))
    return Placement(Recipes(store.recipes, store.location.home), store.location.home)


def _view(
    batch: Batch,
    store: Store,
    placement: Placement,
    *,
    pace: float | None,
    waiting: Mapping[str, str | None],
    unused: Sequence[SetAsideRecord],
    first: int | None,
    at_work: Sequence[Holder],
) -> BatchView:
    """`first`: how many failed items are read; None for all. `pace`, `waiting`: as `batch_seconds_left` takes them.
    `unused`: the recipes that are set aside."""
    figures = store.batch_figures(batch.id)
    times = [batch.record.created_at, *(end.at for end in batch.ends)]
    times += [figures.completed_at] if figures.completed_at is not None else []
    return BatchView(
        record=batch.record,
        counts=figures.counts,
        seconds_left=batch_seconds_left(store, batch.id, pace=pace, waiting=waiting, at_work=at_work),
        last_at=max(times),
        directories=placement.shown_directories(batch.record, figures.recipes),
        failed=tuple(store.items(Status.FAILED, batch=batch.id, limit=first))
        if figures.counts.failed and first != 0
        else (),
        set_aside=waiting_for(unused, store.items(*DUE, batch=batch.id)) if unused else (),
        stages_waiting=figures.counts.pending - figures.due,
    )


def _shortened(prompt: str) -> str:
    return prompt if len(prompt) <= _PROMPT_SHOWN else f"{prompt[: _PROMPT_SHOWN - 1]}…"
