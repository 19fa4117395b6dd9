"""Batches of thousands: what a call costs, what it leaves in memory, and how all of them are had."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.gallery_scene import Gallery
from support.large_batches import Decoded, add_large
from support.report_project import NOON, Album
from support.waiting import wait_until

from orchestrator.web.whole_batch import whole_as_json
from state.change import Change
from state.item import Status

SHOWN = 200
MANY = 2500
MIB = 1 << 20


def progress(gallery: Gallery, name: str = "b") -> Any:
    return gallery.get(f"/api/batches/{name}/progress")


def numbers(answer: Any) -> list[int]:
    return [image["number"] for image in answer["images"]]


def test_of_a_large_batch_progress_shows_what_is_around_the_first_that_is_out(gallery: Gallery, album: Album) -> None:
    add_large(album, "b", "c" * 700 + "f" * 300 + "s" + "p" * 499)
    found = progress(gallery)
    assert numbers(found) == list(range(901, 1101))
    assert (found["firstImage"], found["failedTotal"]) == (901, 300)
    assert found["thumbnails"] == found["progress"]["thumbnails"] == []
    assert found["progress"] == {
        "batchId": "b",
        "totalImages": 1500,
        "completedImages": 700,
        "failedImages": list(range(701, 901)),
        "currentImage": None,
        "status": "generating",
        "thumbnails": [],
    }
    assert found["directory"] == str(album.output / "b")


@pytest.mark.parametrize(
    ("statuses", "first", "count"),
    [
        ("c" * 600 + "p" * 100, 501, 200),  # none is being made: around the next one
        ("c" * 690 + "s" * 10, 591, 110),
        ("s" + "p" * 600, 1, 200),
        ("c" * 700, 1, 200),
    ],
)
def test_where_that_is(gallery: Gallery, album: Album, statuses: str, first: int, count: int) -> None:
    add_large(album, "b", statuses)
    found = progress(gallery)
    assert (found["firstImage"], numbers(found)) == (first, list(range(first, first + count)))
    assert len(found["thumbnails"]) == statuses[first - 1 : first - 1 + count].count("c")


def test_a_batch_of_200_is_shown_whole_in_the_words_of_the_contract(gallery: Gallery, album: Album) -> None:
    add_large(album, "b", "c" * SHOWN)
    add_large(album, "more", "c" * (SHOWN + 1))
    small, large = progress(gallery), progress(gallery, "more")
    assert numbers(small) == list(range(1, SHOWN + 1))
    assert list(small) == [
        "progress",
        "thumbnails",
        "images",
        "madeImages",
        "estimatedSecondsRemaining",
        "name",
        "prompt",
        "title",
        "isRepeatable",
        "axes",
        "parameters",
        "effectiveParameters",
        "directory",
        "message",
        "isWaiting",
        "queuedBehind",
        "running",
        "setAside",
    ]
    assert large.keys() - small.keys() == {"firstImage", "failedTotal"}


def test_the_images_of_a_large_batch_are_counted_once_it_has_ended(gallery: Gallery, album: Album) -> None:
    add_large(album, "b", "c" * (SHOWN + 1))
    add_large(album, "open", "c" * SHOWN + "p")
    assert progress(gallery)["madeImages"] == SHOWN + 1
    assert progress(gallery, "open")["madeImages"] is None


def test_a_progress_call_decodes_what_it_shows(gallery: Gallery, album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    add_large(album, "b", "c" * 1000 + "f" * 500 + "s" + "p" * (MANY - 1501))
    decoded = Decoded(monkeypatch)
    progress(gallery)
    assert decoded.taken() <= 2 * SHOWN + 100 + 10, "those shown, those failed, those that a pace is taken from"
    progress(gallery)
    assert decoded.taken() == 0
    album.store.apply(
        [Change("b/1501", Status.SUBMITTED, lambda item: item.complete(outputs=(), at=NOON, seconds=1.0))]
    )
    decoded.taken()
    found = progress(gallery)
    assert (found["progress"]["completedImages"], found["progress"]["currentImage"]) == (1001, None)
    assert [image["status"] for image in found["images"] if image["number"] in (1500, 1501, 1502)] == [
        "failed",
        "completed",
        "pending",
    ]
    assert decoded.taken() <= 110


def test_one_image_of_many_is_found_without_the_others(
    gallery: Gallery, album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_large(album, "b", "c" * MANY)
    album.file("b/2321.png", b"x")
    decoded = Decoded(monkeypatch)
    assert gallery.http.get("/images/b/2321").content == b"x"
    assert gallery.http.get("/images/b/2322").status_code == 404
    assert decoded.taken() <= 2


def test_the_whole_batch_has_all_of_them(gallery: Gallery, album: Album) -> None:
    add_large(album, "b", "c" * 1000 + "f" * 3 + "c" * 1000, prompt='a ","images":[" fox')
    whole = gallery.get("/api/batches/b")
    assert numbers(whole) == list(range(1, 2004))
    assert (whole["prompt"], whole["status"], whole["failedImages"]) == (
        'a ","images":[" fox',
        "complete",
        [1001, 1002, 1003],
    )
    assert list(whole)[2:5] == ["prompt", "images", "parameters"]


def test_of_the_whole_batch_few_are_in_memory_at_a_time(gallery: Gallery, album: Album) -> None:
    add_large(album, "b", "c" * MANY)
    found = gallery.watched.find("b")
    assert found is not None
    sum(map(len, whole_as_json(found[1])))
    tracemalloc.start()
    try:
        length = sum(map(len, whole_as_json(found[1])))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length > MANY * 100
    assert most < 1.25 * MIB


def parts(gallery: Gallery, **query: Any) -> list[Any]:
    """All parts from a number on."""
    found = [gallery.get("/api/batches/b", **query)]
    while found[-1]["next"] is not None:
        found.append(gallery.get("/api/batches/b", **query | {"from": found[-1]["next"]}))
    return found


def test_it_is_had_in_parts(gallery: Gallery, album: Album) -> None:
    add_large(album, "b", "c" * 300 + "f" * 5 + "p" * 200)
    whole = gallery.get("/api/batches/b")
    found = parts(gallery, count=100)
    assert [len(part["images"]) for part in found] == [100] * 5 + [5]
    assert [image for part in found for image in part["images"]] == whole["images"]
    assert found[0].keys() == whole.keys() | {"next"}
    assert [part["failedImages"] for part in found] == [[], [], [], [301, 302, 303, 304, 305], [], []]
    assert [numbers(part) for part in parts(gallery, status="failed")] == [[301, 302, 303, 304, 305]]
    assert [len(part["images"]) for part in parts(gallery, status="completed", count=299)] == [299, 1]
    assert numbers(gallery.get("/api/batches/b", **{"from": 503})) == [503, 504, 505]
    for wrong in ({"count": 0}, {"count": 501}, {"from": -1}, {"status": "lost"}):
        assert gallery.http.get("/api/batches/b", params=wrong).status_code == 400


def test_items_that_share_a_number_are_in_one_part(gallery: Gallery, album: Album) -> None:
    add_large(album, "b", "p" * 9)
    for key in ("b/003", "b/004", "b/005"):
        album.store.apply([Change(key, Status.PENDING, lambda item: msgspec.structs.replace(item, index=3))])
    assert [numbers(part) for part in parts(gallery, count=3)] == [[1, 2], [3, 3, 3], [6, 7, 8], [9]]
    assert [numbers(part) for part in parts(gallery, count=2)] == [[1, 2], [3, 3, 3], [6, 7], [8, 9]]


def test_a_page_of_the_gallery_decodes_what_it_shows(
    gallery: Gallery, album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_large(album, "b", "c" * 1000)
    decoded = Decoded(monkeypatch)
    looks: list[dict[str, Any]] = []

    def is_indexed() -> bool:
        looks.append(gallery.get("/api/gallery"))
        return looks[-1]["indexing"] is None

    wait_until(is_indexed, what="the index")
    assert looks[-1]["total"] == 1000
    assert decoded.taken() <= 1000 + 60 * len(looks), "each once, for its row"
    for query in ({}, {"text": "fox"}, {"model": "m.safetensors"}, {"state": 0}):
        assert len(gallery.pictures(**query, page=3)) == 60
        assert decoded.taken() <= 60
    add_large(album, "new", "c", after=timedelta(days=1))
    decoded.taken()
    assert gallery.pictures()[0] == "new/1"
    assert decoded.taken() <= 60 + 2, "of those on the page, and of what is new"


def test_what_was_looked_at_is_not_kept(gallery: Gallery, album: Album) -> None:
    """Beside the store, which has the records: its index of a batch is a few bytes an item."""

    def look(name: str) -> None:
        progress(gallery, name)
        gallery.get(f"/api/batches/{name}")
        gallery.pictures()
        gallery.pictures(text="fox")
        gc.collect()

    add_large(album, "small", "c" * 10 + "p")
    look("small")
    add_large(album, "b", "c" * 1600 + "p" * 400)
    gallery.watched.states[0].refresh()
    tracemalloc.start()
    try:
        look("b")
        # Not the table of all interned strings of the process, which grows at once when pathlib adds the next.
        own = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, "*/pathlib.py")])
    finally:
        tracemalloc.stop()
    assert sum(trace.size for trace in own.traces) < MIB
