"""A sweep as a grid in a browser: its axes at a choice, its heads in sight, its cells opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from support.gallery_scene import Listening, png
from support.report_project import Album

OpenPage = Callable[..., Any]
AXES: dict[str, list[Any]] = {"steps": [10, 20, 30], "cfg": [5.0, 7.5], "sampler": ["euler", "dpm"]}


@pytest.fixture
def album(tmp_path: Path) -> Album:
    """A sweep of three axes, of which one image failed, one waits, and all others are there."""
    album = Album(tmp_path)
    inputs = [{"seed": 7, **dict(zip(AXES, values, strict=True))} for values in product(*AXES.values())]
    album.add("b1", inputs, axes=AXES, directory="b1", prompt="a fox in the snow")
    for number in range(1, 11):
        album.complete(f"b1/{number:03d}", f"b1/{number}.png", data=png((20 * number, 90, 40)))
    album.submit("b1/011")
    album.fail("b1/011")
    return album


def heads(page: Any, scope: str) -> list[str]:
    return [str(text) for text in page.locator(f"#grid-table th[scope={scope}]:not(.corner)").all_text_contents()]


def opened(page: Any) -> list[str]:
    """The images in the order of the table."""
    found: list[str] = page.locator("#grid-table tbody td a").evaluate_all(
        "all => all.map(one => one.dataset.image.split('/')[1])"
    )
    return found


def test_two_axes_are_chosen_and_the_address_keeps_them(server: Listening, open_page: OpenPage) -> None:
    page = open_page("/grid?batch=b1", server=server)
    expect(page.locator("#grid-table img")).to_have_count(5)
    assert (heads(page, "row"), heads(page, "col")) == (["10", "20", "30"], ["5.0", "7.5"])
    assert opened(page) == ["1", "3", "5", "7", "9", "11"]
    expect(page.get_by_role("link", name="✕ Failed")).to_be_visible()
    page.get_by_label("sampler").select_option("dpm")
    expect(page.get_by_text("Queued")).to_be_visible()
    assert opened(page) == ["2", "4", "6", "8", "10"]
    page.get_by_role("button", name="Swap").click()
    expect(page.locator("#grid-table thead .corner")).to_have_text("cfg ↓  steps →")
    page.get_by_label("Columns").select_option("sampler")
    expect(page.locator("#grid-table thead .corner")).to_have_text("cfg ↓  sampler →")
    page.get_by_label("steps").select_option("20")
    expect(page.locator("#grid-table tbody a").first).to_have_attribute("data-image", "b1/5")
    assert opened(page) == ["5", "6", "7", "8"]
    page.reload()
    expect(page.locator("#grid-table tbody a")).to_have_count(4)
    assert (opened(page), heads(page, "row")) == (["5", "6", "7", "8"], ["5.0", "7.5"])
    assert page.get_by_role("link", name="Open as image").get_attribute("href") == (
        "/api/batches/b1/grid.png?rows=1&columns=2&at=1%2C0%2C1"
    )


def test_a_cell_opens_in_the_viewer_which_goes_through_the_table(server: Listening, open_page: OpenPage) -> None:
    page = open_page("/grid?batch=b1", server=server)
    page.locator('[data-image="b1/3"]').click()
    expect(page.locator("#viewer-title")).to_have_text("Image 3 · a fox in the snow")
    expect(page.locator("#viewer-at")).to_have_text("2 of 6")
    page.keyboard.press("End")
    expect(page.locator("#viewer-picture")).to_contain_text("out of luck")
    expect(page.locator("#viewer").get_by_role("button", name="Retry")).to_be_visible()
    page.go_back()
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator('[data-image="b1/11"]')).to_be_focused()


def test_heads_stay_in_sight(server: Listening, open_page: OpenPage) -> None:
    page = open_page("/grid?batch=b1", server=server, viewport={"width": 500, "height": 460})
    expect(page.locator("#grid-table img")).to_have_count(5)
    page.get_by_label("Size").fill("360")
    scroller = page.locator("#grid-scroller")
    scroller.evaluate("one => one.scrollTo(200, 500)")
    box = scroller.bounding_box()
    top = page.locator("#grid-table th[scope=col]").last.bounding_box()
    left = page.locator("#grid-table tbody th").nth(1).bounding_box()
    assert top["y"] == pytest.approx(box["y"], abs=2)
    assert left["x"] == pytest.approx(box["x"], abs=2)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_is_rendered_meanwhile_comes_by_itself(server: Listening, open_page: OpenPage, album: Album) -> None:
    page = open_page("/grid?batch=b1&at=0,0,1", server=server)
    expect(page.locator("#grid-table img")).to_have_count(5)
    album.complete("b1/012", "b1/12.png", data=png())
    expect(page.locator("#grid-table img")).to_have_count(6)
    expect(page.locator("#grid-note")).to_be_empty()


def test_both_files_are_there(server: Listening, open_page: OpenPage) -> None:
    page = open_page("/grid?batch=b1", server=server)
    with page.expect_download() as coming:
        page.get_by_role("link", name="Save as HTML").click()
    assert coming.value.suggested_filename == "grid_b1.html"
    assert Path(coming.value.path()).read_text().count("data:image/png") == 10
    with page.expect_popup() as opening:
        page.get_by_role("link", name="Open as image").click()
    shown = opening.value.locator("img")
    expect(shown).to_have_js_property("complete", True)
    assert shown.evaluate("one => one.naturalWidth") > 300


def test_what_has_no_grid_says_so_and_a_sweep_leads_to_its_own(
    server: Listening, open_page: OpenPage, album: Album
) -> None:
    album.add("b2", [{}], directory="b2")
    page = open_page("/grid?batch=b2", server=server, away=True)
    expect(page.get_by_role("alert").filter(has_text="not a sweep")).to_be_visible()
    page.goto(f"{server.url}/?batch=b2")
    expect(page.locator("#batch-title")).not_to_be_empty()
    expect(page.get_by_role("link", name="Show as a grid")).to_be_hidden()
    page.goto(f"{server.url}/?batch=b1")
    page.get_by_role("link", name="Show as a grid").click()
    page.wait_for_url("**/grid?batch=b1")
    expect(page.locator("#grid-table img")).to_have_count(5)


def test_words_of_a_sweep_are_shown_never_obeyed(server: Listening, open_page: OpenPage, album: Album) -> None:
    hostile = '<img src=x onerror=alert(1)> & "'
    album.add("b3", [{"cfg": 1, "sampler": hostile}], axes={"sampler": [hostile], "cfg": [1]}, directory="b3")
    page = open_page("/grid?batch=b3", server=server)
    expect(page.locator("#grid-table tbody th")).to_have_text(hostile)
    assert json.loads(page.evaluate("JSON.stringify([...document.images].map(one => one.src))")) == []
