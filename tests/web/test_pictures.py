"""Pictures and thumbnails over HTTP: by ids alone, never out of the output directory, as what they are."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.gallery_scene import Gallery, fill, gallery_over, png
from support.media_files import by_extension
from support.report_project import Album

from state.change import Change
from state.item import Item, OutputRecord

SECOND = "batches/b1/image_002.png"
FOREVER = "private, max-age=31536000, immutable"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
HTML = b"<!doctype html><script>alert(1)</script>"


@pytest.fixture
def album(tmp_path: Path) -> Album:
    album = Album(tmp_path)
    fill(album)
    return album


def sha_of(album: Album, key: str) -> str:
    return album.store.get(key).outputs[0].sha256


def by_hand(album: Album, key: str, path: str, *, data: bytes = b"", **said: Any) -> None:
    """The record says that its output is there, whatever lies there."""
    output = album.file("elsewhere.bin", data)
    (album.output / "elsewhere.bin").unlink()
    edited = OutputRecord(**{"path": path, "bytes": output.bytes, "sha256": output.sha256} | said)

    def edit(item: Item) -> Item:
        return msgspec.structs.replace(item, outputs=(edited,))

    album.store.apply([Change(key, album.store.get(key).status, edit)])


def test_a_picture_is_the_file_as_it_is(gallery: Gallery) -> None:
    answer = gallery.http.get("/images/b1/2")
    assert answer.status_code == 200
    assert answer.content == (gallery.album.output / SECOND).read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == 'inline; filename="image_002.png"'


def test_a_thumbnail_is_webp_and_kept_beside_the_state(gallery: Gallery) -> None:
    answer = gallery.http.get("/thumbnails/b1/2")
    assert answer.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(answer.content)).format == "WEBP"
    kept = gallery.album.store.checkpoint_directory / "thumbnails" / f"{sha_of(gallery.album, 'b1/002')}.webp"
    assert kept.read_bytes() == answer.content


@pytest.mark.parametrize("kind", ["images", "thumbnails"])
def test_what_the_browser_has_is_not_sent_again(gallery: Gallery, kind: str) -> None:
    address = f"/{kind}/b1/2"
    tag = gallery.http.get(address).headers["etag"]
    assert tag == f'"{sha_of(gallery.album, "b1/002")}"'
    for said in (tag, f'"other", W/{tag}', "*"):
        answer = gallery.http.get(address, headers={"If-None-Match": said})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert gallery.http.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("kind", ["images", "thumbnails"])
def test_only_the_address_with_its_own_version_may_be_kept_for_good(gallery: Gallery, kind: str) -> None:
    def keeping(query: str) -> str:
        return str(gallery.http.get(f"/{kind}/b1/2{query}").headers["cache-control"])

    assert keeping(f"?v={sha_of(gallery.album, 'b1/002')[:16]}") == FOREVER
    assert keeping("") == "private, no-cache"
    assert keeping(f"?v={sha_of(gallery.album, 'b1/001')[:16]}") == "private, no-cache"
    (gallery.album.output / SECOND).write_bytes(png((1, 2, 3), (80, 80)))
    assert keeping(f"?v={sha_of(gallery.album, 'b1/002')[:16]}") == "private, no-cache"


@pytest.mark.parametrize("kind", ["images", "thumbnails"])
def test_a_file_that_was_changed_has_another_tag(gallery: Gallery, kind: str) -> None:
    before = gallery.http.get(f"/{kind}/b1/2")
    (gallery.album.output / SECOND).write_bytes(png((1, 2, 3), (80, 80)))
    after = gallery.http.get(f"/{kind}/b1/2", headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.content != before.content


def test_the_addresses_that_the_progress_call_names_are_these(gallery: Gallery) -> None:
    (image, *_) = gallery.get("/api/batches/b1")["images"]
    for address in (image["url"], image["thumbnail"]):
        answer = gallery.http.get(address)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == FOREVER


def test_a_download_has_the_files_name(gallery: Gallery, album: Album) -> None:
    album.add("b2", [{}, {}], layout="mirror", directory="")
    album.complete("b2/001", 'EP01/été "1".png', data=png())
    album.complete("b2/002", "EP01/a b.png", data=png())
    first = gallery.http.get("/images/b2/1?download=1").headers["content-disposition"]
    assert first == "attachment; filename=\"_t_ _1_.png\"; filename*=UTF-8''%C3%A9t%C3%A9%20%221%22.png"
    assert gallery.http.get("/images/b2/2?download=1").headers["content-disposition"] == (
        'attachment; filename="a b.png"'
    )


def test_the_pictures_of_one_prompt_have_ids_of_their_own(gallery: Gallery, album: Album) -> None:
    album.add("b2", [{}], directory="b2")
    album.complete("b2/001", "b2/image.png", "b2/prompt.txt", data=png((9, 9, 9)))
    album.add("b3", [{}], directory="b3")
    paths = ("b3/image.png", "b3/image_002.png")
    album.complete("b3/001", *paths, data=png())
    (album.output / paths[1]).write_bytes(other := png((7, 7, 7)))
    assert gallery.http.get("/images/b3/1-2").content == other
    for wrong in (
        "b2/1-2",
        "b2/1-1",
        "b2/1-0",
        "b2/1-",
        "b2/-1",
        "b3/1-3",
        "b3/2",
        "b3/0",
        "b3/+1",
        "b3/١",
        f"b3/{'1' * 5000}",
    ):
        assert gallery.http.get(f"/images/{wrong}").status_code == 404, wrong
        assert gallery.http.get(f"/thumbnails/{wrong}").status_code == 404, wrong


@pytest.mark.parametrize("address", ["/images/nobody/1", "/images/b1/4", "/thumbnails/b1/99999999999999999999"])
def test_what_is_not_there(gallery: Gallery, address: str) -> None:
    answer = gallery.http.get(address)
    assert answer.status_code == 404
    assert answer.json()["error"] == {"kind": "NotFound", "message": "Image not found", "field": "image"}


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png", "..", "batches/b1", "a\\b.png"])
def test_a_record_edited_by_hand_leads_nowhere(gallery: Gallery, album: Album, path: str) -> None:
    (album.home / "secret.png").write_bytes(data := png())
    by_hand(album, "b1/002", path, data=data)
    for kind in ("images", "thumbnails"):
        assert gallery.http.get(f"/{kind}/b1/2").status_code == 404
    assert gallery.http.get("/api/batches/b1/images/2").status_code == 404


def test_a_link_out_of_the_output_directory_leads_nowhere(gallery: Gallery, album: Album) -> None:
    (album.home / "secret").mkdir()
    (album.home / "secret" / "image.png").write_bytes(data := png())
    (album.output / "way").symlink_to(album.home / "secret")
    (album.output / "image.png").symlink_to(album.home / "secret" / "image.png")
    (album.output / "round").symlink_to("round")
    for path in ("way/image.png", "image.png", "round", "round/image.png"):
        by_hand(album, "b1/002", path, data=data)
        for kind in ("images", "thumbnails"):
            assert gallery.http.get(f"/{kind}/b1/2").status_code == 404, path


def test_a_link_within_the_output_directory_is_followed_and_so_is_one_that_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "output").symlink_to(tmp_path / "disk")
    album = Album(tmp_path)
    fill(album)
    os.rename(album.output / "batches", album.output / "moved")
    (album.output / "batches").symlink_to(album.output / "moved")
    with gallery_over(album) as gallery:
        assert gallery.http.get("/images/b1/2").status_code == 200


@pytest.mark.parametrize(
    ("data", "name"), [(HTML, "page.png"), (SVG, "drawing.png"), (HTML, "page.html"), (b"", "a.png")]
)
def test_what_is_no_picture_is_downloaded_never_shown(gallery: Gallery, album: Album, data: bytes, name: str) -> None:
    album.add("b2", [{}], directory="b2")
    album.complete("b2/001", f"b2/{name}", data=data)
    answer = gallery.http.get("/images/b2/1")
    assert answer.content == data
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert gallery.http.get("/thumbnails/b2/1").status_code == 404


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_the_type_is_that_of_the_content_whatever_the_name(gallery: Gallery, album: Album, kind: str) -> None:
    target = io.BytesIO()
    Image.new("RGB", (8, 8)).save(target, kind)
    album.add("b2", [{}], directory="b2")
    album.complete("b2/001", "b2/image.png", data=target.getvalue())
    assert gallery.http.get("/images/b2/1").headers["content-type"] == f"image/{kind.lower()}"


def test_what_no_browser_shows_has_neither_thumbnail_nor_tile(gallery: Gallery, album: Album) -> None:
    album.add("b2", [{}], directory="b2")
    album.complete("b2/001", "b2/film.avi.zip", data=b"RIFF\x24\0\0\0AVI LIST")
    assert gallery.http.get("/images/b2/1").headers["content-type"] == "application/octet-stream"
    assert gallery.get("/api/batches/b1")["images"][0]["thumbnail"] is not None
    assert gallery.get("/api/batches/b2")["images"][0]["thumbnail"] is None


KINDS = {
    ".mp4": ("video/mp4", "video"),
    ".webm": ("video/webm", "video"),
    ".flac": ("audio/flac", "audio"),
    ".mp3": ("audio/mpeg", "audio"),
    ".opus": ("audio/ogg", "audio"),
    ".wav": ("audio/wav", "audio"),
    ".glb": ("application/octet-stream", "3d"),
    ".latent": ("application/octet-stream", "latent"),
    ".gif": ("image/gif", "image"),
}


@pytest.mark.parametrize("extension", KINDS)
def test_each_kind_is_served_as_what_it_is_and_has_a_tile(
    extension: str, gallery: Gallery, album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    media_type, kind = KINDS[extension]
    data = by_extension()[extension]
    album.add("b2", [{}], directory="b2")
    album.complete("b2/001", f"b2/clip{extension}", data=data)
    (one,) = gallery.get("/api/batches/b2")["images"]
    (entry,) = [each for each in gallery.get("/api/gallery")["images"] if each["batchId"] == "b2"]
    assert one["kind"] == entry["kind"] == kind
    answer = gallery.http.get(one["url"])
    assert (answer.content, answer.headers["content-type"]) == (data, media_type)
    assert answer.headers["content-disposition"].startswith("attachment" if "octet" in media_type else "inline")
    tile = gallery.http.get(one["thumbnail"])
    assert tile.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(tile.content)).size[0] > 0
    assert ("no-store" in tile.headers["cache-control"]) is (kind != "image")
    details = gallery.get(f"/api/batches/b2/images/{one['image']}")
    assert details["length"] is None if kind in ("3d", "latent", "image") else 0.4 < details["length"] < 1.6


def test_a_player_may_seek(gallery: Gallery, album: Album) -> None:
    data = by_extension()[".webm"]
    album.add("b2", [{}], directory="b2")
    album.complete("b2/001", "b2/clip.webm", data=data)
    url = gallery.get("/api/batches/b2")["images"][0]["url"]
    whole = gallery.http.get(url)
    assert whole.headers["accept-ranges"] == "bytes"
    part = gallery.http.get(url, headers={"Range": "bytes=100-199", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, data[100:200], "video/webm")
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert gallery.http.get(url, headers={"Range": "bytes=100-", "If-Range": '"another"'}).content == data
    assert gallery.http.get(url, headers={"Range": f"bytes={len(data)}-"}).status_code == 416


@pytest.mark.parametrize("extension", [".mp4", ".mp3"])
def test_a_page_under_the_name_of_a_video_is_downloaded_never_shown(
    extension: str, gallery: Gallery, album: Album
) -> None:
    album.add("b2", [{}], directory="b2")
    album.complete("b2/001", f"b2/clip{extension}", data=HTML)
    answer = gallery.http.get("/images/b2/1")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert gallery.http.get("/thumbnails/b2/1").status_code == 200


def test_pages_may_play_what_comes_from_here_alone(gallery: Gallery) -> None:
    policy = gallery.http.get("/gallery").headers["content-security-policy"]
    assert "media-src 'self';" in policy


def test_a_damaged_picture_has_no_thumbnail_and_is_served_as_it_is(gallery: Gallery, album: Album) -> None:
    cut = png(size=(300, 300))[:200]
    album.add("b2", [{}], directory="b2")
    album.complete("b2/001", "b2/image.png", data=cut)
    assert gallery.http.get("/images/b2/1").content == cut
    answer = gallery.http.get("/thumbnails/b2/1")
    assert answer.status_code == 404
    assert "does not decode" in answer.json()["error"]["message"]


def test_a_file_that_is_gone_is_not_found(gallery: Gallery, album: Album) -> None:
    (album.output / SECOND).unlink()
    assert gallery.http.get("/images/b1/2").status_code == 404
    assert gallery.http.get("/thumbnails/b1/2").status_code == 404


def test_a_part_of_a_picture(gallery: Gallery) -> None:
    whole = (gallery.album.output / SECOND).read_bytes()
    answer = gallery.http.get("/images/b1/2", headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, whole[10:20])
