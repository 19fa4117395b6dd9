"""An S3 storage on loopback (moto's server), and a front before it that can be away, refuse, and lose answers."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import obstore
import requests
from obstore.store import S3Store

from orchestrator.places import ObjectPath

SECRET = "storage-secret-hunter2"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDFORTESTS", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
_SERVER = """
import logging, sys
logging.disable(logging.CRITICAL)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
_NOT_COPIED = {"transfer-encoding", "content-length", "content-encoding", "connection", "date", "server"}
_numbers = itertools.count(1)


class Storage:
    """One server for many tests, each with buckets of its own. It ends with this process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        port = next(line for line in self._process.stdout if line.strip().isdecimal())
        self.url = f"http://127.0.0.1:{port.strip()}"

    def make_bucket(self) -> str:
        name = f"bucket-{next(_numbers)}"
        assert requests.put(f"{self.url}/{name}", timeout=30).status_code == 200
        return name

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


class Objects:
    """What lies in a bucket, past all fronts."""

    def __init__(self, storage: Storage, bucket: str) -> None:
        config: Any = {
            "aws_endpoint_url_s3": storage.url,  # which wins over what the environment says
            "access_key_id": KEYS["AWS_ACCESS_KEY_ID"],
            "secret_access_key": SECRET,
            "region": "us-east-1",
        }
        self._store = S3Store(bucket, config=config, client_options={"allow_http": True})

    def keys(self) -> list[str]:
        return sorted(one["path"] for found in obstore.list(self._store) for one in found)

    def read(self, key: str) -> bytes:
        return bytes(obstore.get(self._store, key).bytes())

    def attributes(self, key: str) -> Mapping[str, str]:
        found = obstore.get(self._store, key, options={"head": True}).attributes
        return {str(name): value for name, value in found.items()}

    def put(self, key: str, data: bytes) -> None:
        obstore.put(self._store, key, data)

    def delete(self, key: str) -> None:
        obstore.delete(self._store, key)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections break in these tests."""


class Front:
    """Forwards every request to the storage."""

    def __init__(self, storage: Storage) -> None:
        self.is_away = False
        """Requests are taken and never answered: the connection breaks."""
        self.status: int | None = None
        """What is answered in place of the storage, with this error code."""
        self.code = "AccessDenied"
        self.answers_to_lose = 0
        """So many writes arrive, and their answers do not."""
        self.deletions_left: int | None = None
        """It is away once so many objects were deleted."""
        self.before_write: Callable[[str], None] = lambda path: None
        self.after_write: Callable[[str], None] = lambda path: None
        """Called between the storage's answer and burst's hearing of it."""
        self.asked: list[str] = []
        self._storage_url = storage.url
        self._httpd = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.02,), daemon=True)
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

    def writes(self) -> list[str]:
        return [line for line in self.asked if line.startswith("PUT ")]

    def _handler(front) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                front.asked.append(f"{self.command} {self.path}")
                if self.path.endswith("?delete") and front.deletions_left is not None:
                    front.is_away |= front.deletions_left == 0
                    front.deletions_left -= 1
                if front.is_away:
                    self.close_connection = True
                    return
                if front.status is not None:
                    error = f"<Error><Code>{front.code}</Code><Message>Not for {SECRET[:0]}you</Message></Error>"
                    self._reply(front.status, {}, error.encode())
                    return
                is_write = self.command == "PUT"
                if is_write:
                    front.before_write(self.path)
                kept = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                url = front._storage_url + self.path
                with requests.request(self.command, url, data=body, headers=kept, timeout=30, stream=True) as answer:
                    content = answer.raw.read()
                    length = {"Content-Length": answer.headers["Content-Length"]} if self.command == "HEAD" else {}
                    headers = {k: v for k, v in answer.headers.items() if k.lower() not in _NOT_COPIED} | length
                if is_write:
                    front.after_write(self.path)
                    if front.answers_to_lose:
                        front.answers_to_lose -= 1
                        self.close_connection = True
                        return
                self._reply(answer.status_code, headers, content)

            def _reply(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(content))} | dict(headers)).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@dataclass(frozen=True)
class Scene:
    """A bucket behind a front, and an output root in it."""

    bucket: str
    front: Front
    objects: Objects

    @property
    def root(self) -> ObjectPath:
        return ObjectPath.parse(f"s3://{self.bucket}/shots/2030")
