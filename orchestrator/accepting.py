"""How a server of asyncio stops to take connections without leaving one open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

_ROUNDS = 5
"""Of the event loop, in which connections come up that were being accepted."""


class _Listener(Protocol):
    def fileno(self) -> int: ...


async def stop_accepting(listeners: Iterable[_Listener]) -> None:
    """Take no further connection. Those that were being accepted are up on return, so that their server closes them:
    asyncio leaves one open that comes up after its server was closed.
    """
    loop = asyncio.get_running_loop()
    for listener in listeners:
        loop.remove_reader(listener.fileno())
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
