"""The gallery's index over states: kept between starts, made anew when it is gone, with items that have no batch."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.front_ends import front
from support.gallery_scene import Gallery, fill, finish, gallery_over, png
from support.large_batches import add_large
from support.report_project import NOON, Album
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from orchestrator.web.gallery_rows import Rows
from state.change import Change
from state.item import Item, Status

SIDECAR = (
    "prompt: an owl\nseed: 7\nsteps: 30\nmodel: flux.safetensors\n---\nschema: burst.sidecar/1\ntemplate: txt2img\n"
)


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of items that are written to the index from now on."""
    made: list[str] = []
    real = Rows.put

    def putting(rows: Rows, shelf: Any, key: str, *args: Any, **parts: Any) -> None:
        made.append(key)
        real(rows, shelf, key, *args, **parts)

    monkeypatch.setattr(Rows, "put", putting)
    return made


def index_of(album: Album) -> Path:
    (found,) = album.store.checkpoint_directory.glob("gallery-*.sqlite3")
    return found


def loose(album: Album, key: str, *paths: str, at: timedelta = timedelta(), **said: Any) -> None:
    """A finished item without a batch."""
    album.store.add([Item(key=key, status=Status.PENDING, **said)])
    album.complete(key, *paths, data=png(), at=NOON + at)


# Kept between starts


def test_what_was_taken_in_is_there_at_the_next_start(album: Album, put: list[str]) -> None:
    fill(album, count=3)
    with gallery_over(album) as gallery:
        assert len(gallery.pictures()) == 3
    assert len(put) == 3
    put.clear()
    finish_late(album)
    with gallery_over(album) as gallery:
        assert gallery.pictures() == ["b1/4", "b1/3", "b1/2"], "the first one went, the last one came meanwhile"
        assert gallery.get("/api/gallery")["total"] == 3
    assert put == ["b1/004"]


def finish_late(album: Album) -> None:
    """What happens while no front end runs: one item more, and one that is made again."""
    album.store.add([Item(key="b1/004", status=Status.PENDING, batch="b1", index=4, inputs={"seed": 44})])
    finish(album, "b1", 4, at=NOON + timedelta(hours=1))
    album.store.apply([Change("b1/001", Status.COMPLETED, lambda now: now.start_over())])


def test_a_mark_that_changed_meanwhile_is_seen(album: Album, put: list[str]) -> None:
    fill(album, count=2)
    with gallery_over(album) as gallery:
        assert gallery.pictures(text="is:favorite") == []
    album.store.apply([Change("b1/002", Status.COMPLETED, lambda now: msgspec.structs.replace(now, favourite=True))])
    with gallery_over(album) as gallery:
        assert gallery.pictures(text="is:favorite") == ["b1/2"]
        gallery.http.put("/api/images/b1/1/favorite")
        assert gallery.pictures(text="is:favorite") == ["b1/2", "b1/1"]
        gallery.http.post("/api/images/tags", json={"images": [{"batchId": "b1", "image": "1"}], "add": ["sea"]})
        assert gallery.pictures(text="tag:sea") == ["b1/1"]


def test_a_batch_that_went_meanwhile_is_gone(album: Album) -> None:
    fill(album, "b1", count=1)
    fill(album, "b2", count=1, after=timedelta(hours=1))
    with gallery_over(album) as gallery:
        assert len(gallery.pictures()) == 2
    album.store.apply([Change("b1/001", Status.COMPLETED, lambda now: None)])
    with gallery_over(album) as gallery:
        assert gallery.pictures() == ["b2/1"]


def test_an_index_that_is_deleted_while_it_is_open_is_made_again(gallery: Gallery, album: Album) -> None:
    fill(album, count=2)
    assert len(gallery.pictures()) == 2
    index_of(album).unlink()
    assert len(gallery.pictures()) == 2
    assert index_of(album).exists()


