"""The one page: the composer beside the images, at every width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from support.serving import Served
from support.waiting import wait_until

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def made(_served: Served) -> str:
    """A batch of three that is complete."""
    return _served.made("a lighthouse that was made", count=3)


def test_the_composer_stays_beside_the_images(open_page: OpenPage, made: str) -> None:
    page = open_page(f"/?batch={made}", viewport={"width": 2560, "height": 700})
    expect(page.locator("#grid img")).to_have_count(3)
    for width in (2560, 1440, 1100):
        page.set_viewport_size({"width": width, "height": 700})
        composer, batch = page.locator("#composer").bounding_box(), page.locator("#batch").bounding_box()
        assert composer["x"] + composer["width"] < batch["x"]
        assert batch["y"] - composer["y"] < 40
        assert width - (batch["x"] + batch["width"]) <= 40
        assert batch["width"] > 0.6 * width
    page.mouse.move(900, 400)
    page.mouse.wheel(0, 400)
    wait_until(lambda: page.evaluate("scrollY") > 0)
    expect(page.get_by_label("Prompt", exact=True)).to_be_in_viewport()
    expect(page.locator("#queue-open")).to_be_in_viewport()


def test_a_prompt_is_typed_on_while_its_batch_is_shown(open_page: OpenPage, served: Served) -> None:
    page = open_page("/", viewport={"width": 1440, "height": 900})
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("a fox")
    page.get_by_role("button", name="Generate Batch").click()
    expect(page.locator("#batch-title")).to_have_text("a fox")
    expect(page.get_by_role("button", name="Generate Batch")).to_be_focused()
    prompt.fill("a fox in the snow")
    page.get_by_role("button", name="Generate Batch").click()
    expect(page.locator("#batch-title")).to_have_text("a fox in the snow")
    page.go_back()
    expect(page.locator("#batch-title")).to_have_text("a fox")
    page.get_by_role("radio", name="Recent batches").check()
    expect(page).to_have_url(f"{served.url}/")
    expect(prompt).to_be_hidden()
    assert page.locator(".images").bounding_box()["width"] > 0.9 * 1440


def test_on_a_phone_the_composer_is_above_and_makes_way(open_page: OpenPage, made: str, served: Served) -> None:
    page = open_page("/", phone=True)
    form, recent = page.locator("#batch-form"), page.locator("#feed")
    expect(recent).to_be_visible()
    assert form.bounding_box()["y"] < recent.bounding_box()["y"]
    page.get_by_label("Prompt", exact=True).fill("a fox")
    page.get_by_role("button", name="Generate Batch").click()
    heading = page.locator("#batch-title")
    expect(heading).to_be_focused()
    expect(heading).to_be_in_viewport()
    expect(form).to_be_hidden()
    page.go_back()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox")
    expect(form).to_be_visible()
    page.goto(f"{served.url}/?batch={made}")
    expect(form).to_be_hidden()
    page.get_by_role("radio", name="Batch Generate").check()
    expect(form).to_be_visible()
