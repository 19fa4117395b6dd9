"""A hosted server over HTTP, found by the settings: keys, files behind a redirect, cancellation, and `burst doctor`."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from support.comfyui_loopback import Loopback, Request
from support.fake_api_v2 import FakeApiV2
from support.hand_clock import HandClock

from orchestrator.cancellation import cancel
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request as RunRequest
from orchestrator.cycle.run import Run
from orchestrator.doctor.examination import examine
from state.item import Status

KEY = "comfyui-51e2b80b6d24c87f3a9c"


class Cloud:
    """A fake server behind two addresses: its own, and the one of its files, which must not see the key."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.fake = FakeApiV2("http://cloud", self.clock, lambda _: 1.0)
        self.keys: list[tuple[str, str | None, str | None]] = []
        self.has_three = threading.Event()
        self._guard = threading.Lock()
        self._files = Loopback(self._file)
        self._api = Loopback(self._answer)
        self.url = self._api.url

    def __enter__(self) -> Cloud:
        self._files.__enter__()
        self._api.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._api.__exit__(*error)
        self._files.__exit__(*error)

    def _answer(self, request: Request) -> None:
        headers = dict(request.headers.items())
        self.keys.append((request.path, headers.get("Authorization"), headers.get("X-API-Key")))
        if headers.get("Authorization") != f"Bearer {KEY}":
            request.json({"error": {"code": "unauthorized", "message": "no", "details": None}}, 401)
            return
        if request.path.endswith("/content"):
            request.reply(302, Location=f"{self._files.url}{request.path}?signature=s")
            return
        with self._guard:
            self.clock.seconds += 0.5
            found = self.fake.exchange(request.method, request.path, body=request.body or None, headers=headers)
            if len(self.fake.jobs) == 3:
                self.has_three.set()
        request.reply(found.status, found.body, Content_Type="application/json")

    def _file(self, request: Request) -> None:
        assert "Authorization" not in request.headers
        assert "X-API-Key" not in request.headers
        page = self.fake.stream(request.path.partition("?")[0], params={}, offset=request.start or 0)
        request.reply(page.status, page.body)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BURST_TEST_KEY", KEY)
    records = {f"{n}.txt": {"status": "pending", "prompt_text": f"{n}", "filename": f"{n}.txt"} for n in range(3)}
    (tmp_path / "state.json").write_text(json.dumps(records))
    return tmp_path / "state.json"


def configure(state: Path, url: str, *, paid: bool = True) -> None:
    folder = state.parent / "state.burst"
    folder.mkdir(exist_ok=True)
    (folder / "settings.toml").write_text(
        f'template = "smoke"\n[servers]\ncloud = "{url}"\n[headers.cloud]\nX-API-Key = "env:BURST_TEST_KEY"\n'
        f'[server_options.cloud]\napi = "v2"\npaid = {str(paid).lower()}\n'
    )


def run(state: Path, *, allow_spend: int | None = None, stop: threading.Event | None = None) -> BurstReport:
    return Run(RunRequest(state=state, poll_seconds=0.2, allow_spend=allow_spend), stop=stop).execute()


def test_a_run_from_the_settings_to_the_files(state: Path) -> None:
    with Cloud() as cloud:
        configure(state, cloud.url)
        refused = run(state)
        assert (refused.exit_code, refused.counts[Status.PENDING]) == (2, 3)
        assert "costs money" in str(refused.reason)
        done = run(state, allow_spend=2)
        assert (done.exit_code, done.counts[Status.COMPLETED]) == (75, 2)
        done = run(state, allow_spend=3)
        assert (done.exit_code, done.counts[Status.COMPLETED]) == (0, 3)
        assert {bearer for _, bearer, _ in cloud.keys} == {f"Bearer {KEY}"}
        assert {key for _, _, key in cloud.keys} == {KEY}
        assert len(cloud.fake.jobs) == 3
    files = [path for path in state.parent.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".png" for path in files) == 3
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_wrong_key_is_named(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURST_TEST_KEY", "wrong-0123456789")
    with Cloud() as cloud:
        configure(state, cloud.url)
        refused = run(state, allow_spend=5)
    assert refused.exit_code == 2
    assert "access refused" in str(refused.reason)
    assert "wrong-0123456789" not in str(refused.as_json())


def test_cancel_and_doctor_speak_to_it(state: Path) -> None:
    with Cloud() as cloud:
        configure(state, cloud.url, paid=False)
        cloud.fake.seconds = lambda _: 1000.0
        run(state, stop=cloud.has_three)
        assert len(cloud.fake.queue) == 3
        found = examine(state)
        assert [check.message for check in found.checks if check.verdict == "problem"] == []
        changed = cancel(state)
        assert changed.counts[Status.CANCELLED] == 3
        assert cloud.fake.queue == []
