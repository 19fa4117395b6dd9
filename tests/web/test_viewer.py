"""The one viewer of all pages, in a browser: opened, gone through, zoomed, swiped; on the page of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from support.page_steps import finish_one
from support.serving import Served
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def made(_served: Served) -> str:
    """A batch of five that is complete."""
    return _served.made("a lighthouse, seen from the sea", count=5, seedMode="incremental", baseSeed=2**64 - 10)


def open_viewer(page: Any, number: int) -> Any:
    page.locator(f'#grid a[data-image$="/{number}"]').click()
    return page.get_by_role("dialog", name=f"Image {number} ·")


def scale(page: Any) -> float:
    return float(page.locator("#viewer-picture").evaluate("stage => stage.style.getPropertyValue('--zoom')"))


class Fingers:
    """What fingers do, as the browser hears it from the device."""

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)

    def move(self, *ways: list[tuple[float, float]]) -> None:
        """Each finger along its way, all of which have as many places."""
        for kind, places in zip(
            ("touchStart", *["touchMove"] * (len(ways[0]) - 1)), zip(*ways, strict=True), strict=True
        ):
            self._send(kind, [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)])
        self._send("touchEnd", [])

    def _send(self, kind: str, places: list[dict[str, float]]) -> None:
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})


def test_a_batch_is_gone_through_by_keys_and_back_closes(open_page: OpenPage, made: str) -> None:
    page = open_page(f"/?batch={made}")
    viewer = open_viewer(page, 2)
    expect(viewer).to_be_visible()
    expect(page.locator("#viewer-at")).to_have_text("2 of 5")
    expect(page.locator("#viewer-prompt")).to_have_text("a lighthouse, seen from the sea")
    expect(page.locator("#viewer-parameters")).to_contain_text(str(2**64 - 9))
    title = page.locator("#viewer-title")
    for key, number in (("ArrowRight", 3), ("End", 5), ("ArrowRight", 5), ("Home", 1), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        expect(title).to_contain_text(f"Image {number} ·")
    page.locator("#viewer-strip button").nth(3).click()
    expect(title).to_contain_text("Image 4 ·")
    expect(page.locator("#viewer-strip button[aria-current]")).to_have_accessible_name("Image 4")
    assert page.url.endswith(f"?batch={made}&image={made}%2F4")
    page.go_back()
    expect(page.locator("#viewer")).to_be_hidden()
    assert page.url.endswith(f"?batch={made}"), "one step, however many images were looked at"
    expect(page.locator('#grid a[data-image$="/4"]')).to_be_focused()
    page.goto(f"{page.url}&image={made}%2F3")
    expect(page.locator("#viewer-title")).to_contain_text("Image 3 ·")


def test_it_zooms_by_keys_buttons_wheel_and_a_double_click(open_page: OpenPage, made: str) -> None:
    page = open_page(f"/?batch={made}&image={made}%2F1")
    expect(page.locator("#viewer-picture img")).to_have_js_property("naturalWidth", 64)
    box = page.locator("#viewer-picture").bounding_box()
    page.keyboard.press("+")
    assert scale(page) == 1.25
    page.get_by_role("button", name="Zoom in").click()
    assert scale(page) == pytest.approx(1.5625)
    page.keyboard.press("0")
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.wheel(0, -200)
    wait_until(lambda: scale(page) > 1.5)
    before = page.locator("#viewer-picture img").bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 80, steps=2)
    page.mouse.up()
    after = page.locator("#viewer-picture img").bounding_box()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((-40, -20), abs=1)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-title")).to_contain_text("Image 2 ·")
    assert scale(page) == 1, "another image is shown whole"
    page.mouse.dblclick(box["x"] + 100, box["y"] + 100)
    assert scale(page) == 3
    page.mouse.dblclick(box["x"] + 100, box["y"] + 100)
    assert scale(page) == 1


def test_fingers_swipe_and_pinch(open_page: OpenPage, made: str) -> None:
    page = open_page(f"/?batch={made}&image={made}%2F2", phone=True)
    expect(page.locator("#viewer-picture img")).to_have_js_property("naturalWidth", 64)
    box = page.locator("#viewer-picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers, title = Fingers(page), page.locator("#viewer-title")
    to_the_left = [(x, y), (x - 60, y), (x - 120, y + 5)]
    fingers.move(to_the_left)
    expect(title).to_contain_text("Image 3 ·")
    fingers.move([(x - 20, y), (x - 40, y), (x - 60, y)], [(x + 20, y), (x + 40, y), (x + 60, y)])
    wait_until(lambda: scale(page) > 2)
    fingers.move(to_the_left)
    wait_until(lambda: page.locator("#viewer-picture img").bounding_box()["x"] < box["x"] - 60)
    expect(title).to_contain_text("Image 3 ·")


def test_neighbors_are_there_before_they_are_shown(open_page: OpenPage, made: str) -> None:
    page = open_page(f"/?batch={made}&image={made}%2F3")
    expect(page.locator("#viewer-title")).to_contain_text("Image 3 ·")
    fetched = "performance.getEntriesByType('resource').map(one => one.name)"

    def are_there() -> bool:
        names = page.evaluate(fetched)
        return all(any(f"/images/{made}/{number}?v=" in name for name in names) for number in (2, 3, 4))

    wait_until(are_there)


def test_an_image_is_a_favorite_by_a_key_and_not_any_more(open_page: OpenPage, served: Served, made: str) -> None:
    page = open_page(f"/?batch={made}&image={made}%2F4")
    star = page.get_by_role("button", name="Favorite")
    expect(page.locator("#viewer-command")).to_contain_text("burst generate")
    expect(star).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("f")
    expect(star).to_have_attribute("aria-pressed", "true")
    assert [item.favourite for item in served.items(made)] == [False, False, False, True, False]
    page.keyboard.press("ArrowLeft")
    expect(star).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("ArrowRight")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "false")
    assert not any(item.favourite for item in served.items(made))


def test_keys_are_listed_and_details_hidden(open_page: OpenPage, made: str) -> None:
    page = open_page(f"/?batch={made}&image={made}%2F1")
    expect(page.locator("#viewer-title")).to_contain_text("Image 1 ·")
    page.keyboard.press("?")
    keys = page.locator("#viewer-keys")
    expect(keys).to_be_visible()
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    expect(page.locator("#viewer")).to_be_visible()
    page.keyboard.press("i")
    expect(page.locator(".viewer-side")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()


def test_images_that_come_are_gone_through_as_they_come(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    batch = served.begin(count=3)
    finish_one(sandbox)
    page = open_page(f"/?batch={batch}")
    page.locator("#shots a").first.click()
    expect(page.locator("#viewer-at")).to_have_text("1 of 1")
    finish_one(sandbox)
    expect(page.locator("#viewer-at")).to_have_text("1 of 2")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-title")).to_contain_text("Image 2 ·")


def test_in_the_feed_too_images_are_gone_through_as_they_come(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    sandbox.hold()
    batch = served.begin(count=2)
    finish_one(sandbox)
    page = open_page("/")
    page.locator(f'#feed [data-image="{batch}/1"]').click()
    expect(page.locator("#viewer-title")).to_contain_text("Image 1 ·")
    before = page.locator("#viewer-at").inner_text()
    finish_one(sandbox)
    page.locator(f'#viewer-strip img[src*="{batch}/2"]').click()
    expect(page.locator("#viewer-title")).to_contain_text("Image 2 ·")
    assert page.locator("#viewer-at").inner_text() != before
    page.go_back()
    expect(page.locator("#viewer")).to_be_hidden()
    page.wait_for_url(served.url + "/")


def test_an_image_is_deleted_and_comes_back(open_page: OpenPage, served: Served) -> None:
    batch = served.made(count=2)
    page = open_page(f"/?batch={batch}")
    open_viewer(page, 1)
    expect(page.locator("#viewer-command")).to_contain_text("burst generate")
    page.keyboard.press("Delete")
    page.locator("#confirm").get_by_role("button", name="Delete").click()
    expect(page.locator("#viewer-title")).to_contain_text("Image 2 ·")
    expect(page.locator("#viewer-at")).to_have_text("1 of 1")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("2 files restored.")).to_be_visible()
    expect(page.locator("#viewer-at")).to_have_text("2 of 2")
    page.keyboard.press("Escape")
    expect(page.locator("#grid img")).to_have_count(2)


def test_more_like_an_image_and_a_stage_are_queued(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    batch = served.made("an owl", count=2)
    sandbox.hold()
    page = open_page(f"/?batch={batch}&image={batch}%2F1")
    expect(page.locator("#viewer-command")).to_contain_text("burst generate")
    expect(page.get_by_role("link", name="Use these settings")).to_have_attribute("href", f"/?from={batch}%2F1")
    page.keyboard.press("m")
    count = page.get_by_label("How many")
    expect(count).to_be_focused()
    count.fill("3")
    expect(page.locator("#more-note")).to_contain_text("other seeds")
    page.get_by_role("button", name="Make variations").click()
    expect(page.locator("#viewer-status")).to_have_text("3 images queued. Show the batch")
    again = batch_shown(page)
    assert [item.prompt_text for item in served.items(again)] == ["an owl"] * 3
    page.get_by_role("button", name="More like this").click()
    page.get_by_label("Start from this image").check()
    page.get_by_label("How much changes").fill("0.25")
    count.fill("1")
    page.get_by_role("button", name="Make variations").click()
    expect(page.locator("#viewer-status")).to_have_text("1 image queued. Show the batch")
    [item] = served.items(batch_shown(page))
    assert (item.inputs["denoise"], item.sources) == (0.25, (served.items(batch)[0].key,))
    page.keyboard.press("s")
    page.get_by_role("radio", name="smoke-image").check()
    page.get_by_role("button", name="Add the stage").click()
    expect(page.locator("#viewer-status")).to_have_text("1 image queued. Show the batch")
    [stage] = served.items(batch_shown(page))
    assert stage.sources == item.sources


def test_an_image_is_upscaled_by_a_model_that_is_chosen(
    open_page: OpenPage, made: str, served: Served, sandbox: Sandbox
) -> None:
    sandbox.change(upscale_models=["2x_tiny.pth", "RealESRGAN_x4plus.pth"])
    page = open_page(f"/?batch={made}&image={made}%2F1")
    expect(page.locator("#viewer-command")).to_contain_text("burst generate")
    page.keyboard.press("l")
    form = page.get_by_role("form", name="Upscale")
    expect(form.get_by_role("radio")).to_have_count(2)
    form.get_by_role("radio", name="upscale-model").check()
    form.get_by_label("Model for upscale-model").select_option("2x_tiny.pth")
    form.get_by_role("button", name="Upscale it").click()
    expect(page.locator("#viewer-status")).to_have_text("1 image queued. Show the batch")
    page.get_by_role("link", name="Show the batch").click()
    expect(page.locator("#grid img")).to_have_count(1)
    open_viewer(page, 1)
    expect(page.locator("#viewer-picture img")).to_have_js_property("naturalWidth", 128)
    expect(page.locator("#viewer-parameters")).to_contain_text("2x_tiny.pth")


def batch_shown(page: Any) -> str:
    """The one that was made last."""
    return str(page.get_by_role("link", name="Show the batch").get_attribute("href")).partition("=")[2]


def test_what_cannot_be_made_is_said(open_page: OpenPage, made: str) -> None:
    page = open_page("about:blank")
    none = {"possible": False, "why": "its workflow has no seed"}
    answer = {
        "variations": none,
        "fromImage": {**none, "template": None, "strength": 0.5},
        "stages": [
            {**none, "id": "a", "name": "upscale.json", "purpose": None, "why": "no server has UpscaleModelLoader"}
        ],
    }
    page.route("**/derivations", lambda route: route.fulfill(json=answer))
    page.goto(f"/?batch={made}&image={made}%2F1")
    page.get_by_role("button", name="More like this").click()
    expect(page.locator("#more-note")).to_contain_text("its workflow has no seed")
    expect(page.get_by_role("button", name="Make variations")).to_be_disabled()
    page.get_by_role("button", name="Add a stage").click()
    expect(page.locator("#stage-list")).to_contain_text("Not here: no server has UpscaleModelLoader")
    expect(page.get_by_role("button", name="Add the stage")).to_be_disabled()


def test_what_failed_is_shown_with_its_reason_and_retried(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    sandbox.change(failure_rate=1.0)
    batch = served.made("a storm", count=2)
    sandbox.change(failure_rate=0.0)
    page = open_page(f"/?batch={batch}")
    page.get_by_role("link", name="Image 2").click()
    expect(page.locator("#viewer-picture")).to_contain_text("Failed")
    page.get_by_role("button", name="Retry").last.click()
    expect(page.locator("#viewer-picture img")).to_have_js_property("naturalWidth", 64)
    assert [str(item.status) for item in served.items(batch)] == ["failed", "completed"]


def test_what_is_known_is_copied(open_page: OpenPage, made: str) -> None:
    page = open_page(f"/?batch={made}&image={made}%2F5", permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#viewer-command")).to_contain_text("burst generate")
    seed = 2**64 - 6
    wanted = {
        "Copy prompt": ("Prompt copied", "a lighthouse, seen from the sea"),
        "Copy seed": ("Seed copied", str(seed)),
        "Copy command": ("Command copied", "burst generate --from"),
        "Copy all as JSON": ("Everything as JSON copied", f'"seed": {seed},'),
    }
    for button, (told, text) in wanted.items():
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.locator("#viewer-status")).to_have_text(told)
        assert text in page.evaluate("navigator.clipboard.readText()")
