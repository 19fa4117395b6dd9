"""The registered servers of a state."""

from __future__ import annotations

from typing import Literal, TypedDict


class ServerRunDocument(TypedDict):
    """A run at work."""

    burst: str
    """Its burst of now."""
    host: str
    pid: int
    started_at: str
    """When its process began (ISO 8601)."""


class RegisteredServerDocument(TypedDict):
    """A registered server."""

    name: str
    """As in the records of items."""
    address: str
    host: str | None
    """The host that it runs on, where its address is a loopback one; null for any other."""
    labels: list[str]
    window: int | None
    """How many prompts of this state it gets at a time; null: as the run decides."""
    abandon_after_seconds: float | None
    """After how long without a sign of life what is submitted to it is due again; null: never by itself."""
    draining: bool
    """Whether it gets nothing new."""
    runs: list[ServerRunDocument]
    """Those at work that use it."""
    submitted: int
    """Items that are submitted to it."""
    submitted_since: str | None
    """When the oldest of them was (ISO 8601); null where none is."""
    health: Literal["well", "sick", "stalled", "away", "unknown"]
    """How it was last found; away: it did not answer."""
    health_since: str | None
    """Since when, as far as that is known (ISO 8601)."""
    health_reason: str | None
    last_completed_at: str | None
    """When the last burst ended in which it completed something (ISO 8601)."""


class ServersDocument(TypedDict):
    """What was done, and the registered servers after it, in the order in which they were registered."""

    schema: Literal["burst.servers/1"]
    action: Literal["list", "add", "remove", "drain", "enable", "abandon"]
    servers: list[RegisteredServerDocument]
    possibly_twice: int
    """Items that were given up by this command: they are due again, and their server may render them all the same."""
    notes: list[str]
    """What was done or noticed."""


class CleanedServerDocument(TypedDict):
    """What became of the files of this state in one server's output folder."""

    name: str
    """As in the records of items."""
    address: str
    folder: str | None
    """Its output folder on this host; null where that is not known, and nothing was done."""
    reason: str | None
    """Why it was not cleaned, or not wholly, and what to do."""
    removed: list[str]
    """Files that were removed, or would be, from the server's output folder: the first ten."""
    removed_total: int
    """How many."""
    bytes: int
    """Their size."""
    empty_folders: int
    """Folders below `burst/` in which nothing is left."""
    folders_removed: int
    """How many of them were removed, or would be: none while the server has work."""
    kept: dict[str, int]
    """How many files stay, by the reason: `unfinished`, `not_here`, `in_use`, `leftover`, `foreign`."""


class ServersCleanDocument(TypedDict):
    """What `burst servers clean` removed, or would."""

    schema: Literal["burst.servers_clean/1"]
    dry_run: bool
    servers: list[CleanedServerDocument]
