"""The image that goes with a message: upright, on white, and never decoded where that would take gigabytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.batch_scene import Scene

from orchestrator.notifications.last_image import last_image
from orchestrator.outputs import pictures


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    (made.output / "b1").mkdir(parents=True)
    made.end_all()
    yield made
    made.store.close()


def keep(scene: Scene, image: Image.Image, **options: object) -> None:
    image.save(scene.output / "b1" / "002.png", "PNG", **options)


def test_a_phone_gets_it_upright_small_and_on_white(scene: Scene) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    keep(scene, Image.new("RGBA", (1600, 800), (0, 0, 0, 0)), exif=sideways)
    data = last_image(scene.store)
    assert data is not None
    shown = Image.open(io.BytesIO(data))
    assert (shown.format, shown.size, shown.getpixel((200, 300))) == ("JPEG", (384, 768), (255, 255, 255))


def test_one_that_would_take_gigabytes_is_not_decoded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_DECODED_PIXELS", 100)
    keep(scene, Image.new("RGB", (40, 20), "red"))
    assert last_image(scene.store) is None
