"""The gallery: every batch and picture of every state, found by what they are, deleted when that is wanted."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from support.gallery_scene import PROMPT, Gallery, fill, finish, forget, gallery_over, left_behind, png
from support.large_batches import Decoded, add_large
from support.page_steps import finish_one
from support.report_project import NOON, Album
from support.serving import Served
from support.waiting import wait_until

from orchestrator.batches import batch_info
from orchestrator.batches.sidecars import read_reproduction
from orchestrator.sandbox import Sandbox
from orchestrator.verify import verify_outputs
from orchestrator.web import orphaned_batches as orphaned_batches
from orchestrator.web.gallery_rows import ImageRow, Rows, ShelfRow
from state.batch import EndRecord
from state.change import Change
from state.item import Item, OutputRecord, Status
from state.open_store import open_store

HOUR = timedelta(hours=1)
SIDECAR = """prompt: a fox in the snow
negative: blurry
seed: {seed}
steps: 20
cfg: 7.5
model: sdxl.safetensors
---
schema: burst.sidecar/1
template: txt2img-sdxl
server: http://gpu:8188
"""


def with_sidecar(album: Album, name: str, index: int, *, text: str = SIDECAR) -> None:
    """The item's sidecar, as bursts write it."""
    key, path = f"{name}/{index:03d}", f"batches/{name}/prompt_{index:03d}.txt"
    output = album.file(path, text.format(seed=40 + index).encode())

    def edit(item: Item) -> Item:
        return msgspec.structs.replace(item, sidecar=path, outputs=(*item.outputs, output))

    album.store.apply([Change(key, album.store.get(key).status, edit)])


def items(album: Album) -> dict[str, Item]:
    store = open_store(album.state, read_only=True)
    try:
        return {item.key: item for item in store.items()}
    finally:
        store.close()


# What is there


def test_pictures_of_all_batches_newest_first(gallery: Gallery, album: Album) -> None:
    fill(album, "b1", count=2)
    fill(album, "b2", count=1, after=HOUR)
    album.add("cli", [{"seed": 7}], directory="20300101_140000", created_at=NOON)
    album.complete("cli/001", "20300101_140000/image.png", data=png(), at=NOON + timedelta(seconds=90))
    assert gallery.pictures() == ["b2/1", "b1/2", "cli/1", "b1/1"]


def test_all_that_is_known_of_a_picture(gallery: Gallery, album: Album) -> None:
    fill(album, count=1, model="sdxl.safetensors", steps=30, negative="blurry")
    (image,) = gallery.get("/api/gallery")["images"]
    assert image["prompt"] == "a fox in the snow"
    assert (image["seed"], image["model"], image["seconds"]) == (41, "sdxl.safetensors", 3.0)
    assert image["parameters"] == {"model": "sdxl.safetensors", "steps": 30, "negative": "blurry"}
    assert image["completedAt"] == "2030-01-01T12:01:00Z"
    assert gallery.http.get(image["url"]).content == (album.output / image["file"]).read_bytes()
    assert gallery.http.get(image["thumbnail"]).status_code == 200


def test_what_the_template_says_is_read_from_one_sidecar_of_the_batch(gallery: Gallery, album: Album) -> None:
    """Its seed and what the item was told belong to that one picture alone."""
    fill(album, count=2)
    with_sidecar(album, "b1", 1)
    second, first = gallery.get("/api/gallery")["images"]
    assert (second["model"], second["seed"], first["seed"]) == ("sdxl.safetensors", 42, 41)
    assert second["parameters"] == {"negative": "blurry", "steps": 20, "cfg": 7.5, "model": "sdxl.safetensors"}
    assert gallery.pictures(model="sdxl.safetensors", text="blurry") == ["b1/2", "b1/1"]


def test_what_one_row_of_a_list_was_told_is_not_said_of_the_others(gallery: Gallery, album: Album) -> None:
    album.add("b1", [{"seed": 41, "steps": 20}, {"seed": 42}], layout="gallery", directory="batches/b1")
    for index in (1, 2):
        finish(album, "b1", index)
    with_sidecar(album, "b1", 1)
    second, first = gallery.get("/api/gallery")["images"]
    assert first["parameters"]["steps"] == 20
    assert "steps" not in second["parameters"]


