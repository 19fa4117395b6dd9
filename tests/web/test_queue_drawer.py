"""The drawer of the queue in a browser: what it shows on every page, what is done in it, how it hears of changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from support.serving import Served

from orchestrator.sandbox import Sandbox


@pytest.fixture
def busy(serve: Callable[..., Served], sandbox: Sandbox) -> Iterator[tuple[Served, list[str]]]:
    """A front end with two batches of which the first is on the server, which renders nothing yet."""
    sandbox.hold("render")
    served = serve()
    yield served, [served.begin(prompt, count=2) for prompt in ("a fox", "an owl")]
    sandbox.release()


def opened(page: Any) -> Any:
    page.locator("#queue-open").click()
    drawer = page.locator("#queue")
    expect(drawer).to_be_visible()
    return drawer


def test_every_page_counts_what_remains_and_shows_it_and_the_log_of_the_last_run(
    open_page: Callable[..., Any], busy: Any
) -> None:
    served, batches = busy
    page = open_page("/states", server=served)
    for path in ("/", "/gallery", "/states"):
        page.goto(served.url + path)
        expect(page.locator("#queue-count")).to_have_text("4")
        drawer = opened(page)
        expect(drawer.locator("#queue-standing")).to_contain_text("4 items remaining")
        expect(drawer.locator("#queue-next li")).to_have_count(2)
        expect(drawer.locator("#queue-next a").first).to_have_attribute("href", f"/?batch={batches[0]}")
        expect(drawer.locator("#queue-servers .badge")).to_have_text("busy")
        page.keyboard.press("Escape")
        expect(drawer).to_be_hidden()
    phone = open_page("/", server=served, phone=True)
    drawer = opened(phone)
    drawer.get_by_text("Log of the last run").click()
    expect(drawer.locator("#queue-log-text")).not_to_be_empty()
    phone.touchscreen.tap(180, 20)
    expect(drawer).to_be_hidden()


def test_a_batch_is_moved_and_cancelled_in_it(open_page: Callable[..., Any], busy: Any) -> None:
    served, (_, owl) = busy
    third = served.begin("a dog", count=3)
    drawer = opened(open_page("/gallery", server=served))
    drawer.get_by_role("button", name="Move to front: a dog").click()
    expect(drawer.locator("#queue-said")).to_have_text("a dog is next.")
    order = [one["batchId"] for one in served.answer("GET", "/api/queue")["next"]]
    assert order.index(third) < order.index(owl)
    drawer.get_by_role("combobox", name="Priority of an owl").select_option("urgent")
    expect(drawer.locator("#queue-said")).to_have_text("an owl: urgent.")
    assert {one["batchId"]: one["priority"] for one in served.answer("GET", "/api/queue")["next"]}[owl] == "urgent"
    drawer.get_by_role("button", name="Cancel: a dog").click()
    expect(drawer.locator("#queue-next li")).to_have_count(2)
    assert served.progress(third)["progress"]["status"] == "cancelled"


def test_it_comes_by_itself_and_where_no_stream_can_be_had_too(
    open_page: Callable[..., Any], serve: Callable[..., Served], sandbox: Sandbox
) -> None:
    served = serve()
    page, other = open_page("/states", server=served), open_page("/gallery", server=served, away=True)
    other.add_init_script("delete globalThis.SharedWorker")
    other.route("**/api/events", lambda route: route.abort())
    other.reload()
    sandbox.hold("render")
    served.begin("a fox", count=2)
    for one in (page, other):
        expect(one.locator("#queue-count")).to_have_text("2")
    sandbox.release()
    for one in (page, other):
        expect(one.locator("#queue-count")).to_have_text("")


def test_paused_runs_are_resumed_and_failed_items_are_tried_again(
    open_page: Callable[..., Any], busy: Any, sandbox: Sandbox
) -> None:
    served, _ = busy
    drawer = opened(open_page("/", server=served))
    drawer.get_by_role("button", name="Pause").click()
    expect(drawer.locator("#queue-states")).to_contain_text("Paused since")
    sandbox.release()
    drawer.get_by_role("button", name="Resume").click()
    expect(drawer.locator("#queue-standing")).to_have_text("Nothing is queued.")
