"""What the commands print that show a state or change its items."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from orchestrator.documents.batches import BatchEntryDocument
from orchestrator.documents.kinds import ItemErrorKind
from orchestrator.documents.parts import (
    ChangedWorkflowDocument,
    FailureDocument,
    SetAsideDocument,
    WaitingDocument,
)
from orchestrator.outputs.verification import ProblemKind
from state.burst_record import Ending
from state.counts import CountsDocument
from state.item import Priority


class InitDocument(TypedDict):
    """What `init` found and did."""

    schema: Literal["burst.init/2"]
    state: str
    """The state file."""
    found: int
    """Prompt files or images found."""
    masks: int
    """Images with a mask."""
    texts: int
    """Images with a prompt text of the same name."""
    added: int
    """Items added now."""
    put_back: list[str]
    """Items that `--rescan` made pending again: the first ten."""
    put_back_total: int
    """How many."""
    counts: CountsDocument
    template: str | None
    """The workflow; null where none is set."""
    output_dir: str
    """Where images go."""
    servers: list[str]
    """Their addresses."""
    edited: list[str]
    """Completed items whose prompt, images or inputs were changed since: the first ten."""
    edited_total: int
    """How many."""
    gone: list[str]
    """Items whose prompt file or images are not on the disk any more: the first ten."""
    gone_total: int
    """How many."""
    notes: list[str]
    """What else was noticed: the first ten."""
    notes_total: NotRequired[int]
    """How many, where `notes` was cut."""
    next: str
    """The command to type next."""


class LastBurstDocument(TypedDict):
    """How the last burst ended."""

    burst: str
    """Its id."""
    ended: Ending
    """As in `burst.report/2`; `error` without a reason: an item failed and `--on-error` is stop."""
    reason: str | None
    """The error that ended it; null where none did."""
    at: str
    """When (ISO 8601); a killed one: when it was last alive."""
    size: int
    """The most items that it would take."""
    completed: NotRequired[int]
    """Items that it completed; absent where it was killed."""
    failed: NotRequired[int]
    """Items that failed in it; absent where it was killed."""


class StatisticsDocument(TypedDict):
    """Figures over all items, with `--stats`."""

    images: int
    """Images of completed items."""
    images_per_minute: float | None
    """At the pace of the last bursts; null where none is known."""
    mean_seconds: float | None
    """Seconds on the server, over the last 100 completed items."""
    queue_length: int
    """Pending and submitted items."""
    total_completed: int
    total_failed: int
    total_cancelled: int


class PausedDocument(TypedDict):
    """A pause that is in force."""

    since: str
    """When it was set (ISO 8601)."""
    free: bool
    """Whether the servers unload their models, once nothing of this state is rendered."""


class PauseDocument(TypedDict):
    """Whether the runs of a state are paused now."""

    schema: Literal["burst.pause/1"]
    paused: PausedDocument | None
    """Null where they are not."""
    changed: bool
    """Whether that was otherwise before."""
    running: str | None
    """The burst at work, which rests or goes on by itself; null where none is."""
    taken_back: int
    """Items that waited on a server and are pending again, taken back by this command."""
    submitted: int
    """Items that are still submitted."""
    remaining: int
    """Items that are pending or submitted."""
    notes: list[str]
    """What else was noticed."""


class StateCopyDocument(TypedDict):
    """A state that goes on at another address."""

    schema: Literal["burst.state-copy/1"]
    source: str
    """Where it was; marked as moved."""
    target: str
    """Where it is; never with a password."""
    counts: CountsDocument
    batches: int
    """How many there are."""
    recipes: int
    """How many there are."""
    copied: bool
    """False where an earlier call had copied everything."""
    notes: list[str]
    """What else was noticed."""


class StateUpgradeDocument(TypedDict):
    """A state that has the tables, or the files, of this release."""

    schema: Literal["burst.state-upgrade/1"]
    state: str
    """Where it is; never with a password."""


class RunningDocument(TypedDict):
    """An item that a server renders."""

    item: str
    server: str
    """The server's name."""
    since: str
    """When it began (ISO 8601)."""
    node: str | None
    """The title of the node that runs; null where the server does not say."""
    step: int | None
    steps: int | None
    """Of this node; null where it has no steps."""
    percent: int | None
    """Of this node's steps."""


