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
from orchestrator.outputs.pictures import decodes, embedded_graph


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
    assert all(threads.map(decodes, [path] * 18))
print(peak_kib() - one)
"""


def test_threads_hold_one_decoded_picture_in_memory(tmp_path: Path) -> None:
    side = 2000
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
