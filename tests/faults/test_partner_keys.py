"""Keys of partner nodes go with the prompts to their own server, and into nothing that burst writes."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import requests
from support.comfyui_loopback import Loopback, Request

from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request as RunRequest
from orchestrator.cycle.run import Run
from orchestrator.sandbox import Sandbox
from state.item import Status

KEY = "comfyui-7f3a9c51e2b80b6d24c8"
BAD = "bad.txt"


class Gossip(Loopback):
    """Stands before a server, rejects one prompt, and puts the key that it was sent into the reason."""

    def __init__(self, url: str) -> None:
        super().__init__(self._pass_on)
        self._url = url
        self.keys: list[str | None] = []

    def _pass_on(self, request: Request) -> None:
        if request.method == "POST" and request.path.endswith("/prompt"):
            order = json.loads(request.body)
            self.keys.append(order["extra_data"].get("api_key_comfy_org"))
            if BAD in json.dumps(order["prompt"]):
                told = {"type": "x", "message": f"the key {KEY} is no good", "details": ""}
                node = {"errors": [told | {"extra_info": {"input_name": "string"}}], "class_type": "RegexReplace"}
                request.json({"error": told, "node_errors": {"4": node}}, 400)
                return
        found = requests.request(request.method, self._url + request.path, data=request.body, timeout=10)
        request.reply(found.status_code, found.content, Content_Type=found.headers.get("Content-Type", ""))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BURST_TEST_PARTNER", KEY)
    path = tmp_path / "state.json"
    records = {key: {"status": "pending", "prompt_text": key, "filename": key} for key in ("good.txt", BAD)}
    path.write_text(json.dumps(records))
    return path


def run(state: Path, url: str, *, other: str | None = None) -> BurstReport:
    folder = state.parent / "state.burst"
    folder.mkdir(exist_ok=True)
    named = "" if other is None else f'other = "{other}"\n'
    (folder / "settings.toml").write_text(
        f'template = "smoke"\nallow_spend = 20\n[servers]\npartner = "{url}"\n{named}'
        '[server_options.partner]\npartner_key = "env:BURST_TEST_PARTNER"\n'
    )
    return Run(RunRequest(state=state, poll_seconds=0.2)).execute()


def test_they_are_sent_and_written_nowhere(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Sandbox() as sandbox, Gossip(sandbox.url) as gossip:
        report = run(state, gossip.url)
    assert gossip.keys == [KEY, KEY]
    assert (report.counts[Status.COMPLETED], report.counts[Status.FAILED]) == (1, 1)
    shown = [report.as_text(), json.dumps(report.as_json()), repr(report), caplog.text]
    assert "the key *** is no good" in report.as_text() + json.dumps(report.as_json())
    assert [text for text in shown if KEY in text] == []
    files = [path for path in state.parent.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert any(path.suffix == ".png" for path in files)


def test_another_server_gets_none(state: Path) -> None:
    with Sandbox() as one, Sandbox() as two, Gossip(one.url) as partner, Gossip(two.url) as other:
        run(state, partner.url, other=other.url)
        assert set(partner.keys) <= {KEY}
        assert set(other.keys) <= {None}
        assert partner.keys + other.keys
