"""axe-core over every view, in light and in dark: it finds nothing to mend.

One album serves them all, in which nothing moves. The colors alone are looked at in the dark too, on the same page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect
from support.gallery_scene import Gallery, fill, gallery_over, listening, png
from support.report_project import Album

TOKEN = "of-this-server"
AXES: dict[str, list[Any]] = {"steps": [10, 20], "cfg": [5.0, 7.5]}
LIGHT: dict[str, Any] = {"resultTypes": ["violations"]}
DARK: dict[str, Any] = LIGHT | {"runOnly": ["color-contrast"]}


def swept(album: Album) -> None:
    """A sweep that has two images, one failed item, and one that is on a server."""
    inputs = [{"seed": 7, **dict(zip(AXES, values, strict=True))} for values in product(*AXES.values())]
    album.add("sweep", inputs, axes=AXES, directory="sweep", prompt="an owl")
    for number in (1, 2):
        album.complete(f"sweep/00{number}", f"sweep/{number}.png", data=png((40 * number, 90, 40)))
    album.submit("sweep/003")
    album.fail("sweep/003")
    album.submit("sweep/004")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    album = Album(tmp_path_factory.mktemp("album"))
    fill(album, "made", count=3, model="sdxl.safetensors")
    fill(album, "gone", count=1, after=timedelta(hours=1))
    swept(album)
    album.add("failed", [{"seed": 1}], prompt="a dog")
    album.submit("failed/001")
    album.fail("failed/001")
    album.pace(2.0)
    with gallery_over(album, token=TOKEN) as found:
        found.delete("/api/batches/gone/images/1").raise_for_status()
        yield found


@contextlib.contextmanager
def pages_of(browser: Any, gallery: Gallery) -> Iterator[Any]:
    with listening(gallery) as server:
        context = browser.new_context(base_url=server.url, reduced_motion="reduce")
        yield context
        context.close()


@pytest.fixture(scope="module")
def known(browser: Any, gallery: Gallery) -> Iterator[Any]:
    """Pages that have shown the token."""
    with pages_of(browser, gallery) as context:
        context.new_page().goto(f"/nothing?token={TOKEN}")
        yield context


def start(page: Any) -> None:
    page.goto("/")
    for group in page.locator("#batch-form summary").all():
        group.click()
    page.locator("#loras-add").click()
    page.locator("#axes-add").click()
    page.get_by_role("button", name="Generate Batch").click()
    expect(page.locator("#prompt-wrong")).not_to_be_empty()
    expect(page.locator("#feed .feed-batch").nth(2)).to_be_visible()


def running(page: Any) -> None:
    page.goto("/?batch=sweep")
    expect(page.locator("#shots img")).to_have_count(2)


def complete(page: Any) -> None:
    page.goto("/?batch=made")
    expect(page.locator("#grid img")).to_have_count(3)


def failed(page: Any) -> None:
    page.goto("/?batch=failed")
    expect(page.locator("#failure")).to_be_visible()


def viewer(page: Any) -> None:
    page.goto("/?batch=made&image=made%2F2")
    expect(page.locator("#viewer-command")).to_contain_text("burst generate")
    page.get_by_role("button", name="More like this").click()


def compare(page: Any) -> None:
    page.goto("/?batch=made&compare=1,2,3")
    expect(page.locator("#stage img")).to_have_count(3)


def grid(page: Any) -> None:
    page.goto("/grid?batch=sweep")
    expect(page.locator("#grid-table img")).to_have_count(2)


def images(page: Any) -> None:
    page.goto("/gallery")
    page.locator("#pictures .tile-pick").first.check()
    expect(page.locator("#chosen")).to_be_visible()


def batches(page: Any) -> None:
    page.goto("/gallery?view=batches")
    expect(page.locator(".batch").first).to_be_visible()


def trash(page: Any) -> None:
    page.goto("/gallery?view=trash")
    expect(page.locator("#trash li")).to_have_count(1)


def runs(page: Any) -> None:
    page.goto("/states")
    expect(page.locator("#failed li")).to_have_count(2)


def queue(page: Any) -> None:
    page.goto("/gallery")
    page.locator("#queue-open").click()
    expect(page.locator("#queue-next li")).to_have_count(1)


def missing(page: Any) -> None:
    page.goto("/nothing")
    expect(page.locator("h1")).to_have_text("Page not found")


def nothing_made(page: Any) -> None:
    page.goto("/")
    expect(page.locator("#feed-note")).to_be_visible()


def without_token(page: Any) -> None:
    page.goto("/?token=mistyped")
    expect(page.locator("#token-wrong")).not_to_be_empty()


View = Callable[[Any], None]
"""Brings a page to what is looked at."""
VIEWS: list[View] = [start, running, complete, failed, grid, images, batches, trash, runs, missing]
OVERLAYS: dict[View, str] = {viewer: "#viewer", compare: "#comparing", queue: "#queue"}
"""What covers a page that is looked at by itself."""


def complaints(page: Any, within: str, options: dict[str, Any]) -> list[str]:
    found = page.evaluate("([within, options]) => axe.run(within, options)", [within, options])["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def assert_sound(context: Any, view: View, *, within: str = "html") -> None:
    page = context.new_page()
    view(page)
    page.evaluate(AXE_SCRIPT)
    assert complaints(page, within, LIGHT) == []
    page.emulate_media(color_scheme="dark")
    assert complaints(page, within, DARK) == [], "in the dark"
    page.close()


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_found(known: Any, view: View) -> None:
    assert_sound(known, view)


@pytest.mark.parametrize("view", OVERLAYS)
def test_nothing_is_found_above_a_page(known: Any, view: View) -> None:
    assert_sound(known, view, within=OVERLAYS[view])


def test_nothing_is_found_where_nothing_was_made(browser: Any, tmp_path: Path) -> None:
    with gallery_over(Album(tmp_path)) as empty, pages_of(browser, empty) as context:
        assert_sound(context, nothing_made)


def test_nothing_is_found_where_a_token_is_asked_for(browser: Any, gallery: Gallery) -> None:
    with pages_of(browser, gallery) as context:
        assert_sound(context, without_token)
