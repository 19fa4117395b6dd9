"""A proxy in front of the sandbox that damages some responses, chosen by a seed, and counts those that look valid."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import requests

from orchestrator.comfyui import responses as answers
from orchestrator.shapes import WrongShape
from support.comfyui_loopback import Request
from support.damaged_json import part, places

INSTEAD = (301, 404, 429, 500, 503)
"""Answered in the server's stead: it never hears of the request."""
_ANOTHER: tuple[Any, ...] = (None, True, -1, 10**400, 1e308, "", "\ud800", "x" * 5000, [], {}, [[]], {"a": None})
Reader = Callable[[Any], object]


class Spoiler:
    """A handler (`answer`) for a `Loopback` that damages the responses to chosen requests."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._session = requests.Session()
        self.begin(random.Random(0), set())

    def begin(self, chance: random.Random, numbers: set[int]) -> None:
        """Damage the responses to the requests with these numbers, from 0; then none."""
        self._chance, self._numbers = chance, numbers
        self._seen = 0
        self.lies = 0
        """Damaged responses that a client must accept because their form is still valid."""

    def close(self) -> None:
        self._session.close()

    def answer(self, request: Request) -> None:
        number, self._seen = self._seen, self._seen + 1
        way = self._chance.choice(
            ("instead", "reset before", "reset after", "500 after", "html", "cut", "part", "part")
        )
        if number not in self._numbers:
            way = "well"
        if "/view" in request.path and way in ("instead", "cut"):
            self.lies += 1  # a missing file, or one that is always cut, is rendered again
        if way == "instead":
            request.reply(self._chance.choice(INSTEAD), b"", Location="http://127.0.0.1:9/", Retry_After="1")
            return
        if way == "reset before":
            request.reset()
            return
        found = self._passed_on(request)
        body = found.content
        match way:
            case "reset after":
                request.reset()
                return
            case "500 after":
                request.reply(500, b"oops")
                return
            case "html":
                request.reply(200, b"<html>maintenance</html>", Content_Type="text/html")
                return
            case "cut":
                request.reply(found.status_code, body[: len(body) // 2], announced=len(body))
                return
            case "part":
                body = self._damaged(request, body)
        request.reply(found.status_code, body, Content_Type=found.headers.get("Content-Type", ""))

    def _passed_on(self, request: Request) -> requests.Response:
        headers = {"Content-Type": request.headers.get("Content-Type", "")}
        return self._session.request(
            request.method, self._target + request.path, data=request.body, headers=headers, timeout=30
        )

    def _damaged(self, request: Request, body: bytes) -> bytes:
        """The response with one part removed or changed. What is not JSON stays as it is."""
        read = _reader(request)
        try:
            document = json.loads(body)
        except ValueError:
            return body
        there = places(document)
        if read is None or not there:
            return body
        *above, last = self._chance.choice(there)
        if self._chance.random() < 0.5:
            del part(document, tuple(above))[last]
        else:
            part(document, tuple(above))[last] = self._chance.choice(_ANOTHER)
        self.lies += _is_read(read, document)
        return json.dumps(document).encode()


def _reader(request: Request) -> Reader | None:
    path = request.path.partition("?")[0].removeprefix("/api")
    if path.startswith("/history/"):
        return lambda body: answers.read_history(path.rpartition("/")[2], body, str)
    readers: dict[str, Reader] = {"/queue": answers.read_queue, "/prompt": answers.read_queue_remaining}
    return answers.read_submitted if request.method == "POST" and path == "/prompt" else readers.get(path)


def _is_read(read: Reader, document: Any) -> bool:
    try:
        read(document)
    except WrongShape:
        return False
    return True
