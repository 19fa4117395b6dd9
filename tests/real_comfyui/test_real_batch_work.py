"""Batches at work on a real ComfyUI: killed and resumed, queued beside a burst, overtaken, cancelled, watched."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from support.comfyui_loopback import Loopback
from support.real_graphs import new_seeds, slow, text
from support.real_scene import ROOT, Scene, entries, finish, queued, renders
from support.real_server import embedded, seed_of
from support.waiting import wait_until

from orchestrator.batches.sidecar_text import from_text
from state.item import Item, Status

COUNT, KILLS = 100, 9


@pytest.fixture
def asked(scene: Scene) -> Callable[..., list[str]]:
    """A workflow in which each picture takes a second or more, and what asks for a batch of it."""
    scene.template.write_text(json.dumps(slow(blurs=6) | text()))

    def ask(prompt: str, *, count: int, queue_only: bool = False, priority: str = "normal") -> list[str]:
        said = ["--template", str(scene.template), "--prompt", prompt, "--count", str(count), "--priority", priority]
        return [*said, "--seed", str(new_seeds(1)[0]["seed"]), *(["--queue-only"] if queue_only else [])]

    return ask


def batch_of(scene: Scene, prompt: str) -> list[Item]:
    """The items of this prompt, by their numbers."""
    return sorted((item for item in scene.items().values() if item.prompt_text == prompt), key=lambda item: item.key)


def at_work(url: str, scene: Scene, *, waiting: int) -> tuple[str, list[str]]:
    """Wait until one of the scene's runs there and so many or more wait: which."""

    def look() -> tuple[str, list[str]] | None:
        if not scene.state.exists():
            return None
        runs, waits = queued(url, scene)
        return (runs[0], waits) if runs and len(waits) >= waiting else None

    found = wait_until(look, what=f"one runs and {waiting} wait")
    assert found is not None
    return found


def executed(url: str, scene: Scene) -> list[str]:
    """Keys in the order in which the server began with them."""
    begun = [(entry["status"]["messages"][0][1]["timestamp"], key) for key, entry in entries(url, scene)]
    return [key for _, key in sorted(begun)]


def messages(entry: dict[str, Any]) -> list[str]:
    return [name for name, _ in entry["status"]["messages"]]


def test_100_pictures_under_nine_kills(scene: Scene, server_url: str) -> None:
    first = new_seeds(1)[0]["seed"]
    said = ("--template", "smoke", "--prompt", "a house", "--count", str(COUNT), "--seed", str(first))
    at_work = scene.generating(server_url, *said)
    for kill in range(1, KILLS + 1):
        with at_work as process:
            wait_until(
                lambda most=kill * COUNT // (KILLS + 1): len(list(scene.output.rglob("*.png"))) >= most,
                what=f"enough pictures for kill {kill}",
            )
            process.kill()
            assert process.wait() == -9
        at_work = scene.running(server_url, "--until-done")
    with at_work as process:
        assert finish(process).code == 0

    (directory,) = scene.output.iterdir()
    pictures = sorted(directory.glob("*.png"))
    assert [path.name for path in pictures] == [f"image_{number:03}.png" for number in range(1, COUNT + 1)]
    for number, path in enumerate(pictures, 1):
        graph = embedded(path.read_bytes())
        assert graph is not None
        assert seed_of(graph) == first + number - 1
        assert from_text((directory / f"prompt_{number:03}.txt").read_text())[0]["seed"] == first + number - 1
    assert scene.counts() == {Status.COMPLETED: COUNT}
    assert scene.say("verify").report["problems"] == []
    assert renders(server_url, scene) == dict.fromkeys(scene.items(), 1)
    assert len(entries(server_url, scene)) == COUNT


def test_a_batch_queued_beside_a_burst_is_made_by_it(
    scene: Scene, server_url: str, asked: Callable[..., list[str]]
) -> None:
    assert scene.generate(server_url, *asked("first", count=3, queue_only=True)).code == 0
    with scene.running(server_url, "--until-done") as process:
        at_work(server_url, scene, waiting=1)
        said = scene.generate(server_url, *asked("second", count=2, queue_only=True))
        assert (said.code, said.report["remaining"], process.poll()) == (0, 2, None)
        assert finish(process).report["completed"] == 5
    assert scene.counts() == {Status.COMPLETED: 5}
    assert executed(server_url, scene) == [item.key for name in ("first", "second") for item in batch_of(scene, name)]


