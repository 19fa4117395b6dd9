"""Attempts: the prompts of an item that have ended. They stand in its record, so that every store has them.

The one that an item's outputs are from is described by the record itself; those before it are its `past_attempts`.
Every store applies `with_ended_attempt` to each change of an item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import msgspec

from state.burst_record import BurstRecord
from state.item import (
    ErrorRecord,
    Item,
    OutputRecord,
    PastAttempt,
    Status,
    TrashedOutput,
    UtcTime,
    completed_attempt,
)
from state.stages import LOST_SOURCE


def with_ended_attempt(
    before: Item, after: Item | None, *, burst: str | None, now: Callable[[], datetime]
) -> Item | None:
    """The item after a change, with the attempt that ended by it on record; itself where none did.

    `burst`: the id of the one that makes the change, if any does. `now`: the time by the store's clock.
    """
    if after is None or after.status is before.status or before.status not in (Status.SUBMITTED, Status.PENDING):
        return after
    if after.status is Status.COMPLETED:
        return msgspec.structs.replace(after, completed_by=burst)
    result = _result(before, after)
    if result is None:
        return after
    is_failure = result == "failed"
    return after.with_past(
        PastAttempt(
            result=result,
            ended_at=now(),
            submitted_at=before.submitted_at,
            server=before.server,
            prompt_id=before.prompt_id,
            burst=burst,
            error=after.error.kind if is_failure and after.error is not None else None,
        )
    )


class Tried(msgspec.Struct, frozen=True, gc=False):
    """The fields of a record that say which attempts an item had."""

    status: Status
    batch: str | None = None
    prompt_id: str | None = None
    server: str | None = None
    submitted_at: UtcTime | None = None
    completed_at: UtcTime | None = None
    completed_by: str | None = None
    seconds: float | None = None
    outputs: tuple[OutputRecord, ...] = ()
    trashed: tuple[TrashedOutput, ...] = ()
    error: ErrorRecord | None = None
    sidecar: str | None = None
    past_attempts: tuple[PastAttempt, ...] = ()

    @property
    def completed_attempt(self) -> PastAttempt | None:
        return completed_attempt(self)


_CLOCKS_DIFFER = timedelta(minutes=2)
"""Of hosts, at most, for what a killed burst made to be found."""


class _Made(msgspec.Struct, frozen=True, gc=False):
    """The fields of a record that say in which burst it was completed, and what was made."""

    completed_by: str | None = None
    server: str | None = None
    seconds: float | None = None
    outputs: tuple[OutputRecord, ...] = ()
    sidecar: str | None = None


_Part = TypeVar("_Part", bound=msgspec.Struct)


class Completions(Protocol):
    """As of `state.store.Store`."""

    def completions(self, kind: type[_Part], *, since: datetime | None) -> Iterable[tuple[str, _Part]]: ...


def with_what_was_made(killed: BurstRecord, store: Completions) -> BurstRecord:
    """The record of a killed burst with what its items say that was made in it, which it could not count."""
    made = (
        one
        for _, one in store.completions(_Made, since=killed.started_at - _CLOCKS_DIFFER)
        if one.completed_by == killed.burst
    )
    seconds: dict[str, float] = {}
    rendered = size = 0
    for one in made:
        rendered += 1
        size += sum(output.bytes for output in one.outputs if output.path != one.sidecar)
        if one.server is not None and one.seconds:
            seconds[one.server] = round(seconds.get(one.server, 0.0) + one.seconds, 3)
    return msgspec.structs.replace(killed, rendered=rendered, bytes=size, server_seconds=seconds)


def _result(before: Item, after: Item) -> str | None:
    """What became of the prompt; None where it goes on, or never was in a server's queue."""
    if before.status is Status.PENDING:
        is_own = after.status is Status.FAILED and (after.error is None or after.error.kind != LOST_SOURCE)
        return "failed" if is_own else None
    if after.status in (Status.CANCELLED, Status.FAILED):
        return after.status.value
    if after.attempts > before.attempts:
        return "failed"
    if after.crashes > before.crashes:
        return "crashed"
    return "put_back" if before.prompt_id in after.previous_prompt_ids else None
