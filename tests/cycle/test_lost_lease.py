"""A run whose state was taken over by another host, as after a long sleep, sends nothing and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.leases import begin
from support.simulated import Simulation

from orchestrator.errors import LockHeld
from state.item import Status

POST = "POST /api/prompt"


def lose(simulation: Simulation) -> Path:
    """Another host publishes its burst in this state."""
    begin(simulation.lease, "ours")
    holder = simulation.store.checkpoint_directory / "holder.json"
    holder.write_bytes(holder.read_bytes().replace(b'"ours"', b'"theirs"'))
    return holder


def test_an_intent_that_is_durable_already_is_not_sent_and_left_to_the_other_run(tmp_path: Path) -> None:
    clock = HandClock()
    server = FakeServer("http://gpu:8188", clock, lambda _: 2.0)
    simulation = Simulation(tmp_path, clock, [server], items=3)
    holder = lose(simulation)
    with pytest.raises(LockHeld, match="burst theirs"):
        simulation.burst(3)
    assert POST not in [asked for _, asked in server.requests]
    left = list(simulation.store.items())
    assert [(item.status, item.accepted) for item in left] == [(Status.SUBMITTED, False)] * 3
    simulation.close()
    assert holder.exists(), "it is theirs"
    holder.unlink()
    other = Simulation(tmp_path, clock, [server], items=0)
    other.burst(3)
    assert other.statuses() == [Status.COMPLETED] * 3
    assert len(server.accepted) == 3
    other.close()


def test_what_finished_meanwhile_is_not_recorded_by_the_run_that_lost_it(tmp_path: Path) -> None:
    clock = HandClock()
    server = FakeServer("http://gpu:8188", clock, lambda _: 2.0)
    simulation = Simulation(tmp_path, clock, [server], items=1)
    (worker,) = simulation.workers
    simulation.work.begin(1)
    worker.turn()
    assert simulation.statuses() == [Status.SUBMITTED]
    lose(simulation)
    with pytest.raises(LockHeld):
        simulation.lease.guard_post("0000.txt")  # it is noticed
    clock.seconds += 60
    with pytest.raises(LockHeld):
        simulation.burst(1)
    (item,) = simulation.store.items()
    with pytest.raises(LockHeld):
        worker.context.transitions.put_back(item)
    assert simulation.statuses() == [Status.SUBMITTED]
    simulation.close()


def test_no_intent_is_written_by_a_run_that_knows_that_it_lost_it(tmp_path: Path) -> None:
    clock = HandClock()
    simulation = Simulation(tmp_path, clock, [FakeServer("http://gpu:8188", clock, lambda _: 2.0)], items=2)
    lose(simulation)
    with pytest.raises(LockHeld):
        simulation.lease.guard_post("0000.txt")
    with pytest.raises(LockHeld):
        simulation.burst(2)
    assert simulation.statuses() == [Status.PENDING] * 2
    simulation.close()