def test_an_urgent_batch_overtakes_what_waits_on_the_server(
    scene: Scene, server_url: str, asked: Callable[..., list[str]]
) -> None:
    with scene.generating(server_url, *asked("first", count=8)) as process:
        at_work(server_url, scene, waiting=4)
        said = scene.generate(server_url, *asked("urgent", count=2, queue_only=True, priority="urgent"))
        runs, waits = at_work(server_url, scene, waiting=3)
        assert said.code == 0, said.words
        assert finish(process).code == 0
        assert scene.run(server_url, "--until-done").code == 0
    order = executed(server_url, scene)
    urgent = [item.key for item in batch_of(scene, "urgent")]
    where = order.index(urgent[0])
    assert order[where : where + 2] == urgent
    # One that waits may begin before the burst has heard of them.
    assert where <= order.index(runs) + 2
    assert len(set(waits) & set(order[where + 2 :])) >= 2
    assert renders(server_url, scene) == dict.fromkeys(order, 1)
    assert len(order) == 10


def test_cancelled_from_a_second_process(scene: Scene, server_url: str, asked: Callable[..., list[str]]) -> None:
    """Two small pictures are finished, a large one runs, five wait."""
    template = asked("", count=1)[:2]
    rows = [{"prompt": "a house", "width": side, "height": side} for side in (64, 64, *[2048] * 6)]
    (scene.directory / "l.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with Loopback(lambda request: request.reply(204)) as receiver:
        said = (*template, "--jsonl", "l.jsonl", "--notify", receiver.url)
        with scene.generating(server_url, *said) as process:
            wait_until(lambda: scene.state.exists() and scene.counts()[Status.COMPLETED] == 2, what="two are finished")
            runs, waits = at_work(server_url, scene, waiting=1)
            items = batch_of(scene, "a house")
            assert (runs, waits[0]) == (items[2].key, items[3].key)
            assert scene.say("cancel", str(items[0].batch)).code == 0
            ended = finish(process, seconds=30)

    assert (ended.code, ended.report["remaining"]) == (0, 0)
    kept, rest = items[:2], items[2:]
    assert [item.status for item in batch_of(scene, "a house")] == [Status.COMPLETED] * 2 + [Status.CANCELLED] * 6
    assert queued(server_url, scene) == ([], [])
    assert renders(server_url, scene) == {item.key: 1 for item in kept}
    history = dict(entries(server_url, scene))
    assert history.keys() - {item.key for item in kept} == {rest[0].key}, "what waited was deleted"
    assert "execution_interrupted" in messages(history[rest[0].key])
    assert sorted(path.name for path in scene.output.rglob("*.png")) == ["image_001.png", "image_002.png"]
    assert scene.say("batches", "show", str(items[0].batch)).report["standing"] == "cancelled"
    assert [json.loads(request.body)["kind"] for request in receiver.requests] == ["batch.cancelled"]


def test_cancelling_one_batch_interrupts_no_other(
    scene: Scene, server_url: str, asked: Callable[..., list[str]]
) -> None:
    assert scene.generate(server_url, *asked("wanted", count=2, queue_only=True)).code == 0
    unwanted = scene.generate(server_url, *asked("unwanted", count=4, queue_only=True)).report["batch"]
    wanted = [item.key for item in batch_of(scene, "wanted")]
    with scene.running(server_url, "--until-done") as process:
        runs, _ = at_work(server_url, scene, waiting=2)
        assert runs in wanted
        assert scene.say("cancel", unwanted).code == 0
        assert finish(process).code == 0
    assert {item.status for item in scene.batch(unwanted)} == {Status.CANCELLED}
    assert [(item.status, item.attempts) for item in batch_of(scene, "wanted")] == [(Status.COMPLETED, 0)] * 2
    assert executed(server_url, scene) == wanted, "what waited was deleted, what ran was not interrupted"


def test_its_progress_is_told_while_it_works(scene: Scene, server_url: str, asked: Callable[..., list[str]]) -> None:
    assert scene.generate(server_url, *asked("first", count=1)).code == 0
    with scene.generating(server_url, *asked("second", count=3)) as process:
        wait_until(lambda: batch_of(scene, "second"), what="the batch is there")
        name = str(batch_of(scene, "second")[0].batch)
        at_work(server_url, scene, waiting=1)
        listed = scene.say("status").report["batches"]
        watched = subprocess.run(
            scene.command("status", name, "--watch", "--json", "--state", str(scene.state)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert finish(process).code == 0
    assert [(one["batch"], one["standing"]) for one in listed] == [(name, "active")]
    assert listed[0]["seconds_left"] > 0
    told = [json.loads(line) for line in watched.stdout.splitlines()]
    assert len(told) >= 3
    left = [one["remaining"] for one in told]
    assert left == sorted(left, reverse=True)
    pace = scene.say("status").report["seconds_per_item"]
    assert all(one["seconds_left"] == pytest.approx(one["remaining"] * pace, rel=0.9) for one in told)
    assert (told[-1]["percent"], told[-1]["remaining"], told[-1]["standing"]) == (100, 0, "done")
