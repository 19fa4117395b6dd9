"""The gallery in a browser: searched with suggestions, images chosen by mouse and keys, and what is done with them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect
from support.gallery_scene import Gallery, Listening, fill, png
from support.report_project import NOON, Album
from support.serving import Served

from orchestrator.sandbox import Sandbox
from state.item import Item, Status

HOUR = timedelta(hours=1)


@pytest.fixture
def album(tmp_path: Path) -> Album:
    made = Album(tmp_path)
    fill(made, "b1", count=5, model="sdxl.safetensors", steps=20)
    fill(made, "b2", count=2, after=HOUR, prompt="an owl", model="flux.gguf", steps=30)
    return made


@pytest.fixture
def visit(server: Listening, open_page: Callable[..., Any]) -> Callable[..., Any]:
    """`visit("?text=fox", …)`: the gallery's page, once it has found what there is."""

    def go(query: str = "", **parts: Any) -> Any:
        page = open_page(f"/gallery{query}", server=server, **parts)
        expect(page.locator("#found")).not_to_be_empty()
        return page

    return go


def tiles(page: Any) -> Any:
    return page.locator("#pictures > li")


def chosen(page: Any) -> list[int]:
    """The places of the tiles that are chosen."""
    found = page.locator("#pictures > li.chosen").evaluate_all("all => all.map(one => Number(one.dataset.index))")
    return sorted(found)


def marks(gallery: Gallery) -> dict[str, tuple[bool, list[str]]]:
    """Favorite and tags of each image that has any."""
    images = gallery.get("/api/gallery")["images"]
    return {
        f"{one['batchId']}/{one['image']}": (one["favorite"], one["tags"])
        for one in images
        if one["favorite"] or one["tags"]
    }


# Searching


def test_a_search_is_completed_by_keys_and_a_wrong_term_is_said_until_it_is_right(visit: Callable[..., Any]) -> None:
    """A day in it is the reader's own: noon of the first in UTC is the second in Kiritimati."""
    page = visit(away=True, timezone_id="Pacific/Kiritimati")
    field = page.get_by_role("combobox", name="Search")
    field.press_sequentially("owl mod")
    expect(page.locator("#suggestions > li")).to_have_text(["model:model:sdxl"])
    field.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == "suggestion-0"
    field.press("Enter")
    expect(field).to_have_value("owl model:")
    expect(page.locator("#suggestions > li")).to_have_text(["model:flux.gguf", "model:sdxl.safetensors"])
    field.press_sequentially("fl")
    expect(page.locator("#suggestions > li")).to_have_text(["model:flux.gguf"])
    field.press("ArrowDown")
    field.press("Tab")
    expect(field).to_have_value("owl model:flux.gguf ")
    expect(field).to_be_focused()
    expect(tiles(page)).to_have_count(2)
    expect(page.locator("#found")).to_have_text("2 images")
    field.press_sequentially("is:")
    expect(page.locator("#suggestions > li").first).to_have_text("is:favorite")
    field.press("Escape")
    expect(page.get_by_role("listbox", name="Suggestions")).to_be_hidden()
    expect(page.locator("#text-wrong")).to_be_hidden()
    field.press("Enter")
    wrong = page.locator("#text-wrong")
    expect(wrong).to_have_text("is: needs a value, such as is:favorite")

    field.fill("model:sdxl")
    expect(tiles(page)).to_have_count(5)
    field.fill("modle:sdxl")
    expect(wrong).to_contain_text("There is no key 'modle'; did you mean 'model'?")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#gallery-alert")).to_be_hidden()
    expect(tiles(page)).to_have_count(5)
    field.fill("")
    expect(tiles(page)).to_have_count(7)
    field.fill("model:sdxl -steps>25")
    expect(wrong).to_be_hidden()
    expect(tiles(page)).to_have_count(5)
    page.get_by_role("combobox", name="Sort").select_option("Oldest")
    expect(tiles(page).first).to_contain_text("seed 41")
    page.reload()
    expect(tiles(page).first).to_contain_text("seed 41")
    expect(field).to_have_value("model:sdxl -steps>25")

    field.fill("before:2030-01-02")
    expect(page.locator("#empty")).to_be_visible()
    field.fill("after:2030-01-02")
    expect(tiles(page)).to_have_count(7)


# Choosing


def choose(page: Any, *numbers: int) -> None:
    for number in numbers:
        tiles(page).nth(number).hover()
        page.locator(".tile-pick").nth(number).check()


