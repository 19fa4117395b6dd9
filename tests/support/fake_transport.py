"""A ComfyUI without a network: the transport of a real client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.transport import Answer, Form
from orchestrator.errors import ServerUnreachable
from support.fake_queue import FakeQueue
from support.hand_clock import PassingClock


@dataclass
class Body:
    status: int
    headers: Mapping[str, str]
    data: bytes
    breaks: bool = False
    elsewhere: bool = False

    def chunks(self, most_bytes: int) -> Iterator[bytes]:
        yield from (self.data[at : at + most_bytes] for at in range(0, len(self.data), most_bytes))
        if self.breaks:
            raise ServerUnreachable("the download broke off", may_have_arrived=True)

    def close(self) -> None:
        pass


@dataclass
class FakeServer(FakeQueue):
    fault: Callable[[str], str] = lambda asked: ""
    """What `METHOD /path` meets: refused, lost (its response), late (lost, after 5 s), broken (file), or a status."""
    requests: list[tuple[float, str]] = field(default_factory=list)
    """Time and `METHOD /path` of each request."""

    def client(self) -> ComfyUI:
        return ComfyUI(self.url, transport=self, clock=PassingClock(self.clock))

    @property
    def requests_made(self) -> int:
        return len(self.requests)

    def exchange(self, method: str, path: str, *, body: bytes | None = None, form: Form | None = None) -> Answer:
        fault = self._arrive(f"{method} {path}")
        parts = [method, *path.split("/")[1:]]
        status, found = (int(fault), None) if fault.isdigit() else self.respond(parts, json.loads(body or b"{}"))
        self._leave(fault)
        return Answer(method, path, status, {}, b"" if found is None else json.dumps(found).encode())

    def stream(self, path: str, *, params: Mapping[str, str], offset: int) -> Body:
        fault = self._arrive(f"GET {path}")
        self._leave(fault)
        data = self.files.get(f"{params['subfolder']}/{params['filename']}")
        if fault.isdigit() or data is None:
            return Body(int(fault) if fault.isdigit() else 404, {}, b"")
        end = (offset + len(data)) // 2 if fault == "broken" else len(data)
        span = {"Content-Range": f"bytes {offset}-{len(data) - 1}/{len(data)}"} if offset else {}
        headers = {"Content-Length": str(len(data) - offset), **span}
        return Body(206 if offset else 200, headers, data[offset:end], breaks=end < len(data))

    def close(self) -> None:
        pass

    def _arrive(self, asked: str) -> str:
        self.requests.append((self.clock.seconds, asked))
        fault = self.fault(asked)
        if fault == "refused":
            raise ServerUnreachable(f"{self.url}: {asked}: refused", may_have_arrived=False)
        self.tick()
        return fault

    def _leave(self, fault: str) -> None:
        if fault in ("lost", "late"):
            self.clock.seconds += 5.0 if fault == "late" else 0.0
            raise ServerUnreachable(f"{self.url}: no answer", may_have_arrived=True, timed_out=fault == "late")
