"""A TCP proxy before a server on a Unix socket that can stop handing anything on, without closing a connection."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self


class TcpProxy:
    """While `hangs`, it takes what is sent, also new connections, and hands nothing on."""

    def __init__(self, path: str) -> None:
        """`path`: of the server's socket, at first."""
        self.hangs = False
        self.armed = False
        """For a test's own use."""
        self.path = path
        """Where new connections lead."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()

    def _serve(self) -> None:
        with contextlib.ExitStack() as held, selectors.DefaultSelector() as selector:
            held.enter_context(self._listening)
            selector.register(self._listening, selectors.EVENT_READ)
            while not self._ends.is_set():
                for key, _ in selector.select(0.05):
                    if key.data is None:
                        self._accept(selector, held)
                    else:
                        self._hand_on(selector, key.fileobj, key.data)

    def _accept(self, selector: selectors.BaseSelector, held: contextlib.ExitStack) -> None:
        near = held.enter_context(self._listening.accept()[0])
        far = held.enter_context(socket.socket(socket.AF_UNIX))
        try:
            far.connect(self.path)
        except OSError:
            near.close()
            return
        selector.register(near, selectors.EVENT_READ, far)
        selector.register(far, selectors.EVENT_READ, near)

    def _hand_on(self, selector: selectors.BaseSelector, source: object, target: socket.socket) -> None:
        assert isinstance(source, socket.socket)
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(65536)
        if not data:
            for one in (source, target):
                with contextlib.suppress(KeyError, ValueError):
                    selector.unregister(one)
                one.close()
        elif not self.hangs:
            with contextlib.suppress(OSError):
                target.sendall(data)
