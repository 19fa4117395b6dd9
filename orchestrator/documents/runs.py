"""What `burst run` prints."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from orchestrator.burst_endings import Ended
from orchestrator.documents.parts import ItemMessageDocument, SetAsideDocument
from state.counts import CountsDocument


class NextBurstDocument(TypedDict):
    """The items that the next burst takes."""

    size: int
    """How many."""
    first: list[str]
    """The keys of the first three."""


class ServerDocument(TypedDict):
    """The share of one server in a run."""

    name: str
    """What it is called in settings and records."""
    url: str
    """Its address."""
    completed: int
    """Items that it completed."""
    failed: int
    """Items that failed on it."""
    out: int
    """Prompts of this state that it still has."""
    seconds_per_item: float | None
    """Its pace; null where it completed nothing."""
    lost: str | None
    """Why it is not used at the moment; null while it answers."""


class BurstReportDocument(TypedDict):
    """How a run ended: one burst, or several under `--until-done`."""

    schema: Literal["burst.report/2"]
    burst: str
    """The id of the burst, of the last one where there were several; empty where nothing was started."""
    ended: Ended
    """`deadline`: at `--max-seconds`; `limit`: before the age at which runs are killed here; `failure`: an item failed
    and `--on-error` is stop."""
    reason: str | None
    """The error that ended it, or why nothing was started (`bursts` is 0 then); null otherwise."""
    exit_code: int
    """What the process returns."""
    bursts: int
    """How many bursts the run did."""
    completed: int
    """Items that this run completed."""
    failed: int
    """Items that failed in this run."""
    cancelled: int
    """Items that were cancelled in this run."""
    recovered: int
    """Items that an earlier burst had left submitted."""
    rescued: int
    """Items whose files were found by name after the server had forgotten them."""
    put_back: int
    """Items that are pending again."""
    rendered_twice: int
    """Prompts that were rendered although they had been given up."""
    possibly_twice: int
    """Items pending again although a server may have rendered them: one out of reach, or one that forgot them."""
    total: int
    """Items in the state."""
    remaining: int
    """Items that are pending or submitted."""
    counts: CountsDocument
    next_batch: NextBurstDocument
    seconds: float
    """How long the run took."""
    seconds_per_item: float | None
    """The pace of this run, or of the last ones; null where none is known."""
    seconds_left: float | None
    """Until everything is done that another run can render; null where that is nothing, or no pace is known."""
    requests: int
    """How many requests the servers got."""
    output_dirs: dict[str, int]
    """Output directory → how many items' images this run saved there. Where it saved none, the default one with 0."""
    servers: list[ServerDocument]
    """The servers that were used, where there were several or one was lost; with `--all` always."""
    failures: list[ItemMessageDocument]
    """Items that failed in this run: the first ten."""
    failures_total: int
    """How many."""
    notes: list[str]
    """What else happened: the first ten."""
    notes_total: NotRequired[int]
    """How many, where `notes` was cut."""
    set_aside: list[SetAsideDocument]
    """Recipes that could not be used: the first ten."""
    set_aside_total: NotRequired[int]
    """How many, where `set_aside` was cut."""


class DryRunDocument(TypedDict):
    """What the next burst would submit."""

    schema: Literal["burst.dry-run/2"]
    items: list[str]
    """Keys, in order: the first ten."""
    items_total: int
    """How many."""
    problems: list[ItemMessageDocument]
    """Items that would fail before they are sent: the first ten."""
    problems_total: int
    """How many."""
    graph: dict[str, Any] | None
    """The first item's prompt as it would be posted; null where nothing would be."""
    submitted: int
    """How many submitted items would be looked up first."""
