"""What `burst serve` leaves behind when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from orchestrator.web.event_stream import EventStream
from orchestrator.web.server import WebServer


async def end_while_somebody_connects(*, rounds: int) -> None:
    """`rounds`: of the event loop, which has accepted the connection and made something of it, or not yet."""
    config = uvicorn.Config(PlainTextResponse("here"), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = WebServer(config, lambda: None, EventStream("queue", str))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        with socket.create_connection(listener.getsockname()) as client:
            for _ in range(rounds):
                await asyncio.sleep(0)
            await server.shutdown([listener])
            client.settimeout(10)
            with contextlib.suppress(ConnectionResetError):  # it was never accepted
                assert client.recv(1) == b""


@pytest.mark.parametrize("rounds", range(5))
def test_a_connection_that_comes_at_the_end_is_closed(rounds: int) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(1) as elsewhere:  # a browser of other tests may have a loop in this thread
            elsewhere.submit(lambda: asyncio.run(end_while_somebody_connects(rounds=rounds))).result()
        gc.collect()
    assert [str(one.message) for one in met] == []
