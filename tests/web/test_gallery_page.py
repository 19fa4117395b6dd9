"""The gallery in a browser: found, looked at, copied, deleted; by mouse, by keys, on a phone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import expect
from support.gallery_scene import Gallery, Listening, fill, finish, gallery_over, listening, png
from support.media_files import by_extension
from support.report_project import NOON, Album
from support.waiting import wait_until

from orchestrator.batches import batch_info
from state.item import Item, Status

HOUR = timedelta(hours=1)
HOSTILE = '<img src=x onerror=alert(1)><script>alert(2)</script> & "quotes" \''


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


def seeds(page: Any) -> list[str]:
    """Of the pictures in sight or out of it, in their order."""
    facts = page.locator(".tile-facts").all_text_contents()
    return [str(re.sub(r"seed (\d+).*", r"\1", fact)) for fact in facts]


DRAWN = """all => all.every((one) => {
  const {top, bottom} = one.getBoundingClientRect();
  return one.width || bottom < 0 || top > innerHeight;
})"""
"""Whether all of these that are in sight are drawn."""


def is_drawn(image: Any) -> bool:
    return bool(
        image.evaluate("image => image.matches('canvas') ? image.width > 0 : image.complete && image.naturalWidth > 0")
    )


def opened(page: Any, number: int = 0) -> Any:
    """The dialog of the picture in this place, with everything in it."""
    tiles(page).nth(number).get_by_role("link").click()
    return whole(page)


def whole(page: Any) -> Any:
    """The dialog that is open, once nothing is being fetched any more: what is deleted then is missed by nobody."""
    dialog = page.locator("#viewer")
    expect(dialog.locator("#viewer-command")).to_contain_text("burst generate")
    wait_until(lambda: is_drawn(dialog.locator("#viewer-picture img")))
    wait_until(lambda: page.locator("#pictures .thumbnail").evaluate_all(DRAWN))
    return dialog


def assert_within(inner: Any, outer: Any) -> None:
    assert outer["x"] <= inner["x"]
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"]
    assert outer["y"] <= inner["y"]
    assert inner["y"] + inner["height"] <= outer["y"] + outer["height"]


# Looking


NAMELESS = """() => [...document.querySelectorAll("input, select, button, dialog, a[href]")]
    .filter(one => one.matches("input, select") ? !one.labels.length && !one.ariaLabel
        : !one.ariaLabel && !one.textContent.trim()
            && !one.querySelector("img[alt]:not([alt='']), canvas[aria-label]")
            && !one.hasAttribute("aria-labelledby"))
    .map(one => one.outerHTML)"""


def test_nothing_then_the_newest_image_first_and_a_filter_that_survives_a_reload(
    visit: Callable[..., Any], album: Album
) -> None:
    page = visit()
    expect(page.locator("#empty")).to_have_text("No images yet. Batch Generate makes some.")
    expect(page.locator("#found")).to_have_text("0 images")
    fill(album, "b1", count=2, model="sdxl.safetensors")
    fill(album, "b2", count=1, after=HOUR, prompt="an owl", model="flux.gguf")
    page.reload()
    expect(page.locator("#found")).to_have_text("3 images")
    expect(tiles(page)).to_have_count(3)
    expect(tiles(page).first).to_contain_text("an owl")
    expect(tiles(page).nth(1)).to_contain_text("seed 42 · sdxl.safetensors")
    image = tiles(page).first.get_by_role("img", name="an owl")
    wait_until(lambda: is_drawn(image))
    assert page.evaluate(NAMELESS) == [], "every field has a name, and every dialog"

    page.get_by_role("combobox", name="Search").fill("OWL")
    expect(tiles(page)).to_have_count(1)
    assert page.url.endswith("/gallery?text=OWL")
    page.get_by_role("combobox", name="Model").select_option("sdxl.safetensors")
    expect(page.locator("#empty")).to_have_text("Nothing matches.")
    page.get_by_role("combobox", name="Model").select_option("flux.gguf")
    expect(tiles(page)).to_have_count(1)
    page.reload()
    expect(tiles(page)).to_have_count(1)
    expect(page.get_by_role("combobox", name="Model")).to_have_value("flux.gguf")
    page.get_by_role("button", name="Clear").click()
    expect(tiles(page)).to_have_count(3)
    assert page.url.endswith("/gallery")


SCROLL = """part => new Promise((done) => {
    scrollTo(0, part * document.documentElement.scrollHeight);
    requestAnimationFrame(() => requestAnimationFrame(done));
})"""
"""To a part of the page's height, which is drawn then."""


