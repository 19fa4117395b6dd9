"""Telling others how a batch ended: at least once, by later bursts where this one cannot, never in the way of work.

What is sent is a POST of JSON with the headers `X-Burst-Event`, the same however often one event is told, and, where
there is a key, `X-Burst-Signature: sha256=<HMAC of the body in hex>`. Any answer of 200 to 299 is a delivery.
"""

from __future__ import annotations

import base64
import hmac
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from orchestrator.clock import Clock
from orchestrator.comfyui.address import shown_origin
from orchestrator.comfyui.http import reason_of
from orchestrator.comfyui.session import Session
from orchestrator.errors import BurstError
from state.batch import Batch, BatchLog, BatchRecord, EndRecord, NotificationRecord, Notify

LAST_SECONDS = 2.0
"""How long a run that ends waits for what is being told."""
TRIED_FOR = timedelta(hours=24)
"""How long after a batch's end it is told; there is one try in any case, and one after that time."""
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=2)
_TIMEOUTS = (3.0, 5.0)
"""Seconds to connect, and to wait for the answer."""
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Message:
    """One event for one receiver."""

    batch: BatchRecord
    end: EndRecord
    to: Notify
    tried_at: datetime
    """When it was last told in vain."""

    def body(self) -> bytes:
        """The same bytes however often it is told."""
        said: dict[str, Any] = {
            "event": self.end.event,
            "kind": f"batch.{self.end.how}",
            "batch": self.batch.batch,
            "counts": {
                "completed": self.end.completed,
                "failed": self.end.failed,
                "cancelled": self.end.cancelled,
            },
            "directory": self.batch.directory,
            "created_at": self.batch.created_at,
            "ended_at": self.end.at,
        }
        return msgspec.json.encode(said)


def due(batches: Iterable[Batch], now: datetime) -> list[Message]:
    """What is to be told at this time: first what never was, then what was tried longest ago."""
    found = []
    for batch in batches:
        receivers = {to.url: to for to in batch.record.notify} if not batch.gone else {}
        for end in batch.ends:
            for url, to in receivers.items():
                tries = [told for told in batch.notifications if (told.event, told.url) == (end.event, url)]
                if not any(told.delivered for told in tries) and _is_time(end, tries, now):
                    found.append(Message(batch.record, end, to, tries[-1].at if tries else _NEVER))
    return sorted(found, key=lambda message: message.tried_at)


def is_over(end: EndRecord, at: datetime) -> bool:
    """Whether a try at this time is the last one."""
    return at - end.at >= TRIED_FOR


def _is_time(end: EndRecord, tries: list[NotificationRecord], now: datetime) -> bool:
    if not tries:
        return True
    if is_over(end, tries[-1].at):
        return False
    pause = min(_FIRST_PAUSE * 2 ** min(len(tries) - 1, 20), _LONGEST_PAUSE)
    # A clock that was set back must not keep it waiting.
    return not timedelta(0) <= now - tries[-1].at < pause


class Notifier:
    """A thread that tells what is due while a run works. `tell` and `finish` are called by one thread."""

    def __init__(self, log: BatchLog, *, clock: Clock, note: Callable[[str], None]) -> None:
        self._log = log
        self._clock = clock
        self._note = note
        self._lock = threading.Lock()
        self._wake, self._idle = threading.Event(), threading.Event()
        self._over = False
        self._telling: Message | None = None
        self._thread: threading.Thread | None = None

    def tell(self, batches: Iterable[Batch]) -> None:
        """Begin with what is due of these batches, and go on with what becomes due in the log; returns at once."""
        if self._thread is None and not due(batches, self._clock.now()):
            return
        with self._lock:
            self._idle.clear()
            self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_telling, name="notify", daemon=True)
            self._thread.start()

    def finish(self, *, seconds: float = LAST_SECONDS) -> None:
        """The run ends: wait so long at most. What is not answered by then is told again by a later burst."""
        if self._thread is None:
            return
        arrived = self._clock.wait(self._idle, seconds)
        self._over = True
        self._wake.set()
        message = self._telling
        if not arrived and message is not None:
            # A receiver that always hangs must not be the first again and again, before all others.
            self._record(message, "no answer yet when the burst ended")

    def _keep_telling(self) -> None:
        try:
            while not self._over:
                self._wake.clear()
                messages = due(self._log.read().values(), self._clock.now())
                if messages:
                    self._telling = messages[0]
                    self._record(messages[0], deliver(messages[0]))
                    self._telling = None
                    continue
                with self._lock:
                    if not self._wake.is_set():
                        self._idle.set()
                self._wake.wait()
        except BurstError as error:
            self._note(f"what became of telling others about a batch is not noted: {error}")
        finally:
            self._idle.set()

    def _record(self, message: Message, problem: str | None) -> None:
        """Errors: those of `BatchLog.append`."""
        at = self._clock.now()
        event, url = message.end.event, message.to.url
        if problem is not None:
            follows = "given up after 24 h" if is_over(message.end, at) else "a later burst tries again"
            self._note(
                f"{shown_origin(url)} was not notified of the end of batch {message.batch.batch} "
                f"({message.end.how}): {problem}; {follows}"
            )
        told = NotificationRecord(event=event, url=url, at=at, delivered=problem is None, problem=problem)
        self._log.append(told)


def deliver(message: Message) -> str | None:
    """Tell it once. None when it arrived, otherwise why not: no key, and nothing of an address but its host."""
    body, to = message.body(), message.to
    headers = {"Content-Type": "application/json", "X-Burst-Event": message.end.event, **_authorization(to.url)}
    if to.secret_env is not None:
        key = os.environ.get(to.secret_env)
        if not key:
            return f"the environment variable {to.secret_env} with its key is not set, and nothing is sent unsigned"
        headers["X-Burst-Signature"] = f"sha256={hmac.new(os.fsencode(key), body, 'sha256').hexdigest()}"
    try:
        with (
            Session({}) as session,
            # The body of an answer says nothing, and may be endless.
            session.post(
                to.url, data=body, headers=headers, timeout=_TIMEOUTS, allow_redirects=False, stream=True
            ) as answer,
        ):
            status = answer.status_code
    except (OSError, ValueError) as error:  # requests' own are OSErrors
        return reason_of(error, _TIMEOUTS)
    if 200 <= status < 300:
        return None
    return f"it answered {status}" + ("; redirects are not followed" if 300 <= status < 400 else "")


def _authorization(url: str) -> dict[str, str]:
    """The user and password in an address, which our session does not take from there."""
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
