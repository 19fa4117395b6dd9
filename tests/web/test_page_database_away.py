"""A page whose state is in a PostgreSQL that goes away and comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect
from support.postgres import Postgres
from support.serving import Served

from state.open_store import open_store


def test_a_page_says_that_the_database_is_away_and_goes_on_by_itself(
    open_page: Callable[..., Any], serve: Callable[..., Served]
) -> None:
    """Not that the server is, which is ComfyUI for people."""
    with Postgres() as database:
        open_store(database.address(), create=True).close()
        page = open_page("/", server=serve(options=["--state", database.address()]), away=True)
        alerts = [page.locator(one) for one in ("#server-away", "#feed-alert")]
        expect(page.get_by_role("button", name="Generate Batch")).to_be_visible()
        for alert in alerts:
            expect(alert).to_be_hidden()
        database.stop()
        for alert in alerts:
            expect(alert).to_contain_text("The database does not answer")
        expect(page.get_by_text("Cannot connect to server")).to_be_hidden()
        database.start()
        for alert in alerts:
            expect(alert).to_be_hidden()
        page.goto("about:blank")
