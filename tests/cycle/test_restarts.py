"""A server that goes down in mid-burst, that an item brings down, or that forgets what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fake_faults import Fault
from support.fake_queue import Prompt
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.cycle.context import Options
from orchestrator.errors import ServerStalled
from orchestrator.retries import retry
from state.item import Item, Status

URL = "http://gpu:8188"
COMPLETED, FAILED, PENDING = Status.COMPLETED, Status.FAILED, Status.PENDING
OFTEN_SECONDS, NEVER_SECONDS = 5.0, 1e6


@dataclass
class Fragile(FakeServer):
    """Goes down for ten seconds at the end of each prompt of these items."""

    bad: Sequence[str] = ()
    up_at: float = 0.0

    def __post_init__(self) -> None:
        self.fault = self._refuse

    def finish(self, prompt: Prompt, how: str) -> None:
        if prompt.extra_data["burst"]["item"] in self.bad:
            self.queue, self.history = [], {}
            self.up_at = self.clock.seconds + 10.0
        else:
            super().finish(prompt, how)

    def _refuse(self, asked: str) -> Fault:
        return "refused" if self.clock.seconds < self.up_at else None


@dataclass
class Forgetful(FakeServer):
    """Takes every prompt and forgets it."""

    def add(self, prompt: Prompt) -> None:
        self.accepted[prompt.prompt_id] = prompt


def run(folder: Path, server: FakeServer, *, items: int, sweep_seconds: float = OFTEN_SECONDS) -> Simulation:
    options = Options(sweep_seconds=sweep_seconds)
    simulation = Simulation(folder, server.clock, [server], items=items, options=options)
    try:
        simulation.burst(10)
    finally:
        simulation.close()
    return simulation


def items_of(simulation: Simulation) -> list[Item]:
    return list(simulation.store.items())


def sent(server: FakeServer, key: str) -> int:
    return sum(prompt.extra_data["burst"]["item"] == key for prompt in server.accepted.values())


@pytest.mark.parametrize(("sweep_seconds", "times"), [(OFTEN_SECONDS, 2), (NEVER_SECONDS, 3)], ids=["seen", "unseen"])
def test_an_item_that_brings_the_server_down_is_set_aside_and_the_others_go_on(
    tmp_path: Path, sweep_seconds: float, times: int
) -> None:
    """Where nothing is looked up for want of news, its first time is not noticed; what was lost before is watched."""
    server = Fragile(URL, HandClock(), lambda _: 30.0, bad=["0000.txt"])
    simulation = run(tmp_path, server, items=3, sweep_seconds=sweep_seconds)
    assert [item.status for item in items_of(simulation)] == [FAILED, COMPLETED, COMPLETED]
    assert [(item.crashes, item.attempts) for item in items_of(simulation)] == [(2, 0), (0, 0), (0, 0)]
    assert [sent(server, item.key) for item in items_of(simulation)] == [times, times + 1, times + 1]
    tally = simulation.tally
    assert (tally.completed, tally.failed, tally.put_back) == (2, 1, 3 * times - 1)
    assert any("after the next time it is set aside" in note for note in tally.notes)
    error = items_of(simulation)[0].error
    assert error is not None
    assert error.kind == "quarantine"
    assert all(word in error.message for word in ("2 times", URL, "`burst retry 0000.txt`"))

    # Whatever made it bring the server down is gone.
    server.bad = ()
    retry(tmp_path / "state.json", ["0000.txt"])
    simulation = run(tmp_path, server, items=0)
    assert [(item.status, item.crashes) for item in items_of(simulation)] == [(COMPLETED, 0)] * 3


def test_of_two_items_that_bring_it_down_each_has_its_two_times(tmp_path: Path) -> None:
    """What the third loses by them is no reason to end the burst."""
    server = Fragile(URL, HandClock(), lambda _: 30.0, bad=["0000.txt", "0001.txt"])
    simulation = run(tmp_path, server, items=3)
    assert [(item.status, item.crashes) for item in items_of(simulation)] == [(FAILED, 2), (FAILED, 2), (COMPLETED, 0)]


def test_a_server_that_forgets_whatever_it_is_given_is_not_fed_for_ever(tmp_path: Path) -> None:
    clock = HandClock()
    forgetful = Forgetful(URL, clock, lambda _: 2.0)
    with pytest.raises(ServerStalled, match="forgot it each time"):
        run(tmp_path, forgetful, items=2)
    assert max(sent(forgetful, key) for key in ("0000.txt", "0001.txt")) == 4
    simulation = run(tmp_path, FakeServer(URL, clock, lambda _: 2.0), items=0)
    assert [(item.status, item.attempts) for item in items_of(simulation)] == [(COMPLETED, 0)] * 2


@pytest.mark.parametrize("health", ["sick", "stalled"])
def test_a_restart_that_burst_advised_is_blamed_on_no_item(tmp_path: Path, health: str) -> None:
    """However often that is followed; a crash of what was sent after the advice counts."""
    clock = HandClock()
    server = FakeServer(URL, clock, lambda _: 30.0)
    for _ in range(3):
        items, options = 0 if server.accepted else 2, Options(sweep_seconds=1.0)
        simulation = Simulation(tmp_path, clock, [server], items=items, options=options)
        simulation.work.begin(2)
        for _ in range(30):
            clock.seconds += max(0.1, simulation.workers[0].turn())
            if any(item.seen_running for item in simulation.store.items()):
                break
        assert any(item.seen_running for item in simulation.store.items())
        at = clock.now()
        simulation.store.facts.change_health(
            URL, lambda now, at=at: now.advising_restart(health, "it hangs", at=at), at=at
        )
        simulation.close()
        server.restart()
    simulation = run(tmp_path, server, items=0)
    assert [(item.status, item.crashes, item.attempts) for item in items_of(simulation)] == [(COMPLETED, 0, 0)] * 2
