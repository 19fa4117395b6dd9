"""A batch: its record as requested, how it ended, and who was notified."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from state.item import Priority, UtcTime

Layout = Literal["numbered", "batch", "mirror", "gallery"]
End = Literal["done", "failed", "cancelled"]


class Notify(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A webhook to call when the batch has ended."""

    url: str
    secret_env: str | None = None
    """The environment variable with the signing key; the key itself is never written."""


class Idempotency(msgspec.Struct, frozen=True, kw_only=True):
    """The `Idempotency-Key` that a client sent with its request."""

    key: str
    body: str
    """Digest of the request body: the same key with another body is an error of the client."""


class BatchRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="batch", tag_field="line"):
    """A batch as requested. Its items name its id; only their own records hold their status."""

    batch: str
    created_at: UtcTime
    total: int
    layout: Layout
    directory: str
    """Relative to the output directory."""
    stem: str | None = None
    prompts: tuple[str, ...] = ()
    """The first few prompt texts, to be shown in lists."""
    parameters: dict[str, Any] = {}
    """Values that all of its items share, by binding."""
    axes: dict[str, list[Any]] = {}
    """Values of a sweep, by binding."""
    wildcards: tuple[str, ...] = ()
    """Folders that were named for its dynamic prompts: relative to the state file's directory, or absolute."""
    template: str | None = None
    """Where its workflow came from."""
    recipe: str | None = None
    """The id of the recipe that its items were added with; None in a batch of version 1."""
    priority: Priority = "normal"
    on_error: Literal["stop", "continue"] = "stop"
    notify: tuple[Notify, ...] = ()
    then: str | None = None
    """The name of a command that is run once it is done; the command stands in a host's own configuration."""
    name: str | None = None
    """Name given by the user, unique among the batches that are not removed."""
    request: str | None = None
    """Digest of `request_parts`: the same for equal requests, whenever and from wherever they are made."""
    request_parts: dict[str, Any] = {}
    """The request as it was made, by flag; a long value is replaced by its digest."""
    idempotency: Idempotency | None = None

    @property
    def label(self) -> str:
        """Id and name, for messages."""
        return f"{self.batch} ({self.name})" if self.name is not None else self.batch


class EndRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="end", tag_field="line"):
    """All items of a batch have ended. A batch that is started again (`retry`) may end more than once.

    The same event again: items of the ended batch were removed, and nobody is notified of that.
    """

    batch: str
    event: str
    """Id of the event that is sent to webhooks; the same at every try."""
    at: UtcTime
    how: End
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    mark: str = ""
    """Digest of how each item ended: unchanged while no item was started again and ended since."""


class NotificationRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="told", tag_field="line"):
    """One try to notify a webhook of an event."""

    event: str
    url: str
    at: UtcTime
    delivered: bool = False
    problem: str | None = None


class JoinedRecord(msgspec.Struct, frozen=True, kw_only=True, tag="joined", tag_field="line"):
    """The same request was made again and continues this batch instead of making another one."""

    batch: str
    call: str
    """Id of that call."""
    at: UtcTime


class DeliveredRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="delivered", tag_field="line"):
    """A call has received its answer: the report of the ended batch or, with --queue-only, that it is queued."""

    batch: str
    at: UtcTime
    call: str = ""
    """Empty for the call that made the batch."""


class GoneRecord(msgspec.Struct, frozen=True, kw_only=True, tag="gone", tag_field="line"):
    """The batch was removed and is neither listed nor reported any more."""

    batch: str
    at: UtcTime


class BackRecord(msgspec.Struct, frozen=True, kw_only=True, tag="back", tag_field="line"):
    """A removed batch was brought back from the trash. An older burst passes over this line: for it, it is gone."""

    batch: str
    at: UtcTime


class GrownRecord(msgspec.Struct, frozen=True, kw_only=True, tag="grown", tag_field="line"):
    """The batch has more items."""

    batch: str
    total: int


class ThenRecord(msgspec.Struct, frozen=True, kw_only=True, tag="then", tag_field="line"):
    """From here on, another command is run once the batch is done; ends before this line keep theirs."""

    batch: str
    name: str


@dataclass
class Batch:
    """A batch and everything noted about it since."""

    record: BatchRecord
    """As requested, with the current `total` and `then`."""
    ends: list[EndRecord] = field(default_factory=list)
    commands: dict[str, str] = field(default_factory=dict)
    """Event of an end → the name of the command that is run for it."""
    notifications: list[NotificationRecord] = field(default_factory=list)
    gone: bool = False
    unanswered: list[str] = field(default_factory=lambda: [""])
    """Calls that have not received their answer, oldest first; `""` is the one that made the batch."""

    @property
    def id(self) -> str:
        return self.record.batch

    def note_end(self, end: EndRecord) -> None:
        """One more end; or the last one anew, for the items that are left of the batch."""
        if self.ends and self.ends[-1].event == end.event:
            self.ends.pop()
        self.ends.append(end)
        if self.record.then is not None:
            self.commands.setdefault(end.event, self.record.then)

    def note_delivered(self, call: str) -> None:
        """This call has its answer; earlier calls were given up by whoever repeated them."""
        if call in self.unanswered:
            del self.unanswered[: self.unanswered.index(call) + 1]


BatchChange = BatchRecord | GrownRecord
"""Written by `Store.add` together with the items."""
BatchNote = EndRecord | NotificationRecord | JoinedRecord | DeliveredRecord | GoneRecord | BackRecord | ThenRecord
"""Appended later."""


class BatchLog(Protocol):
    """The batches of a state. Append-only; any process and thread may append."""

    def append(self, *notes: BatchNote) -> None:
        """Durable on return. Errors: DiskFull, LockHeld, StateError."""

    def read(self) -> dict[str, Batch]:
        """All batches by id, oldest first, including removed ones. Errors: StateError."""

    def stamp(self) -> Hashable:
        """Different after each new batch and each note; None while there are none. Errors: StateError."""


def batches_of(lines: Sequence[BatchChange | BatchNote]) -> dict[str, Batch]:
    """The batches that these lines, in the order in which they were written, tell of; by id, oldest first."""
    batches: dict[str, Batch] = {}
    by_event: dict[str, Batch] = {}
    for line in lines:
        if isinstance(line, BatchRecord):
            batches.setdefault(line.batch, Batch(line))
    for line in lines:
        match line:
            case GrownRecord() if line.batch in batches:
                record = batches[line.batch].record
                total = max(record.total, line.total)
                batches[line.batch].record = msgspec.structs.replace(record, total=total)
            case ThenRecord() if line.batch in batches:
                record = batches[line.batch].record
                batches[line.batch].record = msgspec.structs.replace(record, then=line.name)
            case EndRecord() if line.batch in batches:
                by_event[line.event] = batches[line.batch]
                batches[line.batch].note_end(line)
            case NotificationRecord() if line.event in by_event:
                by_event[line.event].notifications.append(line)
            case JoinedRecord() if line.batch in batches:
                batches[line.batch].unanswered.append(line.call)
            case DeliveredRecord() if line.batch in batches:
                batches[line.batch].note_delivered(line.call)
            case BackRecord() if line.batch in batches:
                batches[line.batch].gone = False
            case GoneRecord() if line.batch in batches:
                batches[line.batch].gone = True
    return batches
