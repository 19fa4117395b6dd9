"""The webhooks of a batch, as `--notify` named them: told how it ended.

What is sent is a POST of JSON with the headers of Standard Webhooks and, for one more release, `X-Burst-Event` and
`X-Burst-Signature`.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.formatting import counted
from orchestrator.notifications.letters import Address, Letter, is_time, last_try
from state.batch import Batch, BatchLog, BatchRecord, EndRecord, NotificationRecord, Notify
from state.store import StateParts


class BatchesRead:
    """The batches of a state, read again only where something was noted about one. Any thread may call it."""

    def __init__(self, state: StateParts) -> None:
        self._state = state
        self._guard = threading.Lock()
        self._read: tuple[Hashable, Mapping[str, Batch]] = (None, {})

    def __call__(self) -> Mapping[str, Batch]:
        """By id. Errors: StateError."""
        with self._guard:
            stamp = self._state.batches.stamp() if self._state.has_batches() else None
            if stamp != self._read[0]:
                self._read = stamp, self._state.batches.read()
            return self._read[1]


class BatchHooks:
    """See `orchestrator.notifications.notifier.Source`."""

    def __init__(self, batches: BatchesRead, log: BatchLog) -> None:
        self._batches = batches
        self._log = log

    def due(self, now: datetime) -> list[Letter]:
        return due(self._batches().values(), now)

    def record(self, letter: Letter, *, at: datetime, problem: str | None) -> None:
        told = NotificationRecord(
            event=letter.event, url=letter.to.url, at=at, delivered=problem is None, problem=problem
        )
        self._log.append(told)


def due(batches: Iterable[Batch], now: datetime) -> list[Letter]:
    """What is to be told at this time: first what never was, then what was tried longest ago."""
    found = []
    for batch in batches:
        receivers = {to.url: to for to in batch.record.notify} if not batch.gone else {}
        for end in batch.ends:
            for url, to in receivers.items():
                tries = [told for told in batch.notifications if (told.event, told.url) == (end.event, url)]
                if is_time(end.at, tries, now):
                    found.append(letter_of(batch.record, end, to, tried_at=last_try(tries)))
    return sorted(found, key=lambda letter: letter.tried_at)


def letter_of(batch: BatchRecord, end: EndRecord, to: Notify, *, tried_at: datetime) -> Letter:
    address = Address(to.url, secret_env=to.secret_env)
    return Letter(
        event=end.event,
        kind=f"batch.{end.how}",
        at=end.at,
        to=address,
        receiver=address.digest,
        about=f"the end of batch {batch.batch} ({end.how})",
        text=text_of_end(batch, end),
        body=msgspec.json.encode({"event": end.event, "kind": f"batch.{end.how}", **data_of_end(batch, end)}),
        tried_at=tried_at,
    )


def data_of_end(batch: BatchRecord, end: EndRecord) -> dict[str, Any]:
    """What a program gets to know of a batch that has ended."""
    return {
        "batch": batch.batch,
        "counts": {"completed": end.completed, "failed": end.failed, "cancelled": end.cancelled},
        "directory": batch.directory,
        "created_at": batch.created_at,
        "ended_at": end.at,
    }


def text_of_end(batch: BatchRecord, end: EndRecord) -> str:
    """`Batch fox is done: 12 items completed`."""
    how = {"done": "is done", "failed": "has ended with failures", "cancelled": "was cancelled"}[end.how]
    return f"Batch {batch.name or batch.batch} {how}: {ended_text(end.completed, end.failed, end.cancelled)}"


def ended_text(completed: int, failed: int, cancelled: int) -> str:
    """`12 items completed, 1 failed`."""
    said = [f"{counted(completed)} completed"]
    said += [f"{failed} failed"] if failed else []
    said += [f"{cancelled} cancelled"] if cancelled else []
    return ", ".join(said)
