"""An HTTP server on 127.0.0.1 for one test, and a clock that only moves when something waits."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from orchestrator.clock import Clock


class Request:
    """A request as it arrived."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self.method = handler.command
        self.path = handler.path
        self.headers = handler.headers
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))

    @property
    def start(self) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else None

    def reply(self, status: int, body: bytes = b"", *, announced: int | None = None, **headers: str) -> None:
        """Send a response. `announced`: a Content-Length that differs from the body; the connection is then closed."""
        handler = self._handler
        handler.send_response_only(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(body)
        if announced is not None:
            handler.close_connection = True

    def json(self, value: object, status: int = 200, **headers: str) -> None:
        self.reply(status, json.dumps(value).encode(), announced=None, **{"Content_Type": "application/json"} | headers)

    def reset(self) -> None:
        """Reset the TCP connection without a response."""
        self._handler.close_connection = True
        connection = self._handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        # The handler would flush and fail; give it files that discard everything.
        self._handler.wfile = open("/dev/null", "wb")  # noqa: SIM115
        self._handler.rfile = open("/dev/null", "rb")  # noqa: SIM115


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is part of the test."""


class Loopback:
    """A server; calls `answer` for each request, in one of its threads, and collects `requests`."""

    def __init__(self, answer: Callable[[Request], None]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                request = Request(self)
                outer.requests.append(request)
                outer.answer(request)

            do_POST = do_GET

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections: bound but not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class MovedClock(Clock):
    """Time passes only by waiting; every wait is recorded."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[float] = []
        self.during_wait: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.seconds += seconds
        self.during_wait()
        return event.is_set()
