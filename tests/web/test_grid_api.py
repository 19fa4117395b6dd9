"""A sweep as a grid over the API: its table, one image, one HTML file."""

from __future__ import annotations

import io
import re
from itertools import product
from typing import Any

import pytest
from PIL import Image
from support.gallery_scene import Gallery, png
from support.report_project import Album

from orchestrator.errors import UsageError
from orchestrator.web import grid_image, grid_routes, grids
from orchestrator.web.grid_image import Sheet, Tile, grid_png
from state.change import Change
from state.item import Status

STEPS, CFG = [10, 20], [5.0, 7.5, 9.0]


def sweep(album: Album, name: str = "b1", *, axes: dict[str, list[Any]] | None = None, prompt: str = "a fox") -> None:
    """A batch of every combination, which is not rendered."""
    axes = axes or {"steps": STEPS, "cfg": CFG}
    cells = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    inputs = [{"seed": 7, **cell} for _ in prompt.split("\n") for cell in cells]
    album.add(name, inputs, prompt=prompt, axes=axes, directory=name)


def statuses(grid: Any) -> list[list[list[str]]]:
    return [[[image["status"] for image in cell] for cell in row] for row in grid["cells"]]


def names(grid: Any) -> list[list[list[str]]]:
    return [[[image["image"] for image in cell] for cell in row] for row in grid["cells"]]


def test_the_first_axis_goes_down_and_the_second_across_with_what_each_cell_is(gallery: Gallery, album: Album) -> None:
    sweep(album)
    album.complete("b1/001", "b1/a.png", "b1/a_2.png", data=png())
    album.submit("b1/002")
    album.submit("b1/003")
    album.fail("b1/003")
    album.store.apply([Change("b1/005", Status.PENDING, lambda now: None)])
    grid = gallery.get("/api/batches/b1/grid")
    assert [(axis["name"], axis["values"]) for axis in grid["axes"]] == [
        ("steps", ["10", "20"]),
        ("cfg", ["5.0", "7.5", "9.0"]),
    ]
    assert (grid["rows"], grid["columns"], grid["at"], grid["remaining"]) == (0, 1, [0, 0], 3)
    assert names(grid) == [[["1", "1-2"], ["2"], ["3"]], [["4"], [], ["6"]]]
    assert statuses(grid) == [
        [["completed", "completed"], ["submitted"], ["failed"]],
        [["pending"], [], ["pending"]],
    ]
    assert grid["cells"][0][0][0]["thumbnail"].startswith("/thumbnails/b1/1")
    assert grid["cells"][0][2][0]["error"] == "out of luck"


def test_two_of_several_axes_are_chosen_and_the_others_have_a_value(gallery: Gallery, album: Album) -> None:
    sweep(album, axes={"steps": STEPS, "cfg": CFG, "sampler": ["euler", "dpm"]})
    grid = gallery.get("/api/batches/b1/grid", rows=2, columns=0, at="0,1,0")
    assert names(grid) == [[["3"], ["9"]], [["4"], ["10"]]]
    assert names(gallery.get("/api/batches/b1/grid", rows=2, columns=0, at="0,2,0"))[0] == [["5"], ["11"]]


def test_several_prompts_are_an_axis(gallery: Gallery, album: Album) -> None:
    sweep(album, axes={"cfg": CFG}, prompt="a fox\nan owl")
    grid = gallery.get("/api/batches/b1/grid")
    assert [axis["name"] for axis in grid["axes"]] == ["prompt", "cfg"]
    assert (grid["rows"], names(grid)) == (0, [[["1"], ["2"], ["3"]], [["4"], ["5"], ["6"]]])
    sweep(album, "b2", prompt="a fox\nan owl")
    grid = gallery.get("/api/batches/b2/grid", at="1,0,0")
    assert (grid["rows"], grid["columns"], names(grid)[0]) == (1, 2, [["7"], ["8"], ["9"]])


def test_a_single_axis_goes_across(gallery: Gallery, album: Album) -> None:
    sweep(album, axes={"cfg": CFG})
    grid = gallery.get("/api/batches/b1/grid")
    assert (grid["rows"], grid["columns"], names(grid)) == (None, 0, [[["1"], ["2"], ["3"]]])


