"""The workflow in pictures and videos; those of `tests/data/ui_format` were written by PyAV, as ComfyUI's nodes do."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from orchestrator.errors import TemplateError
from templates import load_workflow
from templates.embedded import embedded_documents

DATA = Path(__file__).parent.parent / "data/ui_format"
GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"text": "ü ✓ 🎈"}}}
FILE = {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": []}
BOTH = {"prompt": GRAPH, "workflow": FILE}


def png(*, kind: str = "tEXt", size: tuple[int, int] = (8, 8), **documents: Any) -> bytes:
    info, stream = PngInfo(), io.BytesIO()
    for name, document in documents.items():
        text = document if isinstance(document, str) else json.dumps(document)
        if kind == "iTXt":
            info.add_itxt(name, json.dumps(document, ensure_ascii=False))
        else:
            info.add_text(name, text, zip=kind != "tEXt")
    Image.new("RGB", size).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def webp(**documents: Any) -> bytes:
    """As ComfyUI's SaveAnimatedWEBP writes it."""
    image, stream = Image.new("RGB", (8, 8)), io.BytesIO()
    exif = image.getexif()
    for tag, (name, document) in zip((0x0110, 0x010F), documents.items(), strict=False):
        exif[tag] = f"{name}:{json.dumps(document)}"
    image.save(stream, "WEBP", exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_png(kind: str) -> None:
    assert embedded_documents(io.BytesIO(png(kind=kind, **BOTH))) == BOTH
    assert embedded_documents(io.BytesIO(png())) == {}


def test_png_whose_texts_stand_behind_the_pixels() -> None:
    data = png(size=(300, 300), **BOTH)
    parts = data.partition(b"IDAT")
    assert parts[1]
    assert embedded_documents(io.BytesIO(data)) == BOTH


def test_webp() -> None:
    assert embedded_documents(io.BytesIO(webp(**BOTH))) == BOTH
    assert embedded_documents(io.BytesIO(webp())) == {}


@pytest.mark.parametrize("name", ["a.mp4", "c.mp4", "a.webm", "c.webm"])
def test_videos(name: str) -> None:
    """`a`: a tag for each, as SaveVideo and SaveWEBM write; `c`: one comment, as Video Helper Suite does."""
    with (DATA / name).open("rb") as stream:
        found = embedded_documents(stream)
    assert found["prompt"]["2"]["inputs"]["filename_prefix"] == "ü ✓"
    assert found["workflow"]["nodes"][0]["type"] == "EmptyImage"


def test_the_graph_counts_before_the_file_of_the_editor(tmp_path: Path) -> None:
    (tmp_path / "both.png").write_bytes(png(**BOTH))
    (tmp_path / "file.webp").write_bytes(webp(workflow=FILE))
    assert load_workflow(tmp_path / "both.png").graph == GRAPH
    converted = load_workflow(tmp_path / "file.webp", convert=lambda document, where: {**GRAPH, "2": GRAPH["1"]})
    assert list(converted.graph) == ["1", "2"]
    assert load_workflow(DATA / "c.webm").graph["1"]["class_type"] == "EmptyImage"


@pytest.mark.parametrize(
    "data", [png(), webp(), png(prompt="no graph"), png(prompt=[1]), b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypisom"]
)
def test_one_without_a_workflow(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "plain").write_bytes(data)
    with pytest.raises(
        TemplateError, match=r"plain: no workflow of ComfyUI is in this file; use one as ComfyUI saved it"
    ):
        load_workflow(tmp_path / "plain")


def test_a_damaged_one_gives_what_can_be_read_and_never_fails() -> None:
    whole = [
        png(**BOTH),
        webp(**BOTH),
        *((DATA / name).read_bytes() for name in ("a.mp4", "c.mp4", "a.webm", "c.webm")),
    ]
    for data in whole:
        for cut in range(12, len(data), 7):
            found = embedded_documents(io.BytesIO(data[:cut] + bytes(20) + data[cut + 20 :]))
            assert found.keys() <= {"prompt", "workflow"}
            embedded_documents(io.BytesIO(data[:cut]))


def test_boxes_within_boxes_without_end() -> None:
    data = b"\0\0\0\x18ftypisom" + bytes(12)
    for depth in range(3000, 0, -1):
        data += struct.pack(">I4s", 8 * depth, b"moov")
    assert embedded_documents(io.BytesIO(data)) == {}
