"""What is done with many images at once, over the API: found, deleted and brought back, downloaded."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.gallery_scene import Gallery, fill, forget, gallery_over, left_behind, png
from support.report_project import NOON, Album

from state.item import Item, Status

HOUR = timedelta(hours=1)


def refs(gallery: Gallery, **query: Any) -> list[dict[str, str]]:
    return list(gallery.get("/api/gallery/refs", **query)["images"])


def post(gallery: Gallery, path: str, **body: Any) -> dict[str, Any]:
    answer = gallery.http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def downloaded(gallery: Gallery, images: list[dict[str, str]]) -> dict[str, bytes]:
    answer = gallery.http.get(post(gallery, "/api/downloads", images=images)["url"])
    assert answer.headers["content-disposition"].startswith('attachment; filename="images-')
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_all_that_matches_is_named(gallery: Gallery, album: Album) -> None:
    fill(album, "b1", count=3)
    fill(album, "b2", count=2, after=HOUR, prompt="an owl")
    assert [f"{one['batchId']}/{one['image']}" for one in refs(gallery, text="owl", sort="oldest")] == ["b2/1", "b2/2"]
    found = gallery.get("/api/gallery/refs", count=2, offset=1)
    assert (found["total"], [one["image"] for one in found["images"]]) == (5, ["1", "3"])


def test_images_of_several_batches_are_deleted_and_come_back(gallery: Gallery, album: Album) -> None:
    fill(album, "b1", count=3)
    fill(album, "b2", count=1, after=HOUR)
    album.store.add([Item(key="plain", status=Status.PENDING)])
    album.complete("plain", "plain.png", data=png(), at=NOON + 2 * HOUR)
    before = album.files()
    chosen = [one for one in refs(gallery) if one["image"] not in ("2", "3")]
    done = post(gallery, "/api/images/delete", images=[*chosen, {"batchId": "b1", "image": "99"}])
    assert (done["deleted"], len(done["missing"])) == (3, 1)
    assert gallery.pictures() == ["b1/3", "b1/2"]
    assert album.trashed() == ["image_001.png", "image_001.png", "plain.png"]
    for one in done["undo"]:
        post(gallery, f"/api/states/{one['state']}/trash/restore", trash=one["trash"])
    assert album.files() == before
    assert len(gallery.pictures()) == 5


def test_what_was_changed_since_stays(gallery: Gallery, album: Album) -> None:
    fill(album, "b1", count=2)
    (album.output / "batches/b1/image_001.png").write_bytes(b"of the user's own")
    done = post(gallery, "/api/images/delete", images=refs(gallery))
    assert (done["deleted"], done["kept"]) == (1, ["batches/b1/image_001.png was changed since it was saved"])
    assert gallery.pictures() == ["b1/1"]


def test_two_states_are_emptied_each_into_its_own_trash(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = Album(tmp_path / "one"), Album(tmp_path / "two")
    second.output = first.output
    fill(first, "b1", count=1)
    fill(second, "b2", count=1)
    with gallery_over(first, second) as gallery:
        done = post(gallery, "/api/images/delete", images=refs(gallery))
        assert [one["state"] for one in sorted(done["undo"], key=lambda one: int(one["state"]))] == [0, 1]
        assert gallery.pictures() == []


def test_a_download_of_several_batches(gallery: Gallery, album: Album) -> None:
    fill(album, "b1", count=2)
    fill(album, "b2", count=1, after=HOUR)
    found = downloaded(gallery, refs(gallery))
    assert sorted(found) == ["batches/b1/image_001.png", "batches/b1/image_002.png", "batches/b2/image_001.png"]
    assert found["batches/b1/image_002.png"] == (album.output / "batches/b1/image_002.png").read_bytes()
    (album.output / "batches/b1/image_002.png").unlink()
    assert "missing.txt" in downloaded(gallery, refs(gallery))


def test_a_download_has_images_that_no_state_knows(album: Album) -> None:
    left_behind(album)
    with gallery_over(forget(album)) as gallery:
        assert sorted(downloaded(gallery, refs(gallery))) == ["batches/old/image_001.png", "batches/old/image_002.png"]
        done = post(gallery, "/api/images/delete", images=refs(gallery))
        assert (done["deleted"], len(done["readOnly"])) == (0, 2)


def test_old_and_unknown_downloads_are_not_there(gallery: Gallery, album: Album) -> None:
    fill(album, "b1", count=1)
    first = post(gallery, "/api/downloads", images=refs(gallery))["url"]
    assert gallery.http.get("/api/downloads/guess").status_code == 404
    for _ in range(32):
        post(gallery, "/api/downloads", images=refs(gallery))
    assert gallery.http.get(first).status_code == 404
    gone = [{"batchId": "b9", "image": "1"}]
    assert gallery.http.post("/api/downloads", json={"images": gone}).status_code == 404


@pytest.mark.parametrize("path", ["/api/images/delete", "/api/downloads", "/api/images/favorites"])
def test_nothing_chosen_or_too_much_is_refused(gallery: Gallery, path: str) -> None:
    one = {"batchId": "b1", "image": "1"}
    for images in ([], [one] * 10_001, [{"batchId": "b1"}], [{**one, "path": "/etc/passwd"}]):
        assert gallery.http.post(path, json={"images": images, "favorite": True}).status_code == 400
