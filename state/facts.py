"""Facts about a state as a whole, rather than about an item or a batch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from state.item import UtcTime


class Pause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="pause", tag_field="line"):
    """Whether runs should pause."""

    paused: bool
    at: UtcTime
    reason: str | None = None


class ServerHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="health", tag_field="line"):
    """The last known health of a server."""

    server: str
    """Its name, as in the records of items."""
    health: str
    """`well` or `sick`; a newer burst may write other values."""
    at: UtcTime
    reason: str | None = None


class ClientId(msgspec.Struct, frozen=True, kw_only=True, tag="client", tag_field="line"):
    """The `client_id` that all runs of this state use with a server, so that its events reach the next run too."""

    server: str
    client_id: str
    at: UtcTime


Fact = Pause | ServerHealth | ClientId


@dataclass(frozen=True)
class Facts:
    """The last fact of each kind."""

    pause: Pause | None = None
    """None: it was never paused."""
    health: Mapping[str, ServerHealth] = field(default_factory=dict)
    """By server."""
    client_ids: Mapping[str, ClientId] = field(default_factory=dict)
    """By server."""


class FactLog(Protocol):
    """The facts of a state. Append-only; any process and thread may append. Lines of unknown kinds are kept."""

    def append(self, *facts: Fact) -> None:
        """Durable on return. Errors: DiskFull, LockHeld, StateError."""

    def read(self) -> Facts: ...

    def stamp(self) -> Hashable:
        """Different after each append; None while there are no facts."""
