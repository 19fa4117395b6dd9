"""What a page shows without being looked at: its tab's title and icon, notifications; and its color scheme."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from playwright.sync_api import expect
from support.gallery_scene import Gallery, fill, gallery_over, listening
from support.page_steps import finish_one
from support.report_project import Album
from support.serving import Served
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox

OpenPage = Callable[..., Any]
HIDDEN = """Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});
  document.dispatchEvent(new Event('visibilitychange'));"""
HEARD = """window.told = [];
  window.Notification = class extends EventTarget {
    static permission = 'default';
    static asked = 0;
    static async requestPermission() { this.asked += 1; return (this.permission = 'granted'); }
    constructor(title, {body}) { super(); window.told.push([title, body]); }
  };"""
GROUND = "getComputedStyle(document.body).backgroundColor"
LIGHT, DARK = "rgb(245, 244, 241)", "rgb(23, 22, 20)"


def icon(page: Any) -> Any:
    return page.locator("link[rel=icon]")


def test_title_and_icon_count_on_every_page(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    batch = served.begin("a fox", count=3)
    pages = {path: open_page(path) for path in ("/", "/gallery", f"/?batch={batch}")}
    finish_one(sandbox)
    titles = {"/": "Create", "/gallery": "Images", f"/?batch={batch}": "a fox"}
    for path, page in pages.items():
        expect(page).to_have_title(re.compile(rf"^\(1/3\) {titles[path]}"))
        expect(icon(page)).to_have_attribute("href", re.compile("^blob:"))
    sandbox.release()
    for path, page in pages.items():
        expect(page).to_have_title(re.compile(f"^{titles[path]}"))
        expect(icon(page)).to_have_attribute("href", re.compile(r"/static/v-\w+/icon\.svg$"))


def test_the_end_is_notified_where_it_was_asked_for_and_nobody_looks(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    page = open_page("about:blank", viewport={"width": 1280, "height": 720})
    page.add_init_script(HEARD)
    page.goto(f"{served.url}/gallery")
    page.locator("#queue-open").click()
    button = page.get_by_role("button", name="Notify me at the end")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("Notification.asked") == 0
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    sandbox.hold("render")
    served.begin("a batch that is seen", count=2)
    expect(page.locator("#queue-count")).to_have_text("2")
    sandbox.release()
    expect(page.locator("#queue-count")).to_have_text("")
    sandbox.hold("render")
    served.begin("a fox", count=3)
    expect(page.locator("#queue-count")).to_have_text("3")
    page.evaluate(HIDDEN)
    sandbox.release()
    wait_until(lambda: page.evaluate("told.length") > 0, what="the notification")
    assert page.evaluate("told") == [["Batch complete: 3 successful, 0 failed", "a fox"]]


def test_the_color_scheme_is_a_choice_that_is_remembered_and_never_flashes(open_page: OpenPage) -> None:
    page = open_page("/", color_scheme="light", viewport={"width": 1280, "height": 720})
    assert page.evaluate(GROUND) == LIGHT
    page.get_by_label("Color scheme").select_option("dark")
    assert page.evaluate(GROUND) == DARK
    page.add_init_script(
        "window.grounds = new Set(); const look = () => { if (document.body) grounds.add(" + GROUND + ");"
        "requestAnimationFrame(look); }; look();"
    )
    page.goto(page.url.replace("/?", "/").rstrip("/") + "/gallery")
    expect(page.get_by_label("Color scheme")).to_have_value("dark")
    wait_until(lambda: page.evaluate("grounds.size") > 0)
    assert page.evaluate("[...grounds]") == [DARK]
    # Nothing is drawn before a script in the head that is no module: the first frame of a slow one would be light.
    blocking = page.locator("head > script:not([type], [defer], [async])").evaluate_all(
        "all => all.map(one => one.src)"
    )
    assert [address.rpartition("/")[2] for address in blocking] == ["theme.js"]
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Color scheme").select_option("light")
    assert page.evaluate(GROUND) == LIGHT
    page.get_by_label("Color scheme").select_option("")
    assert page.evaluate(GROUND) == DARK


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    album = Album(tmp_path_factory.mktemp("album"))
    fill(album)
    with gallery_over(album) as found:
        yield found


def test_tabs_of_a_browser_share_one_connection(gallery: Gallery, browser: Any) -> None:
    events = gallery.http.app.state.events  # type: ignore[attr-defined]
    with listening(gallery) as at, browser.new_context(base_url=at.url) as context:
        pages = [context.new_page() for _ in range(3)]
        for page, path in zip(pages, ("/", "/gallery", "/states"), strict=True):
            page.goto(path)
            expect(page.locator("#queue-open")).to_have_attribute("aria-label", "Queue")
        assert events.hearers == 1
        for page in pages:
            page.evaluate(HIDDEN)
        wait_until(lambda: events.hearers == 0, what="nobody who hears: nothing is left to wait for")


def test_a_page_has_all_its_modules_in_one_file(open_page: OpenPage, served: Served) -> None:
    page = open_page("about:blank")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if one.url.endswith((".js", ".css")) else None)
    for path, name in {"/": "index", "/gallery": "gallery", "/states": "state"}.items():
        asked.clear()
        page.goto(served.url + path)
        expect(page.locator("#queue-open")).to_have_attribute("aria-label", re.compile("^Queue"))
        told = {url.partition("/static/")[2].partition("/")[2] for url in asked}
        assert told - {"queue/shared_events.js"} == {"theme.js", f"pages/{name}.css", f"pages/{name}.js"}


def test_twenty_workspaces_ask_comfyui_nothing(served: Served, sandbox: Sandbox) -> None:
    batch = served.made("a fox", count=2)
    served.answer("GET", "/api/options")
    served.wait_for_end(batch)
    wait_until(lambda: not served.answer("GET", "/api/queue")["states"][0]["working"], what="the run's end")
    asked = sum(sandbox.counts()["requests"].values())
    with ExitStack() as open_streams:
        for _ in range(20):
            stream = requests.get(f"{served.url}/api/events", stream=True, timeout=30)
            open_streams.callback(stream.close)
            assert next(stream.iter_lines()) == b"event: queue"
        for _ in range(20):
            for path in ("/", "/api/feed", f"/api/batches/{batch}/progress", "/api/queue"):
                assert served.call("GET", path).status_code == 200
        assert sum(sandbox.counts()["requests"].values()) == asked
