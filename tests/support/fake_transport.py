"""A ComfyUI without a network: the transport of a real client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.transport import Answer, Form
from orchestrator.errors import ServerUnreachable
from support.fake_faults import Fault, Faults, Page
from support.fake_queue import FakeQueue
from support.hand_clock import PassingClock


@dataclass
class FakeServer(FakeQueue):
    fault: Faults = lambda asked: None
    requests: list[tuple[float, str]] = field(default_factory=list)
    """Time and `METHOD /path` of each request."""

    def client(self) -> ComfyUI:
        return ComfyUI(self.url, transport=self, clock=PassingClock(self.clock))

    @property
    def requests_made(self) -> int:
        return len(self.requests)

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        fault = self._arrive(f"{method} {path}")
        page = fault if isinstance(fault, Page) else None
        if page is None or page.after:
            if form is not None:
                status, found = 200, self.take_in(form)
            else:
                status, found = self.respond([method, *path.split("/")[1:]], json.loads(body or b"{}"))
            self._leave(fault)
            page = page or Page(status, b"" if found is None else json.dumps(found).encode(), {})
        return Answer(method, path, page.status, page.headers, page.body)

    def take_in(self, form: Form) -> dict[str, str]:
        """An uploaded image, which stands among the server's files."""
        folder, (name, data) = form["subfolder"], form["image"]
        assert isinstance(folder, str)
        assert isinstance(data, bytes)
        self.files[f"{folder}/{name}"] = data
        return {"name": name, "subfolder": folder, "type": "input"}

    def stream(self, path: str, *, params: Mapping[str, str], offset: int) -> Page:
        fault = self._arrive(f"GET {path}")
        self._leave(fault)
        if isinstance(fault, Page):
            return fault
        data = self.files.get(f"{params['subfolder']}/{params['filename']}")
        if data is None:
            return Page(404, b"", {})
        end = (offset + len(data)) // 2 if fault == "broken" else len(data)
        span = {"Content-Range": f"bytes {offset}-{len(data) - 1}/{len(data)}"} if offset else {}
        headers = {"Content-Length": str(len(data) - offset), **span}
        return Page(206 if offset else 200, data[offset:end], headers, breaks=end < len(data))

    def close(self) -> None:
        pass

    def _arrive(self, asked: str) -> Fault:
        self.requests.append((self.clock.seconds, asked))
        fault = self.fault(asked)
        if fault == "refused":
            raise ServerUnreachable(f"{self.url}: {asked}: refused", may_have_arrived=False)
        self.tick()
        return fault

    def _leave(self, fault: Fault) -> None:
        if fault in ("lost", "late"):
            self.clock.seconds += 5.0 if fault == "late" else 0.0
            raise ServerUnreachable(f"{self.url}: no answer", may_have_arrived=True, timed_out=fault == "late")
