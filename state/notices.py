"""Who is notified of what happens to a state, what happened, and what was done about it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol, get_args

import msgspec

from state.item import UtcTime
from state.processes import Process

EventName = Literal["done", "failed", "stuck", "disk"]
EVENT_NAMES: tuple[EventName, ...] = get_args(EventName)


class Receiver(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="receiver", tag_field="line"):
    """Somebody who is notified, from whichever host. A later line of the same id replaces it."""

    id: str
    url: str
    """A webhook's address, or that of a service that Apprise knows; it may hold a secret."""
    at: UtcTime
    """Since when: what happened before is not told."""
    on: tuple[str, ...] = EVENT_NAMES
    """Of which events; a newer burst may know others."""
    runs: int = 3
    """After how many runs in a row that got nowhere."""
    secret: str | None = None
    """The key of the signatures, `whsec_…`."""
    secret_env: str | None = None
    """The environment variable with the key, where it is kept out of the state."""
    removed: bool = False


class Occurrence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="event", tag_field="line"):
    """Something that happened and is told. While it lasts, it is not told again."""

    event: str
    """Its id: the same at every try to tell it."""
    kind: str
    """`state.done`, `items.failed`, `job.stuck`, `disk.full`, `command.failed`."""
    about: str
    """What it is about: one thing happens again only after it was over."""
    at: UtcTime
    text: str
    """For a person."""
    data: dict[str, Any] = {}
    """For a program."""


class Over(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="over", tag_field="line"):
    """What an occurrence was about is over: the next one is told again."""

    about: str
    at: UtcTime
    left: int = 0
    """Of what is counted: how many are left that were told before."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="told", tag_field="line"):
    """One try to tell an event to a receiver."""

    event: str
    to: str
    """The receiver's id."""
    at: UtcTime
    delivered: bool = False
    problem: str | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="claim", tag_field="line"):
    """A process does something that is to be done by one alone, for as long as this says. A later line replaces it."""

    what: str
    by: Process
    until: UtcTime
    """By the clock of the state."""

    def holds(self, now: datetime, *, against: Process) -> bool:
        """Whether another process must leave it alone."""
        return self.by != against and now < self.until and not self.by.is_dead_here


class CommandRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="command", tag_field="line"):
    """A command of a host's own that was run because a batch is done. While it runs there is no line."""

    event: str
    batch: str
    name: str
    """As in the host's configuration; the command itself is written nowhere."""
    host: str
    started_at: UtcTime
    at: UtcTime
    """When it ended."""
    succeeded: bool = False
    problem: str | None = None
    """Why it is run again, or given up."""
    output: str | None = None
    """The file with what it wrote, on that host."""
    final: bool = False
    """It is not run again for this event."""


Notice = Receiver | Occurrence | Over | Delivery | Claim | CommandRun


@dataclass(frozen=True)
class Notices:
    """All that these lines tell."""

    receivers: Mapping[str, Receiver] = field(default_factory=dict)
    """By id, in the order in which they were added."""
    occurrences: Mapping[str, Occurrence] = field(default_factory=dict)
    """By event, oldest first."""
    lasting: Mapping[str, Occurrence] = field(default_factory=dict)
    """By what they are about: those that are not over."""
    overs: Mapping[str, Over] = field(default_factory=dict)
    """By what they are about: those after which nothing happened."""
    deliveries: Mapping[tuple[str, str], tuple[Delivery, ...]] = field(default_factory=dict)
    """By event and receiver."""
    claims: Mapping[str, Claim] = field(default_factory=dict)
    """By what is claimed: the last one."""
    commands: Mapping[str, tuple[CommandRun, ...]] = field(default_factory=dict)
    """By event, oldest first."""

    def and_also(self, lines: Iterable[Notice]) -> Notices:
        """With what these lines tell, which were written after the others."""
        known = _Editable(
            dict(self.receivers),
            dict(self.occurrences),
            dict(self.lasting),
            dict(self.overs),
            dict(self.deliveries),
            dict(self.claims),
            dict(self.commands),
        )
        for line in lines:
            known.take(line)
        return replace(self, **vars(known))

    def is_claimed(self, what: str, now: datetime, *, against: Process) -> bool:
        """Whether another process than this one does it at the moment."""
        claim = self.claims.get(what)
        return claim is not None and claim.holds(now, against=against)


@dataclass
class _Editable:
    receivers: dict[str, Receiver]
    occurrences: dict[str, Occurrence]
    lasting: dict[str, Occurrence]
    overs: dict[str, Over]
    deliveries: dict[tuple[str, str], tuple[Delivery, ...]]
    claims: dict[str, Claim]
    commands: dict[str, tuple[CommandRun, ...]]

    def take(self, line: Notice) -> None:
        match line:
            case Receiver(removed=True):
                self.receivers.pop(line.id, None)
            case Receiver():
                self.receivers[line.id] = line
            case Occurrence():
                self.occurrences[line.event] = self.lasting[line.about] = line
                self.overs.pop(line.about, None)
            case Over():
                self.lasting.pop(line.about, None)
                self.overs[line.about] = line
            case Delivery():
                told = line.event, line.to
                self.deliveries[told] = (*self.deliveries.get(told, ()), line)
            case Claim():
                self.claims[line.what] = line
            case CommandRun():
                self.commands[line.event] = (*self.commands.get(line.event, ()), line)


class NoticeLog(Protocol):
    """The notices of a state. Append-only; any process and thread may change it. Lines of unknown kinds are kept."""

    def change(self, edit: Callable[[Notices, datetime], Iterable[Notice]]) -> tuple[Notice, ...]:
        """Append what `edit` returns, while no other process can; durable on return. Returns what was written.

        `edit` is given what is known and the time by the clock of the state (on PostgreSQL, the database's). It may be
        called more than once. Errors: DiskFull, LockHeld, StateError.
        """

    def read(self) -> Notices: ...

    def stamp(self) -> Hashable:
        """Different after each change; None while there are none. Cheap enough to be called every second."""
