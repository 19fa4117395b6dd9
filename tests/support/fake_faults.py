"""What a request to a fake server meets in place of its response: a `Page`, or one of

"refused"  no connection
"lost"     the request is executed, no response comes
"late"     as "lost", after a timeout of 5 s
"broken"   half of a file comes
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.errors import ServerUnreachable
from support.hand_clock import HandClock


@dataclass
class Page:
    """A response: by default that of something before the server. `after`: the server has executed the request."""

    status: int
    body: bytes = b"<html><h1>Bad luck</h1></html>"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/html"})
    after: bool = False
    breaks: bool = False
    """The connection breaks after the body."""
    elsewhere: bool = False
    is_closed: bool = False

    def chunks(self, most_bytes: int) -> Iterator[bytes]:
        yield from (self.body[at : at + most_bytes] for at in range(0, len(self.body), most_bytes))
        if self.breaks:
            raise ServerUnreachable("the download broke off", may_have_arrived=True)

    def close(self) -> None:
        self.is_closed = True


Fault = str | Page | None
Faults = Callable[[str], Fault]
"""The fault that a request, given as `METHOD /path`, meets."""


def during(fault: Fault, clock: HandClock, begin: float, end: float, *, every: int = 1) -> Faults:
    """From `begin` to `end`, for every nth request. With 2, a repeated request succeeds."""
    numbers = itertools.count()
    return lambda asked: fault if begin <= clock.seconds < end and next(numbers) % every == 0 else None


def first(count: int, of: str, fault: Fault) -> Faults:
    """For the first requests that contain `of`."""
    numbers = itertools.count()
    return lambda asked: fault if of in asked and next(numbers) < count else None
