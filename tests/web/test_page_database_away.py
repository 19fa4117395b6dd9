"""Pages whose state is in a PostgreSQL that goes away and comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect
from support.postgres import Postgres
from support.serving import Served

from state.open_store import open_store

AWAY = "The database does not answer"
PAGES = {"/": "#feed-note", "/gallery": "#found", "/states": "#path"}
"""What says something once all of it has come."""


def test_every_page_says_once_that_the_database_is_away_and_goes_on_by_itself(
    open_page: Callable[..., Any], serve: Callable[..., Served]
) -> None:
    """Not that the server is, which is ComfyUI for people. Pages that are loaded ask for nothing else by themselves."""
    with Postgres() as database:
        open_store(database.address(), create=True).close()
        server = serve(options=["--state", database.address()])
        pages = [open_page(path, server=server, away=True) for path in PAGES]
        for page, comes_last in zip(pages, PAGES.values(), strict=True):
            expect(page.locator(comes_last)).not_to_be_empty()
            expect(page.locator("#page-away")).to_be_hidden()
        database.stop()
        pages += [open_page(path, server=server, away=True) for path in ("/states", "/")]
        for page in pages:
            expect(page.get_by_text(AWAY)).to_have_count(1)
            expect(page.locator("#page-away")).to_contain_text(AWAY)
            expect(page.get_by_text("Cannot connect to server")).to_be_hidden()
        expect(pages[-2].get_by_text("None.")).to_be_hidden()
        database.start()
        for page in pages:
            expect(page.locator("#page-away")).to_be_hidden()
        expect(pages[-2].get_by_text("None.")).to_be_visible()
        expect(pages[-1].locator("#feed-note")).to_contain_text("No images yet")
        expect(pages[-1].locator("#width")).to_have_attribute("placeholder", "64")
        for page in pages:
            page.goto("about:blank")