def test_one_picture_opened_tells_what_its_own_sidecar_says(gallery: Gallery, album: Album) -> None:
    fill(album, count=2)
    with_sidecar(album, "b1", 1)
    with_sidecar(album, "b1", 2, text=SIDECAR.replace("steps: 20", "steps: 33"))
    found = gallery.get("/api/batches/b1/images/2")
    assert found["parameters"] == {"negative": "blurry", "steps": 33, "cfg": 7.5, "model": "sdxl.safetensors"}
    assert (found["width"], found["height"], found["server"]) == (64, 48, "http://gpu:8188")
    assert found["path"] == str(album.output / "batches/b1/image_002.png")
    words = shlex.split(found["command"])
    sidecar = album.output / "batches/b1/prompt_002.txt"
    assert words == ["burst", "generate", "--from", str(sidecar), "--state", str(album.state)]
    assert read_reproduction(sidecar, home=album.home, template="txt2img-sdxl").seed == 42


def test_one_without_a_sidecar_is_made_again_from_the_picture(gallery: Gallery, album: Album) -> None:
    fill(album, count=1)
    command = gallery.get("/api/batches/b1/images/1")["command"]
    assert str(album.output / "batches/b1/image_001.png") in shlex.split(command)
    assert gallery.http.get("/api/batches/b1/images/2").status_code == 404


def test_batches_with_their_counts_and_first_pictures(gallery: Gallery, album: Album) -> None:
    fill(album, "b1", count=8)
    album.add("b2", [{"seed": 1}] * 3, created_at=NOON + HOUR, directory="b2", prompt="an owl")
    album.fail("b2/001")
    second, first = gallery.get("/api/gallery/batches")["batches"]
    assert (first["batchId"], first["status"], first["pictures"], first["totalImages"]) == ("b1", "complete", 8, 8)
    assert len(first["thumbnails"]) == 6
    assert (second["prompt"], second["status"], second["failedImages"], second["pictures"]) == (
        "an owl",
        "generating",
        1,
        0,
    )


def test_pictures_of_several_states(tmp_path: Path) -> None:
    library = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        library.append(Album(tmp_path / name))
        library[-1].output = tmp_path / "output"
    fill(library[0], "b1", count=1)
    fill(library[1], "b2", count=1, after=HOUR)
    with gallery_over(*library) as gallery:
        assert gallery.pictures() == ["b2/1", "b1/1"]
        assert gallery.pictures(state=0) == ["b1/1"]
        assert gallery.http.get("/api/gallery?state=2").status_code == 404
        for address in ("/images/b1/1", "/images/b2/1", "/thumbnails/b2/1"):
            assert gallery.http.get(address).status_code == 200
        assert list((tmp_path / "two").glob("*.burst/thumbnails/*.webp"))
        library[1].state.write_text("{")
        found = gallery.get("/api/gallery")
        assert len(found["images"]) == 2
        fill(library[0], "b3", count=1, after=2 * HOUR)
        assert gallery.pictures() == ["b3/1", "b2/1", "b1/1"]


def test_pictures_appear_as_bursts_finish_them(gallery: Gallery, album: Album) -> None:
    album.add("b1", [{"seed": 1}] * 2, layout="gallery", directory="batches/b1")
    assert gallery.pictures() == []
    finish(album, "b1", 1)
    assert gallery.pictures() == ["b1/1"]
    finish(album, "b1", 2, at=NOON + HOUR)
    assert gallery.pictures() == ["b1/2", "b1/1"]


# Looking for some


