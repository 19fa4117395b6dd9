"""Whether somebody waits for an answer: then what can be done later gives way."""

from __future__ import annotations

import threading

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.clock import Clock

_QUIET_SECONDS = 0.05
"""A page asks for one thing after the other."""
_AT_MOST_SECONDS = 0.5
"""However much is asked for, what gives way goes on after so long."""
_LOOK_SECONDS = 0.01


class Activity:
    """Requests that have no answer yet. Counted on the event loop; any thread may give way."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._waiting = 0
        self._last = self._clock.monotonic() - _QUIET_SECONDS
        self._never = threading.Event()

    def begin(self) -> None:
        self._waiting += 1

    def end(self) -> None:
        self._waiting -= 1
        self._last = self._clock.monotonic()

    def give_way(self) -> None:
        """Return once nobody waits for an answer, or has got one just now; after half a second at the latest."""
        until = self._clock.monotonic() + _AT_MOST_SECONDS
        while (now := self._clock.monotonic()) < until and (self._waiting or now < self._last + _QUIET_SECONDS):
            self._clock.wait(self._never, _LOOK_SECONDS)


class Counted:
    """Around the whole application. An answer that goes on and on is one from its beginning."""

    def __init__(self, app: ASGIApp, *, activity: Activity) -> None:
        self._app = app
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        waits = True
        self._activity.begin()

        def answered() -> None:
            nonlocal waits
            if waits:
                waits = False
                self._activity.end()

        async def noted(message: Message) -> None:
            answered()
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            answered()
