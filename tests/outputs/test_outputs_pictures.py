"""Pictures: whole ones pass, cut ones do not, and a PNG gives its graph back."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from orchestrator.outputs import pictures
from orchestrator.outputs.pictures import decodes, embedded_graph, on_reading_thread, on_white, smaller
from orchestrator.report_pages.figure import embedded


def picture(kind: str, *, frames: int = 1, size: int = 48, **options: Any) -> bytes:
    noise = random.Random(7)
    images = [Image.frombytes("RGB", (size, size), noise.randbytes(size * size * 3)) for _ in range(frames)]
    more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    target = io.BytesIO()
    images[0].save(target, kind, **more, **options)
    return target.getvalue()


def damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


KINDS = [("PNG", 1), ("PNG", 3), ("JPEG", 1), ("WEBP", 1), ("WEBP", 3), ("GIF", 1), ("GIF", 3)]


@pytest.mark.parametrize(("kind", "frames"), KINDS)
def test_a_whole_picture_decodes_and_no_cut_one_does(kind: str, frames: int, tmp_path: Path) -> None:
    data = picture(kind, frames=frames)
    (tmp_path / "a").write_bytes(data)
    assert decodes(tmp_path / "a")
    assert decodes(data)
    cuts = [*range(0, len(data) - 4, max(1, len(data) // 60)), len(data) - 4, len(data) - 2]
    passed = [cut for cut in cuts if decodes(data[:cut])]
    assert passed == []


def test_damage_in_the_middle_of_a_png_is_seen() -> None:
    assert not decodes(damaged(picture("PNG")))


_SIX_AT_ONCE = """
import resource, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from orchestrator.outputs.pictures import decodes

def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

path = Path(sys.argv[1])
assert decodes(path)
one = peak_kib()
with ThreadPoolExecutor(6) as threads:
    assert all(threads.map(decodes, [path] * 12))
print(peak_kib() - one)
"""


def test_threads_hold_one_decoded_picture_in_memory(tmp_path: Path) -> None:
    side = 1500
    Image.effect_noise((side, side), 60).convert("RGB").save(tmp_path / "a.png", compress_level=1)
    command = [sys.executable, "-c", _SIX_AT_ONCE, str(tmp_path / "a.png")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < side * side * 4


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", b"RIFF\x04\0\0\0WAVE", b"GIF89a", b"\xff\xd8\xff"]
)
def test_what_is_no_picture(data: bytes) -> None:
    assert not decodes(data)


def test_a_huge_picture_is_checked_without_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_DECODED_PIXELS", 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = picture("PNG")
    assert decodes(data)
    assert not decodes(data[:-20])
    assert not decodes(damaged(data))


def test_the_graph_comes_back(tmp_path: Path) -> None:
    graph = {"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "burst/ab/x-9"}}}
    info = PngInfo()
    info.add_text("prompt", json.dumps(graph))
    (tmp_path / "a.png").write_bytes(picture("PNG", pnginfo=info))
    assert embedded_graph(tmp_path / "a.png") == graph


@pytest.mark.parametrize("text", ["[1]", "{", "", "null", None])
def test_no_graph(text: str | None) -> None:
    info = PngInfo()
    if text is not None:
        info.add_text("prompt", text)
    assert embedded_graph(picture("PNG", pnginfo=info)) is None


@pytest.mark.parametrize("data", [b"", b"mp4", picture("JPEG"), picture("PNG")[:30]])
def test_no_graph_in_other_files(data: bytes) -> None:
    assert embedded_graph(data) is None


def test_a_smaller_one_is_the_first_frame_upright_and_says_the_size_of_the_original(tmp_path: Path) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    first, second = Image.new("RGB", (80, 40), "red"), Image.new("RGB", (80, 40), "blue")
    first.save(tmp_path / "a.png", save_all=True, append_images=[second], exif=sideways)
    made = smaller(tmp_path / "a.png", longest_side=20)
    assert made is not None
    assert (made.image.size, made.image.mode, made.original_size) == ((10, 20), "RGB", (40, 80))
    assert made.image.getpixel((5, 5)) == (255, 0, 0)
    whole = smaller((tmp_path / "a.png").read_bytes(), longest_side=500)
    assert whole is not None
    assert whole.image.size == (40, 80), "never enlarged"


def test_a_smaller_one_of_a_palette_keeps_what_is_transparent() -> None:
    image, data = Image.new("P", (64, 64)), io.BytesIO()
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(data, "PNG", transparency=0)
    made = smaller(data.getvalue(), longest_side=16)
    assert made is not None
    assert (made.image.mode, made.image.getchannel("A").getextrema()) == ("RGBA", (0, 0))
    assert on_white(made.image).getpixel((8, 8)) == (255, 255, 255)


@pytest.mark.parametrize("data", [b"", b"<svg/>", picture("PNG")[:300]], ids=["empty", "no picture", "cut"])
def test_what_does_not_decode_has_no_smaller_one(data: bytes) -> None:
    assert smaller(data, longest_side=16) is None


@pytest.mark.timeout(20)
def test_the_thread_that_reads_pictures_may_ask_itself() -> None:
    data = picture("PNG")
    made = on_reading_thread(lambda source: smaller(source, longest_side=16), data)
    assert made is not None
    assert made.image.size == (16, 16)


def test_no_face_decodes_what_would_take_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_DECODED_PIXELS", 100)
    (tmp_path / "a.png").write_bytes(picture("PNG"))
    assert smaller(tmp_path / "a.png", longest_side=16) is None
    assert embedded(tmp_path / "a.png") is None, "nor a report"
