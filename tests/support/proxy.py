"""A TCP proxy for one server that can delay requests and responses, break connections and respond itself.

A delayed request outlives its sender, as measured on real servers: it reaches the server when it is released, even if
the client has died.
"""

from __future__ import annotations

import contextlib
import http
import socket
import struct
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from support.waiting import wait_until

ALWAYS = 1_000_000


@dataclass
class _Hold:
    """Delays requests that start with `request`, or (`answer`) their responses, from `after_bytes` on."""

    request: bytes
    answer: bool
    after_bytes: int
    times: int
    let_through: threading.Event
    containing: bytes = b""


@dataclass
class _Spoiling:
    """Requests that start with `request` get `answer` instead of the server's response, then a reset or close.

    `reaches_server`: the request is forwarded as well. `passes`: number of response bytes that come through first.
    `containing`: only requests that also contain these bytes.
    """

    request: bytes
    times: int
    answer: bytes = b""
    reset: bool = False
    reaches_server: bool = False
    passes: int = 0
    containing: bytes = b""


class Proxy:
    """`with Proxy(sandbox.url) as proxy: use(proxy.url)`. A request is named by its first bytes: `POST /api/prompt`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.held = 0
        """How many requests and responses were held so far."""
        self.requests: list[str] = []
        """The head of each request, in the order of arrival."""
        self._guard = threading.Lock()
        self._holds: list[_Hold] = []
        self._spoilings: list[_Spoiling] = []
        self._sockets: list[socket.socket] = []
        self._closing = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self.refuse()
        self.drop()
        for thread in self._threads:
            thread.join()

    def hold(self, request: str, *, containing: str = "", times: int = ALWAYS) -> None:
        """Delay matching requests, if they contain the text, until `release`."""
        self._add(request, answer=False, after_bytes=0, times=times, containing=containing)

    def hold_answers(self, request: str, *, after_bytes: int = 0, times: int = ALWAYS) -> None:
        """Forward matching requests but delay the responses, from this many bytes on, until `release`."""
        self._add(request, answer=True, after_bytes=after_bytes, times=times)

    def release(self) -> None:
        """Forward what is held, and hold nothing more."""
        with self._guard:
            for hold in self._holds:
                hold.let_through.set()
            self._holds.clear()

    def reset(self, request: str, *, times: int = ALWAYS) -> None:
        """Reset the connections of matching requests before they reach the server."""
        self._spoilings.append(_Spoiling(request.encode(), times, reset=True))

    def reset_answers(self, request: str, *, after_bytes: int = 0, times: int = ALWAYS) -> None:
        """Forward matching requests and reset the connection after this many bytes of the response."""
        self._spoilings.append(_Spoiling(request.encode(), times, reset=True, reaches_server=True, passes=after_bytes))

    def answer(
        self,
        request: str,
        answer: bytes,
        *,
        reaches_server: bool = False,
        containing: str = "",
        times: int = ALWAYS,
    ) -> None:
        """Respond to matching requests, if they contain the text, with these bytes (see `http_answer`)."""
        what = containing.encode()
        self._spoilings.append(
            _Spoiling(request.encode(), times, answer, reaches_server=reaches_server, containing=what)
        )

    def spoilings_left(self) -> int:
        """How many requests are still to be reset or answered by the proxy."""
        with self._guard:
            return sum(one.times for one in self._spoilings)

    def heal(self) -> None:
        """Stop resetting and answering; forward everything."""
        with self._guard:
            self._spoilings.clear()

    def refuse(self) -> None:
        """Refuse new connections; open ones stay."""
        self._closing = True
        # Waking `accept`: closing a socket does not wake a thread that waits on it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def drop(self) -> None:
        """Break every open connection."""
        with self._guard:
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def wait_for_held(self, count: int = 1) -> None:
        wait_until(lambda: self.held >= count, what=f"{count} held")

    def _add(self, request: str, *, answer: bool, after_bytes: int, times: int, containing: str = "") -> None:
        with self._guard:
            self._holds.append(
                _Hold(request.encode(), answer, after_bytes, times, threading.Event(), containing.encode())
            )

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            _Connection(self, client).start()

    def matching(self, request: bytes, *, answer: bool) -> _Hold | None:
        """The hold for this request; counts it down."""
        with self._guard:
            for hold in self._holds:
                meets = request.startswith(hold.request) and hold.containing in request
                if hold.answer is answer and hold.times > 0 and meets:
                    hold.times -= 1
                    return hold
        return None

    def spoiling(self, request: bytes) -> _Spoiling | None:
        """The spoiling for this request; counts it down."""
        with self._guard:
            for spoiling in self._spoilings:
                if spoiling.times > 0 and request.startswith(spoiling.request) and spoiling.containing in request:
                    spoiling.times -= 1
                    return spoiling
        return None

    def note(self, data: bytes) -> None:
        with self._guard:
            self.requests.append(data.partition(b"\r\n\r\n")[0].decode("latin-1"))

    def count_held(self) -> None:
        with self._guard:
            self.held += 1

    def open(self, client: socket.socket) -> socket.socket:
        server = socket.create_connection(self._upstream)
        with self._guard:
            self._sockets += [client, server]
        return server

    def run(self, thread: threading.Thread) -> None:
        self._threads.append(thread)
        thread.start()


class _Connection:
    """The connection of a client: two threads, one for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._answer_hold: _Hold | None = None
        self._spoiling: _Spoiling | None = None
        self._passed = 0

    def start(self) -> None:
        try:
            self._server = self._proxy.open(self._client)
        except OSError:
            self._client.close()
            return
        self._proxy.run(threading.Thread(target=self._up, daemon=True))
        self._proxy.run(threading.Thread(target=self._down, daemon=True))

    def _up(self) -> None:
        while data := _receive(self._client):
            if data.startswith((b"GET ", b"POST ")):
                data = self._whole(data)
                self._proxy.note(data)
                self._answer_hold, self._passed = self._proxy.matching(data, answer=True), 0
                if hold := self._proxy.matching(data, answer=False):
                    self._proxy.count_held()
                    hold.let_through.wait()
                self._spoiling = self._proxy.spoiling(data)
                if self._spoiling is not None and not self._spoiling.reaches_server:
                    self._spoil(self._spoiling)
                    break
            _send(self._server, data)
        # The server's side stays open, so the server cannot notice that the client is gone.

    def _whole(self, data: bytes) -> bytes:
        while not _is_whole(data) and (more := _receive(self._client)):
            data += more
        return data

    def _down(self) -> None:
        while data := _receive(self._server):
            spoiling = self._spoiling
            if spoiling is not None and self._passed + len(data) > spoiling.passes:
                _send(self._client, data[: max(0, spoiling.passes - self._passed)])
                self._spoil(spoiling)
                break
            hold = self._answer_hold
            if hold is not None and self._passed + len(data) > hold.after_bytes and not hold.let_through.is_set():
                now = max(0, hold.after_bytes - self._passed)
                _send(self._client, data[:now])
                data = data[now:]
                self._proxy.count_held()
                hold.let_through.wait()
            self._passed += len(data)
            _send(self._client, data)
        for one in (self._client, self._server):
            # `close` alone sends nothing to the peer while the other thread is reading.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _spoil(self, spoiling: _Spoiling) -> None:
        """End this connection as the client should see it."""
        _send(self._client, spoiling.answer)
        with contextlib.suppress(OSError):
            if spoiling.reset:
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Wakes the reading thread without sending anything to the peer; the reset is sent after that.
                self._client.shutdown(socket.SHUT_RD)
            else:
                self._client.shutdown(socket.SHUT_RDWR)
        self._client.close()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)


def http_answer(status: int, body: bytes = b"", *, announced: int | None = None, **headers: str) -> bytes:
    """An HTTP/1.1 response as bytes, the last of its connection. `announced`: a false Content-Length."""
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body) if announced is None else announced}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


def _is_whole(data: bytes) -> bool:
    """Whether the header and the announced body are complete."""
    head, end, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return bool(end) and len(body) >= int(lengths[0] if lengths else 0)


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


def _send(target: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        target.sendall(data)
