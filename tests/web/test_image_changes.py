"""What is done with an image shows at once wherever it is: in every list of the page, and in other tabs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect
from support.gallery_scene import Listening, fill
from support.report_project import Album

OpenPage = Callable[..., Any]


def test_stars_and_deletions_show_in_every_list_of_every_tab(
    album: Album, server: Listening, open_page: OpenPage
) -> None:
    fill(album, "b1", count=3)
    gallery = open_page("/gallery", server=server)
    feed, batch = open_page("/", server=server), open_page("/?batch=b1", server=server)
    pictures, stars = gallery.locator("#pictures > li"), gallery.locator('.tile-star[aria-pressed="true"]')
    expect(pictures).to_have_count(3)
    expect(batch.locator("#grid img")).to_have_count(3)

    feed.locator('#feed [data-image="b1/2"]').click()
    feed.locator("#viewer-star").click()
    expect(feed.locator("#viewer-star")).to_have_attribute("aria-pressed", "true")
    expect(stars).to_have_count(1)
    expect(feed.locator("#feed .feed-mark")).to_have_count(1)
    stars.click()
    expect(feed.locator("#viewer-star")).to_have_attribute("aria-pressed", "false")
    expect(feed.locator("#feed .feed-mark")).to_have_count(0)

    gallery.goto(f"{server.url}/gallery?compare=b1%252F1,b1%252F2,b1%252F3")
    panes = gallery.locator("#comparing .pane")
    expect(panes).to_have_count(3)
    batch.locator('#grid a[data-image="b1/2"]').click()
    expect(batch.get_by_role("dialog", name="Image 2 ·")).to_be_visible()
    feed.locator("#viewer-delete").click()
    feed.get_by_role("dialog", name="Delete this image?").get_by_role("button", name="Delete").click()
    expect(feed.get_by_role("dialog", name="Image 3 ·")).to_be_visible()
    expect(feed.locator("#feed .thumbnail")).to_have_count(2)
    expect(panes).to_have_count(2)
    expect(pictures).to_have_count(2)
    expect(batch.locator("#grid img")).to_have_count(2)
    expect(batch.get_by_role("dialog", name="Image 3 ·")).to_be_visible()

    feed.get_by_role("button", name="Undo").click()
    expect(feed.locator("#feed .thumbnail")).to_have_count(3)
    expect(pictures).to_have_count(3)
    expect(batch.locator("#grid img")).to_have_count(3)
