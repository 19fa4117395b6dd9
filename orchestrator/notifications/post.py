"""What the receivers of a state are told: ends of batches, and what else has happened to it."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from orchestrator.batches.notify import BatchesRead, data_of_end, text_of_end
from orchestrator.notifications.letters import Address, Letter, is_time, last_try
from orchestrator.servers import this_host
from state.batch import Batch
from state.notices import Delivery, EventName, Notices, Occurrence, Receiver
from state.store import Store

NAME_OF_KIND: Mapping[str, EventName] = {
    "batch.done": "done",
    "batch.failed": "done",
    "batch.cancelled": "done",
    "state.done": "done",
    "items.failed": "failed",
    "command.failed": "failed",
    "job.stuck": "stuck",
    "disk.full": "disk",
}
"""Under which name a receiver asks for it."""


class ReceiverPost:
    """See `orchestrator.notifications.notifier.Source`."""

    def __init__(self, state: Store, batches: BatchesRead) -> None:
        self._state = state
        self._batches = batches
        self._guard = threading.Lock()
        self._read: tuple[Hashable, Notices] = (None, Notices())

    def due(self, now: datetime) -> list[Letter]:
        notices = self._notices()
        if not notices.receivers:
            return []
        happened = [*_ends(self._batches()), *notices.occurrences.values()]
        return [
            self.letter_of(one, receiver, notices)
            for receiver in notices.receivers.values()
            for one in happened
            if is_meant(one, receiver) and is_time(one.at, notices.deliveries.get((one.event, receiver.id), ()), now)
        ]

    def _notices(self) -> Notices:
        """Read again only where something was noted."""
        with self._guard:
            stamp = self._state.notices.stamp()
            if stamp != self._read[0]:
                self._read = stamp, self._state.notices.read()
            return self._read[1]

    def record(self, letter: Letter, *, at: datetime, problem: str | None) -> None:
        told = Delivery(event=letter.event, to=letter.receiver, at=at, delivered=problem is None, problem=problem)
        self._state.notices.change(lambda known, now: [told])

    def letter_of(self, one: Occurrence, receiver: Receiver, notices: Notices) -> Letter:
        letter = letter_of(one, receiver, state=self._state.location.shown())
        tried_at = last_try(notices.deliveries.get((one.event, receiver.id), ()))
        return replace(letter, picture=lambda: self._picture(one), tried_at=tried_at)

    def _picture(self, one: Occurrence) -> bytes | None:
        """The last image that was made, of the batch where it is about one; nothing where it is about no images."""
        if NAME_OF_KIND.get(one.kind) != "done":
            return None
        from orchestrator.notifications.last_image import last_image

        return last_image(self._state, batch=one.data.get("batch"))


def letter_of(one: Occurrence, receiver: Receiver, *, state: str) -> Letter:
    """Without an image, as if never tried. `state`: its address as it is shown."""
    return Letter(
        event=one.event,
        kind=one.kind,
        at=one.at,
        to=Address(receiver.url, secret=receiver.secret, secret_env=receiver.secret_env),
        receiver=receiver.id,
        about=f"“{one.text}”",
        text=one.text,
        body=_body(one, state),
    )


def _body(one: Occurrence, state: str) -> bytes:
    """The same bytes each time, from every host."""
    document: dict[str, Any] = {
        "schema": "burst.notification/1",
        "id": one.event,
        "type": one.kind,
        "timestamp": one.at,
        "state": state,
        "text": one.text,
        "data": one.data,
    }
    return msgspec.json.encode(document)


def trial_event(at: datetime) -> Occurrence:
    """What `burst notify test` tells."""
    text = f"A test from burst on {this_host()}: this receiver works"
    return Occurrence(event=f"test-{at:%Y%m%dT%H%M%S%f}", kind="test", about="test", at=at, text=text)


def _ends(batches: Mapping[str, Batch]) -> Iterator[Occurrence]:
    for batch in batches.values():
        for end in batch.ends if not batch.gone else ():
            yield Occurrence(
                event=end.event,
                kind=f"batch.{end.how}",
                about=f"batch {batch.id}",
                at=end.at,
                text=text_of_end(batch.record, end),
                data={"name": batch.record.name, **data_of_end(batch.record, end)},
            )


def wanted(notices: Notices) -> set[str]:
    """The names of the events that somebody asks for."""
    return {name for receiver in notices.receivers.values() for name in receiver.on}


def is_meant(one: Occurrence, receiver: Receiver) -> bool:
    """Whether the receiver asked for it, and was there when it happened."""
    runs = one.data.get("runs", receiver.runs)
    return one.at >= receiver.at and NAME_OF_KIND.get(one.kind) in receiver.on and runs == receiver.runs
