"""A relay between burst and a server that can delay a POST until the test delivers it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import requests

_NOT_COPIED = {"transfer-encoding", "content-length", "content-encoding", "connection", "date", "server"}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients are killed in these tests; ignore it."""


class Relay:
    """Forwards every request. `on_submit` is called before each POST of a prompt; False holds it back."""

    def __init__(self, server_url: str) -> None:
        self.on_submit: Callable[[bytes], bool] = lambda body: True
        self.kept: list[bytes] = []
        self.asked: list[str] = []
        """Requests such as `GET /queue`, in order of arrival."""
        self._server_url = server_url
        self._httpd = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._httpd.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._httpd.shutdown()
        self._thread.join()
        self._httpd.server_close()

    def keep(self, body: bytes) -> bool:
        """For `on_submit`: hold back every POST."""
        self.kept.append(body)
        return False

    def deliver(self, body: bytes) -> None:
        """Send a POST that was held back."""
        assert requests.post(f"{self._server_url}/prompt", data=body, timeout=30).status_code == 200

    def _handler(relay) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._hand_on(b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path.endswith("/prompt") and not relay.on_submit(body):
                    self.close_connection = True
                    return
                self._hand_on(body)

            def _hand_on(self, body: bytes) -> None:
                relay.asked.append(f"{self.command} {self.path.removeprefix('/api')}")
                kept = {
                    name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
                }
                url = relay._server_url + self.path
                with requests.request(self.command, url, data=body, headers=kept, timeout=30) as answer:
                    self.send_response(answer.status_code)
                    for name, value in answer.headers.items():
                        if name.lower() not in _NOT_COPIED:
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
