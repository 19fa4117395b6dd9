"""Two runs on one state in a database, with items whose outputs would have one name: nothing is overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation
from support.state_scenes import change, start_over

from orchestrator.errors import OutputRefused
from state.item import Item, Status
from state.open_store import open_store


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[tuple[Simulation, Simulation]]:
    """Both replace whatever files are there that are no item's."""
    address, clock = f"sqlite:///{tmp_path}/state.db", HandClock()
    with open_store(address, create=True, clock=clock) as store:
        store.add([Item(key=key, status=Status.PENDING, filename="fox.txt", prompt_text=key) for key in "xyz"])
        change(store, "z", lambda now: now.cancel())
    both = []
    for name in "ab":
        (tmp_path / name).mkdir()
        server = FakeServer(f"http://{name}:1", clock, lambda _: 1.0)
        run = Simulation(
            tmp_path / name, clock, [server], items=0, state=address, output=tmp_path / "output", overwrite=True
        )
        both.append(run)
    yield both[0], both[1]
    for run in both:
        run.close()


def files(tmp_path: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (tmp_path / "output").iterdir()}


def test_the_second_one_fails_and_says_who_has_the_name(runs: tuple[Simulation, Simulation], tmp_path: Path) -> None:
    a, b = runs
    a.work.begin(1)
    a.work_for(0.1)
    assert a.store.get("x").status is Status.SUBMITTED
    b.burst(1)
    y = b.store.get("y")
    assert (y.status, y.attempts) == (Status.FAILED, 0)
    assert y.error is not None
    assert y.error.kind == OutputRefused.kind
    assert y.error.message == (
        "x is saved under the same name; give one of the two another filename or subfolder, then `burst retry`"
    )
    assert b.servers[0].accepted == {}
    a.work_for(5)
    assert a.store.get("x").status is Status.COMPLETED
    assert files(tmp_path) == {"fox.txt": "x"}


def test_also_when_the_first_one_is_completed_since_the_other_run_began(
    runs: tuple[Simulation, Simulation], tmp_path: Path
) -> None:
    a, b = runs
    a.burst(1)
    b.burst(1)
    assert b.store.get("y").status is Status.FAILED
    assert files(tmp_path) == {"fox.txt": "x"}


def test_a_place_that_was_given_up_is_taken_by_the_next_and_the_first_is_told(
    runs: tuple[Simulation, Simulation], tmp_path: Path
) -> None:
    a, b = runs
    a.burst(1)
    change(b.store, "x", start_over)
    change(b.store, "x", lambda now: now.cancel())
    b.burst(1)
    assert b.store.get("y").status is Status.COMPLETED
    assert files(tmp_path) == {"fox.txt": "y"}
    change(b.store, "x", start_over)
    a.burst(1)
    assert a.store.get("x").status is Status.FAILED
    assert files(tmp_path) == {"fox.txt": "y"}


def test_the_others_of_the_burst_go_on(runs: tuple[Simulation, Simulation], tmp_path: Path) -> None:
    a, b = runs
    a.work.begin(1)
    a.work_for(0.1)
    b.store.add([Item(key="other", status=Status.PENDING, filename="other.txt", prompt_text="other")])
    b.burst(2)
    assert [b.store.get(key).status for key in ("y", "other")] == [Status.FAILED, Status.COMPLETED]
    a.work_for(5)
    assert files(tmp_path) == {"fox.txt": "x", "other.txt": "other"}