@pytest.mark.parametrize("has_news", [False, True])
def test_an_index_that_is_damaged_while_it_is_open_is_made_again(
    gallery: Gallery, album: Album, has_news: bool
) -> None:
    """Found by who reads, or by who takes in what is new."""
    fill(album, count=2)
    assert len(gallery.pictures()) == 2
    path = index_of(album)
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    path.write_bytes(b"x" * path.stat().st_size)
    opened = gallery.http.app.state.library.index._open.file
    for connection in (opened.reader, opened.writer):
        connection.execute("PRAGMA shrink_memory")  # Otherwise it knows small files by heart.
    if has_news:
        fill(album, "b2", count=1)
    assert len(gallery.pictures()) == 2 + has_news
    assert gallery.get("/api/gallery")["notes"] == []


def test_two_front_ends_share_an_index(album: Album) -> None:
    fill(album, count=2)
    with gallery_over(album) as first, gallery_over(album) as second:
        assert len(first.pictures()) == len(second.pictures()) == 2
        fill(album, "b2", count=1)
        assert len(second.pictures()) == len(first.pictures()) == 3
        first.http.put("/api/images/b1/1/favorite")
        assert second.pictures(text="is:favorite") == first.pictures(text="is:favorite") == ["b1/1"]


def test_results_come_while_the_index_is_built(album: Album) -> None:
    add_large(album, "old", "c" * 600)
    add_large(album, "new", "c" * 600, after=timedelta(days=1))
    with gallery_over(album) as gallery:
        first = gallery.get("/api/gallery")
        assert 0 < first["total"] < 1200
        assert first["indexing"]["total"] == 1200
        assert first["images"][0]["image"] == "600", "the newest ones first"
        wait_until(lambda: gallery.get("/api/gallery")["indexing"] is None, what="the index")
        assert gallery.get("/api/gallery")["total"] == 1200


# What a front end makes


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def test_what_only_the_template_says_is_found(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, template="smoke") as gallery:
        batch = gallery.start(batchCount=2, prompt="a fox")["batchId"]
        gallery.wait_for(batch, "complete")
        for sidecar in gallery.output.rglob("*.txt"):
            sidecar.unlink()
        found = {}
        for text in ("", "width:256", "width>256", "template:smoke"):
            found[text] = gallery.http.get("/api/gallery", params={"text": text}).json()["total"]
        assert found == {"": 2, "width:256": 2, "width>256": 0, "template:smoke": 2}


# Items without a batch


def test_items_without_a_batch_are_shown_opened_and_deleted(gallery: Gallery, album: Album) -> None:
    loose(album, "prompts/one.txt", "one.png", prompt_text="an owl", inputs={"seed": 7})
    loose(album, "ünï?#/two.txt", "two.png", "two_002.png", at=timedelta(minutes=1), prompt_text="two")
    images = gallery.get("/api/gallery")["images"]
    assert [one["file"] for one in images] == ["two_002.png", "two.png", "one.png"]
    assert (images[2]["prompt"], images[2]["seed"], images[2]["batchName"]) == ("an owl", 7, None)
    for one in images:
        assert gallery.http.get(one["url"]).content == png()
        assert gallery.http.get(one["thumbnail"]).headers["content-type"] == "image/webp"
        details = gallery.get(f"/api/batches/{one['batchId']}/images/{one['image']}")
        assert details["path"].endswith(one["file"])
    second = images[0]
    assert gallery.http.put(f"/api/images/{second['batchId']}/{second['image']}/favorite").json()["favorite"]
    assert [one["file"] for one in gallery.get("/api/gallery", text="is:favorite")["images"]] == ["two_002.png"]
    deleted = gallery.delete(f"/api/batches/{second['batchId']}/images/{second['image']}", v=second["version"])
    assert deleted.json()["deleted"] == ["two_002.png"]
    assert gallery.get("/api/gallery")["total"] == 2
    assert gallery.get("/api/gallery/batches")["batches"] == []


def test_what_one_without_a_batch_tells_comes_from_its_sidecar_or_its_file(gallery: Gallery, album: Album) -> None:
    (album.home / "plain.txt").write_text("a plain prompt")
    loose(album, "plain.txt", "plain.png")
    loose(album, "owl.txt", "owl.png", at=timedelta(minutes=1))
    sidecar = album.file("owl.txt", SIDECAR.encode())

    def edit(now: Item) -> Item:
        return msgspec.structs.replace(now, sidecar="owl.txt", outputs=(*now.outputs, sidecar))

    album.store.apply([Change("owl.txt", Status.COMPLETED, edit)])
    images = gallery.get("/api/gallery")["images"]
    assert [one["prompt"] for one in images] == ["an owl", "a plain prompt"]
    assert (images[0]["seed"], images[0]["model"], images[0]["template"]) == (7, "flux.safetensors", "txt2img")
    assert [one["file"] for one in gallery.get("/api/gallery", text="steps:30 owl")["images"]] == ["owl.png"]
    assert gallery.get("/api/gallery", text="plain")["total"] == 1


