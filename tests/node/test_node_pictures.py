"""Picture files to ComfyUI's arrays and back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.comfyui_node import pictures


def gradient(mode: str = "RGB") -> Image.Image:
    """8 × 4; its left half is red, its upper half is bright."""
    image = Image.new("RGB", (8, 4), (10, 20, 30))
    image.paste((250, 20, 30), (0, 0, 4, 4))
    image.paste((255, 255, 255), (0, 0, 8, 1))
    return image.convert(mode)


def shown(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    gradient(mode).save(path)
    picture = pictures.read(path)

    assert picture.pixels.dtype == np.float32
    assert picture.pixels.shape == (4, 8, 3)
    np.testing.assert_array_equal(picture.pixels, shown(gradient(mode)))
    assert picture.mask.shape == (64, 64)
    assert not picture.mask.any()


def test_a_photo_is_upright(tmp_path: Path) -> None:
    """Turned by a quarter, as cameras note it."""
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient().save(path, exif=exif)

    np.testing.assert_array_equal(pictures.read(path).pixels, shown(gradient().transpose(Image.Transpose.ROTATE_270)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparency_becomes_the_mask(tmp_path: Path, mode: str) -> None:
    """1 where the picture is transparent, also where one colour of a palette or of an RGB picture is."""
    path = tmp_path / "a.png"
    image = Image.new("RGB", (8, 4), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 4, 4))
    if mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray(np.tile(np.repeat(np.uint8([255, 0]), 4), (4, 1))))
        image.save(path)
    else:
        image = image.convert(mode, palette=Image.Palette.ADAPTIVE, colors=2) if mode == "P" else image
        image.save(path, transparency=image.getpixel((7, 0)))

    expected = np.tile(np.repeat(np.float32([0, 1]), 4), (4, 1))
    np.testing.assert_array_equal(pictures.read(path).mask, expected)


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.uint16([[0, 32768, 65535]])).save(path)

    np.testing.assert_allclose(pictures.read(path).pixels[0, :, 1], [0, 32768 / 65535, 1], atol=1e-6)


def test_the_first_of_several_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])

    np.testing.assert_array_equal(pictures.read(path).pixels, shown(frames[0]))


@pytest.mark.parametrize("damage", ["empty", "text", "cut short", "a directory"])
def test_what_is_no_picture(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.png"
    gradient().resize((400, 400)).save(path)
    data = path.read_bytes()
    if damage == "a directory":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "text": b"no picture", "cut short": data[: len(data) // 2]}[damage])

    with pytest.raises(pictures.UNREADABLE):
        pictures.read(path)


def test_pixels_that_no_node_changed_are_kept(tmp_path: Path) -> None:
    """All 256 levels, there and back."""
    path = tmp_path / "a.png"
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(levels).save(path)
    data = pictures.encode(pictures.read(path).pixels, ".png", quality=90, texts={"prompt": '{"ä": 1}'})

    with Image.open(io.BytesIO(data)) as saved:
        assert saved.text == {"prompt": '{"ä": 1}'}
        np.testing.assert_array_equal(np.asarray(saved)[:, :, 0], levels)


def test_values_out_of_range_and_no_numbers(recwarn: pytest.WarningsRecorder) -> None:
    pixels = np.float32([[[-1, 2, np.nan]]])
    with Image.open(io.BytesIO(pictures.encode(pixels, ".png", quality=90, texts={}))) as saved:
        assert saved.getpixel((0, 0)) == (0, 255, 0)
    assert not recwarn


@pytest.mark.parametrize(
    ("extension", "kind"), [(".jpg", "JPEG"), (".webp", "WEBP"), (".bmp", "BMP"), (".tiff", "TIFF")]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_formats_and_channels(extension: str, kind: str, channels: int) -> None:
    pixels = np.full((4, 8, channels), 0.5, dtype=np.float32)
    with Image.open(io.BytesIO(pictures.encode(pixels, extension, quality=90, texts={}))) as saved:
        saved.load()
        assert (saved.format, saved.size) == (kind, (8, 4))


def test_quality_counts() -> None:
    noise = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    for extension in (".jpg", ".webp"):
        sizes = [len(pictures.encode(noise, extension, quality=quality, texts={})) for quality in (20, 95)]
        assert sizes[1] > 2 * sizes[0]


@pytest.mark.parametrize(
    ("filename", "choice", "expected"),
    [
        ("a.JPG", pictures.SAME, ".JPG"),
        ("a.gif", pictures.SAME, ".png"),
        ("shot.v2", pictures.SAME, ".png"),
        ("a.png", "webp", ".webp"),
    ],
)
def test_extensions(filename: str, choice: str, expected: str) -> None:
    assert pictures.extension_for(filename, choice) == expected