def test_a_long_gallery_comes_as_it_is_scrolled_each_picture_once(
    visit: Callable[..., Any], album: Album, gallery: Gallery
) -> None:
    album.add("b1", [{"seed": 40 + number} for number in range(1, 131)], directory="b1")
    for number in range(1, 131):
        album.complete(f"b1/{number:03d}", f"b1/{number}.bin", at=NOON + number * timedelta(minutes=1))
    page = visit(viewport={"width": 800, "height": 600})
    expect(page.locator("#found")).to_have_text("130 images")
    fill(album, "late", count=3, after=timedelta(days=1))
    seen: dict[str, str] = {}
    for part in range(17):
        page.evaluate(SCROLL, part / 16)
        expect(page.locator("#pictures > li.waiting")).to_have_count(0)
        assert tiles(page).count() < 100, "what is out of sight is not in the document"
        told = tiles(page).evaluate_all("all => all.map(one => [one.ariaPosInSet, one.textContent])")
        seen |= {place: text for place, text in told if text}
    assert {place: f"seed {171 - int(place)}" in text for place, text in seen.items()} == {
        str(place): True for place in range(1, 131)
    }
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    assert gallery.http.get("/api/gallery").json()["total"] == 133


def of_key(page: Any, key: str) -> Any:
    """The tile of an image."""
    return tiles(page).filter(has=page.locator(f'[data-image="{key}"]'))


def test_long_seeds_hostile_words_and_files_that_no_browser_shows(visit: Callable[..., Any], album: Album) -> None:
    media = by_extension()
    album.add("seed", [{"seed": 2**64 - 1}], directory="batches/seed")
    finish(album, "seed", 1)
    odd = {"film.xyz": b"film", "cut.png": png()[:40], "clip.webm": media[".webm"][:60], "shape.glb": media[".glb"]}
    album.add("odd", [{}] * len(odd), directory="odd")
    for number, (name, data) in enumerate(odd.items(), 1):
        album.complete(f"odd/{number:03d}", f"odd/{name}", data=data)
    fill(album, "words", count=1, after=HOUR, prompt=HOSTILE, model=HOSTILE, negative=HOSTILE)
    page = visit(away=True)

    expect(of_key(page, "seed/1")).to_contain_text("seed 18446744073709551615")
    of_key(page, "seed/1").get_by_role("link").click()
    expect(whole(page)).to_contain_text("18446744073709551615")
    page.keyboard.press("Escape")

    expect(of_key(page, "odd/1")).to_contain_text("xyz")
    expect(of_key(page, "odd/2")).to_contain_text("cannot be shown")
    of_key(page, "odd/3").get_by_role("link").click()
    expect(page.locator("#viewer-player")).to_contain_text("cannot play this file")
    page.keyboard.press("Escape")
    of_key(page, "odd/4").get_by_role("link").click()
    expect(page.locator("#viewer-title")).to_contain_text("Image 4")
    image = page.locator("#viewer-picture img")
    wait_until(lambda: is_drawn(image), what="the tile of a 3D model")
    expect(page.locator("#viewer-player")).to_be_hidden()
    page.keyboard.press("Escape")

    expect(of_key(page, "words/1").locator(".tile-prompt")).to_have_text(HOSTILE)
    of_key(page, "words/1").get_by_role("link").click()
    dialog = whole(page)
    expect(dialog.locator("#viewer-prompt")).to_have_text(HOSTILE)
    expect(dialog.locator("dd").filter(has_text=HOSTILE)).to_have_count(2)
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="Batches").check()
    expect(page.locator(".batch-prompt").first).to_have_text(HOSTILE)
    assert page.locator("img[src=x], #pictures script, .batch script").count() == 0


# One image


STARTS = """() => {
    globalThis.starts = [];
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (frames, options) {
        const animation = animate.call(this, frames, options);
        animation.pause();
        const { x, y, width, height } = this.getBoundingClientRect();
        starts.push([x + width / 2, y + height / 2].map(Math.round));
        animation.finish();
        return animation;
    };
}"""
"""Notes from where anything begins to move."""


