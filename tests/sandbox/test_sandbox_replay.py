"""Every recorded exchange of a real ComfyUI 0.3.64, played against a fresh sandbox in its order.

Compared: status, headers, JSON (equal but for what is named below), and the websocket messages of each prompt in order.
Looked at leniently: `status` broadcasts, whose moment depends on the server's threads, are only checked for their form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.recorded import OF_ANY_VALUE, RECORDED, differences
from support.sandbox_client import Client, Listener, eventually

from orchestrator.sandbox import Sandbox, SandboxSettings

LEFT_OUT: tuple[str, ...] = ()
"""Cases that name a node the sandbox has no use for."""

FIRST_NUMBER = 18
CLIENT = "burst-contract"
HEADERS = ("Content-Type", "Content-Disposition", "Content-Length", "Accept-Ranges")
QUEUE = "queue running and pending"
MULTIPART = {"files": {"image": ("b.png", b"", "image/png")}, "data": {"subfolder": "burst", "overwrite": "true"}}

OF_ANY_VALUE_IN = {"system_stats": {"system", "devices"}, "submit server-chosen prompt_id": {"prompt_id"}}


class Replay:
    """Plays the recording once; what came back is kept by case."""

    def __init__(self, client: Client, listener: Listener, sandbox: Sandbox) -> None:
        self.client = client
        self.listener = listener
        self.sandbox = sandbox
        self.answers: dict[str, Any] = {}
        self.submitted: set[str] = set()

    def play(self) -> None:
        for _ in range(FIRST_NUMBER):
            self.client.post("/prompt", {})
        folder = self.sandbox.output_directory / "burst"
        folder.mkdir()
        for number in (1, 2):
            (folder / f"slow_{number:05}_.png").touch()
        for name, case in RECORDED.items():
            self.prepare(name, case)
            if "response" in case:
                self.answers[name] = self.ask(case["request"])
                self.settle(name, case)

    def prepare(self, name: str, case: dict[str, Any]) -> None:
        """Submit what the recording script submitted without noting it."""
        body = case.get("response", {}).get("body")
        if name == QUEUE:
            self.sandbox.change(seconds_per_prompt=300.0)
            self.resubmit(body["queue_running"][0])
            eventually(lambda: self.client.running())
            for entry in body["queue_pending"]:
                self.resubmit(entry)
        elif name.startswith("interrupt"):
            self.sandbox.change(seconds_per_prompt=0.0)
        elif name.startswith("history ") and isinstance(body, dict):
            for prompt_id, entry in body.items():
                if prompt_id not in self.submitted:
                    self.resubmit(entry["prompt"])
                    eventually(self.client.idle)
        if name.startswith("upload"):
            MULTIPART["files"]["image"] = ("b.png", self.picture(), "image/png")

    def resubmit(self, entry: list[Any]) -> None:
        _, prompt_id, graph, extra_data, _ = entry
        body = {"prompt": graph, "prompt_id": prompt_id, "extra_data": extra_data}
        self.submitted.add(prompt_id)
        assert self.client.post("/prompt", body).status_code == 200

    def ask(self, request: dict[str, Any]) -> Any:
        path = request["path"]
        if "multipart" in request:
            return self.client.session.post(self.client.url + path, timeout=10, **MULTIPART)
        return self.client.session.request(request["method"], self.client.url + path, json=request["json"], timeout=10)

    def settle(self, name: str, case: dict[str, Any]) -> None:
        """Wait as the recording script did before it went on."""
        if name.startswith("submit") and case["response"]["status"] == 200:
            self.submitted.add(case["request"]["json"].get("prompt_id", ""))
            eventually(self.client.idle)
        if name.startswith("interrupt"):
            eventually(self.client.idle)

    def picture(self) -> bytes:
        return (self.sandbox.input_directory / "example.png").read_bytes()


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    settings = SandboxSettings(checkpoints=("tiny-random.safetensors",), loras=())
    with Sandbox(settings) as sandbox, Listener(sandbox.url, CLIENT) as listener, Client(sandbox.url) as client:
        played = Replay(client, listener, sandbox)
        played.play()
        for name, case in RECORDED.items():
            if name != "ws connect" and "messages" in case:
                listener.wait_for_end(case["messages"][-1]["data"]["prompt_id"])
        yield played


@pytest.mark.parametrize(
    "name", [name for name, case in RECORDED.items() if "response" in case and name not in LEFT_OUT]
)
def test_answers_as_recorded(replay: Replay, name: str) -> None:
    wanted, found = RECORDED[name]["response"], replay.answers[name]
    assert found.status_code == wanted["status"]
    headers = {header: found.headers[header] for header in HEADERS if header in found.headers}
    assert headers.keys() == wanted["headers"].keys()
    for header, value in wanted["headers"].items():
        if header != "Content-Length" or value == "0":
            assert headers[header] == value
    body = wanted["body"]
    if isinstance(body, str) and re.fullmatch(r"<\d+ bytes>", body):
        assert len(found.content) == int(headers["Content-Length"]) > 0
    elif body == "":
        assert found.content == b""
    else:
        free = OF_ANY_VALUE | OF_ANY_VALUE_IN.get(name, set())
        assert differences(body, found.json(), free=free) == []


@pytest.mark.parametrize(
    "name", [name for name, case in RECORDED.items() if "messages" in case and name not in LEFT_OUT]
)
def test_tells_the_websocket_as_recorded(replay: Replay, name: str) -> None:
    if name == "ws connect":
        assert replay.listener.messages[0] == RECORDED[name]["messages"][0]
        return
    wanted = [message for message in RECORDED[name]["messages"] if message["type"] != "status"]
    prompt_ids = {message["data"]["prompt_id"] for message in wanted}
    found = replay.listener.of(*prompt_ids)
    if name == "ws success":
        # The same prompt_id is submitted a second time later on.
        found = found[: len(wanted)]
    assert [message["type"] for message in found] == [message["type"] for message in wanted]
    assert differences(wanted, found, free=OF_ANY_VALUE) == []


def test_status_is_broadcast_with_the_queue_length(replay: Replay) -> None:
    told = [message["data"] for message in replay.listener.messages[1:] if message["type"] == "status"]
    remaining = [data["status"]["exec_info"]["queue_remaining"] for data in told]
    assert max(remaining) == 3
    assert remaining[-1] == 0
    assert all(data.keys() == {"status"} for data in told)


def test_the_recorded_cases_are_all_played(replay: Replay) -> None:
    assert len(RECORDED) == 53
    assert set(replay.answers) | {name for name, case in RECORDED.items() if "messages" in case} == set(RECORDED)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 1.0}),
        ([1, 2], [2, 1]),
        ({"executed": ["1"]}, {"executed": ["2"]}),
        ({"timestamp": 1}, {"timestamp": "1"}),
    ],
)
def test_the_comparison_sees_a_difference(wanted: Any, found: Any) -> None:
    assert differences(wanted, found, free=OF_ANY_VALUE)
