"""A batch of more images than a page takes at once, in a browser. Its images have no files here: none is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from support.gallery_scene import Listening, gallery_over, listening
from support.large_batches import add_large
from support.report_project import Album


@pytest.fixture
def server(album: Album) -> Iterator[Listening]:
    with gallery_over(album) as gallery, listening(gallery) as found:
        yield found


@pytest.fixture
def visit(server: Listening, open_page: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: open_page("/?batch=b", server=server, away=True)


def test_what_is_around_the_first_that_is_out_is_shown(album: Album, visit: Callable[[], Any]) -> None:
    add_large(album, "b", "c" * 250 + "f" * 250 + "s" + "p" * 499)
    page = visit()
    expect(page.locator("#where")).to_have_text("Image 501 of 1000, 250 failed")
    expect(page.locator("#bar")).to_have_attribute("aria-valuetext", "500 of 1000 finished")
    expect(page.locator("#shots > li")).to_have_count(60)
    expect(page.locator("#shots > li.submitted")).to_contain_text("Image 501")


def test_images_of_one_that_has_ended_are_fetched_as_they_are_wanted(album: Album, visit: Callable[[], Any]) -> None:
    add_large(album, "b", "c" * 150 + "f" * 230 + "c" * 5)
    page = visit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/batches/b?" in request.url else None)
    expect(page.locator("#summary")).to_have_text("Batch complete: 155 successful, 230 failed")
    expect(page.locator("#partial > summary")).to_have_text("230 images failed")
    expect(page.locator("#partial-details > li")).to_have_count(200)
    tiles, more = page.locator("#grid > li"), page.get_by_role("button", name="Show more")
    expect(tiles).to_have_count(60)
    asked.clear()
    for count in (120, 155):
        more.click()
        expect(tiles).to_have_count(count)
    expect(more).to_be_hidden()
    assert len(asked) == 2
    page.get_by_role("button", name="Select all").click()
    expect(page.get_by_text("155 images selected")).to_be_visible()


def test_images_that_could_not_be_fetched_are_asked_for_again(album: Album, visit: Callable[[], Any]) -> None:
    add_large(album, "b", "c" * 300)
    page = visit()
    tiles, more = page.locator("#grid > li"), page.get_by_role("button", name="Show more")
    expect(tiles).to_have_count(60)
    page.route("**/api/batches/b?*", lambda route: route.abort())
    more.click()
    alert = page.locator("#batch-alert").filter(has_text="Cannot connect to server")
    expect(alert).to_be_visible()
    expect(tiles).to_have_count(60)
    page.unroute("**/api/batches/b?*")
    alert.get_by_role("button", name="Retry").click()
    expect(tiles).to_have_count(120)
    expect(alert).to_be_hidden()
