"""An item: one unit of work, its record in the state file, and the changes that a status allows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

import msgspec


class Status(StrEnum):
    """Where an item stands."""

    PENDING = "pending"
    """Due: no prompt of it is known to any server."""
    SUBMITTED = "submitted"
    """A prompt_id was chosen and made durable; the server may or may not have it."""
    COMPLETED = "completed"
    """Every output is in its place, whole and synced."""
    FAILED = "failed"
    """Given up, with the reason in `error`."""
    CANCELLED = "cancelled"
    """Taken back by the user before it finished."""


TRANSITIONS: dict[Status | None, frozenset[Status]] = {
    None: frozenset({Status.PENDING}),
    Status.PENDING: frozenset({Status.PENDING, Status.SUBMITTED, Status.FAILED, Status.CANCELLED}),
    Status.SUBMITTED: frozenset(Status),
    Status.COMPLETED: frozenset({Status.COMPLETED, Status.PENDING}),
    Status.FAILED: frozenset({Status.FAILED, Status.PENDING}),
    Status.CANCELLED: frozenset({Status.CANCELLED, Status.PENDING}),
}
"""Which status may follow which; every store applies this one table. None: the item is not there yet."""


def remaining(counts: Mapping[Status, int]) -> int:
    """Items still due or out on a server."""
    return counts[Status.PENDING] + counts[Status.SUBMITTED]


Priority = Literal["urgent", "high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")

UtcTime = Annotated[datetime, msgspec.Meta(tz=True)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class OutputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an item: `path` relative to the output directory, with `/` between its parts."""

    path: str
    bytes: Count
    sha256: str


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an item failed, or why its last attempt did."""

    kind: str
    message: str
    node_id: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of an item's record that burst knows. Fields appear in the file only when they say something."""

    status: Status
    subfolder: str = ""
    filename: str = ""
    prompt_text: str | None = None
    inputs: dict[str, Any] = {}
    batch_size_auto: bool = False
    """Whether `--batch-size auto` chose the batch size in `inputs`, so that it may be made smaller."""
    uploads: dict[str, str] = {}
    """Binding → picture that its server is given first; the path is relative to the state file's directory."""
    template: str | None = None
    batch: str | None = None
    index: Count | None = None
    priority: Priority = "normal"
    attempts: Count = 0
    crashes: Count = 0
    prompt_id: str | None = None
    previous_prompt_ids: tuple[str, ...] = ()
    server: str | None = None
    accepted: bool = False
    seen_running: bool = False
    cancel_requested: bool = False
    submitted_at: UtcTime | None = None
    completed_at: UtcTime | None = None
    seconds: float | None = None
    outputs: tuple[OutputRecord, ...] = ()
    error: ErrorRecord | None = None
    fingerprint: str | None = None
    sidecar: str | None = None
    """Where to say how its outputs were made: a `.txt` or `.json` relative to the output directory."""


KNOWN_FIELDS = frozenset(Record.__struct_fields__)

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
decode_record = msgspec.json.Decoder(Record).decode
"""The checked record. Errors: msgspec.ValidationError, whose text ends in the path of the field."""


