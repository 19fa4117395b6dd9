"""A batch's page: every picture with its seed and parameters, a sweep as a grid, and nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.media_files import by_extension, program
from support.report_project import Album

from orchestrator.batches.report_html import write_report
from orchestrator.errors import UsageError

NASTY = "\"><script>alert(1)</script>&'<img src=http://evil/x>"


class Page(HTMLParser):
    """What a browser finds: tags with their attributes, the text, and the tables' cells."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self.headings: list[str] = []
        self._within: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag in ("h2", "h3"):
            self.headings.append("")
        if tag in ("img", "meta"):
            self._within.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._within.pop() == tag, "every tag is closed where it was opened"

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self._within or "th" in self._within:
            self.tables[-1][-1][-1] += data
        elif {"h2", "h3"} & set(self._within):
            self.headings[-1] += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(tmp_path)


def picture(side: int = 32, *, noise: bool = False) -> bytes:
    image = Image.effect_noise((side, side), 100) if noise else Image.new("RGB", (side, side), (10, 120, 90))
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def page(album: Album, batch: str, target: Path | None = None, **asked: Any) -> Page:
    return Page(write_report(album.state, batch, target, **asked).path)


def cells(table: list[list[str]]) -> list[list[str | None]]:
    """Of each cell of a row the number that its picture's caption begins with."""
    return [[(re.findall(r"(\d+) seed", cell) or [None])[0] for cell in row[1:]] for row in table[1:]]


def test_each_picture_with_its_seed_and_parameters(album: Album) -> None:
    album.add("b1", [{"seed": 40, "cfg": 7.5, "3.denoise": 0.8}, {"seed": 41, "cfg": 7.5}], parameters={"steps": 20})
    album.complete(
        "b1/001", "b1/image_001.png", "b1/image_001_002.png", "b1/text.txt", "b1/prompt_001.txt", seconds=2.5
    )
    album.complete("b1/002", "b1/image_002.png")
    found = page(album, "b1")
    sources = [image["src"] for image in found.attributes("img")]
    assert sources == ["output/b1/image_001.png", "output/b1/image_001_002.png", "output/b1/image_002.png"]
    assert {image["alt"] for image in found.attributes("img")} == {"a fox"}
    for said in (
        "seed 40",
        "seed 41",
        "cfg 7.5",
        "3.denoise 0.8",
        "2.5 s",
        "steps 20",
        "2 done",
        "text.txt · prompt_001.txt",
    ):
        assert said in found.text
    assert "output/b1/prompt_001.txt" in [link["href"] for link in found.attributes("a")]
    assert found.tables == []


def test_by_default_it_lies_beside_the_state_and_links_are_relative_to_where_it_lies(album: Album) -> None:
    album.add("b1", [{}])
    album.complete("b1/001", "b1/a b#1:2.png")
    written = write_report(album.state, "b")
    assert written.path == album.home / "report_b1.html"
    assert (written.items, written.pictures) == (1, 1)
    assert written.as_text() == f"{written.path}: 1 image of batch b1"
    (album.home / "pages").mkdir()
    found = page(album, "b1", album.home / "pages" / "x.html")
    assert [image["src"] for image in found.attributes("img")] == ["../output/b1/a%20b%231%3A2.png"]


def test_a_directory_whose_name_is_not_utf_8_is_linked(tmp_path: Path) -> None:
    home = tmp_path / os.fsdecode(b"\xff")
    home.mkdir()
    album = Album(home)
    album.add("b1", [{}])
    album.complete("b1/001", "b1/a.png")
    assert [image["src"] for image in page(album, "b1", tmp_path / "x.html").attributes("img")] == [
        "%FF/output/b1/a.png"
    ]


def test_two_axes_are_rows_and_columns(album: Album) -> None:
    axes = {"cfg": [5.0, 7.5], "sampler": ["euler", "ddim", "lms"]}
    inputs = [{"seed": 1, "cfg": cfg, "sampler": name} for cfg in axes["cfg"] for name in axes["sampler"]]
    # Where an item stands follows from its inputs, not from its number.
    album.add("b1", inputs[::-1], axes=axes)
    (table,) = page(album, "b1").tables
    assert [row[0] for row in table[1:]] == ["cfg 5.0", "cfg 7.5"]
    assert table[0][1:] == ["sampler euler", "sampler ddim", "sampler lms"]
    assert cells(table) == [["6", "5", "4"], ["3", "2", "1"]]


def test_one_axis_goes_across_and_a_cell_holds_all_its_variations(album: Album) -> None:
    album.add("b1", [{"seed": seed, "cfg": cfg} for cfg in (5.0, 7.5) for seed in (1, 2)], axes={"cfg": [5.0, 7.5]})
    (table,) = page(album, "b1").tables
    assert table[0] == ["cfg 5.0", "cfg 7.5"]
    assert [re.findall(r"\d+ seed \d", cell) for cell in table[1]] == [
        ["1 seed 1", "2 seed 2"],
        ["3 seed 1", "4 seed 2"],
    ]


def test_more_axes_are_blocks(album: Album) -> None:
    axes = {"cfg": [5.0, 7.5], "steps": [10, 20], "size": ["512x512", "512x768"]}
    inputs = [
        {"seed": 1, "cfg": cfg, "steps": steps, "width": 512, "height": height}
        for cfg in (5.0, 7.5)
        for steps in (10, 20)
        for height in (512, 768)
    ]
    album.add("b1", inputs, axes=axes)
    found = page(album, "b1")
    assert found.headings == ["a fox", "size 512x512", "size 512x768"]
    assert [cells(table) for table in found.tables] == [[["1", "3"], ["5", "7"]], [["2", "4"], ["6", "8"]]]