class RunDocument(TypedDict):
    """A run at work, on whichever host."""

    host: str
    pid: int
    burst: str
    """The id of the burst that it is at."""
    started_at: str
    """When that began (ISO 8601)."""
    size: int
    """The most items that it will take."""
    waits_for: str | None
    """What it waits for: a server, and why, or items that other runs hold; null while it goes on."""


class StrandedDocument(TypedDict):
    """Items that wait on one server."""

    server: str
    items: int
    """How many."""
    since: str | None
    """When the last of them was submitted (ISO 8601)."""
    away_since: str | None
    """Since when it does not answer; null where only another host reaches it (ISO 8601)."""
    host: str | None
    """The host that it is on, where that alone reaches it."""


class StatusDocument(TypedDict):
    """How a state stands."""

    schema: Literal["burst.status/2"]
    state: str
    """The state file."""
    total: int
    """Items in the state."""
    remaining: int
    """Items that are pending or submitted."""
    counts: CountsDocument
    submitted_to: dict[str, int]
    """Server → how many items are submitted to it."""
    stranded: list[StrandedDocument]
    """What waits on servers that do not answer, or that other hosts alone reach."""
    paused: PausedDocument | None
    """While runs start nothing; null where they are not paused."""
    running: str | None
    """The burst at work, of several the first; null where none is."""
    runs: list[RunDocument]
    """All that are at work: several where the state is in a database."""
    rendering: list[RunningDocument]
    """What their servers render at the moment, as far as it is known."""
    waits_for: str | None
    """The server that one of them waits for, and why; null while all go on."""
    last_burst: LastBurstDocument | None
    errors_in_a_row: int
    """How many of the last runs ended with an error, one after the other."""
    last_item_ended_at: str | None
    """When an item was last completed, or the last burst ended in which one failed (ISO 8601)."""
    watchdog_limit_seconds: float | None
    """The age at which runs are killed here, where that was learned."""
    watchdog_kills: int
    """How many kills it was learned from."""
    seconds_per_item: float | None
    """The pace of the last bursts; null where none is known."""
    seconds_left: float | None
    """Until everything is done that a burst can render; null where that is nothing, or no pace is known."""
    next: list[str]
    """Keys of the next three items."""
    failures: list[FailureDocument]
    """Failed items: the first ten."""
    failures_total: int
    """How many."""
    hand_edits: list[str]
    """What became of edits by hand: the first ten."""
    hand_edits_total: NotRequired[int]
    """How many, where `hand_edits` was cut."""
    notes: list[str]
    """What else is worth knowing: the first ten."""
    notes_total: NotRequired[int]
    """How many, where `notes` was cut."""
    batches: list[BatchEntryDocument]
    """Batches with items remaining, with `--all` every one: the first ten."""
    batches_total: NotRequired[int]
    """How many, where `batches` was cut."""
    waiting: list[WaitingDocument]
    """Pending items that wait for an output of another item: the first ten."""
    waiting_total: int
    """How many."""
    set_aside: list[SetAsideDocument]
    """Recipes that the last burst could not use: the first ten."""
    set_aside_total: NotRequired[int]
    """How many, where `set_aside` was cut."""
    changed_workflows: list[ChangedWorkflowDocument]
    """Workflow files that were changed since: the first ten."""
    changed_workflows_total: NotRequired[int]
    """How many, where `changed_workflows` was cut."""
    stats: NotRequired[StatisticsDocument]
    """With `--stats`."""


class EndingDocument(TypedDict):
    """Runs that ended alike."""

    started_at: str
    """When the first one began (ISO 8601)."""
    ended_at: str
    """When the last one ended."""
    runs: int
    """How many."""
    bursts: int
    """Their bursts."""
    ended: Ending
    """How they ended."""
    reason: str | None
    """The error that ended the last one; null where none did."""
    completed: int
    """Items completed in them."""
    failed: int
    """Items that failed in them."""
    scattered: bool
    """Whether runs that ended otherwise lie between them."""