def test_an_image_large_with_all_that_is_known_of_it_at_the_readers_own_time(
    visit: Callable[..., Any], album: Album
) -> None:
    """Noon of the first in UTC is the second in Kiritimati."""
    fill(album, count=3, steps=20, cfg=7.5, negative="blurry", model="sdxl.safetensors")
    assert album.store.get("b1/001").completed_at == datetime(2030, 1, 1, 12, 1, tzinfo=UTC)
    there = {"timezone_id": "Pacific/Kiritimati", "locale": "en-GB"}
    page = visit("?from=2030-01-02&to=2030-01-02", permissions=["clipboard-read", "clipboard-write"], **there)
    expect(tiles(page)).to_have_count(3)

    dialog = opened(page, 2)
    facts = dict(zip(dialog.locator("dt").all_text_contents(), dialog.locator("dd").all_text_contents(), strict=True))
    said = {"seed": "41", "model": "sdxl.safetensors", "steps": "20", "cfg": "7.5", "negative": "blurry"}
    assert facts.items() >= said.items()
    expect(dialog).to_contain_text("2 Jan 2030, 02:01")
    expect(dialog.locator("dd").filter(has_text="64 × 48")).to_be_visible()
    expect(dialog.locator("#viewer-command")).to_contain_text("burst generate --from")
    assert dialog.get_by_role("link", name="Batch", exact=True).get_attribute("href") == "/?batch=b1"
    dialog.get_by_role("button", name="Copy prompt").click()
    expect(dialog.get_by_role("status")).to_have_text("Prompt copied")
    assert page.evaluate("navigator.clipboard.readText()") == "a fox in the snow"
    dialog.get_by_role("button", name="Copy command").click()
    expect(dialog.get_by_role("status")).to_have_text("Command copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("burst generate --from")
    with page.expect_download() as coming:
        dialog.get_by_role("link", name="Download").click()
    assert coming.value.suggested_filename == "image_001.png"
    assert Path(coming.value.path()).read_bytes() == (album.output / "batches/b1/image_001.png").read_bytes()
    page.keyboard.press("Escape")

    page.get_by_role("textbox", name="From").fill("")
    page.get_by_role("textbox", name="To").fill("2030-01-01")
    expect(page.locator("#empty")).to_be_visible()


def test_keys_go_from_image_to_image_which_grow_from_their_place_and_back_to_it(
    visit: Callable[..., Any], album: Album
) -> None:
    fill(album, count=3)
    page = visit()
    tiles(page).first.get_by_role("link").focus()
    page.keyboard.press("Enter")
    title = page.locator("#viewer-title")
    expect(title).to_have_text("Image 3 · a fox in the snow")
    expect(page.get_by_role("button", name="Previous image")).to_be_disabled()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(title).to_have_text("Image 1 · a fox in the snow")
    expect(page.get_by_role("button", name="Next image")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text("Image 2 · a fox in the snow")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(tiles(page).nth(1).get_by_role("link")).to_be_focused()

    page.evaluate(STARTS)
    place = tiles(page).first.locator(".thumbnail").bounding_box()
    middle = [place["x"] + place["width"] / 2, place["y"] + place["height"] / 2]
    for motion, starts in (("reduce", []), ("no-preference", [pytest.approx(middle, abs=1)])):
        page.emulate_media(reduced_motion=motion)
        tiles(page).first.get_by_role("link").click()
        expect(page.locator("#viewer")).to_be_visible()
        assert page.evaluate("starts") == starts
        page.keyboard.press("Escape")
        expect(page.locator("#viewer")).to_be_hidden()
        expect(tiles(page).first.get_by_role("link")).to_be_focused()


def test_the_viewer_plays_and_seeks(visit: Callable[..., Any], album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    fill(album, count=1)
    kinds = {".opus": "audio", ".mp3": "audio", ".webm": "video"}
    album.add("b2", [{}] * len(kinds), directory="b2")
    for number, extension in enumerate(kinds, 1):
        data = by_extension()[extension]
        album.complete(f"b2/{number:03d}", f"b2/clip{extension}", data=data, at=NOON + number * HOUR)
    page = visit()
    for place in range(len(kinds)):
        tile = tiles(page).nth(place).get_by_role("img")
        wait_until(lambda tile=tile: is_drawn(tile))
    tiles(page).first.get_by_role("link").click()
    for number, element in ((3, "video"), (2, "audio"), (1, "audio")):
        title = page.locator("#viewer-title")
        expect(title).to_have_text(f"Image {number} · a fox")
        player = page.locator(f"#viewer-player {element}")
        expect(player).to_be_visible()
        expect(page.locator("#viewer-picture")).to_be_hidden()
        wait_until(lambda player=player: player.evaluate("one => one.readyState >= 1 && one.duration > 0.9"))
        player.evaluate("one => { one.currentTime = 0.5; }")
        sought = "one => !one.seeking && one.readyState >= 2 && one.currentTime > 0.4"
        wait_until(lambda player=player, sought=sought: player.evaluate(sought), what=sought)
        expect(page.locator("#viewer-parameters")).to_contain_text("length")
        player.focus()
        page.keyboard.press("ArrowRight")
        expect(title).to_have_text(f"Image {number} · a fox")
        page.locator("#next").click()
    expect(page.locator("#viewer-picture img")).to_be_visible()
    expect(page.locator("#viewer-player")).to_be_hidden()


# Deleting


def confirm(page: Any) -> None:
    page.locator("#confirm").get_by_role("button", name="Delete").click()


def test_images_and_batches_are_deleted_after_a_question_and_come_back_by_one_press(
    visit: Callable[..., Any], album: Album
) -> None:
    fill(album, count=3)
    page = visit()
    title, undo = page.locator("#viewer-title"), page.get_by_role("button", name="Undo")
    tiles(page).nth(1).get_by_role("link").focus()
    page.keyboard.press("Enter")
    whole(page)
    page.keyboard.press("Delete")
    question = page.get_by_role("dialog", name="Delete this image?")
    expect(question.get_by_role("button", name="Keep")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(page.locator("#viewer")).to_be_visible()
    assert (album.output / "batches/b1/image_002.png").exists()
    page.keyboard.press("Delete")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(title).to_have_text("Image 1 · a fox in the snow")
    expect(tiles(page)).to_have_count(2)
    expect(page.locator("#found")).to_have_text("2 images")
    assert album.files() == ["batches", "batches/b1", "batches/b1/image_001.png", "batches/b1/image_003.png"]
    undo.click()
    expect(page.get_by_text("1 file restored.")).to_be_visible()
    expect(undo).to_be_hidden()
    page.keyboard.press("Escape")
    expect(tiles(page)).to_have_count(3)

    page.get_by_role("radio", name="Batches").check()
    page.get_by_role("button", name="Delete").click()
    confirm(page)
    expect(page.locator("#empty")).to_be_visible()
    undo.click()
    expect(page.locator("#batches > li")).to_have_count(1)
    assert album.trashed() == []
    page.get_by_role("radio", name="Images").check()

    # Asked again at once it is a new question: the event that the first was closed comes when that is open already.
    opened(page)
    page.keyboard.press("Delete")
    page.evaluate("""() => {
        document.getElementById("confirm").close();
        document.getElementById("viewer").dispatchEvent(new KeyboardEvent("keydown", { key: "Delete" }));
    }""")
    confirm(page)
    expect(page.locator("#confirm")).to_be_hidden()
    expect(title).to_have_text("Image 2 · a fox in the snow")
    assert album.files() == ["batches", "batches/b1", "batches/b1/image_001.png", "batches/b1/image_002.png"]

    for left in (1, 0):
        whole(page).get_by_role("button", name="Delete").click()
        confirm(page)
        if left:
            expect(title).to_have_text("Image 1 · a fox in the snow")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("#empty")).to_be_visible()


def test_what_may_not_be_deleted_says_why_and_the_trash_is_looked_through_and_emptied(
    visit: Callable[..., Any], album: Album
) -> None:
    fill(album, "b1", count=2, prompt="a fox")
    fill(album, "b2", count=1, after=HOUR, prompt="an owl")
    album.store.add([Item(key="b2/002", status=Status.PENDING, batch="b2", index=2)])
    page = visit("?view=batches", away=True)
    expect(page.locator("#found")).to_have_text("2 batches")
    assert page.get_by_role("link", name="an owl").get_attribute("href") == "/?batch=b2"
    page.get_by_role("button", name="Delete an owl").click()
    question = page.locator("#confirm")
    confirm(page)
    expect(question.get_by_role("alert")).to_contain_text("cancel it first")
    question.get_by_role("button", name="Keep").click()

    page.get_by_role("radio", name="Images").check()
    (album.output / "batches/b2/image_001.png").write_bytes(png((1, 2, 3)))
    opened(page).get_by_role("button", name="Delete").click()
    confirm(page)
    expect(question.get_by_role("alert")).to_contain_text("was changed since it was saved")
    question.get_by_role("button", name="Keep").click()
    expect(page.locator("#viewer")).to_be_visible()
    expect(tiles(page)).to_have_count(3)
    page.keyboard.press("Escape")

    page.get_by_role("radio", name="Batches").check()
    page.get_by_role("button", name="Delete a fox").click()
    assert page.url.endswith("?view=batches")
    confirm(page)
    expect(page.locator("#found")).to_have_text("1 batch")
    page.get_by_role("radio", name="Images").check()
    expect(tiles(page)).to_have_count(1)
    assert album.files() == ["batches", "batches/b2", "batches/b2/image_001.png"]

    page.get_by_role("radio", name="Trash").check()
    trash = page.locator("#trash > li")
    expect(trash).to_have_count(2)
    expect(page.locator("#found")).to_have_text("2 images")
    expect(page.get_by_label("Search", exact=True)).to_be_hidden()
    wait_until(lambda: is_drawn(trash.first.get_by_role("img")))
    page.get_by_role("button", name="Restore batches/b1/image_002.png").click()
    expect(trash).to_have_count(1)
    (album.output / "batches/b1/image_001.png").write_bytes(b"somebody's")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#gallery-alert")).to_contain_text("another file has its name now")
    page.get_by_role("button", name="Empty the trash").click()
    confirm(page)
    expect(page.get_by_text("The trash is empty.")).to_be_visible()
    expect(page.get_by_role("button", name="Empty the trash")).to_be_disabled()
    assert album.trashed() == []
    page.get_by_role("radio", name="Images").check()
    expect(tiles(page)).to_have_count(2)


def test_what_no_state_knows_is_looked_at_and_not_deleted(open_page: Callable[..., Any], album: Album) -> None:
    fill(album, "old", count=1)
    record = album.log.read()["old"].record
    info = batch_info.batch_info(record, list(album.store.items()), ended_at=NOON, template_of=lambda recipe: None)
    (album.output / "batches/old" / batch_info.NAME).write_bytes(msgspec.json.encode(info))
    shutil.rmtree(album.store.checkpoint_directory)
    album.state.unlink()
    with gallery_over(Album(album.home)) as gallery, listening(gallery) as server:
        page = open_page("/gallery", server=server)
        dialog = opened(page)
        expect(dialog.locator("dd").filter(has_text="64 × 48")).to_be_visible()
        expect(dialog.get_by_role("button", name="Delete")).to_be_hidden()
        page.keyboard.press("Delete")
        expect(page.locator("#confirm")).to_be_hidden()
        page.keyboard.press("Escape")
        page.get_by_role("radio", name="Batches").check()
        expect(page.locator(".batch")).to_contain_text("read only")
        expect(page.get_by_role("button", name=re.compile("^Delete"))).to_have_count(0)


# Where it is read


def test_the_server_goes_and_comes_back(open_page: Callable[..., Any], album: Album, gallery: Gallery) -> None:
    fill(album, count=1)
    with listening(gallery) as server:
        page = open_page("/gallery", server=server, away=True)
        expect(tiles(page)).to_have_count(1)
    page.get_by_role("combobox", name="Search").fill("fox")
    alert = page.get_by_role("alert").filter(has_text="Cannot connect to server")
    expect(alert).to_be_visible()
    expect(tiles(page)).to_have_count(1)
    with listening(gallery, port=int(server.url.rpartition(":")[2])):
        alert.get_by_role("button", name="Retry").click()
        expect(alert).to_be_hidden()
        page.goto("about:blank")


def test_a_phone_needs_no_scrolling_sideways(visit: Callable[..., Any], album: Album) -> None:
    fill(album, count=5, prompt="x" * 300, model="a-very-long-name-of-a-model-" * 4)
    for name, size in (("wide", (1200, 100)), ("tall", (100, 1200))):
        album.add(name, [{}], directory=name)
        album.complete(f"{name}/001", f"{name}/image.png", data=png(size=size), at=NOON + HOUR)
    page = visit(phone=True)
    expect(page.get_by_label("Model")).to_be_hidden()
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_label("Model")).to_be_visible()
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    for number in (0, 1):
        picture = opened(page, number).locator("#viewer-picture img")
        assert_within(picture.bounding_box(), page.locator("#viewer-picture").bounding_box())
        page.keyboard.press("Escape")
    opened(page)
    assert page.locator(".viewer-body").evaluate("body => body.scrollWidth - body.clientWidth") == 0
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="Batches").check()
    expect(page.locator(".batch")).to_have_count(3)
    assert page.evaluate(wide) == 0
