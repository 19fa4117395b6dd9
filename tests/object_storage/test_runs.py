"""Runs that save to object storage: killed, beside one another, refused, and while the storage is away."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_transport import FakeServer
from support.hand_clock import HandClock, PassingClock
from support.object_storage import SECRET, Scene
from support.projects import Project
from support.simulated import Simulation

from orchestrator.cycle.storage_patience import LONGEST_SECONDS, StoragePatience
from orchestrator.sandbox import Sandbox
from orchestrator.verify import verify_outputs
from state.item import Status


@pytest.fixture(autouse=True)
def _staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


class Storm(PassingClock):
    """A clock on which waiting passes time, and in which something happens after so many seconds."""

    def __init__(self, clock: HandClock, seconds: float, happens: Callable[[], None]) -> None:
        super().__init__(clock)
        self._seconds, self._happens = seconds, happens

    def wait(self, event: threading.Event, seconds: float) -> bool:
        is_set = super().wait(event, seconds)
        if self.monotonic() >= self._seconds:
            self._happens()
        return is_set


def simulated(
    scene: Scene, folder: Path, *, back_after: float, deadline: float | None = None, stop: threading.Event | None = None
) -> Simulation:
    """Three items; the storage is away, until so many seconds have been waited."""
    clock = HandClock()
    scene.front.is_away = True
    patience = StoragePatience(
        Storm(clock, back_after, lambda: setattr(scene.front, "is_away", False)),
        deadline=deadline,
        stop=stop or threading.Event(),
    )
    server = FakeServer("http://a:1", clock, lambda _: 1.0)
    return Simulation(folder, clock, [server], items=3, output=scene.root, patience=patience)


def test_a_storage_that_is_away_is_waited_for(scene: Scene, tmp_path: Path) -> None:
    simulation = simulated(scene, tmp_path, back_after=40.0)
    simulation.burst(3)
    assert simulation.statuses() == [Status.COMPLETED] * 3
    assert [item.attempts for item in simulation.store.items()] == [0] * 3
    assert simulation.clock.seconds >= 40.0
    assert len(scene.objects.keys()) == 3
    simulation.close()


@pytest.mark.parametrize(("deadline", "most"), [(30.0, 30.0), (None, LONGEST_SECONDS)])
def test_not_longer_than_the_run_has_and_nobody_is_charged(
    scene: Scene, tmp_path: Path, deadline: float | None, most: float
) -> None:
    simulation = simulated(scene, tmp_path, back_after=100_000.0, deadline=deadline)
    simulation.burst(3)
    assert simulation.statuses() == [Status.PENDING] * 3
    assert [item.attempts for item in simulation.store.items()] == [0] * 3
    assert simulation.clock.seconds == pytest.approx(most, abs=5.0)
    assert simulation.work.set_aside.passes
    simulation.close()


def test_a_run_that_is_to_stop_waits_no_longer(scene: Scene, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    simulation = simulated(scene, tmp_path, back_after=100_000.0, stop=stop)
    simulation.burst(3)
    assert simulation.statuses() == [Status.PENDING] * 3
    assert simulation.clock.seconds < 60.0
    simulation.close()


def test_away_once_all_is_rendered_the_items_stay_submitted_for_the_next_run(scene: Scene, tmp_path: Path) -> None:
    simulation = simulated(scene, tmp_path, back_after=100_000.0, deadline=50.0)
    scene.front.is_away = False
    scene.front.before_write = lambda path: setattr(scene.front, "is_away", True)
    simulation.burst(3)
    assert Status.FAILED not in simulation.statuses()
    assert Status.SUBMITTED in simulation.statuses()
    simulation.close()
    scene.front.is_away, scene.front.before_write = False, lambda path: None
    again = Simulation(tmp_path, simulation.clock, simulation.servers, items=0, output=scene.root)
    again.burst(3)
    assert again.statuses() == [Status.COMPLETED] * 3
    assert len(simulation.servers[0].accepted) == 3
    again.close()


def test_refused_keys_set_the_items_aside(scene: Scene, tmp_path: Path) -> None:
    simulation = simulated(scene, tmp_path, back_after=0.0)
    scene.front.is_away = False
    scene.front.status, scene.front.code = 403, "InvalidAccessKeyId"
    simulation.burst(3)
    assert simulation.statuses() == [Status.PENDING] * 3
    assert not simulation.work.set_aside.passes
    (record,) = simulation.work.set_aside.records()
    assert record.output == str(scene.root)
    assert "check AWS_ACCESS_KEY_ID" in record.reason
    assert simulation.clock.seconds < 60.0
    simulation.close()


def test_a_run_killed_between_put_and_checkpoint_loses_and_repeats_nothing(scene: Scene, tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        project = Project(tmp_path, server=sandbox.url, count=3, output=scene.root)  # type: ignore[arg-type]
        killed, started = threading.Event(), threading.Event()

        def kill(path: str) -> None:
            if not killed.is_set() and started.wait(30):
                killed.set()
                process.signal(signal.SIGKILL)

        scene.front.after_write = kill
        with project.start_run("--items", "3") as process:
            started.set()
            assert process.end().code == 128 + signal.SIGKILL
        assert killed.is_set()
        there = scene.objects.keys()
        assert there
        assert project.count(Status.COMPLETED) == 0
        ended = project.run("--items", "3")
        assert ended.code == 0, ended.err
        assert project.statuses() == ["completed"] * 3
        assert set(sandbox.counts()["rendered_by_item"].values()) == {1}
    assert len(scene.objects.keys()) == 3
    assert verify_outputs(project.state).problems == ()
    assert project.burst("verify").code == 0
    kept = "".join(
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.suffix in (".json", ".jsonl")
    )
    assert SECRET not in kept + ended.out + ended.err
    assert json.loads(ended.out)["output_dirs"] == {str(scene.root): 3}
