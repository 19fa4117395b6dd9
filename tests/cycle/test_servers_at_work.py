"""Whole runs on real sandboxes: a server that dies in the middle, runs that end by the clock, prompts ahead."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.background import Threads
from support.waiting import wait_until

from orchestrator import run_burst
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle import pacing
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.servers import default_name
from state.item import Item, Status
from state.open_store import open_store

PROMPT_SECONDS = 0.1


def state_of(tmp_path: Path, count: int) -> Path:
    path = tmp_path / "re_render_state.json"
    path.write_text(
        json.dumps(
            {f"{number:02}": {"status": "pending", "prompt_text": f"a fox, {number}"} for number in range(count)}
        )
    )
    return path


def items(state: Path, *statuses: Status) -> list[Item]:
    store = open_store(state, read_only=True)
    try:
        return list(store.items(*statuses))
    finally:
        store.close()


def wait_for_completed(state: Path, count: int) -> None:
    wait_until(lambda: len(items(state, Status.COMPLETED)) >= count, what=f"{count} completed")


class Mortal:
    """A server that can die and come back at the same address with its files. It holds each picture that is done."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lives: list[Counter[str]] = []
        self._sandbox = Sandbox(directory=directory)
        self._sandbox.start()
        self._sandbox.hold("finish")
        self.url = self._sandbox.url

    def die_after_its_first_picture(self) -> None:
        """The picture is on disk; the history does not tell of it yet."""
        wait_until(lambda: self._sandbox.counts()["rendered_by_item"], what="the first picture")
        self._end()

    def come_back(self) -> None:
        self._sandbox = Sandbox(directory=self._directory, port=urlsplit(self.url).port or 0)
        self._sandbox.start()

    def close(self) -> Counter[str]:
        """How often it rendered each item, in all its lives."""
        self._end()
        return sum(self._lives, Counter())

    def _end(self) -> None:
        self._lives.append(Counter(self._sandbox.counts()["rendered_by_item"]))
        self._sandbox.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is lost at once, and tried again soon."""
    assert "retry_seconds" in ComfyUI.__init__.__kwdefaults__
    monkeypatch.setitem(ComfyUI.__init__.__kwdefaults__, "retry_seconds", 0.0)
    monkeypatch.setattr(pacing, "_RETRY_SECONDS", 0.05)


@pytest.fixture
def steady() -> Sandbox:
    return Sandbox(SandboxSettings(seconds_per_prompt=PROMPT_SECONDS))


@pytest.mark.usefixtures("impatient")
def test_what_a_dead_server_holds_stays_its_own_and_the_rest_goes_elsewhere(tmp_path: Path, steady: Sandbox) -> None:
    state = state_of(tmp_path, 10)
    mortal = Mortal(tmp_path / "server")
    with steady, Threads() as beside:
        servers = [steady.url, mortal.url]
        running = beside.submit(run_burst, state, server=servers, template="smoke", poll_seconds=0.1)
        mortal.die_after_its_first_picture()
        first = running.result()
        left = items(state, Status.SUBMITTED)
        assert (first.exit_code, first.completed) == (75, 10 - len(left))
        assert [server.lost is None for server in first.servers] == [True, False]
        assert {item.server for item in left} == {default_name(mortal.url)}
        assert 1 <= len(left) <= 2
        mortal.come_back()
        second = run_burst(state, server=servers, template="smoke", poll_seconds=0.1)
        rendered = mortal.close() + Counter(steady.counts()["rendered_by_item"])
    assert (second.exit_code, second.rescued, second.remaining) == (0, 1, 0)
    assert rendered == {f"{number:02}": 1 for number in range(10)}


@pytest.mark.usefixtures("impatient")
def test_a_server_that_comes_back_in_the_same_run_goes_on_with_its_items(tmp_path: Path, steady: Sandbox) -> None:
    state = state_of(tmp_path, 20)
    mortal = Mortal(tmp_path / "server")
    with steady, Threads() as beside:
        servers = [steady.url, mortal.url]
        running = beside.submit(run_burst, state, size=20, server=servers, template="smoke", poll_seconds=0.1)
        try:
            mortal.die_after_its_first_picture()
            (drawn, *_) = [item for item in items(state, Status.SUBMITTED) if item.server == default_name(mortal.url)]
            wait_for_completed(state, 6)
            # So that the run goes on until the other is back.
            steady.hold()
            mortal.come_back()
            wait_until(lambda: drawn.key in {item.key for item in items(state, Status.COMPLETED)}, what="the picture")
        finally:
            steady.change(seconds_per_prompt=0.0)
            steady.release()
        report = running.result()
        rendered = mortal.close() + Counter(steady.counts()["rendered_by_item"])
    assert (report.exit_code, report.completed, report.rescued) == (0, 20, 1)
    assert report.servers[1].lost is None
    assert rendered == {f"{number:02}": 1 for number in range(20)}


def idle_share(sandbox: Sandbox, prompt_ids: Sequence[str]) -> float:
    """How much of the time from its first prompt to its last the server had none, by its own clock."""
    with ComfyUI(sandbox.url) as client:
        entries = [client.history(prompt_id) for prompt_id in prompt_ids]
    spans = sorted((entry.started_at, entry.finished_at) for entry in entries if entry is not None)
    idle = sum((after - before).total_seconds() for (_, before), (after, _) in itertools.pairwise(spans))
    return idle / (spans[-1][1] - spans[0][0]).total_seconds()


def test_runs_that_end_by_the_clock_leave_no_gap_on_the_server(tmp_path: Path) -> None:
    """Bursts of four for a second at a time, until nothing is left."""
    state = state_of(tmp_path, 12)
    endings = []
    with Sandbox(SandboxSettings(seconds_per_prompt=0.25)) as sandbox:
        while not endings or endings[-1] != "done":
            report = run_burst(
                state,
                size=4,
                server=sandbox.url,
                template="smoke",
                poll_seconds=0.2,
                until_done=True,
                max_seconds=1.0,
            )
            endings.append(report.ended)
            assert report.exit_code == 0
            assert report.seconds < 4.0
            if report.ended == "deadline" and report.remaining:
                assert report.counts["submitted"] >= 1, "the server has work until the next run comes"
        done = items(state, Status.COMPLETED)
        assert idle_share(sandbox, [item.prompt_id or "" for item in done]) < 0.15
        assert sandbox.counts()["rendered_by_item"] == {f"{number:02}": 1 for number in range(12)}
    assert endings.count("deadline") >= 2


def test_prompts_ahead_wait_on_the_server_when_a_run_has_ended(tmp_path: Path) -> None:
    state = state_of(tmp_path, 10)
    with Sandbox(SandboxSettings(seconds_per_prompt=PROMPT_SECONDS)) as sandbox:
        run_burst(state, size=3, ahead=4, server=sandbox.url, template="smoke", poll_seconds=0.1)
        assert sandbox.counts()["posts"] >= 3 + 4
        assert sandbox.counts()["posts"] < 10