class FailureKindDocument(TypedDict):
    """The failed items of one kind of error."""

    kind: ItemErrorKind
    count: int
    item: str
    """The key of one of them."""
    message: str
    """Its error."""


class SlowItemDocument(TypedDict):
    """An item that took long."""

    item: str
    """Its key."""
    seconds: float | None
    """On the server."""


class LogDocument(TypedDict):
    """What the runs did since a time."""

    schema: Literal["burst.log/1"]
    state: str
    """The state file."""
    since: str
    """The beginning (ISO 8601)."""
    until: str
    """Now."""
    runs: int
    """How many ended."""
    bursts: int
    """Their bursts."""
    completed: int
    """Items completed."""
    failed: int
    """Items that failed."""
    endings: list[EndingDocument]
    """The runs, oldest first, at most ten entries: runs that ended alike are one."""
    failures: list[FailureKindDocument]
    """Failed items by kind; empty where none failed since then."""
    notes: list[str]
    """Recipes that were set aside, each once."""
    slowest: list[SlowItemDocument]
    """The three that took longest."""
    mean_seconds: float | None
    """Seconds on the server of an item completed since then; null where there is none."""
    idle_seconds: float
    """Time between runs."""
    longest_gap: list[str] | None
    """Beginning and end of the longest time without a run."""
    fruitless_seconds: float
    """Time in runs that finished no item."""
    running: str | None
    """The burst at work; null where none is."""
    remaining: int
    """Items that are pending or submitted."""


class _ChangedDocument(TypedDict):
    items: list[str]
    """Their keys: the first ten."""
    items_total: int
    """How many."""
    counts: CountsDocument
    """After it."""
    notes: list[str]
    """What else happened: the first ten."""
    notes_total: NotRequired[int]
    """How many, where `notes` was cut."""


class RetryDocument(_ChangedDocument):
    """The items that are pending again."""

    schema: Literal["burst.retry/2"]


class StarDocument(_ChangedDocument):
    """The items whose marks were changed."""

    schema: Literal["burst.star/2"]


class TagDocument(_ChangedDocument):
    """The items whose tags were changed."""

    schema: Literal["burst.tag/2"]


class CancelDocument(_ChangedDocument):
    """The items that are cancelled, or will be once the server has answered."""

    schema: Literal["burst.cancel/2"]


class AdoptDocument(_ChangedDocument):
    """The prompts of servers' own queues that are items now, in the order of the queues."""

    schema: Literal["burst.adopt/1"]
    state: str
    """The state file."""
    known: int
    """Prompts that the state had already."""
    others: int
    """Prompts of another burst state, which are left out."""
    recipes: int
    """How many recipes these items have; graphs that differ in literals alone share one."""


class ResetDocument(_ChangedDocument):
    """The items that are pending again."""

    schema: Literal["burst.reset/2"]


class UpdateDocument(TypedDict):
    """The items that have a new recipe, or would have."""

    schema: Literal["burst.update/2"]
    dry_run: bool
    """Whether nothing was changed."""
    updated: list[str]
    """Their keys: the first ten."""
    updated_total: int
    """How many."""
    unchanged: int
    """Pending items that had this recipe already."""
    out: int
    """Items on a server: they keep their recipe."""
    ended: int
    """Items that are completed, failed or cancelled: they keep theirs."""
    workflows: list[str]
    """What the updated items are made with now."""
    notes: list[str]
    """What else is worth knowing: the first ten."""
    notes_total: NotRequired[int]
    """How many, where `notes` was cut."""


class PriorityDocument(_ChangedDocument):
    """The items that have another priority now."""

    schema: Literal["burst.priority/1"]
    priority: Priority
    """The one that they have now."""
    unchanged: int
    """Items that had it already."""
    left: int
    """Items that a server renders, or may have: they keep their priority."""