@pytest.fixture
def varied(album: Album) -> Album:
    fill(album, "b1", count=1, prompt="A red Fox in SNOW", model="sdxl.safetensors")
    fill(album, "b2", count=1, after=timedelta(days=1), prompt="an owl", negative="snow, Straße", model="flux.gguf")
    fill(album, "b3", count=1, after=timedelta(days=2), prompt="a fox at night")
    return album


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"text": "fox"}, ["b3", "b1"]),
        ({"text": "FOX snow"}, ["b1"]),
        ({"text": "snow"}, ["b2", "b1"]),
        ({"text": "STRASSE"}, ["b2"]),
        ({"text": "fox owl"}, []),
        ({"text": "  "}, ["b3", "b2", "b1"]),
        ({"model": "flux.gguf"}, ["b2"]),
        ({"model": "sdxl.safetensors", "text": "owl"}, []),
        ({"from": "2030-01-02"}, ["b3", "b2"]),
        ({"to": "2030-01-02"}, ["b2", "b1"]),
        ({"from": "2030-01-02", "to": "2030-01-02"}, ["b2"]),
        ({"from": "2030-01-02", "to": "9999-12-31"}, ["b3", "b2"]),
        ({"from": "2030-01-01T13:02:00+01:00", "to": "2030-01-03T12:01:00Z"}, ["b2"]),
        ({"from": "2030-01-01T12:01:00Z", "to": "2030-01-01T12:01:00.000001Z"}, ["b1"]),
    ],
)
def test_a_filter(gallery: Gallery, varied: Album, query: dict[str, str], found: list[str]) -> None:
    assert gallery.pictures(**query) == [f"{name}/1" for name in found]
    batches = gallery.get("/api/gallery/batches", **query)
    assert [batch["batchId"] for batch in batches["batches"]] == found
    assert batches["models"] == ["flux.gguf", "sdxl.safetensors"]


@pytest.mark.parametrize("date", ["yesterday", "2030-13-01", "2030-01-01T12:00", "20300101", "0"])
@pytest.mark.parametrize("field", ["from", "to"])
def test_what_is_no_date_is_refused(gallery: Gallery, date: str, field: str) -> None:
    answer = gallery.http.get("/api/gallery", params={field: date})
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field


def test_pages(gallery: Gallery, album: Album) -> None:
    fill(album, count=7)
    seen: list[str] = []
    for page in (1, 2, 3):
        answer = gallery.get("/api/gallery", page=page, size=3)
        assert (answer["total"], answer["page"], answer["pages"]) == (7, page, 3)
        seen += [image["image"] for image in answer["images"]]
    assert seen == ["7", "6", "5", "4", "3", "2", "1"]
    assert gallery.pictures(page=4, size=3) == []
    for wrong in ({"page": 0}, {"size": 0}, {"size": 501}, {"page": "x"}):
        assert gallery.http.get("/api/gallery", params=wrong).status_code == 400


# What no state knows any more


def test_a_batch_that_no_state_knows_is_shown_read_only(album: Album) -> None:
    folder = left_behind(album)
    album = forget(album)
    fill(album, "new", count=1, after=HOUR)
    with gallery_over(album) as gallery:
        assert gallery.pictures() == ["new/1", "old/2", "old/1"]
        assert gallery.pictures(text="fox", model="old.safetensors") == ["old/2", "old/1"]
        image = gallery.get("/api/gallery")["images"][1]
        assert (image["readOnly"], image["seed"], image["prompt"]) == (True, 42, "a fox in the snow")
        assert gallery.http.get(image["url"]).content == (folder / "image_002.png").read_bytes()
        assert gallery.http.get(image["thumbnail"]).headers["content-type"] == "image/webp"
        assert gallery.get("/api/batches/old/images/2")["parameters"] == {"model": "old.safetensors"}
        (batch,) = [one for one in gallery.get("/api/gallery/batches")["batches"] if one["readOnly"]]
        assert (batch["batchId"], batch["status"], batch["pictures"]) == ("old", "complete", 2)
        assert batch["name"] == "foxes"
        assert gallery.http.get("/api/batches/old/zip").status_code == 200
        before = album.files()
        assert gallery.delete("/api/batches/old").status_code == 409
        assert gallery.delete("/api/batches/old/images/1").status_code == 409
        assert album.files() == before


