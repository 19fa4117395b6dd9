"""An item: one unit of work, its record in the state file, and the changes that a status allows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath
from posixpath import basename
from typing import Annotated, Any, Literal, Protocol, Self

import msgspec


class Status(StrEnum):
    """The status of an item."""

    PENDING = "pending"
    """No server has a prompt of it. Due, unless it waits for another item's output."""
    SUBMITTED = "submitted"
    """A prompt_id was chosen and made durable; the server may or may not have the prompt."""
    COMPLETED = "completed"
    """Every output is in place, complete and synced."""
    FAILED = "failed"
    """Given up; the reason is in `error`."""
    CANCELLED = "cancelled"
    """Withdrawn by the user before it finished."""


TRANSITIONS: dict[Status | None, frozenset[Status]] = {
    None: frozenset({Status.PENDING}),
    Status.PENDING: frozenset({Status.PENDING, Status.SUBMITTED, Status.FAILED, Status.CANCELLED}),
    Status.SUBMITTED: frozenset(Status),
    Status.COMPLETED: frozenset({Status.COMPLETED, Status.PENDING}),
    Status.FAILED: frozenset({Status.FAILED, Status.PENDING, Status.CANCELLED}),
    Status.CANCELLED: frozenset({Status.CANCELLED, Status.PENDING}),
}
"""Allowed changes of status, applied by every store. None: the item does not exist yet."""

REMOVABLE = frozenset(Status) - {Status.SUBMITTED}
"""The statuses in which an item may be removed; a server may still hold the prompt of a submitted one."""


DUE: frozenset[Status] = frozenset({Status.PENDING, Status.SUBMITTED})
"""The statuses of items that are still to be done."""


Priority = Literal["urgent", "high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")

