"""Servers that are draining: nothing new is sent to them, what they have is collected, others go on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.background import in_background
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation
from support.waiting import wait_until

from orchestrator import add_servers, drain_servers, enable_servers, list_servers, remove_servers
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides
from state.item import Item, Status
from state.open_store import open_store

COMPLETED, PENDING, SUBMITTED = Status.COMPLETED, Status.PENDING, Status.SUBMITTED
POST = "POST /api/prompt"
SLOW, QUICK = "http://slow:8188", "http://quick:8188"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def posts(server: FakeServer) -> int:
    return sum(POST in said for _, said in server.requests)


def test_what_it_has_is_collected_and_nothing_is_sent(tmp_path: Path, clock: HandClock) -> None:
    server = FakeServer(SLOW, clock, lambda _: 10.0)
    simulation = Simulation(tmp_path, clock, [server], items=50)

    def drain_at_the_third(said: str) -> None:
        if said == POST and posts(server) == 3:
            simulation.work.draining = frozenset({SLOW})

    server.fault = drain_at_the_third
    simulation.burst(50)
    assert posts(server) == 3
    counts = simulation.store.counts()
    assert (counts[COMPLETED], counts[PENDING], counts[SUBMITTED]) == (3, 47, 0)
    assert server.begun == 3
    never = [item for item in simulation.store.items() if item.status is PENDING]
    assert {(item.previous_prompt_ids, item.attempts) for item in never} == {((), 0)}
    simulation.work.draining = frozenset()
    simulation.burst(5)
    assert simulation.store.counts()[COMPLETED] == 8, "it goes on once it is enabled"


def test_others_take_what_a_draining_one_would_have_taken(tmp_path: Path, clock: HandClock) -> None:
    """They leave nothing to it, though what it has takes long."""
    slow, quick = FakeServer(SLOW, clock, lambda _: 1000.0), FakeServer(QUICK, clock, lambda _: 10.0)
    simulation = Simulation(tmp_path, clock, [slow, quick], items=20)
    simulation.work.begin(20)
    simulation.work_for(5.0)
    had = posts(slow)
    assert had
    simulation.work.draining = frozenset({SLOW})
    simulation.work_for(20 * 10.0 + 30.0)
    assert simulation.store.counts()[COMPLETED] == 20 - had
    assert posts(slow) == had
    simulation.work_for(2000.0)
    assert simulation.store.counts()[COMPLETED] == 20


def test_one_that_has_nothing_is_not_even_asked(tmp_path: Path, clock: HandClock) -> None:
    """It may be switched off."""
    off = FakeServer(SLOW, clock, lambda _: 1.0, fault=lambda _: "refused")
    quick = FakeServer(QUICK, clock, lambda _: 1.0)
    simulation = Simulation(tmp_path, clock, [off, quick], items=4)
    simulation.work.draining = frozenset({SLOW})
    simulation.burst(4)
    assert simulation.statuses() == [COMPLETED] * 4
    assert not off.requests


def state_of(folder: Path, *, items: int) -> Path:
    state = folder / "state.json"
    with open_store(state, create=True) as store:
        store.add([Item(key=f"{at:02}", status=PENDING, prompt_text="a fox") for at in range(items)])
    return state


def run(state: Path) -> BurstReport:
    """On the servers that are registered."""
    request = Request(state=state, overrides=Overrides(template="smoke"), poll_seconds=0.05, until_done=True)
    return Run(request).execute()


def sent(state: Path) -> int:
    return sum(one.submitted for one in list_servers(state).servers)


@pytest.mark.parametrize("away", ["drained", "removed"])
def test_a_run_at_work_sees_it(tmp_path: Path, away: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever process says so. What was out ends; the run ends too, with the rest due and the reason said."""
    state = state_of(tmp_path, items=20)
    with Sandbox(SandboxSettings(seconds_per_prompt=0.01)) as sandbox:
        add_servers(state, [f"gpu1={sandbox.url}"], window=2)
        sandbox.hold("finish")
        with caplog.at_level(logging.WARNING), in_background(run, state) as end:
            wait_until(lambda: sent(state) == 2, what="its window is full")
            if away == "drained":
                drain_servers(state, ["gpu1"])
            else:
                with open_store(state) as store:
                    (one,) = store.servers().values()
                    store.facts.change_servers(lambda _: [replace(one, removed=True)])
            wait_until(lambda: "gpu1" in caplog.text and "is draining" in caplog.text, what="the run sees it")
            sandbox.release()
            report = end()
        assert report.ended == "done"
        assert report.completed == 2
        assert report.counts[SUBMITTED] == 0
        assert any("gpu1" in note and "draining" in note for note in report.notes)
        if away == "removed":
            return
        assert run(state).completed == 0, "nor does the next one"
        enable_servers(state, ["gpu1"])
        assert run(state).counts[COMPLETED] == 20
        assert len(sandbox.counts()["rendered"]) == 20
    remove_servers(state, ["gpu1"])
