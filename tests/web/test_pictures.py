"""Pictures and thumbnails over HTTP: by ids alone, never out of the output directory, as what they are."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gallery_scene import Gallery, fill, gallery_over, png
from PIL import Image

from album import Album


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Gallery]:
    album = Album(tmp_path)
    fill(album)
    with gallery_over(album) as gallery:
        yield gallery


def test_a_picture_is_the_file_as_it_is(shown: Gallery) -> None:
    answer = shown.http.get("/images/b1/2")
    assert answer.status_code == 200
    assert answer.content == (shown.album.output / "batches/b1/image_002.png").read_bytes()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == 'inline; filename="image_002.png"'
