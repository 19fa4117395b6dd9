"""The feed in a browser: what is under way first, older batches by day, endless; opened, cancelled, deleted there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from playwright.sync_api import expect
from support.gallery_scene import Gallery, Listening, fill, gallery_over, listening
from support.page_steps import finish_one
from support.projects import small_template
from support.report_project import Album
from support.serving import Served
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox

OpenPage = Callable[..., Any]


def card(page: Any, title: str) -> Any:
    return page.locator(".feed-batch").filter(has=page.get_by_role("link", name=title, exact=True))


def test_batches_come_and_go_live_fail_and_come_out_of_the_noise(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    served.made("an old lighthouse", count=2)
    page = open_page("/")
    old = card(page, "an old lighthouse")
    expect(old.locator(".badge")).to_have_text("Done")
    expect(old.locator(".thumbnail")).to_have_count(2)
    expect(page.get_by_role("heading", name="Today")).to_be_visible()
    sandbox.hold("render")
    requests.post(f"{sandbox.url}/prompt", json={"prompt": small_template()}, timeout=30).raise_for_status()
    first = served.begin("a fox", count=3)
    served.begin("an owl", count=2)
    fox, owl = card(page, "a fox"), card(page, "an owl")
    expect(owl.locator(".badge")).to_have_text("Queued behind 4 images")
    assert fox.bounding_box()["y"] < owl.bounding_box()["y"] < old.bounding_box()["y"]
    finish_one(sandbox)
    finish_one(sandbox)
    sandbox.hold("render")
    expect(fox.locator(".thumbnail")).to_have_count(1)
    expect(fox.locator(".badge")).to_have_text("Rendering 2 of 3")
    expect(fox.locator(".coming")).to_have_count(2)
    expect(fox.locator(".coming.current .feed-word")).not_to_be_empty()
    owl.get_by_role("button", name="Cancel").click()
    expect(owl.locator(".badge")).to_have_text("Cancelled")
    owl.get_by_role("button", name="Try again").click()
    expect(owl.locator(".badge")).to_have_text("Queued behind 2 images")
    sandbox.release()
    expect(owl.locator(".badge")).to_have_text("Done")
    expect(fox.locator(".badge")).to_have_text("Done")
    expect(fox.locator(".thumbnail")).to_have_count(3)
    expect(page.get_by_role("heading", name="Now")).to_be_hidden()
    fox.get_by_role("link", name="a fox", exact=True).click()
    expect(page).to_have_url(f"{served.url}/?batch={first}")
    expect(page.locator("#grid img")).to_have_count(3)
    page.go_back()
    expect(old).to_be_visible()

    sandbox.change(failure_rate=1.0)
    served.begin("a storm", count=2)
    storm = card(page, "a storm")
    expect(storm.locator(".badge")).to_have_text("Failed")
    sandbox.change(failure_rate=0.0)
    storm.get_by_role("button", name="Retry 2 failed").click()
    expect(storm.locator(".badge")).to_have_text("Done")
    expect(storm.locator(".thumbnail")).to_have_count(2)

    sandbox.change(seconds_per_prompt=4.0, latent_previews=True)
    served.begin("a heron", count=2)
    heron = card(page, "a heron")
    preview = heron.locator(".coming.current .feed-preview")
    expect(preview).to_have_js_property("naturalWidth", 64)
    expect(heron.locator(".coming:not(.current) .feed-preview")).to_be_hidden()
    sandbox.change(seconds_per_prompt=0.0, latent_previews=False)
    expect(heron.locator(".badge")).to_have_text("Done")
    expect(heron.locator(".feed-preview")).to_have_count(0)


def test_comfyui_that_does_not_answer_is_said_where_its_batch_is(
    open_page: OpenPage, serve: Callable[..., Served], tmp_path: Path
) -> None:
    with Sandbox(directory=tmp_path) as dying:
        dying.hold("render")
        served = serve(servers=[dying.url])
        served.begin("a fox", count=3)
        page = open_page("/", server=served)
        finish_one(dying)
        dying.hold("render")
        fox = card(page, "a fox")
        expect(fox.locator(".badge")).to_have_text("Rendering 2 of 3")
        expect(fox.locator(".thumbnail")).to_have_count(1)
    host = dying.url.removeprefix("http://")
    told = f"ComfyUI is not answering ({host}). Waiting for it. 1 finished image is safe."
    expect(fox.get_by_role("status")).to_have_text(told)
    expect(fox.locator(".badge")).to_have_text("Waiting, 1 of 3")
    expect(fox.locator(".current")).to_have_count(0)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Sixty batches of three images, five a day."""
    album = Album(tmp_path_factory.mktemp("old"))
    for number in range(60):
        fill(album, f"b{number:02d}", after=number * timedelta(hours=4.8), prompt=f"prompt {number}")
    with gallery_over(album) as found:
        yield found