@pytest.mark.parametrize("address", ["~0/x", "~0/!", "~9/cGxhaW4", "~/cGxhaW4", "~0/cGxhaW4.1", "~0/" + "A" * 3000])
def test_what_is_no_image_without_a_batch_is_not_found(gallery: Gallery, album: Album, address: str) -> None:
    loose(album, "plain", "plain.png")
    assert gallery.http.get(f"/images/{address}").status_code == 404
    assert gallery.http.put(f"/api/images/{address}/favorite").status_code == 404
    assert gallery.http.get("/images/~0/cGxhaW4").status_code == 200


def test_an_item_of_a_batch_has_no_second_address(gallery: Gallery, album: Album) -> None:
    fill(album, count=1)
    assert gallery.http.get("/images/b1/1").status_code == 200
    assert gallery.http.get("/images/~0/YjEvMDAx").status_code == 404, "this is b1/001"


def test_no_batch_call_takes_all_of_them_for_a_batch(gallery: Gallery, album: Album) -> None:
    loose(album, "plain", "plain.png")
    assert gallery.delete("/api/batches/~0").status_code == 404
    assert gallery.http.post("/api/batches/~0/cancel").status_code == 404
    assert gallery.get("/api/gallery")["total"] == 1


# The call


def test_a_wrong_term_is_said_at_the_field(gallery: Gallery) -> None:
    answer = gallery.http.get("/api/gallery", params={"text": "modle:x"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "text")
    assert gallery.http.get("/api/gallery", params={"sort": "best"}).status_code == 400


def test_sorted_and_paged(gallery: Gallery, album: Album) -> None:
    fill(album, count=5)
    assert gallery.pictures(sort="oldest", size=2, page=2) == ["b1/3", "b1/4"]
    assert gallery.pictures(sort="seed", text="seed>42") == ["b1/3", "b1/4", "b1/5"]


@pytest.mark.parametrize(
    ("text", "caret", "start", "offered"),
    [
        ("", 0, 0, ["model:", "lora:", "sampler:"]),
        ("fox st", 6, 4, ["steps:", "state:"]),
        ("fox mo", 2, 0, []),
        ("-ta", 3, 0, ["-tag:"]),
        ("tag:", 4, 0, ["tag:sea", 'tag:"night sky"']),
        ("fox tag:s", 9, 4, ["tag:sea", 'tag:"night sky"']),
        ('tag:"ni', 7, 0, ['tag:"night sky"']),
        ("is:fa", 5, 0, ["is:favorite"]),
        ("model:sd", 8, 0, ["model:sdxl.safetensors"]),
        ("model:sd fox", 8, 0, ["model:sdxl.safetensors"]),
        ("steps>", 6, 0, []),
        ("batch:", 6, 0, ["batch:foxes"]),
        ("state:", 6, 0, ["state:0"]),
    ],
)
def test_completion(gallery: Gallery, album: Album, text: str, caret: int, start: int, offered: list[str]) -> None:
    album.add("b1", [{"model": "sdxl.safetensors", "steps": 20}] * 2, name="foxes", layout="gallery", directory="b1")
    for index, tags in ((1, ("sea", "night sky")), (2, ("sea",))):
        finish(album, "b1", index)
        album.store.apply(
            [
                Change(
                    f"b1/00{index}",
                    Status.COMPLETED,
                    lambda now, tags=tags: msgspec.structs.replace(now, tags=tags),  # type: ignore[misc]
                )
            ]
        )
    found = gallery.get("/api/gallery/completion", text=text, cursor=caret)
    texts = [one["text"] for one in found["suggestions"]]
    assert texts[: max(len(offered), 1)] == offered
    if offered:
        assert found["start"] == start