def test_one_that_is_known_or_was_cleaned_away_is_not_shown_twice(gallery: Gallery, album: Album) -> None:
    folder = left_behind(album)
    assert gallery.pictures() == ["old/2", "old/1"]
    (folder / "image_001.png").write_bytes(b"of the user's own")
    (folder / "copy.json").write_text("keeps the directory")
    info = (folder / batch_info.NAME).read_bytes()
    assert gallery.delete("/api/batches/old").status_code == 200
    (folder / batch_info.NAME).write_bytes(info)
    with gallery_over(album) as again:
        assert again.pictures() == []


def test_one_that_comes_later_is_seen(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphaned_batches, "_LOOK_SECONDS", 0.0)
    folder = left_behind(album)
    aside = album.home / "aside"
    shutil.move(folder, aside)
    album = forget(album)
    with gallery_over(album) as gallery:
        assert gallery.pictures() == []
        folder.mkdir()
        assert gallery.pictures() == []
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        assert gallery.pictures() == ["old/2", "old/1"]
        shutil.rmtree(folder)
        assert gallery.pictures() == []


@pytest.mark.parametrize(
    "info",
    [
        b"",
        b"[]",
        b'{"schema": "burst.batch/2"}',
        b"{" * 100_000,
        b'{"schema": "other/1", "batch": "old", "created_at": "2030-01-01T00:00:00Z", "images": '
        b'[{"file": "batches/old/image_001.png", "index": 1}]}',
    ],
)
def test_a_batch_info_that_is_none_is_passed_over(album: Album, info: bytes) -> None:
    folder = left_behind(album)
    (folder / batch_info.NAME).write_bytes(info)
    with gallery_over(forget(album)) as gallery:
        assert gallery.pictures() == []


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "other/image.png", "batches/old/../../other/image.png"]
)
def test_a_batch_info_leads_out_of_its_directory_nowhere(album: Album, path: str) -> None:
    folder = left_behind(album)
    for place in (album.home / "secret.png", album.output / "other" / "image.png"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(png())
    info = json.loads((folder / batch_info.NAME).read_text())
    info["images"][0]["file"] = path
    (folder / batch_info.NAME).write_text(json.dumps(info))
    with gallery_over(forget(album)) as gallery:
        assert gallery.http.get("/images/old/1").status_code == 404
        assert gallery.http.get("/thumbnails/old/1").status_code == 404
        assert gallery.http.get("/images/old/2").status_code == 200


# Deleting


def test_a_picture_is_deleted_and_its_item_stays_completed(gallery: Gallery, album: Album) -> None:
    fill(album, count=2)
    with_sidecar(album, "b1", 1)
    with_sidecar(album, "b1", 2)
    image = gallery.get("/api/batches/b1/images/2")
    gallery.http.get(image["thumbnail"])
    answer = gallery.delete("/api/batches/b1/images/2", v=image["version"])
    assert answer.status_code == 200
    assert answer.json()["deleted"] == ["batches/b1/image_002.png", "batches/b1/prompt_002.txt"]
    assert album.files() == ["batches", "batches/b1", "batches/b1/image_001.png", "batches/b1/prompt_001.txt"]
    found = items(album)["b1/002"]
    assert (found.status, found.outputs) == (Status.COMPLETED, ())
    assert album.trashed() == ["image_002.png", "prompt_002.txt"]
    assert verify_outputs(album.state).problems == ()
    assert gallery.pictures() == ["b1/1"]
    assert not list(album.store.checkpoint_directory.glob("thumbnails/*.webp"))
    assert gallery.delete("/api/batches/b1/images/2").status_code == 404


def test_of_two_pictures_of_a_prompt_the_other_stays_with_the_sidecar(gallery: Gallery, album: Album) -> None:
    album.add("b1", [{"seed": 1}], directory="b1")
    album.complete("b1/001", "b1/image.png", "b1/image_002.png", "b1/prompt.txt", data=png())
    (album.output / "b1/image_002.png").write_bytes(png())
    first = gallery.get("/api/batches/b1/images/1")
    assert gallery.delete("/api/batches/b1/images/1").json()["deleted"] == ["b1/image.png"]
    assert album.files() == ["b1", "b1/image_002.png", "b1/prompt.txt"]
    assert [output.path for output in items(album)["b1/001"].outputs] == ["b1/image_002.png", "b1/prompt.txt"]
    assert first["version"]


def test_a_page_that_is_out_of_date_deletes_no_other_picture(gallery: Gallery, album: Album) -> None:
    """The second picture of a prompt takes the id of the first when that is gone."""
    album.add("b1", [{"seed": 1}], directory="b1")
    paths = ("b1/image.png", "b1/image_002.png")
    outputs = (album.file(paths[0], png((1, 1, 1))), album.file(paths[1], png((2, 2, 2))))
    complete(album, "b1/001", outputs)
    version = gallery.get("/api/batches/b1/images/1")["version"]
    assert gallery.delete("/api/batches/b1/images/1", v=version).status_code == 200
    again = gallery.delete("/api/batches/b1/images/1", v=version)
    assert again.status_code == 409
    assert album.files() == ["b1", "b1/image_002.png"]
    (left,) = gallery.get("/api/gallery")["images"]
    assert (left["image"], left["file"], left["version"]) == ("1", paths[1], outputs[1].sha256[:16])


def complete(album: Album, key: str, outputs: tuple[OutputRecord, ...]) -> None:
    def edit(item: Item) -> Item:
        return item.complete(outputs=outputs, at=NOON, seconds=1.0)

    album.submit(key)
    album.store.apply([Change(key, Status.SUBMITTED, edit)])


def test_batch_info_tells_of_a_deleted_picture(gallery: Gallery, album: Album) -> None:
    folder = left_behind(album)
    album.log.append(EndRecord(batch="old", event="e", at=NOON + HOUR, how="done"))
    assert gallery.delete("/api/batches/old/images/1").status_code == 200
    info = json.loads((folder / batch_info.NAME).read_text())
    assert [image["file"] for image in info["images"]] == [None, "batches/old/image_002.png"]
    assert info["ended_at"] == "2030-01-01T13:00:00Z"


@pytest.mark.parametrize("why", ["work is left", "its end is not noted"])
def test_until_a_batch_has_ended_bursts_alone_write_batch_info(gallery: Gallery, album: Album, why: str) -> None:
    folder = left_behind(album)
    if why == "work is left":
        album.log.append(EndRecord(batch="old", event="e", at=NOON + HOUR, how="done"))
        album.store.add([Item(key="old/003", status=Status.PENDING, batch="old", index=3)])
    before = (folder / batch_info.NAME).read_bytes()
    assert gallery.delete("/api/batches/old/images/1").status_code == 200
    assert (folder / batch_info.NAME).read_bytes() == before


def test_a_batch_is_deleted_with_all_its_files(gallery: Gallery, album: Album) -> None:
    left_behind(album)
    fill(album, "other", count=1)
    answer = gallery.delete("/api/batches/old")
    assert len(answer.json()["deleted"]) == 2
    assert album.files() == ["batches", "batches/other", "batches/other/image_001.png"]
    assert gallery.pictures() == ["other/1"]
    assert gallery.http.get("/api/batches/old").status_code == 404
    assert gallery.delete("/api/batches/old").status_code == 404
    assert album.log.read()["old"].gone
    assert verify_outputs(album.state).problems == ()
    back = gallery.http.post("/api/states/0/trash/restore", json={"trash": answer.json()["trash"]}).json()
    assert (len(back["restored"]), back["kept"], back["batches"]) == (2, [], ["old"])
    assert sorted(gallery.pictures()) == ["old/1", "old/2", "other/1"]
    assert gallery.get("/api/batches/old")["completedImages"] == 2
    assert album.trashed() == []
    assert verify_outputs(album.state).problems == ()


def test_the_trash_shows_what_is_in_it_and_gives_it_back(gallery: Gallery, album: Album) -> None:
    fill(album, count=3)
    assert gallery.get("/api/states/0/trash")["images"] == []
    for number in (1, 2):
        gallery.delete(f"/api/batches/b1/images/{number}")
    page = gallery.get("/api/states/0/trash", size=1)
    assert (page["total"], page["pages"], page["keptDays"]) == (2, 2, 30)
    (first,) = page["images"]
    assert (first["file"], first["batchId"], first["prompt"]) == ("batches/b1/image_002.png", "b1", PROMPT)
    assert gallery.http.get(first["thumbnail"]).headers["content-type"] == "image/webp"
    (second,) = gallery.get("/api/states/0/trash", size=1, page=2)["images"]
    done = gallery.http.post("/api/states/0/trash/restore", json={"trash": [second["trash"]]}).json()
    assert done == {"restored": ["batches/b1/image_001.png"], "kept": [], "batches": []}
    assert gallery.pictures() == ["b1/3", "b1/1"]
    again = gallery.http.post("/api/states/0/trash/restore", json={"trash": [second["trash"]]}).json()
    assert again["kept"] == [f"{second['trash']} is not in the trash"]
    (album.output / "batches/b1/image_002.png").write_bytes(b"somebody's")
    taken = gallery.http.post("/api/states/0/trash/restore", json={"trash": [first["trash"]]}).json()
    assert taken["kept"] == ["batches/b1/image_002.png another file has its name now"]
    assert gallery.http.post("/api/states/0/trash/empty").json() == {"deleted": 1, "bytes": first["bytes"]}
    assert gallery.get("/api/states/0/trash")["total"] == 0
    assert gallery.http.get(first["thumbnail"]).status_code == 404
    assert (album.output / "batches/b1/image_002.png").read_bytes() == b"somebody's"


@pytest.mark.parametrize("path", ["/api/states/0/trash/restore", "/api/states/0/trash/empty"])
def test_a_page_of_another_site_does_nothing_with_the_trash(gallery: Gallery, album: Album, path: str) -> None:
    fill(album, count=1)
    gallery.delete("/api/batches/b1/images/1")
    answer = gallery.http.post(path, json={"trash": ["x"]}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert album.trashed() == ["image_001.png"]


@pytest.mark.parametrize("status", [Status.PENDING, Status.SUBMITTED])
def test_a_batch_with_work_left_stays(gallery: Gallery, album: Album, status: Status) -> None:
    fill(album, count=1)
    album.store.add([Item(key="b1/002", status=Status.PENDING, batch="b1", index=2)])
    if status is Status.SUBMITTED:
        album.submit("b1/002")
    before = album.files()
    answer = gallery.delete("/api/batches/b1")
    assert answer.status_code == 409
    assert "cancel it first" in answer.json()["error"]["message"]
    assert (album.files(), album.log.read()["b1"].gone) == (before, False)


def test_a_picture_and_a_batch_are_deleted_beside_a_burst(served: Served, sandbox: Sandbox) -> None:
    """It goes on, renders nothing again, and its end is told without what is gone."""
    done = served.made(count=2)
    sandbox.hold("render")
    batch = served.begin(count=4)
    finish_one(sandbox)
    served.wait_for_completed(batch, 1)
    gone = served.answer("DELETE", f"/api/batches/{batch}/images/1")["deleted"]
    served.answer("DELETE", f"/api/batches/{done}")
    assert served.call("DELETE", f"/api/batches/{batch}").status_code == 409
    sandbox.release()
    served.wait_for_end(batch)
    found = served.items(batch)
    assert [item.status for item in found] == [Status.COMPLETED] * 4
    assert [len(item.outputs) for item in found] == [0, 2, 2, 2]
    assert [(item.status, item.outputs) for item in served.items(done)] == [(Status.COMPLETED, ())] * 2
    assert sandbox.counts()["rendered_by_item"] == {item.key: 1 for item in (*served.items(done), *found)}
    assert not any((served.output / path).exists() for path in gone)
    info = served.output / "batches" / batch / batch_info.NAME
    wait_until(
        lambda: info.is_file() and json.loads(info.read_text())["ended_at"],
        what="the end of the batch in its directory",
    )
    files = [image["file"] for image in json.loads(info.read_text())["images"]]
    assert [file is None for file in files] == [True, False, False, False]


def test_a_file_that_was_changed_since_stays(gallery: Gallery, album: Album) -> None:
    fill(album, count=2)
    (album.output / "batches/b1/image_001.png").write_bytes(b"the user's own")
    answer = gallery.delete("/api/batches/b1/images/1")
    assert answer.status_code == 409
    assert len(items(album)["b1/001"].outputs) == 1
    assert gallery.delete("/api/batches/b1").json()["kept"] == ["batches/b1/image_001.png"]
    assert (album.output / "batches/b1/image_001.png").read_bytes() == b"the user's own"


def test_a_file_that_another_item_names_stays(gallery: Gallery, album: Album) -> None:
    for name in ("b1", "b2"):
        album.add(name, [{"seed": 1}], layout="mirror", directory="")
        album.complete(f"{name}/001", "EP01/fox.png", data=png())
    assert gallery.delete("/api/batches/b1/images/1").status_code == 409
    assert gallery.delete("/api/batches/b1").json()["kept"] == ["EP01/fox.png"]
    assert album.files() == ["EP01", "EP01/fox.png"]


@pytest.mark.parametrize("path", ["../secret.png", "way/secret.png", "link.png"])
def test_nothing_outside_of_the_output_directory_is_deleted(gallery: Gallery, album: Album, path: str) -> None:
    (album.home / "aside").mkdir()
    secrets = [album.home / "secret.png", album.home / "aside" / "secret.png"]
    for secret in secrets:
        secret.write_bytes(data := png())
    album.output.mkdir()
    (album.output / "way").symlink_to(album.home / "aside")
    (album.output / "link.png").symlink_to(secrets[0])
    album.add("b1", [{"seed": 1}], layout="batch", directory="way")
    (album.home / "aside" / batch_info.NAME).write_text("{}")
    output = msgspec.structs.replace(album.file("x.png", data), path=path)
    complete(album, "b1/001", (output,))
    assert gallery.delete("/api/batches/b1/images/1").status_code == 404
    gallery.delete("/api/batches/b1")
    assert all(secret.exists() for secret in secrets)
    assert (album.home / "aside" / batch_info.NAME).exists()
    assert (album.output / "link.png").is_symlink()


def test_a_page_of_another_site_deletes_nothing(gallery: Gallery, album: Album) -> None:
    fill(album, count=1)
    before = album.files()
    for headers in ({"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        assert gallery.http.delete("/api/batches/b1", headers=headers).status_code == 403
    assert album.files() == before


# What it costs


def test_pictures_of_many_batches_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    album = Album(tmp_path)
    for number in range(10):
        add_large(album, f"b{number}", "c" * 120, after=number * HOUR)
    decoded, rows = Decoded(monkeypatch), rows_made(monkeypatch)
    with gallery_over(album) as gallery:
        assert gallery.get("/api/gallery")["indexing"]["done"] <= 800, "what is there is shown before all is"
        wait_until(lambda: gallery.get("/api/gallery")["indexing"] is None, what="the index")
        assert gallery.get("/api/gallery")["total"] == 1_200
        assert len(rows) == 1_200
        decoded.taken()
        rows.clear()
        for query in ({}, {"text": "fox", "page": 20}, {"model": "m.safetensors"}, {"from": "2030-01-01"}):
            assert len(gallery.pictures(**query)) == 60
            assert decoded.taken() <= 60
        assert rows == []
        album.add("new", [{"seed": 1}], directory="new")
        album.complete("new/001", "new/image.png", data=png(), at=NOON + 99 * HOUR)
        decoded.taken()
        assert gallery.pictures()[0] == "new/1"
        assert decoded.taken() < 10
        assert len(rows) == 1


def rows_made(monkeypatch: pytest.MonkeyPatch) -> list[ImageRow]:
    """The rows of images that are made from now on."""
    made: list[ImageRow] = []
    add = Rows.add

    def adding(rows: Rows, shelf: ShelfRow, images: Iterable[ImageRow], *, item: int | None = None) -> None:
        made.extend(some := list(images))
        add(rows, shelf, some, item=item)

    monkeypatch.setattr(Rows, "add", adding)
    return made
