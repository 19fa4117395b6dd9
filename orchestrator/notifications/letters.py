"""One event for one receiver, and when it is time to try it (again)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

TRIED_FOR = timedelta(hours=24)
"""How long after an event it is told; there is one try in any case, and one after that time."""
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=2)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Address:
    """Where it goes. The texts of errors name its host at most."""

    url: str
    secret: str | None = None
    """The key of the signature, `whsec_…`."""
    secret_env: str | None = None
    """The environment variable with the key."""

    @property
    def digest(self) -> str:
        """Names it without telling it."""
        return hashlib.sha256(self.url.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def is_webhook(self) -> bool:
        return self.url.partition("://")[0].lower() in ("http", "https")


@dataclass(frozen=True)
class Letter:
    """One event for one receiver: the same id and bytes however often it is told."""

    event: str
    kind: str
    at: datetime
    """When it happened."""
    to: Address
    receiver: str
    """What tells the receiver from others of this event."""
    about: str
    """For messages: "the end of batch b1 (done)"."""
    text: str
    """For a person."""
    body: bytes
    """For a program."""
    picture: Callable[[], bytes | None] = field(default=lambda: None, compare=False, repr=False)
    """A JPEG for services that show one; made when it is sent."""
    tried_at: datetime = _NEVER
    """When it was last told in vain."""

    @property
    def claim(self) -> str:
        """What one process alone may be doing."""
        return f"{self.event} to {self.receiver}"


class Try(Protocol):
    """One that was made."""

    @property
    def at(self) -> datetime: ...

    @property
    def delivered(self) -> bool: ...


def last_try(tries: Sequence[Try]) -> datetime:
    return tries[-1].at if tries else _NEVER


def is_over(happened_at: datetime, at: datetime) -> bool:
    """Whether a try at this time is the last one."""
    return at - happened_at >= TRIED_FOR


def is_time(happened_at: datetime, tries: Sequence[Try], now: datetime) -> bool:
    """Whether it is to be told now: pauses grow, and a clock that was set back keeps nothing waiting."""
    if any(one.delivered for one in tries):
        return False
    if not tries:
        return True
    if is_over(happened_at, tries[-1].at):
        return False
    pause = min(_FIRST_PAUSE * 2 ** min(len(tries) - 1, 20), _LONGEST_PAUSE)
    return not timedelta(0) <= now - tries[-1].at < pause
