"""What is true of a state as a whole, and of no item and no batch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from state.item import UtcTime


class Pause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="pause", tag_field="line"):
    """Whether runs are to rest."""

    paused: bool
    at: UtcTime
    reason: str | None = None


class ServerHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="health", tag_field="line"):
    """How a server was last found."""

    server: str
    """Its name, as items hold it."""
    health: str
    """`well` or `sick`; a newer burst may know more."""
    at: UtcTime
    reason: str | None = None


class ClientId(msgspec.Struct, frozen=True, kw_only=True, tag="client", tag_field="line"):
    """Under which `client_id` all runs of this state speak to a server, so that its events reach the next one too."""

    server: str
    client_id: str
    at: UtcTime


Fact = Pause | ServerHealth | ClientId


@dataclass(frozen=True)
class Facts:
    """The last fact of each kind."""

    pause: Pause | None = None
    """None: nobody ever paused it."""
    health: Mapping[str, ServerHealth] = field(default_factory=dict)
    """By server."""
    client_ids: Mapping[str, ClientId] = field(default_factory=dict)
    """By server."""


class FactLog(Protocol):
    """The facts of a state. Append-only, by any process and any thread; kinds that are not known are kept."""

    def append(self, *facts: Fact) -> None:
        """Durable on return. Errors: DiskFull, LockHeld, StateError."""

    def read(self) -> Facts: ...

    def stamp(self) -> Hashable:
        """Another one after each append; None where there is no fact yet."""
