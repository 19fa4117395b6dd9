"""A stand-in for ComfyUI, and a directory of images to work off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_comfyui import ComfyUI
from support.node_images import Album


@pytest.fixture
def comfy(tmp_path: Path) -> Iterator[ComfyUI]:
    server = ComfyUI(tmp_path / "ComfyUI")
    yield server
    server.stop()


@pytest.fixture
def album(comfy: ComfyUI, tmp_path: Path) -> Album:
    """img1.png, img2.png, img10.png."""
    made = Album(tmp_path / "album", comfy)
    made.add("img10.png", "img2.png", "img1.png")
    return made