def test_an_item_that_was_edited_since_is_counted_apart(gallery: Gallery, album: Album) -> None:
    album.add("b1", [{"cfg": 5.0}, {"cfg": 6.0}], axes={"cfg": CFG}, directory="b1")
    grid = gallery.get("/api/batches/b1/grid")
    assert (names(grid), grid["others"]) == ([[["1"], [], []]], 1)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"rows": 5}, "2 axes"),
        ({"rows": 1, "columns": 1}, "same axis"),
        ({"at": "0"}, "each of 2 axes"),
        ({"at": "9,0"}, "each of 2 axes"),
        ({"at": "x"}, "at"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(gallery: Gallery, album: Album, query: dict[str, Any], said: str) -> None:
    sweep(album)
    for what in ("grid", "grid.png", "grid.html"):
        answer = gallery.http.get(f"/api/batches/b1/{what}", params=query)
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]


def test_what_is_no_sweep_has_no_grid(gallery: Gallery, album: Album) -> None:
    album.add("b1", [{}], directory="b1")
    answer = gallery.http.get("/api/batches/b1/grid")
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "batchId")
    assert gallery.http.get("/api/batches/b9/grid").status_code == 404


def test_the_image_has_every_cell(gallery: Gallery, album: Album) -> None:
    sweep(album)
    album.complete("b1/001", "b1/a.png", data=png((10, 200, 30)))
    album.complete("b1/006", "b1/b.png", data=png((200, 10, 30)))
    answer = gallery.http.get("/api/batches/b1/grid.png")
    assert answer.headers["content-type"] == "image/png"
    image = Image.open(io.BytesIO(answer.content)).convert("RGB")
    left, right = image.crop((0, 0, image.width // 2, image.height)), image.crop((image.width // 2, 0, *image.size))
    assert near((10, 200, 30), left)
    assert near((200, 10, 30), right)
    assert not near((10, 200, 30), right)
    wide = gallery.http.get("/api/batches/b1/grid.png", params={"rows": 1, "columns": 0})
    assert Image.open(io.BytesIO(wide.content)).height > image.height


def near(color: tuple[int, int, int], image: Image.Image) -> bool:
    """Whether a good part of an image has about this color; thumbnails are not exact."""
    data = image.resize((60, 60)).tobytes()
    pixels = (data[at : at + 3] for at in range(0, len(data), 3))
    return sum(max(abs(a - b) for a, b in zip(one, color, strict=True)) < 12 for one in pixels) > 30


def test_the_image_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_image, "MOST_PIXELS", 2_000_000)
    heads = [str(number) for number in range(30)]

    def sheet(count: int) -> Sheet:
        rows, cells = heads[:count], [[[Tile("queued")]] * count] * count
        return Sheet(title="a fox", notes=(), corner="a", rows=rows, columns=rows, cells=cells)

    with Image.open(io.BytesIO(grid_png(sheet(15)))) as image:
        assert 1_000_000 < image.width * image.height <= 2_000_000
    with pytest.raises(UsageError, match="30 × 30 cells are too many for one image, which has at most 2 megapixels"):
        grid_png(sheet(30))
    monkeypatch.setattr(grid_image, "LARGEST_SIDE", 1000)
    with Image.open(io.BytesIO(grid_png(sheet(15)))) as image:
        assert max(image.size) <= 1000


def test_the_html_file_needs_nothing_else(gallery: Gallery, album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(album)
    for number in range(1, 7):
        album.complete(f"b1/{number:03d}", f"b1/{number}.png", data=png((10 * number, 200, 30)))
    answer = gallery.http.get("/api/batches/b1/grid.html", params={"rows": 1, "columns": 0})
    assert answer.headers["content-disposition"] == 'attachment; filename="grid_b1.html"'
    page = answer.text
    assert re.findall(r'<th scope="row">(.*?)</th>', page) == ["cfg 5.0", "cfg 7.5", "cfg 9.0"]
    assert re.findall(r'<th scope="col">(.*?)</th>', page) == ["steps 10", "steps 20"]
    assert page.count('src="data:image/png;base64,') == 6
    assert "href=" not in page
    monkeypatch.setattr(grid_routes, "MOST_EMBEDDED", 5)
    refused = gallery.http.get("/api/batches/b1/grid.html")
    assert refused.status_code == 400
    assert "burst report b1" in refused.json()["error"]["message"]


def test_a_batch_that_is_too_large_says_so(gallery: Gallery, album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(album)
    monkeypatch.setattr(grids, "MOST_CELLS", 5)
    assert "2 × 3; choose other axes" in gallery.http.get("/api/batches/b1/grid").json()["error"]["message"]
    monkeypatch.setattr(grids, "LARGEST_BATCH", 5)
    assert "use burst report" in gallery.http.get("/api/batches/b1/grid").json()["error"]["message"]