def test_each_prompt_has_a_grid_of_its_own(album: Album) -> None:
    inputs = [{"seed": 1, "cfg": cfg, "steps": 1} for _ in "ab" for cfg in (5.0, 7.5)]
    album.add("b1", inputs, prompt="a fox\na <hen>", axes={"cfg": [5.0, 7.5], "steps": [1]})
    found = page(album, "b1")
    assert found.headings == ["a fox", "a <hen>"]
    assert [cells(table) for table in found.tables] == [[["1"], ["2"]], [["3"], ["4"]]]


def test_what_stands_in_no_cell_is_shown_beside_the_grid(album: Album) -> None:
    album.add("b1", [{"seed": 1, "cfg": 5.0}, {"seed": 2, "cfg": 99.0}, {"seed": 3}], axes={"cfg": [5.0]})
    found = page(album, "b1")
    assert found.headings == ["a fox", "Others"]
    assert "seed 2" not in str(found.tables)
    for said in ("seed 2", "cfg 99.0", "seed 3"):
        assert said in found.text


def test_everything_is_escaped(album: Album) -> None:
    axes = {"model": [NASTY, "b"]}
    album.add(
        "b1",
        [{"seed": NASTY, "model": NASTY, NASTY: NASTY}, {"model": "b"}],
        prompt=NASTY,
        axes=axes,
        parameters={NASTY: NASTY},
        template=NASTY,
    )
    album.complete("b1/001", "b1/<x>&'.png", "b1/<script>.txt")
    album.fail("b1/002", NASTY)
    found = page(album, "b1")
    assert not found.attributes("script")
    assert len(found.attributes("img")) == 1
    assert found.attributes("img")[0]["alt"] == NASTY
    assert found.text.count(NASTY) >= 7


def test_it_needs_nothing_from_elsewhere(album: Album) -> None:
    album.add("b1", [{"cfg": 1.0}], axes={"cfg": [1.0]})
    album.complete("b1/001", data=picture())
    for embed in (False, True):
        found = page(album, "b1", embed=embed)
        assert not re.search(r"https?:|//\w|url\(|@import", found.html)
        assert not {"script", "link", "iframe", "base"} & {tag for tag, _ in found.tags}


def test_light_and_dark(album: Album) -> None:
    album.add("b1", [{}])
    found = page(album, "b1")
    assert {"name": "color-scheme", "content": "light dark"} in found.attributes("meta")
    assert "prefers-color-scheme: dark" in found.html


def test_embedded_pictures_need_no_file_beside_the_page(album: Album) -> None:
    album.add("b1", [{}] * 3)
    small, large = picture(), picture(1200, noise=True)
    album.complete("b1/001", data=small)
    album.complete("b1/002", data=large)
    album.complete("b1/003", data=b"no picture")
    first, second = page(album, "b1", embed=True).attributes("img")
    assert base64.b64decode((first["src"] or "").removeprefix("data:image/png;base64,")) == small
    assert (second["src"] or "").startswith("data:image/webp;base64,")
    assert (second["width"], second["height"]) == ("640", "640")
    assert len(second["src"] or "") < len(large) / 2
    assert "does not decode" in page(album, "b1", embed=True).text


def test_the_title_names_the_batch(album: Album) -> None:
    album.add("b1", [{}], name="hero")
    assert "Batch b1 (hero)" in page(album, "b1").text


@pytest.mark.parametrize("embed", [True, False])
def test_a_video_is_a_frame_or_a_tile_that_leads_to_it(
    embed: bool, album: Album, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    album.add("b1", [{}] * 2)
    album.complete("b1/001", "b1/film.mp4", data=by_extension()[".mp4"])
    album.complete("b1/002", "b1/sound.flac", data=by_extension()[".flac"])
    tiles = page(album, "b1", embed=embed).attributes("img")
    (tmp_path / "frame.png").write_bytes(picture())
    program(tmp_path / "bin", "ffmpeg", f"exec {shutil.which('cat', path=os.defpath)} {tmp_path / 'frame.png'}")
    found = page(album, "b1", embed=embed)
    frames = found.attributes("img")
    links = [str(link["href"]).rpartition("/")[2] for link in found.attributes("a")]
    assert links == ["film.mp4", "sound.flac"]
    for images in (tiles, frames):
        assert all(image["src"].startswith("data:image/webp;base64,") for image in images)
    assert [image["width"] for image in tiles] == ["512", "512"]
    assert frames[0] != tiles[0], "of the video there is a frame now"
    assert frames[1] == tiles[1]
    assert "film.mp4" in found.text


def test_what_has_no_picture_says_why(album: Album) -> None:
    album.add("b1", [{}] * 5)
    album.fail("b1/001", "no such <node>")
    album.cancel("b1/002")
    album.complete("b1/003", "b1/film.xyz")
    album.complete("b1/004")
    (album.output / "b1" / "004.png").unlink()
    found = page(album, "b1")
    for said in ("no such <node>", "cancelled", "no image", "film.xyz", "the file is missing", "pending"):
        assert said in found.text
    assert found.attributes("img") == []


def test_a_record_that_points_outside_is_not_followed(album: Album) -> None:
    album.add("b1", [{}])
    album.complete("b1/001", "../secret.png", "../secret.txt", data=picture())
    found = page(album, "b1", embed=True)
    assert found.attributes("img") == found.attributes("a") == []


def test_a_place_that_cannot_be_written_is_named(album: Album, tmp_path: Path) -> None:
    album.add("b1", [{}])
    with pytest.raises(UsageError, match=r"nowhere/x\.html cannot be written.*target='FILE'"):
        write_report(album.state, "b1", tmp_path / "nowhere" / "x.html")
