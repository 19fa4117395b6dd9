"""Whole bursts through a real `comfy-api-proxy` (`COMFY_API_PROXY` names its executable), with kills of both sides."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import requests
from support.comfyui_loopback import Loopback, Request, closed_port
from support.real_scene import get
from support.waiting import wait_until

from state.item import Item, Status
from state.open_store import open_store

ROOT = Path(__file__).parents[2]
EXECUTABLE = os.environ.get("COMFY_API_PROXY") or shutil.which("comfy-api-proxy")
ITEMS = 2
_PASSED_ON = ("Content-Type", "Content-Length", "Range", "Idempotency-Key")
Side = Literal["burst", "proxy"]


class ProxyProcess:
    """`comfy-api-proxy` with a directory for its state, on a port that it keeps."""

    def __init__(self, comfyui: str, directory: Path) -> None:
        if not EXECUTABLE:
            pytest.skip("comfy-api-proxy is not installed: pip install it anywhere and name it in COMFY_API_PROXY")
        with closed_port() as port:
            self.url = f"http://127.0.0.1:{port}"
        state = ["--state-dir", str(directory / "proxy")]
        self._command = [EXECUTABLE, "--comfyui", comfyui, "--port", str(port), *state]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def made(self) -> Counter[str]:
        """How many jobs it made of each prompt text."""
        jobs = requests.get(f"{self.url}/api/v2/jobs?limit=100", timeout=30).json()["jobs"]
        graphs = (requests.get(f"{job['urls']['self']}/workflow", timeout=30).json()["workflow"] for job in jobs)
        return Counter(graph["4"]["inputs"]["string"] for graph in graphs)

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/api/v2/health", timeout=5).ok
        return False


class Scene:
    """A state of two items, and a relay before the proxy that kills one side at the nth request."""

    def __init__(self, home: Path, proxy: ProxyProcess, name: str) -> None:
        self.home, self.proxy = home, proxy
        home.mkdir(parents=True)
        self.keys = [f"{name}-{number}.txt" for number in range(ITEMS)]
        records = {key: {"status": "pending", "filename": key, "prompt_text": key} for key in self.keys}
        (home / "state.json").write_text(json.dumps(records))
        self.requests = 0
        self._kill_at: int | None = None
        self._side: Side = "burst"
        self._is_after = False
        self._burst: subprocess.Popen[bytes] | None = None

    def run(self, url: str, *, kill_at: int | None = None, side: Side = "burst", after: bool = False) -> int:
        """One burst; at its nth request one side is killed, before or after the proxy has answered it."""
        settings = f'output_dir = "output"\ntemplate = "smoke"\n[servers]\nproxy = "{url}"\n'
        folder = self.home / "state.burst"
        folder.mkdir(exist_ok=True)
        (folder / "settings.toml").write_text(f'{settings}[server_options.proxy]\napi = "v2"\n')
        self.requests, self._kill_at, self._side, self._is_after = 0, kill_at, side, after
        command = [sys.executable, str(ROOT / "burst.py"), "run", "--state", str(self.home / "state.json")]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("COMFYUI_")}
        self._burst = subprocess.Popen(command, env=kept, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self._burst.wait(timeout=120)

    def answer(self, request: Request) -> None:
        self.requests += 1
        is_it = self.requests == self._kill_at
        if is_it and not self._is_after:
            self._kill()
            request.reset()
            return
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        found = requests.request(
            request.method, self.proxy.url + request.path, data=request.body, headers=headers, timeout=30
        )
        if is_it:
            self._kill()
            request.reset()
            return
        passed = {
            name.replace("-", "_"): found.headers[name]
            for name in ("Content-Type", "Content-Range")
            if name in found.headers
        }
        request.reply(found.status_code, found.content, **passed)

    def _kill(self) -> None:
        assert self._burst is not None
        if self._side == "burst":
            self._burst.send_signal(signal.SIGKILL)
            self._burst.wait()
        else:
            self.proxy.kill()
            self.proxy.start()

    def items(self) -> list[Item]:
        with open_store(self.home / "state.json", read_only=True) as store:
            return list(store.items())


@pytest.fixture
def proxy(server_url: str, tmp_path: Path) -> Iterator[ProxyProcess]:
    found = ProxyProcess(server_url, tmp_path)
    found.start()
    try:
        yield found
    finally:
        found.kill()


@pytest.mark.parametrize("side", ["burst", "proxy"])
@pytest.mark.parametrize("after", [False, True], ids=["before the answer", "after it"])
def test_killed_at_every_request_everything_is_rendered_once(
    proxy: ProxyProcess, tmp_path: Path, side: Side, after: bool
) -> None:
    texts: Counter[str] = Counter()
    kill_at, reached = 0, True
    while reached:
        kill_at += 1
        scene = Scene(tmp_path / f"{kill_at}", proxy, f"{side}-{after}-{kill_at}")
        with Loopback(scene.answer) as relay:
            scene.run(relay.url, kill_at=kill_at, side=side, after=after)
            reached = scene.requests >= kill_at
            for _ in range(4):
                if all(item.status is Status.COMPLETED for item in scene.items()):
                    break
                assert scene.run(relay.url) in (0, 75)
        assert {item.status for item in scene.items()} == {Status.COMPLETED}
        texts.update(scene.keys)
    made = proxy.made()
    assert {key: made[key] for key in texts} == dict.fromkeys(texts, 1)


def test_a_burst_leaves_nothing_in_the_queue(proxy: ProxyProcess, tmp_path: Path, server_url: str) -> None:
    scene = Scene(tmp_path / "whole", proxy, "whole")
    assert scene.run(proxy.url) == 0
    assert {item.status for item in scene.items()} == {Status.COMPLETED}
    assert len(list((scene.home / "output").rglob("*.png"))) == ITEMS
    assert get(server_url, "/queue") == {"queue_running": [], "queue_pending": []}
