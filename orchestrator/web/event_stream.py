"""What changes, as it changes: server-sent events for every page that is open, made once for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool

from orchestrator.errors import BurstError

LOOK_SECONDS = 0.5
_SIGN_OF_LIFE_SECONDS = 15.0
"""A connection on which nothing comes for long is cut by what lies between."""
_SIGN_OF_LIFE = b": still here\n\n"
_log = logging.getLogger(__name__)


class EventStream:
    """A text that is made again and again while anybody listens, and sent whenever it has changed.

    Used on the event loop, but for `close`.
    """

    def __init__(self, name: str, make: Callable[[], str], *, look_seconds: float = LOOK_SECONDS) -> None:
        """`name`: of the event. `make` is called in another thread; the text is one line."""
        self._name = name
        self._make = make
        self._look_seconds = look_seconds
        self._text: str | None = None
        self._changed = asyncio.Event()
        self._hearers = 0
        self._looking: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @property
    def hearers(self) -> int:
        """How many pages are connected."""
        return self._hearers

    async def hear(self) -> AsyncIterator[bytes]:
        """The text as it is, and each further one, until `close`."""
        self._hearers += 1
        if self._looking is None:
            self._text = None
            self._looking = asyncio.create_task(self._look())
        try:
            sent = None
            while not self._closing.is_set():
                changed = self._changed
                if self._text is not None and self._text != sent:
                    sent = self._text
                    yield f"event: {self._name}\ndata: {sent}\n\n".encode()
                elif not await _within(changed, _SIGN_OF_LIFE_SECONDS):
                    yield _SIGN_OF_LIFE
        finally:
            self._hearers -= 1
            if not self._hearers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def close(self) -> None:
        """End every stream."""
        self._closing.set()
        self._tell()

    async def _look(self) -> None:
        while True:
            try:
                text = await run_in_threadpool(self._make)
            except (BurstError, OSError) as error:
                _log.warning("%s: %s", self._name, error)
            else:
                if text != self._text:
                    self._text = text
                    self._tell()
            await asyncio.sleep(self._look_seconds)

    def _tell(self) -> None:
        """Wake who waits; whoever waits next waits for the next change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await event.wait()
    return False
