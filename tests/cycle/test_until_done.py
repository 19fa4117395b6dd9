"""`--until-done` and an item about which a server gives no clear answer: the run asks again, after a pause."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.background import in_background
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.clock import Clock
from orchestrator.cycle.pacing import pause_after_vain_burst
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from state.contents import Contents
from state.item import Item, Status
from state.location import Location
from state.open_store import create_from, open_store, parts_of
from state.store import LOGS

BLOCKED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\nConnection: close\r\n\r\nblocked"


class Hurrying(Clock):
    """A hundred times as fast as the real one, also while it waits."""

    def monotonic(self) -> float:
        return 100.0 * super().monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return super().wait(event, seconds / 100.0)


class Scene:
    """Three items, two of which are completed; what a proxy shows of the third one's file is up to the test."""

    def __init__(self, address: str, url: str) -> None:
        self.address, self._url = address, url
        logs = dict.fromkeys(LOGS, ())
        items = [Item(key=f"{number}", status=Status.PENDING, prompt_text="a fox") for number in range(3)]
        create_from(Location.of(address), Contents(settings=None, recipes={}, logs=logs, items=lambda: iter(items)))
        assert self.run(size=2).completed == 2

    def run(self, clock: Clock | None = None, *, stop: threading.Event | None = None, **asked: Any) -> BurstReport:
        overrides = Overrides(template="smoke", servers=(self._url,))
        request = Request(state=Location.of(self.address).path, overrides=overrides, **asked)
        return Run(request, clock=clock, stop=stop).execute()

    def last(self) -> Item:
        with open_store(self.address, read_only=True) as store:
            return next(iter(store.get_many(["2"])))


@pytest.fixture
def server() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def proxy(server: Sandbox) -> Iterator[Proxy]:
    with Proxy(server.url) as running:
        yield running


@pytest.fixture(params=["json", "sqlite"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, proxy: Proxy) -> Scene:
    place = tmp_path / "state.json"
    return Scene(str(place) if request.param == "json" else f"sqlite:///{place}.db", proxy.url)


def test_it_is_asked_for_again_in_the_same_run(scene: Scene, proxy: Proxy, server: Sandbox) -> None:
    proxy.answer("GET /api/view", BLOCKED, times=2)
    report = scene.run(Hurrying(), until_done=True)
    assert (report.ended, report.completed, report.counts.remaining) == ("done", 1, 0)
    assert report.bursts == 3
    assert report.seconds >= pause_after_vain_burst(1) + pause_after_vain_burst(2)
    assert any("left for a later burst" in note for note in report.notes)
    assert server.counts()["posts"] == 3


def test_that_never_becomes_clear_fails_with_its_last_attempt(scene: Scene, proxy: Proxy) -> None:
    proxy.answer("GET /api/view", BLOCKED)
    report = scene.run(Hurrying(), until_done=True)
    assert (report.ended, report.failed, report.exit_code, report.counts.remaining) == ("done", 1, 1, 0)
    assert scene.last().attempts == 3


def test_a_run_of_one_burst_leaves_it_to_the_next_run(scene: Scene, proxy: Proxy) -> None:
    proxy.answer("GET /api/view", BLOCKED, times=1)
    report = scene.run(Hurrying())
    assert (report.bursts, report.completed, scene.last().status) == (1, 0, Status.SUBMITTED)


def test_the_pause_ends_when_it_is_told_to_stop_and_says_what_it_is_for(scene: Scene, proxy: Proxy) -> None:
    proxy.answer("GET /api/view", BLOCKED)
    stop = threading.Event()
    with in_background(scene.run, until_done=True, stop=stop) as end:
        wait_until(lambda: any(holder.waits_for for holder in parts_of(scene.address).holders()))
        (holder,) = parts_of(scene.address).holders()
        assert holder.waits_for == "clear answers about 1 item"
        stop.set()
        report = end()
    assert (report.ended, scene.last().status, scene.last().attempts) == ("stopped", Status.SUBMITTED, 1)
