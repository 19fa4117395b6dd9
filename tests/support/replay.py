"""A recorded conversation with a ComfyUI, held again with another server in the recorded order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.sandbox_client import Client, Listener, eventually

_DEADLINE_SECONDS = 120.0
"""Of a real server on a busy machine."""
PICTURE = "example.png"
"""What is uploaded: every server has it in its input folder."""


class Replay:
    """Asks a server what a recording asked; what it answers, and what its websocket tells, is kept by case.

    `pace` is told how long the next prompts are to take, in seconds: 300 before something must be running, 0 before
    that is interrupted.
    """

    def __init__(
        self,
        client: Client,
        listener: Listener,
        cases: dict[str, Any],
        *,
        picture: bytes,
        pace: Callable[[float], object],
    ) -> None:
        self.client = client
        self.answers: dict[str, Any] = {}
        self.heard: dict[str, list[dict[str, Any]]] = {}
        self._listener = listener
        self._cases = cases
        self._picture = picture
        self._pace = pace
        self._submitted: set[str] = set()

    def play(self) -> None:
        for name, case in self._cases.items():
            self.prepare(name, case)
            if "response" in case:
                answer = self.answers[name] = self.ask(case["request"])
                self.settle(name, case["request"], answer.status_code)
            else:
                self.heard[name] = self.hear(name, case["messages"])

    def prepare(self, name: str, case: dict[str, Any]) -> None:
        """Submit what was submitted without noting it."""
        body = case.get("response", {}).get("body")
        if "queue_running" in (body if isinstance(body, dict) else ()) and body["queue_running"]:
            self._pace(300.0)
            for entry in [*body["queue_running"], *body["queue_pending"]]:
                self.resubmit(entry)
                self._wait_for(self.client.running)
        elif name.startswith("interrupt"):
            self._pace(0.0)
        elif name.startswith("history ") and isinstance(body, dict):
            for prompt_id, entry in body.items():
                if prompt_id not in self._submitted:
                    self.resubmit(entry["prompt"])
                    self._wait_for(self.client.idle)

    def resubmit(self, entry: list[Any]) -> None:
        _, prompt_id, graph, extra_data, _ = entry
        body = {"prompt": graph, "prompt_id": prompt_id, "extra_data": extra_data}
        self._submitted.add(prompt_id)
        assert self.client.post("/prompt", body).status_code == 200

    def ask(self, request: dict[str, Any]) -> Any:
        path = request["path"]
        if "multipart" in request:
            sent = {"image": ("b.png", self._picture, "image/png")}
            fields = {"subfolder": "burst", "overwrite": "true"}
            return self.client.post(path, files=sent, data=fields)
        return self.client.session.request(request["method"], self.client.url + path, json=request["json"], timeout=10)

    def hear(self, name: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the websocket has told of the prompts of these messages, up to the end of the last."""
        if name == "ws connect":
            return self._listener.messages[:1]
        self._listener.wait_for_end(messages[-1]["data"]["prompt_id"])
        return self._listener.of(*(each["data"]["prompt_id"] for each in messages if each["type"] != "status"))

    def settle(self, name: str, request: dict[str, Any], status: int) -> None:
        """Wait as the recording script did before it went on."""
        if name.startswith("submit") and status == 200:
            self._submitted.add(request["json"].get("prompt_id", ""))
            self._wait_for(self.client.idle)
        if name.startswith("interrupt"):
            self._wait_for(self.client.idle)

    def _wait_for(self, condition: Callable[[], object]) -> None:
        eventually(condition, seconds=_DEADLINE_SECONDS)
