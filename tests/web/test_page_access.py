"""The pages for everybody: by keyboard, by screen reader, on a phone, in the dark, with little motion."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from support.page_steps import finish_one
from support.serving import Served

import orchestrator.web
from orchestrator.sandbox import Sandbox

OpenPage = Callable[..., Any]
STATIC = Path(orchestrator.web.__file__).parent / "static"
TEXTS = [(ink, ground) for ground in ("page", "card") for ink in ("ink", "soft", "accent", "error", "good")]
TEXTS += [("on-accent", "accent"), ("error", "error-back"), ("ink", "blank"), ("soft", "blank")]
CONTROLS = "input, select, textarea, button, a[href], [tabindex='0']"
NAMELESS = """controls => controls.filter(one => {
  if (!one.checkVisibility()) return false;
  const said = [...(one.labels ?? [])].map(label => label.textContent).join("");
  const image = one.querySelector("img")?.alt ?? one.querySelector("[role=img]")?.getAttribute("aria-label") ?? "";
  return !(said || one.getAttribute("aria-label") || one.textContent + image).trim();
}).map(one => one.outerHTML)"""


@pytest.fixture(scope="module")
def made(_served: Served) -> str:
    """A batch of two that is complete."""
    return _served.made(count=2)


@pytest.fixture
def under_way(served: Served, sandbox: Sandbox) -> str:
    """A batch that has one of its three images."""
    sandbox.hold()
    batch = served.begin(count=3)
    finish_one(sandbox)
    return batch


def views(page: Any, made: str, under_way: str) -> Iterator[str]:
    """Bring the page, which is open at `/`, to each view; its name."""
    home = page.url
    expect(page.get_by_label("Steps")).to_have_attribute("placeholder", "2")
    for group in page.locator("#batch-form summary").all():
        group.click()
    page.locator("#loras-add").click()
    page.locator("#axes-add").click()
    yield "form"
    page.get_by_role("button", name="Generate Batch").click()
    expect(page.get_by_text("Prompt cannot be empty")).to_be_visible()
    yield "mistakes"
    page.get_by_role("radio", name="Recent batches").check()
    expect(page.locator(".feed-batch").first).to_be_visible()
    yield "recent"
    page.goto(f"{home}?batch={under_way}")
    expect(page.locator("#shots img")).to_have_count(1)
    yield "progress"
    page.locator("#queue-open").click()
    expect(page.locator("#queue-next li")).to_have_count(1)
    yield "queue"
    page.goto(f"{home}?batch={made}")
    expect(page.locator("#grid img")).to_have_count(2)
    yield "comparison"
    page.locator("#grid a").first.click()
    expect(page.locator("#viewer-command")).to_contain_text("burst")
    yield "viewer"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Select all").click()
    page.get_by_role("button", name="Compare side by side").click()
    yield "pair"
    page.get_by_role("radio", name="Slider").check()
    yield "slider"


def channels(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def luminance(colour: str) -> float:
    """As WCAG 2.2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour)]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def palettes() -> dict[str, dict[str, str]]:
    """The colors of the style sheet, in light and in dark."""
    pairs = re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", (STATIC / "tokens.css").read_text()
    )
    return {"light": {name: one for name, one, _ in pairs}, "dark": {name: other for name, _, other in pairs}}


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), TEXTS)
def test_texts_have_enough_contrast(look: str, ink: str, ground: str) -> None:
    colours = palettes()[look]
    assert contrast(colours[ink], colours[ground]) >= 4.5


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("ground", ["page", "card"])
def test_edges_of_fields_can_be_seen(look: str, ground: str) -> None:
    colours = palettes()[look]
    assert contrast(colours["edge"], colours[ground]) >= 3


def test_the_palette_follows_the_system(page: Any) -> None:
    for scheme, colours in palettes().items():
        page.emulate_media(color_scheme=scheme)
        red, green, blue = (round(255 * channel) for channel in channels(colours["page"]))
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == f"rgb({red}, {green}, {blue})", scheme


def test_everything_that_can_be_used_has_a_name(page: Any, made: str, under_way: str) -> None:
    for view in views(page, made, under_way):
        assert page.locator(CONTROLS).evaluate_all(NAMELESS) == [], view
        pictures = page.locator("img").evaluate_all(
            "all => all.filter(one => one.checkVisibility() && !one.alt).length"
        )
        assert pictures == 0, view
        headings = page.locator("h1").evaluate_all("all => all.filter(one => one.checkVisibility()).length")
        assert headings == 1, view


def test_on_a_phone_no_view_is_wider_and_what_can_be_pressed_is_large_enough_for_a_finger(
    open_page: OpenPage, made: str, under_way: str
) -> None:
    page = open_page("/", phone=True)
    small = """all => all.filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 40)
      .map(one => one.outerHTML)"""
    for view in views(page, made, under_way):
        assert page.evaluate("document.documentElement.scrollWidth") == 360, view
        if view not in ("pair", "slider"):
            wide = page.locator("main *").evaluate_all(
                "all => all.filter(one => !one.closest('.scroller') && one.getBoundingClientRect().right > 360.5)"
                ".map(one => one.outerHTML)"
            )
            assert wide == [], view
        assert page.locator("button, .button, select, label.check, .kind").evaluate_all(small) == [], view


def test_little_motion_is_none(open_page: OpenPage, under_way: str) -> None:
    page = open_page(f"/?batch={under_way}")  # of a context that asks for little
    expect(page.locator("#shots img")).to_have_count(1)
    assert page.evaluate("document.getAnimations().length") == 0


def test_progress_is_read_out_politely_and_errors_at_once(page: Any) -> None:
    assert page.locator("#where").get_attribute("role") == "status"
    for place in ("#batch-alert", "#form-alert", "#server-away", "#failure", "#prompt-wrong"):
        assert page.locator(place).get_attribute("role") == "alert"


def test_a_batch_by_keyboard_alone(page: Any, served: Served) -> None:
    def tab_to(locator: Any) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if locator.evaluate("one => one === document.activeElement"):
                break
        expect(locator).to_be_focused()
        ring = "one => getComputedStyle(one.closest('.kind') ?? one).outlineStyle"
        assert locator.evaluate(ring) == "solid"

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page.get_by_role("radio", name="Batch Generate"))
    tab_to(page.get_by_label("Prompt", exact=True))
    page.keyboard.type("a lighthouse by keyboard")
    tab_to(page.get_by_label("Number of images"))
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("2")
    tab_to(page.get_by_role("button", name="Generate Batch"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="a lighthouse by keyboard")).to_be_visible()
    expect(page.get_by_text("Batch complete: 2 successful")).to_be_visible()
    for name in ("Image 1", "Image 2"):
        tab_to(page.get_by_role("checkbox", name=name))
        page.keyboard.press("Space")
    compare = page.get_by_role("button", name="Compare side by side")
    while not compare.evaluate("one => one === document.activeElement"):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Image 1 and image 2")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    tab_to(page.locator("#stage"))
    page.keyboard.press("+")
    expect(page.get_by_text("125 %")).to_be_visible()
    page.keyboard.press("Escape")
    expect(compare).to_be_focused()


def test_focus_goes_to_the_summary_when_its_button_goes(page: Any, sandbox: Sandbox) -> None:
    sandbox.hold()
    page.get_by_label("Prompt", exact=True).fill("a lighthouse")
    page.get_by_role("button", name="Generate Batch").click()
    page.get_by_role("button", name="Cancel").focus()
    sandbox.release()
    expect(page.get_by_role("heading", name="Batch complete")).to_be_focused()
