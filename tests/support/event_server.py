"""A server that takes websockets and sends what a test tells it to, also what no ComfyUI would send."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
from types import TracebackType
from typing import Any, Self

from support.waiting import wait_until

_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class EventServer:
    """`with EventServer() as server: use(server.url)`. `answers_pings`: as a living server does.

    `status`: other than 101, it refuses; `elsewhere`: or points there.
    """

    def __init__(self, *, answers_pings: bool = True, status: int = 101, elsewhere: str = "") -> None:
        self._answers_pings = answers_pings
        self._status = status
        self._elsewhere = elsewhere
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[str] = []
        """The head of each request."""
        self.pings = 0
        self.ended = 0
        """How many connections are over."""
        self._taken: list[socket.socket] = []
        self._connections: list[socket.socket] = []
        """Those of them whose client has been answered."""
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        _break(self._taken)
        for thread in self._threads:
            thread.join()

    def wait_for_connections(self, count: int) -> None:
        wait_until(lambda: len(self.requests) >= count and len(self._connections) > 0, what=f"{count} connections")

    def send(self, message: dict[str, Any] | bytes | str, *, times: int = 1) -> None:
        """A message to the last connection; a text as it is."""
        data = json.dumps(message).encode() if isinstance(message, dict) else message
        data = data.encode() if isinstance(data, str) else data
        self.send_raw(_frame(0x2 if isinstance(message, bytes) else 0x1, data) * times)

    def send_raw(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._connections[-1].sendall(data)

    def cut(self) -> None:
        """Break every connection."""
        connections, self._connections = self._connections, []
        _break(connections)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._taken.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._answer(connection)
        self.ended += 1

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(4096)
            if not data:
                return
            head += data
        text = head.decode()
        if self._status == 101:
            key = next(
                line.split(": ")[1] for line in text.split("\r\n") if line.lower().startswith("sec-websocket-key")
            )
            accept = base64.b64encode(hashlib.sha1((key + _MAGIC).encode()).digest()).decode()
            fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}"
            connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n".encode())
            self._connections.append(connection)
        else:
            elsewhere = f"Location: {self._elsewhere.replace('http', 'ws')}/ws\r\n" if self._elsewhere else ""
            connection.sendall(f"HTTP/1.1 {self._status} No\r\n{elsewhere}Content-Length: 0\r\n\r\n".encode())
        self.requests.append(text)
        while self._status == 101 and (data := connection.recv(4096)):
            if data[0] & 0xF == 0x9:
                self.pings += 1
                if self._answers_pings:
                    connection.sendall(_frame(0xA, b""))


def _break(connections: list[socket.socket]) -> None:
    """Whatever waits for them, goes on."""
    for one in connections:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def _frame(opcode: int, data: bytes) -> bytes:
    size = len(data)
    if size < 126:
        head = bytes([0x80 | opcode, size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | opcode, 127]) + size.to_bytes(8, "big")
    return head + data
