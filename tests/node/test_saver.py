"""Results under the originals' names, below ComfyUI's output directory, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.fake_comfyui import ComfyUI, Tensor
from support.node_images import Album


def save(comfy: ComfyUI, *, images: list[Tensor] | None = None, **given: Any) -> list[dict[str, str]]:
    """The Saver as it is called, outside of any prompt; what the browser is told."""
    usual = {
        "filename": "a.png",
        "subfolder": "",
        "format": "same as original",
        "quality": 90,
        "if_exists": "overwrite",
    }
    inputs = {name: [value] for name, value in {**usual, **given}.items()}
    ui = comfy.classes["BatchImageSaver"]().save(image=images or [grey()], **inputs)
    shown: list[dict[str, str]] = ui["ui"]["images"]
    return shown


def grey(level: float = 0.5, *, batch: int = 1) -> Tensor:
    return Tensor(np.full((batch, 3, 4, 3), level, dtype=np.float32))


def test_the_originals_pixels_come_out_under_their_names(comfy: ComfyUI, album: Album) -> None:
    comfy.post(album.graph(saver_inputs={"subfolder": "done/today"}))
    comfy.work()

    for name in ("img1.png", "img2.png", "img10.png"):
        with (
            Image.open(album.directory / name) as before,
            Image.open(comfy.directory / "output/done/today" / name) as after,
        ):
            np.testing.assert_array_equal(np.asarray(after), 255 - np.asarray(before))


def test_what_the_position_says_of_a_saved_image(comfy: ComfyUI, album: Album) -> None:
    comfy.post(album.graph(saver_inputs={"subfolder": "s"}))
    comfy.work()

    data = (comfy.directory / "output" / "s" / "img2.png").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert album.records()["img2.png"]["outputs"] == [{"path": "s/img2.png", "bytes": len(data), "sha256": digest}]


@pytest.mark.parametrize(
    ("filename", "format", "expected"),
    [
        ("a.JPG", "same as original", "a.JPG"),
        ("a.gif", "same as original", "a.png"),
        ("a.png", "jpg", "a.jpg"),
        ("shot.v2", "same as original", "shot.v2.png"),
        ("a", "webp", "a.webp"),
    ],
)
def test_names(comfy: ComfyUI, filename: str, format: str, expected: str) -> None:
    assert save(comfy, filename=filename, format=format, subfolder="s") == [
        {"filename": expected, "subfolder": "s", "type": "output"}
    ]
    with Image.open(comfy.directory / "output" / "s" / expected) as picture:
        picture.load()


def test_several_pictures_of_one_run(comfy: ComfyUI) -> None:
    """As one tensor or as a list of them: each has a name of its own."""
    shown = save(comfy, images=[grey(0.1, batch=2), grey(0.9)])

    assert [each["filename"] for each in shown] == ["a.png", "a_batch_00001.png", "a_batch_00002.png"]
    with Image.open(comfy.directory / "output" / "a_batch_00002.png") as last:
        assert last.getpixel((0, 0)) == (230, 230, 230)


@pytest.mark.parametrize("order", [("a.jpg", "a.png"), ("a.png", "a.webp")])
def test_two_originals_with_one_stem(comfy: ComfyUI, tmp_path: Path, order: tuple[str, str]) -> None:
    """Both saved as png: neither takes the other's place, the second time either."""
    album = Album(tmp_path / "twins", comfy)
    album.add(*order)
    for _ in range(2):
        comfy.post(album.graph(saver_inputs={"format": "png"}))
        comfy.work()

        assert album.saved() == sorted(["a.png", f"{order[1]}.png"])
        assert album.records()[order[0]]["outputs"][0]["path"] == "a.png"


@pytest.mark.parametrize(("if_exists", "level"), [("overwrite", 128), ("skip", 255)])
def test_a_file_that_exists(comfy: ComfyUI, if_exists: str, level: int) -> None:
    save(comfy, images=[grey(1.0)])
    shown = save(comfy, images=[grey(0.5)], if_exists=if_exists)

    assert [each["filename"] for each in shown] == ["a.png"]
    with Image.open(comfy.directory / "output" / "a.png") as picture:
        assert picture.getpixel((0, 0)) == (level,) * 3


@pytest.mark.parametrize("filename", ["", "../a.png", "/etc/a.png", "sub/a.png", "sub\\a.png", "..", "."])
def test_a_name_that_leads_elsewhere(comfy: ComfyUI, filename: str) -> None:
    with pytest.raises(ValueError, match="filename is"):
        save(comfy, filename=filename)


@pytest.mark.parametrize("subfolder", ["..", "../x", "/tmp", "a/../../x", "link/x"])
def test_a_subfolder_that_leads_elsewhere(comfy: ComfyUI, tmp_path: Path, subfolder: str) -> None:
    (comfy.directory / "output" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out of the output directory"):
        save(comfy, subfolder=subfolder)
    assert not (tmp_path / "x").exists()


def test_never_into_the_directory_that_is_worked_off(comfy: ComfyUI) -> None:
    """Its originals would be lost, and each result would be the next image."""
    inside = Album(comfy.directory / "output" / "frames", comfy)
    inside.add("a.png", "b.png")
    before = (inside.directory / "a.png").read_bytes()
    comfy.post(inside.graph(saver_inputs={"subfolder": "other/../frames"}))
    comfy.work()

    [message] = comfy.said.values()
    assert "is the directory of the input images" in message
    assert (inside.directory / "a.png").read_bytes() == before


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_no_half_file(comfy: ComfyUI, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: the old file is there, and nothing else."""
    save(comfy, images=[grey(1.0)])
    old = (comfy.directory / "output" / "a.png").read_bytes()

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space"):
        save(comfy, images=[grey(0.5)])
    monkeypatch.undo()

    assert [path.name for path in (comfy.directory / "output").iterdir()] == ["a.png"]
    assert (comfy.directory / "output" / "a.png").read_bytes() == old


@pytest.mark.parametrize("disabled", [False, True])
def test_a_png_holds_the_workflow(
    comfy: ComfyUI, album: Album, disabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SaveImage does it: unless the server was started with --disable-metadata."""
    options = SimpleNamespace(args=SimpleNamespace(disable_metadata=disabled))
    monkeypatch.setitem(sys.modules, "comfy.cli_args", options)  # type: ignore[arg-type]
    comfy.post(album.graph(), extra_pnginfo={"workflow": {"nodes": [1]}})
    comfy.work()

    with Image.open(comfy.directory / "output" / "img2.png") as picture:
        texts = picture.text
    if disabled:
        assert not texts
    else:
        assert json.loads(texts["prompt"])["3"]["class_type"] == "BatchImageSaver"
        assert json.loads(texts["workflow"]) == {"nodes": [1]}
