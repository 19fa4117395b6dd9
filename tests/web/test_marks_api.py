"""Favorites and tags over the API: of one image, of many, of batches that are gone, beside others who write."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from support.gallery_scene import Gallery, fill, forget, gallery_over, left_behind
from support.report_project import Album

from orchestrator.web import states
from state.change import Change
from state.item import Item
from state.open_store import open_store, parts_of


def refs(*names: str) -> list[dict[str, str]]:
    return [{"batchId": name.split("/")[0], "image": name.split("/")[1]} for name in names]


def favorites(gallery: Gallery) -> list[str]:
    return [f"{one['batchId']}/{one['image']}" for one in gallery.get("/api/gallery")["images"] if one["favorite"]]


def record(album: Album, key: str) -> Item:
    with open_store(album.state, read_only=True) as store:
        return store.get(key)


def post(gallery: Gallery, path: str, **body: Any) -> Any:
    return gallery.http.post(path, json=body)


def test_an_image_is_a_favorite_until_it_is_none(gallery: Gallery, album: Album) -> None:
    fill(album, count=3)
    for _ in range(2):
        answer = gallery.http.put("/api/images/b1/2/favorite")
        assert (answer.status_code, answer.json()) == (
            200,
            {"batchId": "b1", "image": "2", "favorite": True, "tags": []},
        )
    assert favorites(gallery) == ["b1/2"]
    assert gallery.get("/api/batches/b1/images/2")["favorite"]
    assert record(album, "b1/002").favourite
    assert gallery.http.delete("/api/images/b1/2/favorite").json()["favorite"] is False
    assert favorites(gallery) == []
    assert gallery.http.delete("/api/images/b1/2/favorite").status_code == 200


def test_of_several_images_of_a_prompt_one_is_the_favorite(gallery: Gallery, album: Album) -> None:
    album.add("b1", [{"seed": 1}], layout="gallery", directory="b1")
    album.complete("b1/001", "b1/image_001.png", "b1/image_001_002.png", "b1/image_001_003.png")
    assert gallery.http.put("/api/images/b1/1-3/favorite").json()["favorite"]
    assert favorites(gallery) == ["b1/1-3"]
    gallery.http.put("/api/images/b1/1/favorite")
    assert gallery.http.delete("/api/images/b1/1-3/favorite").status_code == 200
    assert favorites(gallery) == ["b1/1"]


def test_what_was_deleted_before_it_does_not_shift_a_favorite(gallery: Gallery, album: Album) -> None:
    fill(album, count=1)
    names = [f"batches/b1/{name}.png" for name in ("001", "001_002", "001_003")]
    outputs = tuple(album.file(name, name.encode()) for name in names)
    album.store.apply(
        [Change("b1/001", album.store.get("b1/001").status, lambda now: msgspec.structs.replace(now, outputs=outputs))]
    )
    assert gallery.delete("/api/batches/b1/images/1").status_code == 200
    assert gallery.http.put("/api/images/b1/1-2/favorite").status_code == 200, "the third by its name, the second shown"
    assert favorites(gallery) == ["b1/1-2"]


def test_tags_of_many_images_of_several_batches_in_one_call(gallery: Gallery, album: Album) -> None:
    fill(album, "b1", count=2)
    fill(album, "b2", count=2)
    chosen = refs("b1/1", "b2/2", "b2/7", "nowhere/1")
    answer = post(gallery, "/api/images/tags", images=chosen, add=["sea", "night sky", "sea"]).json()
    assert (answer["changed"], [one["tags"] for one in answer["images"]]) == (2, [["sea", "night sky"]] * 2)
    assert [one["batchId"] for one in answer["missing"]] == ["b2", "nowhere"]
    answer = post(gallery, "/api/images/tags", images=refs("b1/1", "b1/2"), add=["new"], remove=["sea"]).json()
    assert [one["tags"] for one in answer["images"]] == [["night sky", "new"], ["new"]]
    assert post(gallery, "/api/images/tags", images=refs("b1/2"), add=["new"]).json()["changed"] == 0
    assert record(album, "b2/002").tags == ("sea", "night sky")


def test_favorites_of_many_are_set_and_unset_in_one_call(gallery: Gallery, album: Album) -> None:
    fill(album, "b1", count=2)
    fill(album, "b2", count=1)
    assert post(gallery, "/api/images/favorites", images=refs("b1/1", "b2/1"), favorite=True).json()["changed"] == 2
    assert sorted(favorites(gallery)) == ["b1/1", "b2/1"]
    assert post(gallery, "/api/images/favorites", images=refs("b1/1", "b1/2"), favorite=False).json()["changed"] == 1
    assert favorites(gallery) == ["b2/1"]


def test_another_image_than_the_one_that_was_shown_is_not_marked(gallery: Gallery, album: Album) -> None:
    fill(album, count=1)
    old = [{"batchId": "b1", "image": "1", "version": "0" * 16}]
    answer = post(gallery, "/api/images/favorites", images=old, favorite=True).json()
    assert (answer["changed"], len(answer["missing"])) == (0, 1)
    assert not record(album, "b1/001").favourite


def test_marks_stay_through_a_retry(gallery: Gallery, album: Album) -> None:
    fill(album, count=1)
    gallery.http.put("/api/images/b1/1/favorite")
    post(gallery, "/api/images/tags", images=refs("b1/1"), add=["sea"])
    album.store.apply([Change("b1/001", album.store.get("b1/001").status, lambda now: now.start_over())])
    assert (record(album, "b1/001").favourite, record(album, "b1/001").tags) == (True, ("sea",))
    assert gallery.http.put("/api/images/b1/1/favorite").status_code == 404, "there is no image now"


@pytest.mark.parametrize("body", [{"add": ["a,b"]}, {"add": [" a"]}, {"add": [""]}, {"remove": ["a\n"]}])
def test_what_cannot_be_a_tag_is_refused(gallery: Gallery, album: Album, body: dict[str, Any]) -> None:
    fill(album, count=1)
    answer = post(gallery, "/api/images/tags", images=refs("b1/1"), **body)
    assert answer.status_code == 400
    assert record(album, "b1/001").tags == ()


def test_a_batch_that_no_state_knows_cannot_be_marked(album: Album) -> None:
    left_behind(album)
    with gallery_over(forget(album)) as gallery:
        assert gallery.http.put("/api/images/old/1/favorite").status_code == 409
        answer = post(gallery, "/api/images/tags", images=refs("old/1"), add=["sea"]).json()
        assert (answer["changed"], len(answer["readOnly"])) == (0, 1)


def test_a_page_of_another_site_marks_nothing(gallery: Gallery, album: Album) -> None:
    fill(album, count=1)
    foreign = {"Origin": "http://evil.example"}
    assert gallery.http.put("/api/images/b1/1/favorite", headers=foreign).status_code == 403
    assert not record(album, "b1/001").favourite


def test_a_mark_costs_no_other_reading_of_the_state(
    gallery: Gallery, album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 100,000 items that is a third of a second."""
    fill(album, count=2)
    gallery.get("/api/gallery")
    monkeypatch.setattr(states, "open_for_writing", None)
    monkeypatch.setattr(states, "open_store", None)
    gallery.http.put("/api/images/b1/2/favorite").raise_for_status()
    assert favorites(gallery) == ["b1/2"]
    post(gallery, "/api/images/tags", images=refs("b1/1"), add=["wip"]).raise_for_status()
    monkeypatch.undo()
    assert (record(album, "b1/002").favourite, record(album, "b1/001").tags) == (True, ("wip",))
    with open_store(album.state) as store:
        store.settle(at_end=True)
    gallery.http.delete("/api/images/b1/2/favorite").raise_for_status()
    assert favorites(gallery) == []
    assert not record(album, "b1/002").favourite


def test_a_mark_brings_an_older_state_to_the_version_of_today(gallery: Gallery, album: Album) -> None:
    fill(album, count=1)
    settings = parts_of(album.state).settings
    settings.write("version = 1\n")
    assert favorites(gallery) == []
    gallery.http.put("/api/images/b1/1/favorite").raise_for_status()
    assert favorites(gallery) == ["b1/1"]
    assert settings.read() == "version = 2\n"
