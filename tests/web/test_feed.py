"""The feed over HTTP: every batch once, what is under way first, with what its images look like."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.front_ends import Front, front
from support.gallery_scene import Gallery, fill, forget, gallery_over, left_behind
from support.report_project import NOON, Album

from orchestrator.sandbox import Sandbox
from orchestrator.web.feed import SHOWN_IMAGES
from state.change import Change
from state.item import Status
from state.open_store import open_store

DAY = timedelta(days=1)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Gallery]:
    """Five batches, a day apart: b1 is the oldest."""
    album = Album(tmp_path)
    for number in range(1, 6):
        fill(album, f"b{number}", count=2, after=number * DAY, prompt=f"prompt {number}")
    with gallery_over(album) as found:
        yield found


@pytest.fixture
def idle(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, works=False, states=2) as found:
        yield found


def submit(shown: Front, batch: str) -> None:
    """A server has the batch's first item."""
    with open_store(shown.states[0]) as store:
        store.apply(
            [
                Change(
                    f"{batch}/001",
                    Status.PENDING,
                    lambda item: item.submit(prompt_id="p", server="s", at=NOON, fingerprint="f"),
                )
            ]
        )


def ids(batches: list[dict[str, Any]]) -> list[str]:
    return [one["batchId"] for one in batches]


def test_pages_have_each_batch_once_whatever_comes_and_goes_meanwhile(scene: Gallery) -> None:
    first = scene.get("/api/feed", size=2)
    assert ids(first["batches"]) == ["b5", "b4"]
    fill(scene.album, "b6", after=6 * DAY)
    assert scene.delete("/api/batches/b5").status_code == 200
    second = scene.get("/api/feed", size=2, after=first["next"])
    assert ids(second["batches"]) == ["b3", "b2"]
    third = scene.get("/api/feed", size=2, after=second["next"])
    assert (ids(third["batches"]), third["next"]) == (["b1"], None)
    assert ids(scene.get("/api/feed", size=2)["batches"]) == ["b6", "b4"]


def test_a_batch_has_its_images_and_what_they_look_like(scene: Gallery) -> None:
    [batch] = scene.get("/api/feed", size=1)["batches"]
    assert (batch["title"], batch["status"], batch["pictures"]) == ("prompt 5", "complete", 2)
    assert [one["tint"] for one in batch["images"]] == [None, None]
    for image in batch["images"]:
        assert scene.http.get(image["thumbnail"]).status_code == 200
    fill(scene.album, "b6", after=6 * DAY)
    batch = scene.get("/api/feed", size=2)["batches"][1]
    assert batch["shape"] == pytest.approx(64 / 48, abs=0.001)
    for image in batch["images"]:
        assert len(image["tint"]) == 96
        assert len({image["tint"][at : at + 6] for at in range(0, 96, 6)}) == 1  # of one color
    assert batch["images"][0]["tint"] != batch["images"][1]["tint"]


def test_a_page_is_made_once_until_something_changes(scene: Gallery) -> None:
    feed = scene.http.app.state.feed  # type: ignore[attr-defined]
    before = feed.page(size=3)
    assert feed.page(size=3) is before
    fill(scene.album, "b6", after=6 * DAY)
    assert feed.page(size=3) is not before


def test_what_is_under_way_comes_first_and_what_a_server_has_before_that(idle: Front) -> None:
    fox, owl = (idle.start(prompt=prompt, batchCount=2)["batchId"] for prompt in ("a fox", "an owl"))
    elsewhere = idle.start(prompt="a dog", state=1)["batchId"]
    submit(idle, owl)
    found = idle.http.get("/api/feed").json()
    assert ids(found["active"])[0] == owl
    assert set(ids(found["active"])) == {fox, owl, elsewhere}
    assert (found["activeTotal"], found["batches"], found["next"]) == (3, [], None)
    told = {one["batchId"]: one for one in found["active"]}
    assert {told[one]["status"] for one in (fox, elsewhere)} == {"queued"}
    assert (told[owl]["status"], told[owl]["submittedImages"]) == ("generating", 1)
    assert told[fox]["stateName"] != told[elsewhere]["stateName"]
    # The template of these tests says how large images are.
    assert told[fox]["shape"] == 1.0


def test_more_under_way_than_are_shown_first_are_among_the_others(idle: Front) -> None:
    begun = [idle.start(prompt=f"prompt {number}")["batchId"] for number in range(14)]
    found = idle.http.get("/api/feed").json()
    assert (len(found["active"]), found["activeTotal"]) == (12, 14)
    assert sorted(ids(found["active"]) + ids(found["batches"])) == sorted(begun)


def test_a_batch_that_only_its_directory_knows_is_there_to_be_looked_at(tmp_path: Path) -> None:
    album = Album(tmp_path)
    left_behind(album, count=3)
    with gallery_over(forget(album)) as scene:
        [batch] = scene.get("/api/feed")["batches"]
    assert (batch["batchId"], batch["name"], batch["readOnly"], batch["pictures"]) == ("old", "foxes", True, 3)
    assert len(batch["images"]) == 3


def test_a_large_batch_shows_its_first_images(tmp_path: Path) -> None:
    album = Album(tmp_path)
    fill(album, count=SHOWN_IMAGES + 3)
    with gallery_over(album) as scene:
        [batch] = scene.get("/api/feed")["batches"]
    assert [one["number"] for one in batch["images"]] == list(range(1, SHOWN_IMAGES + 1))
    assert batch["pictures"] == SHOWN_IMAGES + 3


def test_a_state_that_cannot_be_read_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    good, bad = Album(tmp_path / "good"), Album(tmp_path / "bad")
    fill(good)
    fill(bad, "b2")
    shutil.rmtree(bad.store.checkpoint_directory)
    bad.state.write_text("{")
    with gallery_over(good, bad) as scene:
        found = scene.get("/api/feed")
    assert ids(found["batches"]) == ["b1"]
    assert str(bad.state) in found["notes"][0]
