"""Facts about a state as a whole, rather than about an item or a batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from state.item import Count, UtcTime
from state.server import RegisteredServer


class Pause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="pause", tag_field="line"):
    """Whether runs are paused: they start nothing until a later one says otherwise."""

    paused: bool
    at: UtcTime
    reason: str | None = None
    free: bool = False
    """Whether the servers unload their models once nothing of this state is rendered."""


class PromptFailure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item whose prompt failed on a server."""

    item: str
    prompt_id: str
    """Of its last prompt that failed."""
    kind: str
    """The kind of error: `out_of_memory`, or the type of the exception."""
    recipe: str | None = None
    charged: Count = 0
    """How many attempts it was charged for this."""
    again: bool = False
    """It had failed before this row began: by itself it says nothing about the server."""


class ServerHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="health", tag_field="line"):
    """The last known health of a server."""

    server: str
    """Its name, as in the records of items."""
    health: str
    """`well`, `sick` or `stalled`; a newer burst may write other values."""
    at: UtcTime
    reason: str | None = None
    failures: tuple[PromptFailure, ...] = ()
    """Different items that failed in a row with one kind of error, none completed between them."""
    spared: tuple[str, ...] = ()
    """Items that failed on it and were not charged, because it seemed sick. They are charged the next time."""
    restart_at: UtcTime | None = None
    """When a restart was last advised or ordered: what was sent before and is lost by it, is not to blame."""

    def with_failure(self, failure: PromptFailure, *, at: datetime) -> ServerHealth:
        """One more, unless it is of another kind: the row begins with it then. An item counts once."""
        row = tuple(one for one in self.failures if one.kind == failure.kind)
        before = next((one for one in row if one.item == failure.item), None)
        if before is None:
            return msgspec.structs.replace(self, failures=(*row, failure), at=at)
        again = msgspec.structs.replace(failure, charged=before.charged + failure.charged)
        return msgspec.structs.replace(self, failures=tuple(again if one is before else one for one in row), at=at)

    def without_failures(self, *, at: datetime) -> ServerHealth:
        """It completed something."""
        return msgspec.structs.replace(self, health="well", reason=None, failures=(), at=at)

    def restarted(self, *, at: datetime) -> ServerHealth:
        """Nothing that was counted is about it any more."""
        return msgspec.structs.replace(self.without_failures(at=at), spared=())

    def advising_restart(self, health: str, reason: str, *, at: datetime) -> ServerHealth:
        """A person is advised to restart it, or a command is about to."""
        return msgspec.structs.replace(self, health=health, reason=reason, restart_at=at, at=at)


class ClientId(msgspec.Struct, frozen=True, kw_only=True, tag="client", tag_field="line"):
    """The `client_id` that all runs of this state use with a server, so that its events reach the next run too."""

    server: str
    client_id: str
    at: UtcTime


class Spend(msgspec.Struct, frozen=True, kw_only=True, tag="spend", tag_field="line"):
    """Prompts that a server got which costs money, noted before they were sent."""

    server: str
    prompts: int
    """-1: one that was noted was refused after all."""
    at: UtcTime


class InputsId(msgspec.Struct, frozen=True, kw_only=True, tag="inputs", tag_field="line"):
    """The name of the state's own folder of copies of what its items are made from. The first one counts."""

    id: str


Fact = Pause | ServerHealth | ClientId | Spend | RegisteredServer | InputsId

OLD_SPENDS_KEPT = 500
"""So many lines about what was spent long ago are there at least when a log drops them."""
LONG_AGO = timedelta(days=1)
"""Before the time in which what is spent counts, since clocks of hosts differ."""


class Facts(msgspec.Struct, frozen=True):
    """The last fact of each kind."""

    pause: Pause | None = None
    """None: it was never paused."""
    health: Mapping[str, ServerHealth] = msgspec.field(default_factory=dict)
    """By server."""
    client_ids: Mapping[str, ClientId] = msgspec.field(default_factory=dict)
    """By server."""
    spends: tuple[Spend, ...] = ()
    """In their order; those of long ago may be missing."""
    servers: Mapping[str, RegisteredServer] = msgspec.field(default_factory=dict)
    """Those that are registered, by name, in the order in which they were registered first."""
    inputs_id: str | None = None
    """None: nothing was taken in yet."""

    def spent(self, *, since: datetime) -> int:
        """How many prompts servers that cost money got since then."""
        return sum(one.prompts for one in self.spends if one.at > since)

    def spends_until(self, moment: datetime) -> int:
        """How many of `spends` are as old as that."""
        return sum(one.at <= moment for one in self.spends)


_NONE = Facts()


class FactLog(Protocol):
    """The facts of a state. Any process and thread may append. Lines of unknown kinds are kept; what was spent long ago
    is dropped."""

    def append(self, *facts: Fact) -> None:
        """Durable on return. Errors: DiskFull, LockHeld, StateError."""

    def change_health(self, server: str, edit: Callable[[ServerHealth], ServerHealth], *, at: datetime) -> ServerHealth:
        """Change what is known of a server's health, while no other process can; durable on return.

        `edit` is given the last fact, or one that says `well` where there is none; nothing is written where it returns
        that itself. Errors: as `append`.
        """

    def change_servers(
        self, edit: Callable[[Mapping[str, RegisteredServer]], Iterable[RegisteredServer]]
    ) -> tuple[RegisteredServer, ...]:
        """Change which servers are registered, while no other process can; durable on return. Returns what was written.

        `edit` is given those of now, by name, and returns the changed and new ones; one with `removed` is taken out.
        Errors: as `append`.
        """

    def spend(self, fact: Spend, *, most: int, since: datetime) -> bool:
        """Note it, unless more than `most` prompts since `since` would be noted with it; whether it was noted.

        No other process can note anything meanwhile; durable on return. Errors: as `append`.
        """

    def read(self) -> Facts: ...

    def stamp(self) -> Hashable:
        """Different after each append; None while there are no facts."""


def facts_of(lines: Iterable[Fact], *, before: Facts = _NONE) -> Facts:
    """What these lines tell, which are in the order in which they were written. `before`: what those before them do."""
    pause, health, client_ids, spends = before.pause, {**before.health}, {**before.client_ids}, [*before.spends]
    servers, inputs_id = {**before.servers}, before.inputs_id
    for fact in lines:
        match fact:
            case Pause():
                pause = fact
            case ServerHealth():
                health[fact.server] = fact
            case ClientId():
                client_ids[fact.server] = fact
            case Spend():
                spends.append(fact)
            case RegisteredServer(removed=True):
                servers.pop(fact.name, None)
            case RegisteredServer():
                servers[fact.name] = fact
            case InputsId():
                inputs_id = inputs_id or fact.id
    return Facts(pause, health, client_ids, tuple(spends), servers, inputs_id)
