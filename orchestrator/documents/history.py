"""What `burst history` prints."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from state.burst_record import Ending


class AttemptDocument(TypedDict):
    """An attempt of an item that ended."""

    item: str
    """Its key."""
    batch: str | None
    """The id of its batch."""
    server: str | None
    """Name of the server that had it; null where it failed before it was sent."""
    host: str | None
    """Where the burst ran in which it ended."""
    burst: str | None
    """The id of that burst; null where another command ended it, or an older burst did not say."""
    submitted_at: str | None
    """When it was sent (ISO 8601)."""
    ended_at: str | None
    """When it ended; null where an older burst did not say."""
    seconds: float | None
    """On the server; null where that is not known."""
    result: str
    """`completed`, `failed`, `crashed` (its server went down), `put_back` (nobody knows what became of it) or
    `cancelled`; more may be added."""
    error: str | None
    """The kind of the error."""
    message: str | None
    """The error, where the item stands failed by this attempt."""
    outputs: int
    """How many files it made."""
    bytes: int
    """Their size."""
    prompt_id: str | None
    """Of the prompt."""


class BurstDocument(TypedDict):
    """One burst."""

    burst: str
    """Its id."""
    host: str | None
    """Where it ran."""
    started_at: str
    """When it began (ISO 8601)."""
    ended_at: str | None
    """When it ended; of a killed one, when it was last seen alive; null while it is at work."""
    seconds: float | None
    """How long it took; null while it is at work."""
    ended: Ending | Literal["running"]
    """How it ended."""
    signal: str | None
    """The signal that stopped it."""
    reason: str | None
    """The error that ended it."""
    size: int
    """How many items it was to end."""
    completed: int | None
    """Items that it completed, as its record says; null while it is at work. Of a killed one the attempts are
    counted."""
    failed: int | None
    """Items that failed in it."""
    recovered: int | None
    """Items that an earlier burst had left submitted; null where nobody counted them."""


class HistoryDocument(TypedDict):
    """Attempts, or with `--bursts` bursts, and what they come to. All counts are of what was requested."""

    schema: Literal["burst.history/1"]
    state: str
    """The state file."""
    since: str | None
    """The beginning (ISO 8601); null: of the state."""
    until: str | None
    """The end; null: now."""
    items: int
    """How many items the attempts are of."""
    results: dict[str, int]
    """Result → how many attempts."""
    seconds: float
    """On servers, as far as it is known."""
    outputs: int
    """Files made."""
    bytes: int
    """Their size."""
    burst_seconds: float
    """The length of the bursts."""
    servers: list[str]
    """The servers that had them."""
    hosts: list[str]
    """The hosts of the bursts."""
    attempts_total: int
    """How many attempts."""
    bursts_total: int
    """How many bursts; with `--batch`, `--server` or `--failed` those in which such an attempt ended."""
    attempts: NotRequired[list[AttemptDocument]]
    """Oldest first: the last ten, with `--all` every one; not with `--bursts`."""
    bursts: NotRequired[list[BurstDocument]]
    """The same with `--bursts`."""
