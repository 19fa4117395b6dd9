"""An upload over a slow link: it takes longer as a whole than any one step of it may."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator

import pytest

from orchestrator.comfyui import ComfyUI
from orchestrator.errors import ServerUnreachable

MIB = 1 << 20
PAUSES = 24
SIZE_BYTES = 12 * MIB
CONNECT_SECONDS, READ_SECONDS = 1.0, 0.4


class SlowServer:
    """Takes one upload in, a piece at a time, over 2.4 seconds; answers everything else at once."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.bodies: list[bytes] = []

    def serve(self) -> None:
        never = threading.Event()
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                while first := stream.readline():
                    size = 0
                    while (line := stream.readline()).strip():
                        name, _, value = line.partition(b":")
                        size = int(value) if name.lower() == b"content-length" else size
                    body = b""
                    while len(body) < size and (piece := stream.read(min(size - len(body), SIZE_BYTES // PAUSES))):
                        body += piece
                        never.wait(0.1)
                    if len(body) < size:
                        break
                    self.bodies += [body] if size else []
                    is_upload = first.startswith(b"POST")
                    answer = json.dumps({"name": "a.png"} if is_upload else {"exec_info": {"queue_remaining": 0}})
                    client.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def slow_server() -> Iterator[SlowServer]:
    server = SlowServer()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.close()
    thread.join(5.0)


def test_a_large_picture_over_a_slow_link_arrives_at_the_first_try(slow_server: SlowServer) -> None:
    """Bytes handed over in one go would have to be through within the connect time-out, and what the kernel still
    holds when the last of them was handed over within the read time-out."""
    data = random.Random(1).randbytes(SIZE_BYTES)
    times = {"connect_timeout_seconds": CONNECT_SECONDS, "read_timeout_seconds": READ_SECONDS, "retry_seconds": 0.0}
    with ComfyUI(slow_server.url, **times) as client:  # type: ignore[arg-type]
        assert client.upload_image("a.png", data, subfolder="burst").name == "a.png"
        assert client.failures == 0
    (body,) = slow_server.bodies
    assert data in body


def test_a_link_over_which_nothing_moves_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with ComfyUI(url, connect_timeout_seconds=0.3, retry_seconds=0.0) as client:
            form = {"image": ("a.png", bytes(16 * MIB))}
            with pytest.raises(ServerUnreachable, match=r"nothing went through within 0\.3 s; its answer is unknown"):
                client._requests.ask("POST", "/upload/image", form=form, patient=False)
