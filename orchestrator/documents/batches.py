"""What the commands print that are about batches, and what webhooks get."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from orchestrator.batches.standing import StandingName
from orchestrator.burst_endings import Ended
from orchestrator.documents.parts import FailureDocument, SetAsideDocument
from state.counts import CountsDocument


class StageEntryDocument(TypedDict):
    """A batch of a chain."""

    batch: str
    """Its id."""
    name: str | None
    """Its name, if it has one."""
    source: str
    """The batch that it is made from, by its id or as it was named; `.`: all items."""
    template: str | None
    """Where its workflow came from."""
    total: int
    """Items of it."""
    continued: bool
    """Whether an earlier call of the same request added it."""


class StageDocument(TypedDict):
    """The batches of a chain, in its order."""

    schema: Literal["burst.stage/1"]
    batches: list[StageEntryDocument]
    waiting: int
    """How many of their items wait for others."""


class BatchEntryDocument(TypedDict):
    """How one batch stands."""

    batch: str
    """Its id."""
    name: str | None
    """Its name, if it has one."""
    standing: StandingName
    """`failed`: no item remains and some failed."""
    created_at: str
    """When it was requested (ISO 8601)."""
    priority: Literal["urgent", "high", "normal", "low"]
    directory: str
    """Its directory below the output directory."""
    directories: list[str]
    """Where its images go: one, unless `burst update` gave some items another output directory."""
    total: int
    """Items of it."""
    percent: int
    """Items that have ended, however they did: 100 only where none remains."""
    remaining: int
    """Items that are pending or submitted."""
    waiting: int
    """How many of these wait for an output of another item."""
    counts: CountsDocument
    seconds_left: float | None
    """Until its last item is done; null where no pace is known."""
    prompts: list[str]
    """Its prompt texts: the first ten."""
    prompts_total: NotRequired[int]
    """How many, where `prompts` was cut."""


class BatchDocument(BatchEntryDocument):
    """How one batch stands, and what it is made with."""

    schema: Literal["burst.batch/2"]
    layout: str
    """How its files are named."""
    parameters: dict[str, Any]
    """What all its items have in common."""
    axes: dict[str, list[Any]]
    """The values of a sweep, by name."""
    failures: list[FailureDocument]
    """Failed items: the first ten."""
    failures_total: int
    """How many."""
    set_aside: list[SetAsideDocument]
    """Recipes that the last burst could not use: the first ten."""
    set_aside_total: NotRequired[int]
    """How many, where `set_aside` was cut."""


class BatchesDocument(TypedDict):
    """Every batch that was not cleaned away."""

    schema: Literal["burst.batches/2"]
    batches: list[BatchEntryDocument]
    """The newest first: the first ten."""
    batches_total: int
    """How many."""


class FailedImageDocument(TypedDict):
    """An image that was not made."""

    item: str
    """The key of its item, as `burst retry` takes it."""
    image: str
    """Where it would be, below the output directory."""
    message: str
    """What went wrong."""


class GenerateDocument(TypedDict):
    """What became of a batch so far."""

    schema: Literal["burst.generate/2"]
    batch: str
    """Its id."""
    name: str | None
    """Its name, if it has one."""
    continued: bool
    """Whether an earlier call of the same request made the batch."""
    directory: str
    """Where its images go, or most of them."""
    directories: list[str]
    """Where its images go: one, unless `burst update` gave some items another output directory."""
    total: int
    """Items of it."""
    remaining: int
    """Items that are pending or submitted."""
    counts: CountsDocument
    failures: list[FailedImageDocument]
    """Failed items in the order of the batch: the first ten."""
    failures_total: int
    """How many."""
    seed: int | None
    """The seed of the first variation, where one was used."""
    seconds: float
    """How long it took."""
    ended: Ended | Literal["queued"]
    """As in `burst.report/2`; `queued`: the next burst renders it."""
    reason: str | None
    """Why it is not done, where bursts ended early."""
    notes: list[str]
    """What else happened: the first ten."""
    notes_total: NotRequired[int]
    """How many, where `notes` was cut."""
    next: str | None
    """The command for what remains; null where nothing does."""
    exit_code: int
    """What the process returns."""


class PlannedItemDocument(TypedDict):
    """An item that would be added."""

    place: str
    """Where its image would go, below the output directory."""
    prompt: str | None
    """Its prompt text."""
    inputs: dict[str, Any]
    """Its values, by binding."""


class GenerateDryRunDocument(TypedDict):
    """What `generate` would add."""

    schema: Literal["burst.generate-dry-run/2"]
    continues: str | None
    """The batch of the same request, which would be continued instead; null where there is none."""
    items: list[PlannedItemDocument]
    """The first ten."""
    items_total: int
    """How many."""
    graph: dict[str, Any] | None
    """The first item's prompt as it would be posted."""
    notes: list[str]
    """What was left out of the list of prompts, and the like; the first ten."""


