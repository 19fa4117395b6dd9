"""Downloads beside the watching: bounded, in nobody's way, and never in memory as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.background import Threads
from support.comfyui_loopback import Loopback, Request
from support.served_outputs import png
from support.waiting import wait_until

from orchestrator import run_burst
from orchestrator.cycle.downloads import DOWNLOADS_AT_ONCE
from state.item import Status
from state.open_store import open_store

MIB = 1 << 20
LARGE_BYTES = 128 * MIB


class Gallery:
    """A ComfyUI that renders at once. `view` answers the requests for its files."""

    def __init__(self, view: Callable[[Request], None], *, extension: str = ".png") -> None:
        self._view = view
        self._extension = extension
        self.seen_finished: set[str] = set()
        """The prompts whose end was asked for and told."""

    def answer(self, request: Request) -> None:
        path = request.path.partition("?")[0].removeprefix("/api")
        if path == "/view":
            self._view(request)
        elif path.startswith("/history/"):
            prompt_id = path.rpartition("/")[2]
            request.json({prompt_id: self._entry(prompt_id)})
            self.seen_finished.add(prompt_id)
        elif request.method == "POST":
            request.json({"prompt_id": json.loads(request.body)["prompt_id"], "number": 1.0, "node_errors": {}})
        elif path == "/prompt":
            request.json({"exec_info": {"queue_remaining": 0}})
        elif path == "/queue":
            request.json({"queue_running": [], "queue_pending": []})
        else:
            request.reply(404)

    def _entry(self, prompt_id: str) -> dict[str, Any]:
        file = {"filename": f"{prompt_id}{self._extension}", "subfolder": "burst", "type": "output"}
        return {
            "prompt": [1.0, prompt_id, {}, {}, ["3"]],
            "outputs": {"3": {"images": [file]}},
            "status": {"status_str": "success", "completed": True, "messages": []},
        }


class Gate:
    """Holds the first `most` requests, and counts how many are held at once."""

    def __init__(self, most: int) -> None:
        self.opened = threading.Event()
        self.held = self.most_held = 0
        self._left = most
        self._guard = threading.Lock()

    def view(self, request: Request) -> None:
        with self._guard:
            holds, self._left = self._left > 0, self._left - 1
            self.held += holds
            self.most_held = max(self.most_held, self.held)
        if holds:
            self.opened.wait()
        with self._guard:
            self.held -= holds
        request.reply(200, png())


def state_of(tmp_path: Path, count: int) -> Path:
    path = tmp_path / "re_render_state.json"
    path.write_text(
        json.dumps(
            {f"{number:02}": {"status": "pending", "prompt_text": f"a fox, {number}"} for number in range(count)}
        )
    )
    return path


def completed(state: Path) -> int:
    store = open_store(state, read_only=True)
    try:
        return store.counts()[Status.COMPLETED]
    finally:
        store.close()


def test_few_files_are_fetched_at_once_while_the_watching_goes_on(tmp_path: Path) -> None:
    state, gate = state_of(tmp_path, 12), Gate(12)
    gallery = Gallery(gate.view)
    with Loopback(gallery.answer) as server, Threads() as beside:
        running = beside.submit(run_burst, state, server=server.url, template="smoke", poll_seconds=0.2)
        try:
            wait_until(lambda: gate.held == DOWNLOADS_AT_ONCE, what="the first downloads")
            wait_until(lambda: len(gallery.seen_finished) == 12, what="all prompts seen finished")
            assert gate.held == DOWNLOADS_AT_ONCE
        finally:
            gate.opened.set()
        assert running.result().completed == 12
    assert gate.most_held == DOWNLOADS_AT_ONCE


def test_a_slow_download_keeps_no_other_item_from_its_checkpoint(tmp_path: Path) -> None:
    state, gate = state_of(tmp_path, 12), Gate(1)
    with Loopback(Gallery(gate.view).answer) as server, Threads() as beside:
        running = beside.submit(run_burst, state, server=server.url, template="smoke", poll_seconds=0.2)
        try:
            wait_until(lambda: completed(state) == 11, what="the other eleven")
            assert gate.held == 1
        finally:
            gate.opened.set()
        assert running.result().completed == 12


_PEAK = """
import pathlib, sys
from orchestrator import run_burst
report = run_burst(sys.argv[1], server=sys.argv[2], template="smoke", poll_seconds=0.2)
assert report.completed == 1, report
(peak,) = (line.split()[1] for line in pathlib.Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(peak)
"""


def peak_bytes(folder: Path, size_bytes: int) -> int:
    """The most memory that a process had which downloads one file of this size."""
    folder.mkdir()
    state = state_of(folder, 1)
    gallery = Gallery(lambda request: request.reply(200, bytes(size_bytes)), extension=".ply")
    with Loopback(gallery.answer) as server:
        command = [sys.executable, "-c", _PEAK, str(state), server.url]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert (folder / "output" / "00.ply").stat().st_size == size_bytes
    return int(done.stdout) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak of one process")
def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    small, large = peak_bytes(tmp_path / "small", 1000), peak_bytes(tmp_path / "large", LARGE_BYTES)
    assert large - small < LARGE_BYTES / 8
