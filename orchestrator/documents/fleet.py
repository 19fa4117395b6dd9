"""What the commands of a fleet print."""

from __future__ import annotations

from typing import Literal, TypedDict


class FleetUpDocument(TypedDict):
    """The tables that a fleet needs are there."""

    schema: Literal["burst.fleet-up/1"]
    state: str
    state_made: bool
    """Whether an empty state was made; false where there was one."""
    engine: Literal["nothing", "made", "migrated", "partly"]
    """What was done to the tables of the engine; `partly`: the rest when no worker is alive."""
    servers: list[str]
    """The names of the registered servers."""


class WorkerDocument(TypedDict):
    """A worker begins."""

    schema: Literal["burst.worker/1"]
    state: str
    host: str


class FleetServerDocument(TypedDict):
    """A registered server."""

    name: str
    url: str
    host: str | None
    """The only host that reaches it; null: every host."""
    draining: bool
    due: bool
    """Whether it has something to do."""
    burst: Literal["running", "queued", "stalled"] | None
    """What the engine has for it; `stalled`: of a worker that gives no sign of life. Null: nothing."""


class FleetStatusDocument(TypedDict):
    """How a fleet stands."""

    schema: Literal["burst.fleet-status/1"]
    state: str
    paused: bool
    workers: int
    """How many gave a sign of life within 15 s."""
    remaining: int
    """Items that are due or submitted."""
    servers: list[FleetServerDocument]
