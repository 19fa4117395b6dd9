"""What a page has open has an address; what was typed and how far was scrolled survives that it is left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import expect
from support.gallery_scene import Listening, fill
from support.report_project import Album
from support.serving import Served
from support.waiting import wait_until

OpenPage = Callable[..., Any]
# Tests take the server before the page, so that it is stopped after that: what a page still fetches would fail.


@pytest.fixture(scope="module")
def made(_served: Served) -> str:
    """A batch of three that is complete."""
    return _served.made(count=3)


def tiles(page: Any) -> Any:
    return page.locator("#pictures > li")


def test_back_closes_the_image_and_forward_opens_it(server: Listening, open_page: OpenPage, album: Album) -> None:
    fill(album, count=3)
    page = open_page("/gallery?text=fox", server=server)
    tiles(page).first.get_by_role("link").click()
    viewer, title = page.locator("#viewer"), page.locator("#viewer-title")
    expect(title).to_have_text("Image 3 · a fox in the snow")
    page.keyboard.press("ArrowRight")
    expect(title).to_have_text("Image 2 · a fox in the snow")
    assert page.url.endswith("/gallery?text=fox&image=b1%2F2")
    page.go_back()
    expect(viewer).to_be_hidden()
    assert page.url.endswith("/gallery?text=fox"), "one step, however many images were looked at"
    expect(tiles(page).nth(1).get_by_role("link")).to_be_focused()
    page.go_forward()
    expect(viewer).to_be_visible()
    expect(title).to_have_text("Image 2 · a fox in the snow")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    page.wait_for_url("**/gallery?text=fox")
    tiles(page).first.get_by_role("link").click()
    expect(title).to_have_text("Image 3 · a fox in the snow")
    page.wait_for_url("**/gallery?text=fox&image=b1%2F3")


def test_an_image_is_opened_by_its_address_wherever_it_is_in_the_gallery(
    server: Listening, open_page: OpenPage, album: Album
) -> None:
    fill(album, "old", count=2)
    fill(album, "new", count=100, after=timedelta(hours=1))
    page = open_page("/gallery?image=old%2F1", server=server)
    expect(page.locator("#viewer-title")).to_have_text("Image 1 · a fox in the snow")
    assert not any(
        "old" in str(link) for link in page.locator("#pictures a").evaluate_all("all => all.map(a => a.href)")
    )
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#viewer")).to_be_hidden()
    page.wait_for_url("**/gallery")
    assert tiles(page).first.get_by_role("link").get_attribute("href") == "/gallery?image=new%2F100"


def test_an_address_of_an_image_that_is_gone_says_so(server: Listening, open_page: OpenPage, album: Album) -> None:
    fill(album, count=1)
    page = open_page("/gallery?image=b1%2F9", server=server, away=True)
    expect(page.locator("#gallery-alert")).to_contain_text("Image not found")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(tiles(page)).to_have_count(1)


def test_the_gallery_comes_back_to_where_it_was_scrolled(server: Listening, open_page: OpenPage, album: Album) -> None:
    fill(album, count=150)
    page = open_page("/gallery", server=server, viewport={"width": 800, "height": 600})
    expect(tiles(page)).not_to_have_count(0)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = tiles(page).last
    expect(last).to_contain_text("seed 41")
    top = page.evaluate("scrollY")
    assert top > 1000
    page.goto(f"{server.url}/states")
    page.go_back()
    wait_until(lambda: abs(page.evaluate("scrollY") - top) < 100, what="the place")
    expect(last).to_contain_text("seed 41")
    page.reload()
    wait_until(lambda: abs(page.evaluate("scrollY") - top) < 100, what="the place again")
    page.goto(f"{server.url}/gallery")
    expect(tiles(page)).not_to_have_count(0)
    assert page.evaluate("scrollY") == 0, "who comes anew begins at the top"


def test_what_was_typed_survives(open_page: OpenPage) -> None:
    page = open_page("/")
    page.get_by_label("Prompt", exact=True).fill("a lighthouse, half")
    page.get_by_label("Number of images").fill("7")
    page.get_by_label("Randomize seeds").uncheck()
    page.get_by_label("Base seed").fill("18446744073709551615")
    for group in page.locator("#batch-form summary").all():
        group.click()
    page.get_by_label("Steps").fill("9")
    page.get_by_label("Model", exact=True).fill("v1-5-pruned-emaonly-fp16.safetensors")
    page.get_by_role("radio", name="txt2img-sd15").check()
    page.locator("#loras-add").click()
    page.get_by_label("LoRA 1", exact=True).fill("tiny-lora.safetensors")
    page.locator("#axes-add").click()
    page.get_by_label("Values of axis 1").fill("5, 7")
    page.get_by_label("Negative prompt").fill("fog")
    for leave in (page.reload, lambda: (page.goto(page.url + "gallery"), page.go_back())):
        leave()
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a lighthouse, half")
        expect(page.locator("#prompt-count")).to_contain_text("18")
        expect(page.get_by_label("Number of images")).to_have_value("7")
        expect(page.get_by_label("Base seed")).to_have_value("18446744073709551615")
        expect(page.get_by_label("Base seed")).to_be_enabled()
        expect(page.get_by_label("Steps")).to_have_value("9")
        expect(page.locator("#models option")).not_to_have_count(0)
        expect(page.get_by_label("Model", exact=True)).to_have_value("v1-5-pruned-emaonly-fp16.safetensors")
        expect(page.get_by_role("radio", name="txt2img-sd15", include_hidden=True)).to_be_checked()
        expect(page.get_by_label("LoRA 1", exact=True)).to_have_value("tiny-lora.safetensors")
        expect(page.get_by_label("Values of axis 1")).to_have_value("5, 7")
        expect(page.locator("#negative")).to_have_value("fog")


def test_back_closes_two_images_side_by_side_and_their_address_opens_them(open_page: OpenPage, made: str) -> None:
    page = open_page(f"/?batch={made}")
    for name in ("Image 1", "Image 3"):
        page.get_by_role("checkbox", name=name).check()
    page.get_by_role("button", name="Compare side by side").click()
    pair = page.get_by_role("dialog", name="Image 1 and image 3")
    expect(pair).to_be_visible()
    page.wait_for_url("**compare=1%2C3")
    address = page.url
    page.go_back()
    expect(pair).to_be_hidden()
    expect(page.get_by_role("checkbox", name="Image 3")).to_be_checked()
    page.goto("about:blank")
    page.goto(address)
    expect(pair).to_be_visible()
    page.keyboard.press("Escape")
    expect(pair).to_be_hidden()
    page.wait_for_url(f"**/?batch={made}")