@pytest.fixture
def old_page(old: Gallery, browser: Any) -> Iterator[Any]:
    """A page that nothing was opened in yet; at its `/` are these."""
    with listening(old) as at:
        context = browser.new_context(base_url=at.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
        yield context.new_page()
        context.close()


def to_the_end(page: Any) -> None:
    cards, more = page.locator(".feed-batch"), page.locator("#feed-more")
    # Counted first: what comes between the two is the last then.
    while (before := cards.count()) and more.is_visible():
        page.keyboard.press("End")
        expect(cards).not_to_have_count(before)

    def is_drawn() -> bool:
        # Those above it may turn out higher than they were taken to be.
        page.keyboard.press("End")
        return bool(cards.last.locator(".feed-tile").count())

    wait_until(is_drawn, what="the last batch in sight")


def fetched(page: Any, part: str) -> list[tuple[str, str]]:
    """What the page has fetched of these addresses: what asked for it, and where."""
    entries = page.evaluate(
        """part => performance.getEntriesByType("resource").filter((one) => one.name.includes(part))
            .map((one) => [one.initiatorType, one.name])""",
        part,
    )
    return [(kind, name) for kind, name in entries]


def test_it_is_endless_nothing_shifts_and_what_is_out_of_sight_is_not_there(old: Gallery, old_page: Any) -> None:
    """Nothing is fetched twice. All batches have their room, and few have anything in it, wherever one scrolls to; the
    viewer goes through those too that are not drawn."""
    page = old_page
    for image in old.get("/api/feed")["batches"][0]["images"]:
        assert old.http.get(image["thumbnail"]).status_code == 200
    page.goto("/")
    page.evaluate("performance.setResourceTimingBufferSize(2000)")
    cards, titles, tiles = (page.locator(f".feed-{kind}") for kind in ("batch", "title", "tile"))
    expect(titles.first).to_have_text("prompt 59")
    assert cards.count() < 40
    page.evaluate(
        # What a server that is away makes of the composer is another matter.
        "window.shifts = []; const feed = document.getElementById('feed');"
        "const isOf = ({sources}) => sources.some(({node}) => feed.contains(node));"
        "new PerformanceObserver(list => shifts.push(...list.getEntries().filter(isOf).map(one => one.value)))"
        ".observe({type: 'layout-shift', buffered: true}); 0"
    )
    first, fourth = page.locator(".thumbnail").first, page.locator(".thumbnail").nth(3)
    expect(first).to_have_js_property("width", 64)
    expect(fourth).to_have_js_property("width", 64)
    assert sum(page.evaluate("shifts")) < 0.02
    thumbnails = fetched(page, "/thumbnails/")
    assert [kind for kind, _ in thumbnails].count("link") == 4, "the first come with the page"
    assert len({name for _, name in thumbnails}) == len(thumbnails)
    box = first.bounding_box()
    page.evaluate("top => scrollTo(0, top)", box["y"] + box["height"] + 0.7 * 900)
    expect(first).to_have_js_property("width", 0)
    page.evaluate("scrollTo(0, 0)")
    expect(first).to_have_js_property("width", 64)

    page.evaluate("for (const _ of [1, 2, 3]) document.getElementById('feed-more').click()")
    for _ in range(3):
        page.mouse.wheel(0, 4000)
        page.mouse.wheel(0, -3000)
    to_the_end(page)
    expect(titles.last).to_have_text("prompt 0")
    expect(cards).to_have_count(60)
    expect(page.locator("#feed-more")).to_be_hidden()
    assert page.locator(".feed-day h3").count() >= 12
    asked = [name for _, name in fetched(page, "/api/feed")]
    assert len(asked) == len(set(asked)) > 1

    expect(titles.filter(has_text="prompt 59")).to_have_count(0)
    assert tiles.count() < 90
    height = page.evaluate("document.documentElement.scrollHeight")
    seen = set(titles.all_text_contents())
    page.mouse.move(900, 400)
    for _ in range(14):
        page.mouse.wheel(0, -1500)
        page.wait_for_function("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        seen |= set(titles.all_text_contents())
        assert tiles.count() < 90
    assert seen == {f"prompt {number}" for number in range(60)}
    expect(card(page, "prompt 59").locator(".thumbnail")).to_have_count(3)
    expect(titles.filter(has_text=re.compile("^prompt 0$"))).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollHeight") == pytest.approx(height, rel=0.1)

    to_the_end(page)
    page.locator("[data-image='b00/3']").click()
    at = page.locator("#viewer-at")
    expect(at).to_have_text("180 of 180")
    for number in range(4):
        page.keyboard.press("ArrowLeft")
        expect(at).to_have_text(f"{179 - number} of 180")
    page.keyboard.press("Home")
    expect(page.locator("#viewer-title")).to_contain_text("Image 1 · prompt 41")
    expect(at).to_have_text("55 of 180")
    for number in range(4):
        page.keyboard.press("ArrowLeft")
        expect(at).to_have_text(f"{54 - number} of 180")
    expect(page.locator("#viewer-title")).to_contain_text("Image 3 · prompt 43")
    page.keyboard.press("Escape")
    expect(page.locator("[data-image='b43/3']")).to_be_focused()


def _pages_of(count: int, asked: list[str]) -> Callable[[Any], None]:
    """Answers as the feed of so many batches of two files that no browser shows, a hundred in each answer."""
    batches = [_told(number) for number in reversed(range(count))]

    def answer(route: Any) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        after, size = query.get("after", ["~"])[0], int(query["size"][0])
        asked.append(f"{after} {size}")
        found = [one for one in batches if one["place"] < after]
        shown = found[: size if after.endswith("~") and after != "~" else 100]
        more = shown[-1]["place"] if len(found) > len(shown) else None
        route.fulfill(json={"active": [], "activeTotal": 0, "batches": shown, "next": more, "notes": []})

    return answer


def _told(number: int) -> dict[str, Any]:
    name = f"b{number:04d}"
    images = [
        {"image": f"{index}", "number": index, "status": "completed", "kind": "other", "file": f"{name}/{index}.bin"}
        for index in (1, 2)
    ]
    nothing = {"thumbnail": None, "tint": None, "favorite": False, "differs": [], "url": "/", "version": None}
    return (
        {
            "batchId": name,
            "place": f"{number:020d}-{name}",
            "title": f"prompt {number}",
            "prompt": f"prompt {number}",
            "createdAt": "2026-11-01T12:00:00Z",
            "status": "complete",
            "pictures": 2,
            "images": [one | nothing for one in images],
            "parameters": {},
        }
        | dict.fromkeys(("totalImages", "completedImages"), 2)
        | dict.fromkeys(("state", "failedImages"), 0)
    )


def test_of_very_many_batches_the_images_are_fetched_again(old_page: Any) -> None:
    """What is known of batches that are far away is little, so that a page may be scrolled through for hours."""
    page, asked = old_page, []
    page.route("**/api/feed?*", _pages_of(500, asked))
    page.goto("/")
    expect(page.locator(".feed-tile").first).to_be_visible()
    to_the_end(page)
    expect(card(page, "prompt 0").locator(".feed-tile")).to_have_count(2)
    asked.clear()
    page.evaluate("scrollTo(0, 0)")
    expect(card(page, "prompt 499").locator(".feed-tile")).to_have_count(2)
    assert asked
    assert all(one.split()[0].endswith("~") for one in asked)
    assert sum(int(one.split()[1]) for one in asked) < 60


def test_an_image_opens_a_batch_is_brought_back_and_colors_come_first(
    open_page: OpenPage, album: Album, server: Listening
) -> None:
    """Once a thumbnail was made, the page knows what it looks like."""
    for number in range(2):
        fill(album, f"b{number}", after=timedelta(hours=number), prompt=f"prompt {number}")
    page = open_page("/", server=server)
    page.locator(".feed-tile").nth(1).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator("#viewer-title")).to_contain_text("Image 2")
    expect(page).to_have_url(re.compile(r"/\?image=b1%2F2$"))
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-title")).to_contain_text("Image 3")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-title")).to_contain_text("Image 1 · prompt 0")
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator(".feed-batch").first).to_be_visible()

    old, latest = card(page, "prompt 0"), card(page, "prompt 1")
    old.get_by_role("button", name="Delete").click()
    expect(old).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(old.locator(".thumbnail")).to_have_count(3)

    expect(latest.locator(".thumbnail").first).to_have_js_property("width", 64)
    fill(album, "new", after=timedelta(days=30), prompt="a new one")
    page.route("**/thumbnails/b1/1*", lambda route: None)
    page.reload()
    tint = latest.locator(".feed-tint").first
    expect(tint).to_be_visible()
    pixel = tint.evaluate("one => [...one.getContext('2d').getImageData(1, 1, 1, 1).data]")
    shade = page.evaluate(
        """async () => {
          const image = new Image();
          image.src = '/images/b1/1';
          await image.decode();
          const canvas = new OffscreenCanvas(64, 48).getContext('2d'); canvas.drawImage(image, 0, 0);
          return [...canvas.getImageData(20, 20, 1, 1).data];
        }"""
    )
    assert all(abs(one - other) <= 6 for one, other in zip(pixel, shade, strict=True))
    assert latest.locator(".feed-tile").first.evaluate("one => one.clientWidth / one.clientHeight") == (
        pytest.approx(64 / 48, abs=0.02)
    )
