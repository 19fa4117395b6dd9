"""Whole runs with the server's events, and with everything that can be wrong with them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.proxy import Proxy, http_answer
from support.waiting import wait_until

from orchestrator.cycle.run import run_burst
from orchestrator.errors import LockHeld
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.status import read_status
from state.open_store import parts_of


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(seconds_per_prompt=0.3)) as running:
        yield running


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({key: {"status": "pending", "prompt_text": key} for key in "abc"}))
    return path


def connections(sandbox: Sandbox) -> int:
    return int(sandbox.counts()["requests"].get("GET /ws", 0))


def client_ids(sandbox: Sandbox) -> set[str]:
    """Of every prompt that is in the history."""
    history = requests.get(f"{sandbox.url}/history", timeout=10).json()
    return {entry["prompt"][3]["client_id"] for entry in history.values()}


def test_one_connection_a_run_under_an_id_that_is_kept(state: Path, sandbox: Sandbox) -> None:
    for number in (1, 2, 3):
        assert run_burst(state, size=1, server=sandbox.url, template="smoke").completed == 1
        assert connections(sandbox) == number
    (kept,) = parts_of(state).facts.read().client_ids.values()
    assert client_ids(sandbox) == {kept.client_id}


def test_each_server_has_an_id_of_its_own(state: Path, sandbox: Sandbox) -> None:
    with Sandbox() as other:
        run_burst(state, size=3, server=[sandbox.url, other.url], template="smoke")
    kept = parts_of(state).facts.read().client_ids
    assert len({one.client_id for one in kept.values()}) == len(kept) == 2


def test_only_who_holds_the_lease_listens(state: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.hold("render")
    run = threading.Thread(target=lambda: run_burst(state, size=3, server=sandbox.url, template="smoke"))
    run.start()
    try:
        wait_until(lambda: connections(sandbox) == 1, what="a connection")
        with pytest.raises(LockHeld):
            run_burst(state, server=sandbox.url, template="smoke")
        read_status(state)
        assert connections(sandbox) == 1
    finally:
        sandbox.release()
        run.join()


def test_nothing_to_do_keeps_no_id_and_connects_to_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    state = tmp_path / "state.json"
    state.write_text("{}")
    run_burst(state, server=sandbox.url, template="smoke")
    assert connections(sandbox) == 0
    assert not parts_of(state).facts.read().client_ids


@pytest.mark.parametrize("trouble", ["refused", "silent", "cut"])
def test_without_events_everything_is_as_before(state: Path, sandbox: Sandbox, trouble: str) -> None:
    with Proxy(sandbox.url) as proxy:
        match trouble:
            case "refused":
                proxy.answer("GET /ws", http_answer(403, b"<html>no websockets here</html>"))
            case "silent":
                proxy.hold("GET /ws")
            case "cut":
                proxy.reset_answers("GET /ws", after_bytes=400)
        report = run_burst(state, size=3, server=proxy.url, template="smoke")
        assert any(head.startswith("GET /ws") for head in proxy.requests)
    assert (report.exit_code, report.completed, report.notes) == (0, 3, ())
    assert set(sandbox.counts()["rendered_by_item"].values()) == {1}
