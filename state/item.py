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

REMOVABLE = frozenset(Status) - {Status.SUBMITTED}
"""From which status an item may be removed: a server may still have something of a submitted one."""


DUE: frozenset[Status] = frozenset({Status.PENDING, Status.SUBMITTED})
"""An item that is still to be done."""


Priority = Literal["urgent", "high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")

UtcTime = Annotated[datetime, msgspec.Meta(tz=True)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class OutputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an item: `path` relative to the output directory, with `/` between its parts."""

    path: str
    bytes: Count
    sha256: str


class TrashedOutput(OutputRecord, frozen=True, kw_only=True, omit_defaults=True):
    """An output that the user deleted: no longer one of the item's, and not to be rendered again for that."""

    trashed_at: UtcTime
    kept_as: str | None = None
    """Where its file lies now, relative to the output directory; None: it is no longer kept."""


class ItemOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output of another item, to be used as an input."""

    item: str
    """That item's key."""
    output: Count
    """Which of its outputs, counted from 0."""


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
    uploads: dict[str, str | ItemOutput] = {}
    """Binding → image that its server is given first: a path relative to the state file's directory, or an output of
    another item, which this item waits for."""
    template: str | None = None
    """Of a record written by hand or by version 1: in place of the default one, while it has no recipe."""
    recipe: str | None = None
    """The id of what it is made with; without one, the default as it stands when it is sent."""
    batch: str | None = None
    index: Count | None = None
    priority: Priority = "normal"
    rank: float = 0.0
    """Order among the items of one priority: the lowest first, and by their order in the file where it is the same."""
    attempts: Count = 0
    crashes: Count = 0
    prompt_id: str | None = None
    previous_prompt_ids: tuple[str, ...] = ()
    server: str | None = None
    accepted: bool = False
    seen_running: bool = False
    cancel_requested: bool = False
    submitted_at: UtcTime | None = None
    prefix_scheme: Count = 1
    """By which rule the save nodes of its prompt were given their file name prefixes; noted with the intent."""
    completed_at: UtcTime | None = None
    seconds: float | None = None
    outputs: tuple[OutputRecord, ...] = ()
    trashed: tuple[TrashedOutput, ...] = ()
    favourite: bool = False
    tags: tuple[str, ...] = ()
    error: ErrorRecord | None = None
    fingerprint: str | None = None
    sidecar: str | None = None
    """Where to say how its outputs were made: a `.txt` or `.json` relative to the output directory."""

    @property
    def upload_paths(self) -> dict[str, str]:
        """Those of `uploads` that are files."""
        return {name: source for name, source in self.uploads.items() if isinstance(source, str)}

    @property
    def awaits(self) -> tuple[ItemOutput, ...]:
        """Outputs of other items that it needs. This version of burst cannot use them: it is not due."""
        return tuple(source for source in self.uploads.values() if isinstance(source, ItemOutput))


KNOWN_FIELDS = frozenset(Record.__struct_fields__)

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
decode_record = msgspec.json.Decoder(Record).decode
"""The checked record. Errors: msgspec.ValidationError, whose text ends in the path of the field."""


_Part = OutputRecord | ItemOutput | ErrorRecord


class Item(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A record with its key. What burst does not know in it is written back as found."""

    key: str
    unknown: dict[str, msgspec.Raw] = {}
    """The fields that burst does not know."""
    unknown_within: dict[_Part, msgspec.Raw] = {}
    """Parts with fields that burst does not know: an output, an upload, the error."""

    @classmethod
    def from_record(cls, key: str, raw: bytes | msgspec.Raw) -> Self:
        """Errors: msgspec.ValidationError."""
        record = decode_record(raw)
        fields = _decode_fields(raw)
        unknown = {name: value for name, value in fields.items() if name not in KNOWN_FIELDS}
        within = _unknown_within(record, fields)
        return cls(key=key, unknown=unknown, unknown_within=within, **msgspec.structs.asdict(record))

    def to_record(self) -> bytes:
        """The record as one line of JSON."""
        fields: dict[str, Any] = {"status": self.status, "subfolder": self.subfolder, "filename": self.filename}
        fields |= msgspec.to_builtins(msgspec.structs.replace(self, unknown={}, unknown_within={}))
        del fields["key"]
        if self.unknown_within:
            fields |= self._parts_as_found()
        return msgspec.json.format(msgspec.json.encode(fields | self.unknown), indent=0)

    def _parts_as_found(self) -> dict[str, Any]:
        """The fields whose parts hold what burst does not know, where these parts are still the item's."""
        found = self.unknown_within
        parts = {
            "outputs": [found.get(output, output) for output in self.outputs],
            "trashed": [found.get(output, output) for output in self.trashed],
            "uploads": {name: found.get(source, source) for name, source in self.uploads.items()},  # type: ignore[arg-type]
            "error": found.get(self.error, self.error) if self.error is not None else None,
        }
        return {name: value for name, value in parts.items() if value}

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

    def submit(
        self,
        *,
        prompt_id: str,
        server: str,
        at: datetime,
        fingerprint: str,
        recipe: str | None = None,
        prefix_scheme: int = 1,
    ) -> Self:
        """The intent: made durable before the POST. A completed item that was set to pending by hand starts over.

        `recipe`: what it was prepared with, which stays its own from now on; None leaves it as it is.
        """
        return msgspec.structs.replace(
            self._without_prompt() if self.completed_at is None else self.start_over(),
            status=Status.SUBMITTED,
            prompt_id=prompt_id,
            server=server,
            submitted_at=at,
            fingerprint=fingerprint,
            prefix_scheme=prefix_scheme,
            recipe=recipe or self.recipe,
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
        """The same prompt, its server under another name."""
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

    def unsend(self, *, recipe: str | None) -> Self:
        """Due again, its prompt_id forgotten: the POST surely never reached a queue. `recipe`: as before the intent."""
        return msgspec.structs.replace(
            self._without_prompt(),
            status=Status.PENDING,
            previous_prompt_ids=self.previous_prompt_ids,
            recipe=recipe,
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
            prefix_scheme=1,
        )


class _KnownOutput(OutputRecord, frozen=True, forbid_unknown_fields=True):
    pass


class _KnownTrashed(TrashedOutput, frozen=True, forbid_unknown_fields=True):
    pass


class _KnownItemOutput(ItemOutput, frozen=True, forbid_unknown_fields=True):
    pass


class _KnownError(ErrorRecord, frozen=True, forbid_unknown_fields=True):
    pass


_REFUSING = (
    ("outputs", msgspec.json.Decoder(tuple[_KnownOutput, ...]).decode),
    ("trashed", msgspec.json.Decoder(tuple[_KnownTrashed, ...]).decode),
    ("uploads", msgspec.json.Decoder(dict[str, str | _KnownItemOutput]).decode),
    ("error", msgspec.json.Decoder(_KnownError | None).decode),
)
"""The fields with parts, each with what refuses a part that holds what burst does not know."""


def _unknown_within(record: Record, fields: Mapping[str, msgspec.Raw]) -> dict[_Part, msgspec.Raw]:
    """The parts of a record, given as its fields, that hold what burst does not know."""
    found: dict[_Part, msgspec.Raw] = {}
    for name, refuse in _REFUSING:
        if (raw := fields.get(name)) is not None:
            try:
                refuse(raw)
            except msgspec.ValidationError:
                found |= _parts(record, name, raw)
    return found


def _parts(record: Record, name: str, raw: msgspec.Raw) -> dict[_Part, msgspec.Raw]:
    if name == "error":
        return {record.error: raw} if record.error is not None else {}
    if name == "uploads":
        sources = _decode_fields(raw)
        return {one: sources[name] for name, one in record.uploads.items() if isinstance(one, ItemOutput)}
    outputs: tuple[OutputRecord, ...] = record.outputs if name == "outputs" else record.trashed
    return dict(zip(outputs, _decode_list(raw), strict=True))
