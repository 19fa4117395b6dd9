"""The images of a batch that has ended, in a browser: chosen, compared, zoomed into and downloaded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from support.serving import Served

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def made(_served: Served) -> str:
    """A batch of three that is complete."""
    return _served.made(count=3)


@pytest.fixture
def grid(open_page: OpenPage, made: str) -> Any:
    """The page with its images."""
    page = open_page(f"/?batch={made}")
    expect(page.locator("#grid img")).to_have_count(3)
    return page


@pytest.fixture
def pair(kept_page: Any, _served: Served, made: str) -> Any:
    """The page with its first two images side by side, which begin anew."""
    if made not in kept_page.url:
        kept_page.goto(f"{_served.url}/?batch={made}")
        expect(kept_page.locator("#grid img")).to_have_count(3)
    kept_page.keyboard.press("Escape")
    expect(kept_page.get_by_role("dialog")).to_be_hidden()
    kept_page.get_by_role("button", name="Select all").click()
    kept_page.get_by_label("Image 3").uncheck()
    kept_page.get_by_role("button", name="Compare side by side").click()
    return kept_page


def places(page: Any) -> list[dict[str, float]]:
    """Where both images are drawn."""
    return [image.bounding_box() for image in page.locator("#stage img").all()]


def moved(page: Any) -> list[str]:
    """How both images are moved and scaled, as drawn."""
    found: list[str] = page.locator("#stage img").evaluate_all("all => all.map(one => getComputedStyle(one).transform)")
    return found


def part(page: Any) -> str:
    """How far the line is from the left, in percent."""
    return str(page.get_by_role("slider").input_value())


def clip(page: Any) -> str:
    found: str = page.locator("#stage .second .view").evaluate("view => getComputedStyle(view).clipPath")
    return found


def slider(page: Any) -> Any:
    page.get_by_role("radio", name="Slider").check()
    return page.get_by_role("slider", name="How much of the first image is shown")


def test_all_are_chosen_and_none(grid: Any) -> None:
    grid.get_by_role("button", name="Select all").click()
    expect(grid.locator("#grid").get_by_role("checkbox", checked=True)).to_have_count(3)
    expect(grid.get_by_role("button", name="Compare side by side")).to_be_enabled()
    grid.get_by_role("button", name="Select none").click()
    expect(grid.locator("#grid").get_by_role("checkbox", checked=True)).to_have_count(0)


def test_with_none_chosen_all_are_downloaded(grid: Any, served: Served) -> None:
    with grid.expect_download() as downloading:
        grid.get_by_role("link", name="Download all as ZIP").click()
    with zipfile.ZipFile(io.BytesIO(Path(downloading.value.path()).read_bytes())) as archive:
        assert sum(name.endswith(".png") for name in archive.namelist()) == 3


def test_an_image_opens_in_full_size(grid: Any, made: str) -> None:
    grid.get_by_role("link", name="Image 2").click()
    with grid.expect_popup() as opening:
        grid.locator("#viewer").get_by_role("link", name="Original").click()
    assert f"/images/{made}/2" in opening.value.url


def test_three_images_have_one_zoom_and_an_address(grid: Any, open_page: OpenPage, made: str) -> None:
    grid.get_by_role("button", name="Select all").click()
    grid.get_by_role("button", name="Compare side by side").click()
    dialog = grid.get_by_role("dialog", name="Image 1, image 2 and image 3")
    expect(dialog.get_by_role("radio", name="Slider")).to_be_hidden()
    grid.keyboard.press("+")
    expect(grid.locator("#zoom")).to_have_text("125 %")
    assert [transform.startswith("matrix(1.25, 0, 0, 1.25, ") for transform in moved(grid)] == [True] * 3
    assert len({box["y"] for box in places(grid)}) == 1
    assert grid.url.endswith("&compare=1%2C2%2C3")
    page = open_page(f"/?batch={made}&compare=3%2C1")
    expect(page.get_by_role("dialog", name="Image 3 and image 1")).to_be_visible()
    expect(page.locator("#grid").get_by_role("checkbox", checked=True)).to_have_count(2)


@pytest.mark.parametrize(("keys", "said"), [("1%2C9", "Image not found"), ("1", "Compare two to 4 images")])
def test_an_address_that_cannot_be_shown_says_so(open_page: OpenPage, made: str, keys: str, said: str) -> None:
    page = open_page(f"/?batch={made}&compare={keys}", away=True)
    expect(page.locator("#batch-alert")).to_contain_text(said)
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#grid img")).to_have_count(3)


@pytest.mark.parametrize("how", ["buttons", "keys", "wheel"])
def test_both_images_are_zoomed_together(pair: Any, how: str) -> None:
    before = moved(pair)
    if how == "buttons":
        pair.get_by_role("button", name="Zoom in").click()
    elif how == "keys":
        pair.keyboard.press("+")
    else:
        box = places(pair)[1]
        pair.mouse.move(box["x"] + 40, box["y"] + 40)
        pair.mouse.wheel(0, -100)
    expect(pair.locator("#zoom")).not_to_have_text("100 %")
    first, second = moved(pair)
    assert first == second != before[0]
    pair.keyboard.press("0") if how == "keys" else pair.get_by_role("dialog").get_by_role(
        "button", name="Reset"
    ).click()
    assert moved(pair) == before
    expect(pair.get_by_text("100 %")).to_be_visible()


def test_what_is_under_the_pointer_stays_there(pair: Any) -> None:
    before = places(pair)[0]
    pair.mouse.move(before["x"] + 40, before["y"] + 60)
    pair.mouse.wheel(0, -300)
    expect(pair.locator("#zoom")).to_have_text("212 %")
    after = places(pair)[0]
    assert 40 / before["width"] == pytest.approx((before["x"] + 40 - after["x"]) / after["width"], abs=0.001)
    assert 60 / before["height"] == pytest.approx((before["y"] + 60 - after["y"]) / after["height"], abs=0.001)


def test_both_images_are_moved_together_but_not_out_of_sight(pair: Any) -> None:
    for _ in range(3):
        pair.keyboard.press("+")
    at = places(pair)
    pair.keyboard.press("ArrowRight")
    after = places(pair)
    assert [new["x"] - old["x"] for new, old in zip(after, at, strict=True)] == pytest.approx(
        [-0.1 * box["width"] / 1.25**3 for box in at], abs=0.5
    )
    for _ in range(30):
        pair.keyboard.press("ArrowRight")
        pair.keyboard.press("ArrowDown")
    frames = [view.bounding_box() for view in pair.locator("#stage .view").all()]
    for box, frame in zip(places(pair), frames, strict=True):
        assert box["x"] + box["width"] == pytest.approx(frame["x"] + frame["width"], abs=1)
        assert box["y"] + box["height"] == pytest.approx(frame["y"] + frame["height"], abs=1)


def test_dragging_moves_both_images(pair: Any) -> None:
    for _ in range(3):
        pair.keyboard.press("+")
    before = places(pair)
    frame = pair.locator("#stage .view").first.bounding_box()
    middle = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    pair.mouse.move(*middle)
    pair.mouse.down()
    pair.mouse.move(middle[0] + 30, middle[1] + 20, steps=3)
    pair.mouse.up()
    pair.mouse.move(middle[0] - 100, middle[1])
    for old, new in zip(before, places(pair), strict=True):
        assert (new["x"] - old["x"], new["y"] - old["y"]) == pytest.approx((30, 20), abs=1)


def test_the_slider_uncovers_the_second_image_by_keys(pair: Any) -> None:
    line = slider(pair)
    first, second = places(pair)
    assert first == second
    assert clip(pair) == "inset(0px 0px 0px 50%)"
    line.focus()
    for _ in range(5):
        pair.keyboard.press("ArrowLeft")
    assert clip(pair) == "inset(0px 0px 0px 45%)"


def test_the_slider_uncovers_while_it_is_held(pair: Any) -> None:
    box = slider(pair).bounding_box()
    middle = box["y"] + box["height"] / 2
    pair.mouse.move(box["x"] + box["width"] / 2, middle)
    pair.mouse.down()
    pair.mouse.move(box["x"] + box["width"] / 4, middle, steps=4)
    assert clip(pair) != "inset(0px 0px 0px 50%)"
    assert clip(pair) == f"inset(0px 0px 0px {part(pair)}%)"
    pair.mouse.up()


def test_the_line_is_dragged_across_the_images(pair: Any) -> None:
    slider(pair)
    stage = pair.locator("#stage").bounding_box()
    y = stage["y"] + 100
    pair.mouse.move(stage["x"] + stage["width"] / 2, y)
    pair.mouse.down()
    pair.mouse.move(stage["x"] + stage["width"] / 4, y, steps=4)
    pair.mouse.up()
    assert part(pair) == "25"
    before = moved(pair)
    # Zoomed in, the line is held where it is, and the images elsewhere.
    pair.get_by_role("button", name="Zoom in").click()
    pair.mouse.move(stage["x"] + stage["width"] * 0.75, y)
    pair.mouse.down()
    pair.mouse.move(stage["x"] + stage["width"] * 0.8, y, steps=4)
    pair.mouse.up()
    assert part(pair) == "25"
    assert moved(pair) != before


def test_escape_closes_and_leads_back(pair: Any) -> None:
    expect(pair.locator("#stage")).to_be_focused()
    pair.keyboard.press("Escape")
    expect(pair.get_by_role("dialog")).to_be_hidden()
    expect(pair.get_by_role("button", name="Compare side by side")).to_be_focused()
    expect(pair.locator("#grid").get_by_role("checkbox", checked=True)).to_have_count(2)


def test_the_next_pair_begins_anew(pair: Any) -> None:
    slider(pair)
    pair.get_by_role("button", name="Zoom in").click()
    pair.get_by_role("button", name="Close").click()
    pair.get_by_role("checkbox", name="Image 2").uncheck()
    pair.get_by_role("checkbox", name="Image 3").check()
    pair.get_by_role("button", name="Compare side by side").click()
    expect(pair.get_by_role("dialog", name="Image 1 and image 3")).to_be_visible()
    expect(pair.get_by_text("100 %")).to_be_visible()
    assert part(pair) == "50"


def test_a_large_batch_is_shown_by_and_by(open_page: OpenPage, served: Served, made: str) -> None:
    many = served.progress(made)
    [image, *_] = many["images"]
    many["images"] = [image | {"image": str(number), "number": number} for number in range(1, 131)]
    page = open_page("about:blank")
    page.route("**/progress", lambda route: route.fulfill(json=many))
    page.goto(f"/?batch={made}")
    tiles = page.locator("#grid > li")
    expect(tiles).to_have_count(60)
    page.get_by_role("button", name="Select all").click()
    expect(page.get_by_text("60 images selected")).to_be_visible()
    more = page.get_by_role("button", name="Show more")
    more.click()
    expect(tiles).to_have_count(120)
    expect(page.get_by_label("Image 61", exact=False)).to_be_focused()
    more.click()
    expect(tiles).to_have_count(130)
    expect(more).to_be_hidden()