UtcTime = Annotated[datetime, msgspec.Meta(tz=True)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class OutputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An output file: `path` is relative to the output directory, with `/` as separator."""

    path: str
    """From the output directory, with `/`."""
    bytes: Count
    """Its size."""
    sha256: str
    """In hex."""


class TrashedOutput(OutputRecord, frozen=True, kw_only=True, omit_defaults=True):
    """An output that the user deleted: not one of the item's outputs any more, and not rendered again."""

    trashed_at: UtcTime
    """When."""
    kept_as: str | None = None
    """Where its file is, relative to the output directory; None once the file is deleted."""


class ItemOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output of another item that is used as an input."""

    item: str
    """Key of that item."""
    output: Count
    """Which of its outputs, from 1, in the order of its template."""


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an item, or its last attempt, failed."""

    kind: str
    """What kind of error it was."""
    message: str
    """What went wrong, and what to do about it."""
    node_id: str | None = None
    """The node of the workflow that raised it, where one did."""


class PastAttempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prompt of an item that has ended."""

    result: str
    """`completed`, `failed`, `crashed` (its server went down), `put_back` (nobody knows what became of it) or
    `cancelled`; a newer burst may write others."""
    ended_at: UtcTime
    """Of one that was completed: when its outputs were in place."""
    submitted_at: UtcTime | None = None
    """None, as the two below: it failed before it was sent."""
    server: str | None = None
    """Name of the server that had it."""
    prompt_id: str | None = None
    """Its prompt."""
    burst: str | None = None
    """Id of the burst in which it ended; None where another command ended it."""
    seconds: float | None = None
    """Rendering time."""
    error: str | None = None
    """The kind of the error."""
    outputs: Count = 0
    """How many files it made."""
    bytes: Count = 0
    """Their size."""


PAST_ATTEMPTS_KEPT = 20


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The known fields of an item's record. A field with its default value is left out of the file."""

    status: Status
    """The only field that is needed."""
    subfolder: str = ""
    """Directory of its outputs, below the output directory."""
    filename: str = ""
    """What its outputs are named after; without it, the last part of the key."""
    prompt_text: str | None = None
    """The prompt text; without it, that of the file that the key names."""
    file_text: str | None = None
    """In a database: the text of its prompt file as it was when the item was added; the file is read no more."""
    inputs: dict[str, Any] = {}
    """Binding → value, such as `{"seed": 7, "width": 768}`."""
    dynamic: dict[str, Any] = {}
    """What the texts came from, where they are not as they were written: `texts` by binding, as they were; `axes`, the
    values of sweeps over texts; and of dynamic prompts `chosen`, pairs of a choice as it was written and what it
    became, one within another after it."""
    batch_size_auto: bool = False
    """Whether `--batch-size auto` chose the batch size in `inputs`, which may then be reduced."""
    uploads: dict[str, str | ItemOutput] = {}
    """Binding → image to upload before submission: a path relative to the state file's directory, or an output of
    another item, which this item waits for."""
    taken_in: dict[str, str] = {}
    """In a database: path in `uploads` → the copy of that file, which is used in its place."""
    template: str | None = None
    """In records written by hand or by version 1: used instead of the default while there is no recipe."""
    recipe: str | None = None
    """Id of the recipe; without one, the default settings at the time of submission are used."""
    batch: str | None = None
    """Id of the batch that it belongs to."""
    index: Count | None = None
    """Its number there, from 1."""
    row_id: str = ""
    """What tells its row from others in the list that its batch follows."""
    row_digest: str = ""
    """Of what that row asked for when the item was made so."""
    row_gone: bool = False
    """Cancelled because its row is gone: due again when the row is back."""
    priority: Priority = "normal"
    """Items are sent in this order, then by `rank`."""
    rank: float = 0.0
    """Order among items of one priority: lowest first; equal ranks by their order in the file."""
    attempts: Count = 0
    """Attempts that failed by its own fault."""
    crashes: Count = 0
    """How often its server went down while it ran."""
    prompt_id: str | None = None
    """The prompt that is on a server, or that made its outputs."""
    previous_prompt_ids: tuple[str, ...] = ()
    """Prompts of it that were given up."""
    ended_prompt_ids: tuple[str, ...] = ()
    """Those of the previous ones that are known to have ended, well or not: they can no longer come late."""
    server: str | None = None
    """Name of the server that has or had it."""
    accepted: bool = False
    """Whether the server's answer to the prompt was noted."""
    seen_running: bool = False
    """Whether its prompt was seen running."""
    cancel_requested: bool = False
    """Whether it is to be cancelled, while a prompt of it is on a server."""
    source_redone: bool = False
    """Whether an item that it is made from was made due again while its prompt was out: then it is too, afterwards."""
    submitted_at: UtcTime | None = None
    """When its prompt was sent."""
    prefix_scheme: Count = 1
    """The rule for the file name prefixes of its prompt's save nodes; written with the intent."""
    completed_at: UtcTime | None = None
    """When its outputs were in place."""
    completed_by: str | None = None
    """Id of the burst that completed it."""
    seconds: float | None = None
    """How long it rendered."""
    outputs: tuple[OutputRecord, ...] = ()
    """Its files."""
    trashed: tuple[TrashedOutput, ...] = ()
    """Outputs that the user deleted."""
    favourite: bool = False
    """Marked by the user."""
    favourite_outputs: tuple[Count, ...] = ()
    """Numbers, from 1, of the outputs that are meant, where not all of them are."""
    tags: tuple[str, ...] = ()
    """Given by the user."""
    error: ErrorRecord | None = None
    """Why it failed, or why its last attempt did."""
    fingerprint: str | None = None
    """Digest of the graph that it was rendered with."""
    models: dict[str, str] = {}
    """Of the models that it was rendered with: `FOLDER/NAME` → the file's size in bytes, and where the server's disk is
    the host's a digest of samples of it, as `SIZE:DIGEST`. Without what the server does not tell."""
    sidecar: str | None = None
    """The file that describes how its outputs were made: `.txt` or `.json`, relative to the output directory."""
    past_attempts: tuple[PastAttempt, ...] = ()
    """Those that ended, oldest first, but for the one that its outputs are from; the latest 20."""

    @property
    def upload_paths(self) -> dict[str, str]:
        """The `uploads` that are files."""
        return {name: source for name, source in self.uploads.items() if isinstance(source, str)}

    @property
    def upload_sources(self) -> dict[str, str | ItemOutput]:
        """The `uploads` as they are read: copies that were taken in, in place of the files."""
        if not self.taken_in:
            return self.uploads
        return {
            name: self.taken_in.get(source, source) if isinstance(source, str) else source
            for name, source in self.uploads.items()
        }

    @property
    def own_text(self) -> str | None:
        """The prompt text, where the record has it."""
        return self.prompt_text if self.prompt_text is not None else self.file_text

    @property
    def awaits(self) -> tuple[ItemOutput, ...]:
        """Outputs of other items that it is made from: it is not due before those are completed."""
        return tuple(source for source in self.uploads.values() if isinstance(source, ItemOutput))

    @property
    def sources(self) -> tuple[str, ...]:
        """The keys of these items, each once."""
        return tuple(dict.fromkeys(source.item for source in self.awaits)) if self.uploads else ()

    @property
    def completed_attempt(self) -> PastAttempt | None:
        """The one that its outputs are from; None where it is not completed."""
        return completed_attempt(self)

    @property
    def may_be_on_a_server(self) -> bool:
        """Submitted, or set to pending by hand while a server may still have its prompt."""
        if self.status is Status.SUBMITTED:
            return True
        return self.status is Status.PENDING and self.prompt_id is not None and self.completed_at is None

    @property
    def kind(self) -> str:
        """What it is made with: items of one kind can be sent to the same servers. Empty for one that a server may
        have, which is looked at by itself."""
        if self.may_be_on_a_server:
            return ""
        return kind_of(self.recipe, self.template)

    @property
    def has_ended(self) -> bool:
        """Completed, failed or cancelled."""
        return self.status not in DUE


_OF_TEMPLATE = "template="


def kind_of(recipe: str | None, template: str | None) -> str:
    """`Record.kind` of an item that no server has."""
    return recipe if recipe is not None else f"{_OF_TEMPLATE}{template or ''}"


def recipe_of_kind(kind: str) -> str | None:
    """The id of the recipe; None for a kind of items without one."""
    return kind if kind and not kind.startswith(_OF_TEMPLATE) else None


class MadeRecord(Protocol):
    """The fields of a record that say what an item's outputs are from."""

    @property
    def prompt_id(self) -> str | None: ...

    @property
    def server(self) -> str | None: ...

    @property
    def submitted_at(self) -> datetime | None: ...

    @property
    def completed_at(self) -> datetime | None: ...

    @property
    def completed_by(self) -> str | None: ...

    @property
    def seconds(self) -> float | None: ...

    @property
    def outputs(self) -> tuple[OutputRecord, ...]: ...

    @property
    def trashed(self) -> tuple[TrashedOutput, ...]: ...

    @property
    def sidecar(self) -> str | None: ...


def completed_attempt(record: MadeRecord) -> PastAttempt | None:
    """See `Record.completed_attempt`."""
    if record.completed_at is None:
        return None
    made = [output for output in (*record.outputs, *record.trashed) if output.path != record.sidecar]
    return PastAttempt(
        result="completed",
        ended_at=record.completed_at,
        submitted_at=record.submitted_at,
        server=record.server,
        prompt_id=record.prompt_id,
        burst=record.completed_by,
        seconds=record.seconds,
        outputs=len(made),
        bytes=sum(output.bytes for output in made),
    )


KNOWN_FIELDS = frozenset(Record.__struct_fields__)

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
decode_record = msgspec.json.Decoder(Record).decode
"""Decode and check a record. Errors: msgspec.ValidationError, whose text ends with the path of the field."""


_Part = OutputRecord | ItemOutput | ErrorRecord | PastAttempt


class Item(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A record with its key. Unknown fields are preserved."""

    key: str
    unknown: dict[str, msgspec.Raw] = {}
    """Unknown fields of the record."""
    unknown_within: dict[_Part, msgspec.Raw] = {}
    """Parts (outputs, uploads, the error) that have unknown fields, with their original text."""

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
        """The fields with parts that have unknown fields, as far as the item still has these parts."""
        found = self.unknown_within
        parts = {
            "outputs": [found.get(output, output) for output in self.outputs],
            "trashed": [found.get(output, output) for output in self.trashed],
            "uploads": {name: found.get(source, source) for name, source in self.uploads.items()},  # type: ignore[arg-type]
            "error": found.get(self.error, self.error) if self.error is not None else None,
            "past_attempts": [found.get(one, one) for one in self.past_attempts],
        }
        return {name: value for name, value in parts.items() if value}

    @property
    def name(self) -> str:
        """The file name from which output names are derived."""
        return self.filename or basename(self.key) or PurePosixPath(self.key).name

    @property
    def in_doubt(self) -> bool:
        """Submitted without a recorded answer: the POST may still be on its way."""
        return self.status is Status.SUBMITTED and not self.accepted

    @property
    def automatic_batch_size(self) -> int | None:
        """The number of images per prompt that `--batch-size auto` chose; None if it did not."""
        size = self.inputs.get("batch_size")
        return size if self.batch_size_auto and type(size) is int else None

    def shrink(self, *, batch_size: int) -> Self:
        """Reduce a batch size that `--batch-size auto` chose to at most `batch_size`. Safe to repeat."""
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
        """The intent, made durable before the POST. A completed item that was set to pending by hand starts over.

        `recipe`: the one it was prepared with, which it keeps from then on; None leaves the recipe as it is.
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
        """A server has it, possibly under another id than the present one, which then counts."""
        previous = (
            self._without_prompt().previous_prompt_ids if prompt_id != self.prompt_id else self.previous_prompt_ids
        )
        return msgspec.structs.replace(self, prompt_id=prompt_id, previous_prompt_ids=previous, accepted=True)

    def accept_as(self, *, prompt_id: str) -> Self:
        """The server answered the POST, possibly with an id of its own: the one that was sent is no other prompt's."""
        if self.prompt_id in (None, prompt_id):
            return self.accept(prompt_id=prompt_id)
        ended = tuple(dict.fromkeys((*self.ended_prompt_ids, str(self.prompt_id))))
        return msgspec.structs.replace(self.accept(prompt_id=prompt_id), ended_prompt_ids=ended)

    def note_running(self) -> Self:
        """Its prompt was seen running: if the server goes down, this item may be the cause."""
        return msgspec.structs.replace(self, seen_running=True)

    def crash(self) -> Self:
        """The server went down while its prompt ran: due again, counted as a crash and not as an attempt."""
        return msgspec.structs.replace(self.put_back(charge=False), crashes=self.crashes + 1)

    def move(self, *, server: str) -> Self:
        """The same prompt, with its server under another name."""
        return msgspec.structs.replace(self, server=server)

    def mark_in_doubt(self) -> Self:
        """Set to pending by hand while a server may have its prompt: the server is queried first."""
        return msgspec.structs.replace(self, status=Status.SUBMITTED, accepted=False)

    def complete(
        self,
        *,
        outputs: tuple[OutputRecord, ...],
        at: datetime,
        seconds: float | None,
        models: Mapping[str, str] | None = None,
    ) -> Self:
        return msgspec.structs.replace(
            self,
            status=Status.COMPLETED,
            outputs=outputs,
            models=dict(models or {}),
            completed_at=at,
            seconds=seconds,
            error=None,
            crashes=0,
            accepted=False,
            seen_running=False,
            cancel_requested=False,
            source_redone=False,
        )

    def fail(self, *, error: ErrorRecord, charge: bool = True) -> Self:
        """Give up. `charge` counts the last attempt."""
        return msgspec.structs.replace(
            self._without_prompt(), status=Status.FAILED, error=error, attempts=self.attempts + charge
        )

    def charge_attempt(self, *, error: ErrorRecord) -> Self:
        """Count a failed attempt to collect its outputs; it stays submitted."""
        return msgspec.structs.replace(self, attempts=self.attempts + 1, error=error)

    def put_back(self, *, charge: bool, error: ErrorRecord | None = None) -> Self:
        """Due again. Its prompt_id joins the previous ones; its outputs stay on record until they are replaced.

        `charge`: the prompt has ended, and the attempt counts; without it nobody knows what became of it.
        """
        ended = self.ended_prompt_ids
        if charge and self.prompt_id is not None and self.prompt_id not in ended:
            ended = (*ended, self.prompt_id)
        return msgspec.structs.replace(
            self._without_prompt(),
            status=Status.PENDING,
            attempts=self.attempts + charge,
            error=error,
            ended_prompt_ids=ended,
        )

    def give_back(self, attempts: int) -> Self:
        """Uncharge attempts that were not its fault; what failed by them is due again."""
        status = Status.PENDING if self.status is Status.FAILED else self.status
        return msgspec.structs.replace(self, status=status, attempts=max(0, self.attempts - attempts), error=None)

    def unsend(self, before: Item) -> Self:
        """Due again, without the prompt_id: the POST certainly reached no queue. `before`: before the intent.

        With it where an earlier POST had it too, of which that is not known.
        """
        if before.status is Status.PENDING and before.prompt_id is not None and before.prompt_id == self.prompt_id:
            return self.send_again()
        return msgspec.structs.replace(
            self._without_prompt(),
            status=Status.PENDING,
            previous_prompt_ids=self.previous_prompt_ids,
            recipe=before.recipe,
            outputs=before.outputs,
        )

    def send_again(self) -> Self:
        """Due again under the same prompt_id, which is the key of its request: the server refuses a second prompt."""
        return msgspec.structs.replace(self, status=Status.PENDING, cancel_requested=False)

    def start_over(self) -> Self:
        """Due again as if never tried: for retry, reset, rescan and repair. Its attempts stay on record."""
        done = self.completed_attempt
        return msgspec.structs.replace(
            (self if done is None else self.with_past(done))._without_prompt(),
            status=Status.PENDING,
            previous_prompt_ids=(),
            ended_prompt_ids=(),
            attempts=0,
            crashes=0,
            error=None,
            completed_at=None,
            completed_by=None,
            seconds=None,
        )

    def with_past(self, attempt: PastAttempt) -> Self:
        """With one more attempt that has ended."""
        kept = (*self.past_attempts, attempt)[-PAST_ATTEMPTS_KEPT:]
        return msgspec.structs.replace(self, past_attempts=kept)

    def request_cancel(self) -> Self:
        """Request cancellation of an item whose prompt a server may have."""
        return msgspec.structs.replace(self, cancel_requested=True)

    def expect_source(self) -> Self:
        """Its prompt is out, and what it is made from is due again: when that has ended, so is this one."""
        return msgspec.structs.replace(self, source_redone=True)

    def cancel(self, *, reason: ErrorRecord | None = None) -> Self:
        """Withdrawn. One that had failed keeps that error: it was given up, not taken back. `reason`: where nobody
        requested it."""
        error = self.error if self.status is Status.FAILED else None
        return msgspec.structs.replace(self._without_prompt(), status=Status.CANCELLED, error=reason or error)

    def _without_prompt(self) -> Self:
        """Without a current prompt; its prompt_id joins the previous ones."""
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
            source_redone=False,
            submitted_at=None,
            fingerprint=None,
            prefix_scheme=1,
            models={},
        )


class _KnownOutput(OutputRecord, frozen=True, forbid_unknown_fields=True):
    pass


class _KnownTrashed(TrashedOutput, frozen=True, forbid_unknown_fields=True):
    pass


class _KnownItemOutput(ItemOutput, frozen=True, forbid_unknown_fields=True):
    pass


class _KnownError(ErrorRecord, frozen=True, forbid_unknown_fields=True):
    pass


class _KnownAttempt(PastAttempt, frozen=True, forbid_unknown_fields=True):
    pass


_REFUSING = (
    ("outputs", msgspec.json.Decoder(tuple[_KnownOutput, ...]).decode),
    ("trashed", msgspec.json.Decoder(tuple[_KnownTrashed, ...]).decode),
    ("uploads", msgspec.json.Decoder(dict[str, str | _KnownItemOutput]).decode),
    ("error", msgspec.json.Decoder(_KnownError | None).decode),
    ("past_attempts", msgspec.json.Decoder(tuple[_KnownAttempt, ...]).decode),
)
"""Fields with parts, each with a decoder that refuses unknown fields in a part."""


def _unknown_within(record: Record, fields: Mapping[str, msgspec.Raw]) -> dict[_Part, msgspec.Raw]:
    """The parts of a record that have unknown fields, with their original text."""
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
    parts: dict[str, tuple[_Part, ...]] = {
        "outputs": record.outputs,
        "trashed": record.trashed,
        "past_attempts": record.past_attempts,
    }
    return dict(zip(parts[name], _decode_list(raw), strict=True))
