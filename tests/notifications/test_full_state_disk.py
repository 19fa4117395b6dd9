"""`disk.full` where the state itself lies on the full disk: told once, though nothing can be noted there."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.batch_scene import Scene, SetClock
from support.comfyui_loopback import Loopback
from support.mounts import Mounts, fill, needs_root

from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.notifications.receivers import add_receiver
from orchestrator.settings import Overrides
from state.disk import OutOfSpace

pytestmark = needs_root


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Loopback(lambda request: request.reply(204)) as made:
        yield made


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-host"))
    mounts = Mounts(tmp_path)
    yield mounts.tmpfs("state", 256)
    mounts.close()


@pytest.fixture
def scene(disk: Path) -> Iterator[Scene]:
    made = Scene(disk)
    yield made
    made.store.close()


def filled(disk: Path) -> Path:
    """No byte more fits anywhere, also not into the page that the notices end in; the file to remove."""
    ballast = fill(disk)
    (notices,) = disk.rglob("notices.jsonl")
    with notices.open("ab") as stream:
        stream.write(b" " * (-notices.stat().st_size % mmap.PAGESIZE))
    return ballast


def full(scene: Scene) -> None:
    """The end of a run that could write nothing."""
    with scene.run(disk="the disk is full"):
        pass


def add(scene: Scene, hook: Loopback, *on: str) -> None:
    add_receiver(Path(scene.store.location.path), hook.url, clock=scene.clock, on=on or ("disk",))


def told(hook: Loopback) -> list[str]:
    """The ids of what was told."""
    documents = [json.loads(request.body) for request in hook.requests]
    assert {document["type"] for document in documents} <= {"disk.full"}
    return [document["id"] for document in documents]


def test_it_is_told_once_until_the_state_can_be_written_to_again(scene: Scene, hook: Loopback, disk: Path) -> None:
    add(scene, hook)
    ballast = filled(disk)
    full(scene)
    full(scene)
    (first,) = told(hook)
    ballast.unlink()
    full(scene)
    assert list(scene.store.notices.read().occurrences) == [first], "noted as what was told"
    assert told(hook) == [first], "of an output root that is still full"
    assert isinstance(scene.clock, SetClock)
    scene.clock.at += timedelta(days=1)
    scene.end_all()
    scene.run_once()
    ballast = filled(disk)
    full(scene)
    assert len(set(told(hook))) == len(told(hook)) == 2, "it happened again"
    ballast.unlink()


def test_where_the_host_remembers_nothing_either_each_run_tells_it_with_one_id(
    scene: Scene, hook: Loopback, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(disk / "of-host"))
    add(scene, hook)
    ballast = filled(disk)
    full(scene)
    full(scene)
    assert (len(told(hook)), len(set(told(hook)))) == (2, 1)
    ballast.unlink()


def test_a_receiver_that_was_not_reached_is_told_by_the_next_run(scene: Scene, hook: Loopback, disk: Path) -> None:
    answers = [503, 204]
    with Loopback(lambda request: request.reply(answers.pop(0))) as away:
        add(scene, hook)
        add(scene, away)
        ballast = filled(disk)
        full(scene)
        assert any("was not notified of" in note and "503" in note for note in scene.notes)
        full(scene)
        assert (len(told(hook)), len(told(away))) == (1, 2)
        ballast.unlink()


def test_nobody_is_told_who_did_not_ask(scene: Scene, hook: Loopback, disk: Path) -> None:
    add(scene, hook, "done")
    ballast = filled(disk)
    full(scene)
    assert hook.requests == []
    ballast.unlink()


def test_a_run_that_cannot_even_begin_tells_it(scene: Scene, hook: Loopback, disk: Path) -> None:
    add(scene, hook)
    ballast = filled(disk)
    request = Request(state=disk / "state.json", overrides=Overrides(template="smoke", output_dir=disk / "out"))
    for _ in range(2):
        with pytest.raises(OutOfSpace, match="disk is full"):
            Run(request, clock=scene.clock).execute()
    assert len(told(hook)) == 1
    ballast.unlink()
    scene.end_all()
    for _ in range(2):
        Run(request, clock=scene.clock).execute()
    first, second, *others = scene.store.bursts.read()
    assert {first.ended, second.ended} == {"error"}, "these could not record themselves"
    assert "the disk is full; free some space" in (first.reason or "")
    assert [one.ended for one in others] == ["done", "done"], "and are recorded once"
