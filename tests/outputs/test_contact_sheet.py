from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from orchestrator.contact_sheet import write_contact_sheet
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from state.item import ErrorRecord, Item, OutputRecord, Status


class Page(HTMLParser):
    """What a browser finds: tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def output(folder: Path, name: str, data: bytes) -> OutputRecord:
    path = folder / "output" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return OutputRecord(path=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def picture(*, size: tuple[int, int] = (32, 24), noise: bool = False, graph: dict[str, Any] | None = None) -> bytes:
    texts = PngInfo()
    if graph is not None:
        texts.add_text("prompt", json.dumps(graph))
    image = Image.effect_noise(size, 100) if noise else Image.new("RGB", size, (10, 120, 90))
    stream = io.BytesIO()
    image.save(stream, format="PNG", pnginfo=texts)
    return stream.getvalue()


def completed(key: str, *outputs: OutputRecord, **fields: Any) -> Item:
    return Item(key=key, status=Status.COMPLETED, outputs=outputs, **fields)


def sheet(folder: Path, *items: Item) -> Page:
    target = write_contact_sheet(
        folder / "sheet.html",
        items,
        placement=Placement(Recipes(None, folder), folder / "output"),
        home=folder,
        title="a <title>",
        summary="s & t",
    )
    return Page(target.read_text(encoding="utf-8"))


def test_a_picture_its_text_seconds_and_seed(tmp_path: Path) -> None:
    data = picture()
    item = completed("p/a.txt", output(tmp_path, "p/a.png", data), prompt_text="a fox", seconds=2.5, inputs={"seed": 7})
    page = sheet(tmp_path, item)
    (image,) = page.attributes("img")
    assert image["alt"] == "a fox"
    assert (image["width"], image["height"]) == ("32", "24")
    source = image["src"] or ""
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == data
    assert [link["href"] for link in page.attributes("a")] == ["output/p/a.png"]
    assert all(part in page.text for part in ("a fox", "a.txt", "2.5 s", "seed 7"))


def test_text_is_escaped(tmp_path: Path) -> None:
    nasty = '"><script>alert(1)</script> & <img src=x onerror=y>'
    item = completed("a.txt", output(tmp_path, "a.png", picture()), prompt_text=nasty)
    page = sheet(tmp_path, item)
    assert not page.attributes("script")
    assert len(page.attributes("img")) == 1
    assert page.attributes("img")[0]["alt"] == nasty
    assert nasty in page.text
    assert "a <title>" in page.text
    assert "s & t" in page.text


def test_the_text_of_the_prompt_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeffein Fuchs im Schnee\n", encoding="utf-8")
    page = sheet(tmp_path, completed("a.txt", output(tmp_path, "a.png", picture())))
    assert page.attributes("img")[0]["alt"] == "ein Fuchs im Schnee"


def test_the_seed_that_the_picture_carries(tmp_path: Path) -> None:
    graph = {
        "1": {"class_type": "KSampler", "inputs": {"seed": 4711, "steps": 2, "latent_image": ["3", 0]}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}},
    }
    assert "seed 4711" in sheet(tmp_path, completed("a", output(tmp_path, "a.png", picture(graph=graph)))).text


def test_a_large_picture_is_embedded_smaller(tmp_path: Path) -> None:
    data = picture(size=(1600, 800), noise=True)
    page = sheet(tmp_path, completed("a", output(tmp_path, "a.png", data)))
    (image,) = page.attributes("img")
    assert (image["width"], image["height"]) == ("640", "320")
    source = image["src"] or ""
    assert source.startswith("data:image/webp;base64,")
    assert len(source) < len(data) / 2


def test_every_output_of_an_item_and_other_files(tmp_path: Path) -> None:
    outputs = [output(tmp_path, name, picture()) for name in ("a b#1.png", "a_002.png")]
    page = sheet(tmp_path, completed("a", *outputs, output(tmp_path, "a.mp4", b"film")))
    assert [link["href"] for link in page.attributes("a")] == [
        "output/a%20b%231.png",
        "output/a_002.png",
        "output/a.mp4",
    ]
    assert len(page.attributes("img")) == 3, "of the film there is a tile"


def test_a_sidecar_is_no_picture_of_its_own(tmp_path: Path) -> None:
    files = [output(tmp_path, "a.png", picture()), output(tmp_path, "a.txt", b"seed: 7\n")]
    page = sheet(tmp_path, completed("a", *files, prompt_text="a fox", sidecar="a.txt"))
    assert [link["href"] for link in page.attributes("a")] == ["output/a.png"]


def test_items_without_a_picture_say_why(tmp_path: Path) -> None:
    cut = output(tmp_path, "cut.png", picture(noise=True)[:60])
    gone = output(tmp_path, "gone.png", picture())
    (tmp_path / "output" / "gone.png").unlink()
    outside = OutputRecord(path="../secret.png", bytes=1, sha256="0")
    (tmp_path / "secret.png").write_bytes(picture())
    failed = Item(key="bad", status=Status.FAILED, error=ErrorRecord(kind="rejected", message="no such <node>"))
    page = sheet(
        tmp_path, completed("cut", cut), completed("gone", gone), completed("out", outside), failed,
        Item(key="due", status=Status.PENDING),
    )  # fmt: skip
    assert not page.attributes("img")
    for said in ("does not decode", "the file is missing", "no such <node>", "pending"):
        assert said in page.text
    assert not page.attributes("a")


def test_it_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    write_contact_sheet(
        tmp_path / "s.html", [], placement=Placement(Recipes(None, tmp_path), tmp_path), home=tmp_path, title="t"
    )
    text = (tmp_path / "s.html").read_text()
    assert not re.search(r"https?://|<link|<script|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert [path.name for path in tmp_path.iterdir()] == ["s.html"]