class SyncedRowDocument(TypedDict):
    """A row of a list, with its item."""

    item: str
    """The item's key."""
    id: str | None
    """The row's `id`; null where it has none."""
    place: str
    """Where its first image goes, relative to the output directory."""
    prompt: str | None
    what: str
    """Added: `new`, `back` (its row was gone). Changed: `edited` (not rendered yet), `redone`, `priority`, `cancelled`
    (and stays so), `left` (on a server now). Gone: `pruned`, or the status in which it stays."""


class SyncDocument(TypedDict):
    """What a list made of its batch, or would make."""

    schema: Literal["burst.sync/1"]
    batch: str
    name: str
    created: bool
    """Whether there was no batch of this name."""
    dry_run: bool
    """Whether nothing was changed."""
    added: list[SyncedRowDocument]
    """The first ten."""
    added_total: int
    """How many."""
    changed: list[SyncedRowDocument]
    """The first ten."""
    changed_total: int
    """How many."""
    gone: list[SyncedRowDocument]
    """Items whose row is not in the list any more, the first ten."""
    gone_total: int
    """How many."""
    unchanged: int
    """Items that are as their rows say."""
    total: int
    """All of these."""
    notes: list[str]
    """The first ten."""
    next: str | None
    """What to type next; null where nothing of the batch is due, and in a plan."""


class CleanDocument(TypedDict):
    """What `batches clean` removed, or would."""

    schema: Literal["burst.clean/2"]
    dry_run: bool
    """Whether nothing was removed."""
    batches: list[str]
    """The batches that are old enough: the first ten."""
    batches_total: int
    """How many."""
    removed: list[str]
    """Files, as the records name them: the first ten."""
    removed_total: int
    """How many."""
    bytes: int
    """Their size."""
    kept: list[str]
    """Files that are not as recorded, or that another item's record names too: the first ten."""
    kept_total: int
    """How many."""


class BatchReportDocument(TypedDict):
    """The page that `burst report` wrote."""

    schema: Literal["burst.batch-report/1"]
    batch: str
    """The id of the batch."""
    path: str
    """The HTML file."""
    items: int
    """Items of the batch."""
    images: int
    """Images on the page."""


class EventCountsDocument(TypedDict):
    """How the items of a batch ended."""

    completed: int
    failed: int
    cancelled: int


class BatchEventDocument(TypedDict):
    """The body of the call to a webhook (`--notify`) when a batch has ended."""

    event: str
    """The id of the event, as in the header `X-Burst-Event`: the same each time it is sent."""
    kind: Literal["batch.done", "batch.failed", "batch.cancelled"]
    """`batch.failed`: some items failed."""
    batch: str
    """The id of the batch."""
    counts: EventCountsDocument
    directory: str
    """The directory of the batch below the output directory."""
    created_at: str
    """When the batch was requested (ISO 8601)."""
    ended_at: str
    """When its last item ended."""
