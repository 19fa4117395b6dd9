"""A pause from the browser: the API, the button of the page, and the bursts that the front end does not start then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from support.front_ends import Front, front
from support.serving import Served
from web.test_state_page import fill, state
from web.test_supervisor import StandIn, Working, looks, path, put, stand_in

from orchestrator import pause, resume
from orchestrator.sandbox import Sandbox
from state.item import Status
from state.open_store import parts_of

__all__ = ["path", "stand_in"]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def idle(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, works=False) as found:
        yield found


def test_it_is_set_and_lifted_and_others_see_it(idle: Front, sandbox: Sandbox) -> None:
    fill(idle, pending=2)
    assert state(idle)["paused"] is None
    done = idle.http.post("/api/states/0/pause", json={"free": True}).json()
    set_ = parts_of(idle.states[0]).pause()
    assert set_ is not None
    assert (datetime.fromisoformat(done["paused"]), done["takenBack"], done["notes"]) == (set_.at, 0, [])
    assert sandbox.counts()["requests"]["POST /free"] == 1
    assert state(idle)["paused"] == idle.http.get("/api/states").json()[0]["paused"] == done["paused"]
    assert idle.http.post("/api/states/0/pause", json={}).json()["paused"] == done["paused"], "twice is once"
    assert idle.http.post("/api/states/0/resume").json() == {"paused": None, "takenBack": 0, "notes": []}
    assert state(idle)["paused"] is None
    assert parts_of(idle.states[0]).pause() is None


def test_what_cannot_be_paused(idle: Front) -> None:
    for what in ("pause", "resume"):
        answer = idle.http.post(f"/api/states/0/{what}", json={})
        assert (answer.status_code, "has no items" in answer.text) == (400, True), "there is no such file yet"
        assert idle.http.post(f"/api/states/7/{what}", json={}).status_code == 404
    assert not idle.states[0].exists()
    fill(idle, pending=1)
    assert idle.http.post("/api/states/0/pause", json={"free": "yes"}).status_code == 400
    assert idle.http.post("/api/states/0/pause", json={"command": "x"}).status_code == 400


def test_no_burst_is_started_while_it_is_set_and_one_at_once_when_it_is_lifted(stand_in: StandIn, path: Path) -> None:
    pause(path)
    with Working(stand_in, path) as supervisor:
        looks(stand_in)
        assert stand_in.starts() == []
        assert str(supervisor.message(0)).startswith("runs have been paused since ")
        resume(path)
        stand_in.wait_for_starts(1)
        assert supervisor.message(0) is None


def test_one_burst_a_pause_collects_what_is_submitted(stand_in: StandIn, path: Path) -> None:
    """It may stay so, on a server that only another host reaches."""
    put(path, "x", Status.SUBMITTED)
    pause(path, patience_seconds=0.0)
    stand_in.end_with(0)
    with Working(stand_in, path) as supervisor:
        stand_in.wait_for_starts(1)
        looks(stand_in, 40)
        assert len(stand_in.starts()) == 1
        assert str(supervisor.message(0)).startswith("runs have been paused since ")
        resume(path)
        stand_in.wait_for_starts(3)


@pytest.fixture
def paused(serve: Callable[..., Served]) -> Served:
    """A front end whose state has a batch that is due, paused before it was made."""
    served = serve()
    served.made("an owl")
    pause(served.state)
    served.burst("generate", "--prompt", "a fox", "--count", "2", "--name", "foxes", "--queue-only")
    return served


def test_the_page_pauses_and_resumes(open_page: Callable[..., Any], paused: Served) -> None:
    page = open_page("/states", server=paused)
    expect(page.locator("#working")).to_have_text("paused")
    expect(page.locator("#paused")).to_contain_text("Paused since ")
    expect(page.locator("#message")).to_be_hidden()
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#said")).to_have_text("Resumed.")
    expect(page.locator("#working")).to_have_text("all done")
    expect(page.get_by_role("button", name="Resume")).to_be_hidden()
    page.get_by_label("Unload the models too").check()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#said")).to_have_text("Paused.")
    expect(page.locator("#paused")).to_contain_text("Paused since ")
    found = parts_of(paused.state).pause()
    assert found is not None
    assert found.free