class EditDocument(_ChangedDocument):
    """The items that have other values now and are due with them, or would be."""

    schema: Literal["burst.edit/1"]
    dry_run: bool
    """Whether nothing was changed."""
    unchanged: int
    """Items that had these values already."""
    left: list[str]
    """Items that a server renders, or may have, and that are as they were: the first ten."""
    left_total: int
    """How many."""
    ended: int
    """Completed and cancelled items of the named batches, left without `--rescan`."""


class ForgetDocument(_ChangedDocument):
    """The items that the state has no record of any more, or would not have."""

    schema: Literal["burst.forget/1"]
    dry_run: bool
    """Whether nothing was changed."""
    batches: list[str]
    """Ids of the batches of which no item is left: the first ten."""
    batches_total: NotRequired[int]
    """How many, where `batches` was cut."""
    removed: list[str]
    """Files removed, relative to their output directory, with `--remove-files`: the first ten."""
    removed_total: int
    """How many."""
    bytes: int
    """Their size."""
    kept: list[str]
    """Files that are not as recorded, or another item's, and stay: the first ten."""
    kept_total: int
    """How many."""
    left: int
    """Files of these items that stay where they are, without `--remove-files`."""


class TrashedFileDocument(TypedDict):
    """A file that is, was or goes to the trash."""

    item: str
    """The key of its item."""
    path: str
    """Where it was, relative to its output directory."""
    bytes: int
    trashed_at: str
    """When it was deleted."""
    trash: str | None
    """What it goes by in the trash; null where the file was gone before."""


class TrashKeptDocument(TypedDict):
    """A file with which nothing was done."""

    path: str
    reason: str


class TrashDocument(TypedDict):
    """What is in the trash, or was moved there, brought back or deleted for good."""

    schema: Literal["burst.trash/1"]
    action: Literal["list", "trash", "restore", "empty"]
    dry_run: bool
    """Whether nothing was changed."""
    files: list[TrashedFileDocument]
    """The first ten."""
    files_total: int
    """How many."""
    bytes: int
    """Their size."""
    kept: list[TrashKeptDocument]
    """Those that stay as they are, and why: the first ten."""
    kept_total: int
    """How many."""


class FileProblemDocument(TypedDict):
    """A file that is not as recorded."""

    item: str
    """The key of its item."""
    name: str | None
    """The name of its batch, if it has one."""
    path: str
    """The file, as the record names it."""
    kind: ProblemKind
    """`refused`: its name leads out of the output directory; `unknown`: where it is cannot be found out; `damaged`: a
    video, audio, 3D or latent file that is as recorded, but was not whole when it came from the server."""
    message: str


class VerifyDocument(TypedDict):
    """Whether the files of completed items are as recorded."""

    schema: Literal["burst.verify/2"]
    checked: int
    """Completed items."""
    problems: list[FileProblemDocument]
    """Files that are not as recorded: the first ten."""
    problems_total: int
    """How many."""
    put_back: list[str]
    """Items that `--repair` made pending again: the first ten."""
    put_back_total: int
    """How many."""
    away: list[str]
    """Output directories of which nothing is left, as if unmounted or moved; their items are left as they are."""


class CheckDocument(TypedDict):
    """One check of `burst doctor`."""

    name: str
    """What was checked."""
    verdict: Literal["ok", "warning", "problem"]
    """A problem prevents bursts from working; a warning does not."""
    message: str
    next: str | None
    """The command to type, if one helps."""
    facts: dict[str, Any]
    """The same for programs; which keys there are depends on the check."""


class DoctorDocument(TypedDict):
    """What a burst needs, and whether it is there."""

    schema: Literal["burst.doctor/2"]
    state: str
    """The state file."""
    ok: bool
    """Whether there are no problems."""
    problems: int
    """How many checks found one."""
    warnings: int
    """How many checks warn."""
    checks: list[CheckDocument]
    """Problems, then warnings: the first ten. With `--all` every check, in the order in which a burst needs things."""
    checks_total: NotRequired[int]
    """How many problems and warnings, where `checks` was cut."""
    passed: list[str]
    """The names of the checks that found nothing."""
    counts: CountsDocument | None
    """null where the state cannot be read."""
    next: str
    """The command to type next."""
