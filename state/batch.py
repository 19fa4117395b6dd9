"""A batch: what it was asked to be, and what became of telling others about it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from state.item import Priority, UtcTime

Layout = Literal["numbered", "batch", "mirror", "gallery"]
End = Literal["done", "failed", "cancelled"]


class Notify(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody to be told when the batch has ended."""

    url: str
    secret_env: str | None = None
    """The environment variable that holds the key of the signature; the key itself is never written."""


class Idempotency(msgspec.Struct, frozen=True, kw_only=True):
    """The `Idempotency-Key` that a caller sent with its request."""

    key: str
    body: str
    """A digest of the request's body: the same key with another one is a mistake of the caller's."""


class BatchRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="batch", tag_field="line"):
    """A batch as it was asked for. Its items carry its id; what has become of them is in their records alone."""

    batch: str
    created_at: UtcTime
    total: int
    layout: Layout
    directory: str
    """Relative to the output directory."""
    stem: str | None = None
    prompts: tuple[str, ...] = ()
    """The first few prompt texts, for lists."""
    parameters: dict[str, Any] = {}
    """What all of its items share, by binding."""
    axes: dict[str, list[Any]] = {}
    """A sweep's values, by binding."""
    template: str | None = None
    """Where its workflow came from."""
    recipe: str | None = None
    """The id of what its items were added with; None in a batch of version 1."""
    priority: Priority = "normal"
    on_error: Literal["stop", "continue"] = "stop"
    notify: tuple[Notify, ...] = ()
    name: str | None = None
    """What its user calls it; no other batch that is not cleaned away has this name."""
    request: str | None = None
    """A digest of `request_parts`: equal for requests that are the same, whenever and from wherever they are made."""
    request_parts: dict[str, Any] = {}
    """The request as it was made, by flag; what is long is a digest."""
    idempotency: Idempotency | None = None

    @property
    def label(self) -> str:
        """Its id and its name, for messages."""
        return f"{self.batch} ({self.name})" if self.name is not None else self.batch


class EndRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="end", tag_field="line"):
    """All items of a batch have ended. One that is begun again (`retry`) may end more than once."""

    batch: str
    event: str
    """The id of the event of which others are told; the same however often they are."""
    at: UtcTime
    how: End
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    mark: str = ""
    """A digest of how each item ended: as long as it is the same, none was begun again and ended since."""


class ToldRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="told", tag_field="line"):
    """One try to tell somebody of an event."""

    event: str
    url: str
    at: UtcTime
    delivered: bool = False
    problem: str | None = None


class JoinedRecord(msgspec.Struct, frozen=True, kw_only=True, tag="joined", tag_field="line"):
    """The same request was made again, and continues this batch instead of making another one."""

    batch: str
    call: str
    """The id of this call."""
    at: UtcTime


class DeliveredRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="delivered", tag_field="line"):
    """A call has received its answer: the report of the ended batch or, where it only queued it, that it is queued."""

    batch: str
    at: UtcTime
    call: str = ""
    """Empty: the call that made the batch."""


class GoneRecord(msgspec.Struct, frozen=True, kw_only=True, tag="gone", tag_field="line"):
    """The batch was cleaned away: neither listed nor reported any more."""

    batch: str
    at: UtcTime


class GrownRecord(msgspec.Struct, frozen=True, kw_only=True, tag="grown", tag_field="line"):
    """More items belong to the batch now."""

    batch: str
    total: int


@dataclass
class Batch:
    """A batch, and all that was noted of it since."""

    record: BatchRecord
    """As it was asked for; `total` is that of now."""
    ends: list[EndRecord] = field(default_factory=list)
    told: list[ToldRecord] = field(default_factory=list)
    gone: bool = False
    unanswered: list[str] = field(default_factory=lambda: [""])
    """The calls, oldest first, that have not received their answer; `""` is the one that made the batch."""

    @property
    def id(self) -> str:
        return self.record.batch

    def delivered(self, call: str) -> None:
        """This call has its answer; those made before it were given up by whoever repeated them."""
        if call in self.unanswered:
            del self.unanswered[: self.unanswered.index(call) + 1]


BatchChange = BatchRecord | GrownRecord
"""What comes with items: `Store.add` writes it together with them."""
BatchNote = EndRecord | ToldRecord | JoinedRecord | DeliveredRecord | GoneRecord
"""What becomes of a batch afterwards."""


class BatchLog(Protocol):
    """The batches of a state. Append-only, by any process and any thread."""

    def append(self, *notes: BatchNote) -> None:
        """Durable on return. Errors: DiskFull, LockHeld, StateError."""

    def read(self) -> dict[str, Batch]:
        """Every batch by its id, oldest first, including those that are gone. Errors: StateError."""

    def stamp(self) -> Hashable:
        """Changes with each batch that is added and each note; None where there is neither. Errors: StateError."""