def test_images_are_chosen_by_click_shift_band_and_keys_and_marked(visit: Callable[..., Any], gallery: Gallery) -> None:
    page = visit()
    tiles(page).nth(1).hover()
    page.locator(".tile-pick").nth(1).click()
    assert chosen(page) == [1]
    tiles(page).nth(4).get_by_role("link").click(modifiers=["Shift"])
    expect(page.locator("#chosen-count")).to_have_text("4 chosen")
    assert chosen(page) == [1, 2, 3, 4]
    tiles(page).nth(2).get_by_role("link").click()
    assert chosen(page) == [1, 3, 4]
    expect(page.locator("#viewer")).to_be_hidden()
    page.get_by_role("button", name="Clear", exact=True).click()
    assert chosen(page) == []
    expect(page.get_by_role("toolbar")).to_be_hidden()
    first, last = (tiles(page).nth(number).bounding_box() for number in (2, 6))
    page.mouse.move(first["x"] + 40, first["y"] + 40)
    page.mouse.down()
    page.mouse.move(last["x"] + 60, last["y"] + 60, steps=5)
    expect(page.locator(".band")).to_be_visible()
    page.mouse.up()
    columns = page.locator("#pictures").evaluate("one => getComputedStyle(one).gridTemplateColumns")
    assert len(columns.split()) == 5
    assert chosen(page) == [1, 2, 6], "a rectangle, not a range"
    expect(page.locator(".band")).to_be_hidden()
    expect(page.locator("#viewer")).to_be_hidden()

    page.get_by_role("button", name="Clear", exact=True).click()
    tiles(page).first.get_by_role("link").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#chosen-count")).to_have_text("3 chosen")
    assert chosen(page) == [1, 2, 3]
    page.keyboard.press("Escape")
    assert chosen(page) == []
    page.keyboard.press("Control+a")
    expect(page.locator("#chosen-count")).to_have_text("7 chosen")
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    expect(tiles(page).last.get_by_role("link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#viewer-title")).to_have_text("Image 1 · a fox in the snow")
    page.keyboard.press("Escape")
    expect(tiles(page).last.get_by_role("link")).to_be_focused()

    tiles(page).nth(3).hover()
    page.locator(".tile-star").nth(3).click()
    expect(page.locator(".tile-star").nth(3)).to_have_attribute("aria-pressed", "true")
    choose(page, 1, 2)
    page.get_by_role("button", name="Favorite", exact=True).click()
    expect(page.locator("#chosen-status")).to_have_text("2 images favorites.")
    assert [name for name, (favorite, _) in marks(gallery).items() if favorite] == ["b2/1", "b1/5", "b1/4"]
    page.get_by_role("button", name="Favorite", exact=True).click()
    expect(page.locator("#chosen-status")).to_have_text("2 images no favorites any more.")
    page.get_by_role("button", name="Tag…").click()
    dialog = page.get_by_role("dialog", name="Tags of 2 images")
    dialog.get_by_label("New tag").fill("sea, night sky")
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Remove sea").click()
    expect(dialog.get_by_role("button", name="Remove sea")).to_be_hidden()
    dialog.get_by_role("button", name="Close").click()
    expect(tiles(page).nth(1)).to_contain_text("#night sky")
    assert marks(gallery) == {
        "b2/1": (False, ["night sky"]),
        "b1/5": (False, ["night sky"]),
        "b1/4": (True, []),
    }
    page.get_by_role("combobox", name="Search").fill('tag:"night sky"')
    expect(tiles(page)).to_have_count(2)
    assert chosen(page) == [0, 1], "what is chosen stays chosen"


# What is done with them


def test_images_are_deleted_and_brought_back_downloaded_compared_and_all_of_many_chosen(
    visit: Callable[..., Any], album: Album
) -> None:
    page = visit()
    choose(page, 0, 2)
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("2 images in the trash.")).to_be_visible()
    expect(tiles(page)).to_have_count(5)
    expect(page.locator("#found")).to_have_text("5 images")
    assert len(album.trashed()) == 2
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("2 files restored.")).to_be_visible()
    expect(tiles(page)).to_have_count(7)

    choose(page, 1, 2)
    with page.expect_download() as waited:
        page.get_by_role("button", name="Download", exact=True).click()
    with zipfile.ZipFile(io.BytesIO(waited.value.path().read_bytes())) as archive:
        assert archive.namelist() == ["batches/b2/image_001.png", "batches/b1/image_005.png"]
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#comparing .pane")).to_have_count(2)
    assert "compare=b2%252F1%2Cb1%252F5" in page.url
    page.get_by_role("button", name="Close", exact=True).click()

    fill(album, "many", count=150, after=2 * HOUR)
    album.store.add([Item(key="lists/plain.txt", status=Status.PENDING, prompt_text="a plain prompt")])
    album.complete("lists/plain.txt", "plain.png", data=png(), at=NOON + 9 * HOUR)
    page.reload()
    tiles(page).first.get_by_role("link", name="a plain prompt").click()
    expect(page.locator("#viewer-title")).to_have_text("plain.png")
    expect(page.locator("#viewer-batch")).to_be_hidden()
    page.reload()
    expect(page.locator("#viewer-title")).to_have_text("plain.png")
    page.keyboard.press("Escape")
    page.get_by_role("combobox", name="Sort").select_option("Oldest")
    expect(tiles(page).first).to_contain_text("seed 41")
    tiles(page).first.get_by_role("link").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+End")
    expect(page.locator("#chosen-count")).to_have_text("158 chosen")


def test_images_of_two_batches_become_a_stage_that_is_rendered(
    open_page: Callable[..., Any], served: Served, sandbox: Sandbox
) -> None:
    """All the way: from the tiles to the images that another workflow makes of them, each at twice its size."""
    first, second = served.made("a fox", count=2), served.made("an owl", count=2)
    page = open_page("/gallery")
    expect(tiles(page)).to_have_count(4)
    choose(page, 1, 2)
    page.get_by_role("button", name="Stage…").click()
    dialog = page.get_by_role("dialog", name="A batch from 2 images")
    dialog.get_by_role("radio", name="upscale-model").check()
    expect(dialog.get_by_label("Model for upscale-model")).to_have_value("RealESRGAN_x4plus.pth")
    dialog.get_by_role("radio", name="upscale", exact=True).check()
    expect(dialog.get_by_label("Model for upscale-model")).to_be_hidden()
    dialog.get_by_role("button", name="Queue").click()
    expect(page.locator("#chosen-status")).to_have_text("2 images queued. Show the batch")
    page.get_by_role("link", name="Show the batch").click()
    expect(page.locator("#grid img")).to_have_count(2)
    stage = parse_qs(urlsplit(page.url).query)["batch"][0]
    sources = [served.items(second)[0].key, served.items(first)[1].key]
    made = served.items(stage)
    assert sorted(key for item in made for key in item.sources) == sorted(sources)
    for item in made:
        with Image.open(served.output / item.outputs[0].path) as image:
            assert image.size == (128, 128)
