"""ZIPs of pictures: what is in them, and that they are written while they are sent."""

from __future__ import annotations

import io
import json
import socket
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gallery_scene import Gallery, fill, listening, png
from support.report_project import Album

from orchestrator.batches.batch_info import SCHEMA
from orchestrator.web import zip_stream as zipping
from orchestrator.web.zip_stream import MISSING, names_in_zip, zipped


@pytest.fixture
def album(tmp_path: Path) -> Album:
    album = Album(tmp_path)
    fill(album)
    return album


def downloaded(gallery: Gallery, query: str = "", *, batch: str = "b1") -> zipfile.ZipFile:
    answer = gallery.http.get(f"/api/batches/{batch}/zip{query}")
    assert answer.status_code == 200, answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def test_all_pictures_of_a_batch_with_what_is_known_of_them(gallery: Gallery, album: Album) -> None:
    archive = downloaded(gallery)
    names = ["image_001.png", "image_002.png", "image_003.png"]
    assert archive.namelist() == [*names, "batch_info.json"]
    assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    for name in names:
        assert archive.read(name) == (album.output / "batches/b1" / name).read_bytes()
    info = json.loads(archive.read("batch_info.json"))
    assert (info["schema"], info["batch"], info["seeds"]) == (SCHEMA, "b1", [41, 42, 43])
    assert [image["file"] for image in info["images"]] == names


def test_the_chosen_ones_in_the_batchs_order(gallery: Gallery) -> None:
    archive = downloaded(gallery, "?image=3&image=1&image=3")
    assert archive.namelist() == ["image_001.png", "image_003.png", "batch_info.json"]
    info = json.loads(archive.read("batch_info.json"))
    assert [image["file"] for image in info["images"]] == ["image_001.png", None, "image_003.png"]


def test_it_is_downloaded_under_the_batchs_name(gallery: Gallery) -> None:
    headers = gallery.http.get("/api/batches/b1/zip").headers
    assert headers["content-type"] == "application/zip"
    assert headers["content-disposition"] == 'attachment; filename="b1.zip"'


@pytest.mark.parametrize("query", ["b1/zip?image=9", "b1/zip?image=1&image=x", "nobody/zip", "empty/zip"])
def test_what_is_not_there(gallery: Gallery, album: Album, query: str) -> None:
    album.add("empty", [{}], directory="empty")
    assert gallery.http.get(f"/api/batches/{query}").status_code == 404


def test_names_as_on_the_disk_of_any_letters(gallery: Gallery, album: Album) -> None:
    album.add("b2", [{}, {}], layout="mirror", directory="")
    album.complete("b2/001", "EP01/雪の狐.png", data=png())
    album.complete("b2/002", "EP02/été.png", data=png())
    assert downloaded(gallery, batch="b2").namelist() == ["EP01/雪の狐.png", "EP02/été.png", "batch_info.json"]


def test_two_that_a_disk_takes_for_one_get_different_names() -> None:
    paths = ["d/a.png", "a.png", "d/A.png", "d/a (2).png", "d/x/a.png"]
    assert list(names_in_zip(paths, "d").values()) == ["a.png", "a (2).png", "A (3).png", "a (2) (2).png", "x/a.png"]


def test_a_file_that_is_gone_is_named_and_the_others_are_there(gallery: Gallery, album: Album) -> None:
    (album.output / "batches/b1/image_002.png").unlink()
    archive = downloaded(gallery)
    assert archive.namelist() == ["image_001.png", "image_003.png", "batch_info.json", MISSING]
    assert archive.read(MISSING).decode() == "Not there any more:\nimage_002.png\n"


def test_one_that_goes_while_it_is_sent(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path in paths:
        path.write_bytes(b"x" * 5)
    stream = zipped([(path.name, path) for path in paths], beside={})
    sent = [next(stream)]
    paths[1].unlink()
    sent += stream
    assert zipfile.ZipFile(io.BytesIO(b"".join(sent))).namelist() == ["a.png", "c.png", MISSING]


@pytest.mark.parametrize("link", ["way", "file"])
def test_nothing_outside_of_the_output_directory_gets_in(gallery: Gallery, album: Album, link: str) -> None:
    (album.home / "secret").mkdir()
    (album.home / "secret" / "image_002.png").write_bytes(b"secret")
    picture = album.output / "batches/b1/image_002.png"
    picture.unlink()
    if link == "file":
        picture.symlink_to(album.home / "secret" / "image_002.png")
    else:
        for path in picture.parent.iterdir():
            path.unlink()
        picture.parent.rmdir()
        picture.parent.symlink_to(album.home / "secret")
    archive = downloaded(gallery)
    assert "image_002.png" not in archive.namelist()
    assert "image_002.png" in archive.read(MISSING).decode()


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def test_two_hundred_megabytes_pass_through_little_memory(tmp_path: Path) -> None:
    size = 50 << 20
    files = [(f"{number}.png", sparse(tmp_path / f"{number}.png", size)) for number in range(4)]
    tracemalloc.start()
    try:
        sent = sum(map(len, zipped(files, beside={})))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent > 4 * size
    assert peak < 4 << 20


def test_one_file_at_a_time_is_open_and_none_when_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handles: list[Any] = []
    original = zipping._opened

    def noted(path: Path | None) -> Any:
        handles.append(original(path))
        return handles[-1]

    monkeypatch.setattr(zipping, "_opened", noted)
    files = [(f"{number}.png", sparse(tmp_path / f"{number}.png", 1 << 20)) for number in range(3)]
    stream = zipped(files, beside={})
    assert handles == []
    for chunk in stream:
        assert sum(not handle.closed for handle in handles) <= 1
        if len(handles) == 2 and len(chunk) > 1000:
            break
    stream.close()
    assert [handle.closed for handle in handles] == [True, True]


def test_a_client_that_leaves_ends_the_reading(gallery: Gallery, album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 1 << 30
    sparse(album.output / "batches/b1/image_001.png", size)
    read, ended = [0], threading.Event()
    original = zipping._chunks

    def counted(handle: Any) -> Iterator[bytes]:
        try:
            for chunk in original(handle):
                read[0] += len(chunk)
                yield chunk
        finally:
            ended.set()

    monkeypatch.setattr(zipping, "_chunks", counted)
    with listening(gallery) as served:
        host = served.url.removeprefix("http://")
        with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=30) as client:
            client.sendall(f"GET /api/batches/b1/zip HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            got = 0
            while got < 4 << 20:
                got += len(client.recv(1 << 16))
        assert ended.wait(30)
    assert read[0] < size // 4