class Item(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A record with its key. `unknown` holds the fields that burst does not know; they are written back as found."""

    key: str
    unknown: dict[str, msgspec.Raw] = {}

    @classmethod
    def from_record(cls, key: str, raw: bytes | msgspec.Raw) -> Self:
        """Errors: msgspec.ValidationError."""
        record = decode_record(raw)
        unknown = {name: value for name, value in _decode_fields(raw).items() if name not in KNOWN_FIELDS}
        return cls(key=key, unknown=unknown, **msgspec.structs.asdict(record))

    def to_record(self) -> bytes:
        """The record as one line of JSON."""
        fields: dict[str, Any] = {"status": self.status, "subfolder": self.subfolder, "filename": self.filename}
        fields |= msgspec.to_builtins(msgspec.structs.replace(self, unknown={}))
        del fields["key"]
        return msgspec.json.format(msgspec.json.encode(fields | self.unknown), indent=0)

    @property
    def name(self) -> str:
        """The file name that outputs are named after."""
        return self.filename or PurePosixPath(self.key).name

    @property
    def in_doubt(self) -> bool:
        """An intent without a noted answer: the POST may still be on its way."""
        return self.status is Status.SUBMITTED and not self.accepted

    @property
    def may_be_on_a_server(self) -> bool:
        """Submitted, or put back to pending by hand while its prompt was still out."""
        if self.status is Status.SUBMITTED:
            return True
        return self.status is Status.PENDING and self.prompt_id is not None and self.completed_at is None

    @property
    def automatic_batch_size(self) -> int | None:
        """How many pictures `--batch-size auto` chose for one prompt; None where it did not, or no number is left."""
        size = self.inputs.get("batch_size")
        return size if self.batch_size_auto and type(size) is int else None

    def shrink(self, *, batch_size: int) -> Self:
        """No more than so many pictures of one prompt, where `--batch-size auto` chose how many. Safe to repeat."""
        if (self.automatic_batch_size or 0) <= batch_size:
            return self
        return msgspec.structs.replace(self, inputs={**self.inputs, "batch_size": batch_size})

    def submit(self, *, prompt_id: str, server: str, at: datetime, fingerprint: str) -> Self:
        """The intent: made durable before the POST. A completed item that was set to pending by hand starts over."""
        return msgspec.structs.replace(
            self._without_prompt() if self.completed_at is None else self.start_over(),
            status=Status.SUBMITTED,
            prompt_id=prompt_id,
            server=server,
            submitted_at=at,
            fingerprint=fingerprint,
        )

    def accept(self, *, prompt_id: str) -> Self:
        """The server answered the POST; it may have chosen another id, which is believed."""
        previous = (
            self._without_prompt().previous_prompt_ids if prompt_id != self.prompt_id else self.previous_prompt_ids
        )
        return msgspec.structs.replace(self, prompt_id=prompt_id, previous_prompt_ids=previous, accepted=True)

    def note_running(self) -> Self:
        """Its prompt was seen running: if the server goes down now, it may be the reason."""
        return msgspec.structs.replace(self, seen_running=True)

    def crash(self) -> Self:
        """The server went down while its prompt ran: due again, with no attempt charged, and counted."""
        return msgspec.structs.replace(self.put_back(charge=False), crashes=self.crashes + 1)

    def move(self, *, server: str) -> Self:
        """Its server has a new address."""
        return msgspec.structs.replace(self, server=server)

    def doubt(self) -> Self:
        """A hand edit says pending while its prompt was still out: the server is asked first."""
        return msgspec.structs.replace(self, status=Status.SUBMITTED, accepted=False)

    def complete(self, *, outputs: tuple[OutputRecord, ...], at: datetime, seconds: float | None) -> Self:
        return msgspec.structs.replace(
            self,
            status=Status.COMPLETED,
            outputs=outputs,
            completed_at=at,
            seconds=seconds,
            error=None,
            crashes=0,
            accepted=False,
            seen_running=False,
            cancel_requested=False,
        )

    def fail(self, *, error: ErrorRecord, charge: bool = True) -> Self:
        """Given up. `charge` counts the attempt that led here."""
        return msgspec.structs.replace(
            self._without_prompt(), status=Status.FAILED, error=error, attempts=self.attempts + charge
        )

    def stumble(self, *, error: ErrorRecord) -> Self:
        """Still out on its server: an attempt to take in what the server has of it is charged."""
        return msgspec.structs.replace(self, attempts=self.attempts + 1, error=error)

    def put_back(self, *, charge: bool, error: ErrorRecord | None = None) -> Self:
        """Due again. Its old prompt_id joins the previous ones; its outputs stay named, to be replaced."""
        return msgspec.structs.replace(
            self._without_prompt(), status=Status.PENDING, attempts=self.attempts + charge, error=error
        )

    def unsend(self) -> Self:
        """Due again, its prompt_id forgotten: the POST surely never reached a queue."""
        return msgspec.structs.replace(
            self._without_prompt(), status=Status.PENDING, previous_prompt_ids=self.previous_prompt_ids
        )

    def start_over(self) -> Self:
        """Due again as if it had never been tried: for retry, reset, rescan and repair."""
        return msgspec.structs.replace(
            self._without_prompt(),
            status=Status.PENDING,
            previous_prompt_ids=(),
            attempts=0,
            crashes=0,
            error=None,
            completed_at=None,
            seconds=None,
        )

    def request_cancel(self) -> Self:
        """The wish, on an item whose prompt may be on a server."""
        return msgspec.structs.replace(self, cancel_requested=True)

    def cancel(self) -> Self:
        return msgspec.structs.replace(self._without_prompt(), status=Status.CANCELLED)

    def _without_prompt(self) -> Self:
        """No prompt of it is out any more, or not yet; what was out is remembered."""
        previous = self.previous_prompt_ids
        if self.prompt_id is not None and self.prompt_id not in previous:
            previous = (*previous, self.prompt_id)
        return msgspec.structs.replace(
            self,
            prompt_id=None,
            previous_prompt_ids=previous,
            server=None,
            accepted=False,
            seen_running=False,
            cancel_requested=False,
            submitted_at=None,
            fingerprint=None,
        )
