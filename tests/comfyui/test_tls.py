"""https: a certificate that verifies is used, one that does not is refused before anything is sent."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from orchestrator.comfyui import ComfyUI
from orchestrator.errors import ServerUnreachable


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers `GET /comfy/api/prompt` only, and keeps what it was asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(f"{self.path} {self.headers.get('Authorization')}")
        body = b'{"exec_info": {"queue_remaining": 3}}' if self.path == "/comfy/api/prompt" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    handler = type("Handler", (Proxy,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
        running.socket = context.wrap_socket(running.socket, server_side=True)
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"https://localhost:{running.server_port}/comfy/", asked
        running.shutdown()
        thread.join()


def test_a_verified_server_behind_a_prefix_is_asked_with_the_header(
    server: tuple[str, list[str]], authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = server
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with ComfyUI(url, headers={"Authorization": "Bearer token"}) as client:
        assert client.queue_remaining() == 3
    assert asked == ["/comfy/api/prompt Bearer token"]


def test_a_certificate_that_does_not_verify_is_refused_and_nothing_is_sent(
    server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = server
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    with ComfyUI(url, headers={"Authorization": "Bearer token"}, retry_seconds=0.0) as client:
        with pytest.raises(ServerUnreachable, match="certificate") as refused:
            client.queue_remaining()
        assert refused.value.may_have_arrived is False
    assert asked == []
