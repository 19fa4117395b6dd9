"""The criteria FUN-BATCH-GEN-001 to 030, most of them in a browser; those of one scene are one test."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import expect
from support.page_steps import finish_one
from support.serving import Served
from support.waiting import wait_until
from support.web_clock import Clockwork

from orchestrator.cycle.pacing import seconds_per_item
from orchestrator.outputs.pictures import decodes, embedded_graph
from orchestrator.sandbox import Sandbox
from state.open_store import parts_of

OpenPage = Callable[..., Any]
SEED_FOR_STEPS = ("--bind", "seed=3.seed,3.steps")
"""ComfyUI takes from 1 to 10,000 steps, so it refuses an image whose seed is 0, and renders those after it."""


@pytest.fixture(scope="module")
def _picky(_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("picky"), servers=[_sandbox.url], options=SEED_FOR_STEPS) as running:
        yield running


@pytest.fixture
def picky(_picky: Served, sandbox: Sandbox) -> Iterator[Served]:
    """A server whose template makes the seed the number of steps too: the image with seed 0 fails."""
    yield _picky
    sandbox.release()
    _picky.cancel_all()


@pytest.fixture(scope="module")
def made(_served: Served) -> str:
    """A batch of three that is complete; the same one for all tests that only look at it."""
    return _served.made("a lighthouse that was made", count=3)


def batch_at(page: Any) -> str:
    """The batch that a page shows."""
    expect(page).to_have_url(re.compile(r"\?batch=."))
    return str(page.url).partition("?batch=")[2]


def generate(page: Any, prompt: str = "a lighthouse", *, count: int = 3) -> str:
    """Fill in the form and send it; the batch's id."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Number of images").fill(str(count))
    page.get_by_role("button", name="Generate Batch").click()
    return batch_at(page)


def calls_of(page: Any, method: str) -> list[str]:
    """The calls that a page makes from now on, as they come."""
    found: list[str] = []
    page.on("request", lambda asked: found.append(asked.url) if asked.method == method else None)
    return found


def check_refused(page: Any, message: str) -> None:
    """The form says so beside the field, and nothing was sent."""
    posts = calls_of(page, "POST")
    page.get_by_role("button", name="Generate Batch").click()
    expect(page.get_by_role("alert").filter(has_text=message)).to_have_text(message)
    expect(page.get_by_role("heading", name="Batch Generate")).to_be_visible()
    assert posts == []


def folder_of(served: Served, batch_id: str) -> Path:
    return served.output / "batches" / batch_id


# The form


LEAST = "Minimum 2 images required for batch"
MOST = "Maximum 20 images allowed per batch"


def test_001_to_005_the_form_is_shown_and_what_is_wrong_in_it_is_not_sent(page: Any) -> None:
    # 001: it is shown for Batch Generate.
    page.get_by_role("radio", name="Recent batches").check()
    expect(page.get_by_role("form", name="Batch Generate")).to_be_hidden()
    page.get_by_role("radio", name="Batch Generate").check()
    expect(page.get_by_role("form", name="Batch Generate")).to_be_visible()
    # 003: seeds are random unless told otherwise.
    box = page.get_by_role("checkbox", name="Randomize seeds")
    expect(box).to_be_checked()
    expect(page.get_by_label("Base seed")).to_be_disabled()
    box.uncheck()
    expect(page.get_by_label("Base seed")).to_be_enabled()
    box.check()
    # 002: the count is a number from 2 to 20.
    count = page.get_by_role("spinbutton", name="Number of images")
    expect(count).to_have_value("5")
    assert (count.get_attribute("min"), count.get_attribute("max")) == ("2", "20")
    count.fill("20")
    count.press("ArrowUp")
    expect(count).to_have_value("20")
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("a lighthouse")
    count.fill("2.5")
    check_refused(page, "Batch count is a whole number from 2 to 20")
    # 004: it is checked before anything is sent.
    for wrong in ("1", "21", ""):
        count.fill(wrong)
        check_refused(page, MOST if wrong == "21" else LEAST)
    # 005: an empty prompt is refused.
    count.fill("5")
    for empty in ("", " \n "):
        prompt.fill("")
        prompt.fill(empty)
        check_refused(page, "Prompt cannot be empty")


# Seeds and requests


def test_006_010_019_each_image_has_a_random_seed_goes_the_way_of_every_item_and_is_shown_at_the_end(
    page: Any, served: Served, sandbox: Sandbox
) -> None:
    batch = generate(page, "a lighthouse in fog", count=5)
    seeds = [item.inputs["seed"] for item in served.items(batch)]
    assert len(set(seeds)) == 5
    assert {later - earlier for earlier, later in pairwise(seeds)} != {1}
    # 019: the comparison comes by itself.
    expect(page.locator("#grid img")).to_have_count(5)
    expect(page.get_by_role("region", name="Progress")).to_be_hidden()
    served.wait_for_end(batch)
    counts = sandbox.counts()["rendered_by_item"]
    for item in served.items(batch):
        assert counts[item.key] == 1
        [path] = [served.output / output.path for output in item.outputs if output.path.endswith(".png")]
        graph = embedded_graph(path)
        assert graph is not None
        assert (graph["6"]["inputs"]["text"], graph["3"]["inputs"]["seed"]) == (
            "a lighthouse in fog",
            item.inputs["seed"],
        )


def test_007_seeds_count_up_from_the_base(page: Any, served: Served) -> None:
    base = 2**64 - 3
    page.get_by_label("Randomize seeds").uncheck()
    page.get_by_label("Base seed").fill(str(base))
    batch = generate(page, count=3)
    assert [item.inputs["seed"] for item in served.items(batch)] == [base, base + 1, base + 2]
    # Sixty-four bits are more than JavaScript's numbers hold.
    for seed in (base, base + 1, base + 2):
        expect(page.get_by_text(f"seed {seed}")).to_be_visible()


def test_008_as_many_requests_are_queued_one_after_another(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    with page.expect_response("**/api/create") as answered:
        batch = generate(page, count=4)
    assert answered.value.json()["queuedImages"] == 4
    order = [item.key for item in served.items(batch)]
    wait_until(lambda: len(queue_of(sandbox, batch)) == 4, what="all in ComfyUI's queue")
    assert queue_of(sandbox, batch) == order


def queue_of(sandbox: Sandbox, batch: str) -> list[str]:
    """The items of a batch as ComfyUI has them waiting."""
    waiting = requests.get(f"{sandbox.url}/queue", timeout=30).json()["queue_pending"]
    keys = [entry[3]["burst"]["item"] for entry in sorted(waiting, key=lambda entry: entry[0])]
    return [key for key in keys if key.startswith(batch)]


# Progress


def test_009_011_013_015_progress_thumbnails_and_cancel_go_with_each_image(page: Any, sandbox: Sandbox) -> None:
    sandbox.hold()
    generate(page, count=3)
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).to_be_enabled()
    bar = page.get_by_role("progressbar", name="Images finished")
    thumbnails = page.locator("#shots img")
    for done in (1, 2):
        finish_one(sandbox)
        expect(page.get_by_text(f"Image {done + 1} of 3", exact=True)).to_be_visible()
        expect(bar).to_have_js_property("value", done)
        expect(thumbnails).to_have_count(done)
        expect(thumbnails.last).to_have_js_property("naturalWidth", 64)
        expect(cancel).to_be_visible()
    sandbox.release()
    expect(page.get_by_text("Batch complete")).to_be_visible()
    expect(cancel).to_be_hidden()


def test_012_thumbnails_stand_in_one_row_as_they_complete(page: Any, sandbox: Sandbox) -> None:
    sandbox.hold()
    generate(page, count=12)
    for _ in range(3):
        finish_one(sandbox)
    expect(page.locator("#shots img")).to_have_count(3)
    boxes = [place.bounding_box() for place in page.locator("#shots li").all()]
    assert len({box["y"] for box in boxes}) == 1
    assert [box["x"] for box in boxes] == sorted({box["x"] for box in boxes})
    assert [image.get_attribute("alt") for image in page.locator("#shots img").all()] == [
        "Image 1",
        "Image 2",
        "Image 3",
    ]
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_014_progress_is_asked_for_every_500_ms(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    batch = served.begin(count=2)
    page = open_page("about:blank")
    clockwork = Clockwork(page)
    clockwork.open(f"{served.url}/?batch={batch}")
    clockwork.advance(2_600)
    *_, first, second, third, fourth = clockwork.asked()
    assert [second - first, third - second, fourth - third] == [500, 500, 500]


def test_016_cancel_stops_the_batch_and_keeps_what_is_there(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    batch = generate(page, count=5)
    finish_one(sandbox)
    expect(page.locator("#shots img")).to_have_count(1)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="Batch cancelled: 1 successful, 0 failed, 4 not made")).to_be_visible()
    sandbox.release()
    expect(page.locator("#grid img")).to_have_count(1)
    assert [str(item.status) for item in served.items(batch)] == ["completed", *["cancelled"] * 4]
    assert decodes(folder_of(served, batch) / "image_001.png")
    rendered = sandbox.counts()["rendered_by_item"]
    assert sum(key.startswith(batch) for key in rendered) == 1


def test_017_a_failed_image_is_marked_and_the_others_go_on(
    open_page: OpenPage, picky: Served, sandbox: Sandbox
) -> None:
    sandbox.hold()
    batch = picky.begin(count=3, seedMode="incremental", baseSeed=0)
    page = open_page(f"/?batch={batch}", server=picky)
    first = page.locator("#shots li").first
    expect(first).to_contain_text("failed")
    expect(first).to_contain_text("Value 0 smaller than min of 1")
    expect(page.get_by_text("Image 2 of 3, 1 failed", exact=True)).to_be_visible()
    sandbox.release()
    expect(page.get_by_role("heading", name="Batch complete: 2 successful, 1 failed")).to_be_visible()


# The end


def test_018_029_a_batch_that_fails_in_part_is_counted_and_shown_with_what_is_there(
    open_page: OpenPage, picky: Served
) -> None:
    page = open_page("/", server=picky)
    page.get_by_label("Randomize seeds").uncheck()
    page.get_by_label("Base seed").fill("0")
    batch = generate(page, count=3)
    expect(page.get_by_role("heading", name="Batch complete: 2 successful, 1 failed")).to_be_visible()
    assert parts_of(picky.state).batches.read()[batch].record.on_error == "continue"
    expect(page.locator("#grid img")).to_have_count(2)
    page.get_by_text("1 image failed").click()
    expect(page.get_by_text("Image 1: the server rejected the prompt")).to_be_visible()
    expect(page.get_by_text("Batch generation failed")).to_be_hidden()
    archive = zipfile.ZipFile(io.BytesIO(picky.call("GET", f"/api/batches/{batch}/zip").content))
    pictures = [name for name in archive.namelist() if name.endswith(".png")]
    assert [Path(name).name for name in pictures] == ["image_002.png", "image_003.png"]


def test_020_the_grid_has_2_to_4_columns_by_count(page: Any, served: Served, made: str) -> None:
    batches = {count: served.begin(count=count) for count in (2, 4, 6, 7)} | {3: made}
    columns = {}
    for count, batch in batches.items():
        page.goto(f"{served.url}/?batch={batch}")
        expect(page.locator("#grid img")).to_have_count(count)
        boxes = [tile.bounding_box() for tile in page.locator("#grid > li").all()]
        columns[count] = len({box["x"] for box in boxes})
        assert len({box["width"] for box in boxes}) == 1
    assert columns == {2: 2, 3: 3, 4: 2, 6: 3, 7: 4}


def test_021_022_023_images_are_chosen_stand_side_by_side_and_are_downloaded_as_a_zip(
    open_page: OpenPage, served: Served, made: str
) -> None:
    page = open_page(f"/?batch={made}")
    # 022: they are chosen by check boxes.
    expect(page.locator("#comparison").get_by_role("checkbox")).to_have_count(3)
    page.get_by_label("Image 2").check()
    expect(page.get_by_text("1 image selected")).to_be_visible()
    compare = page.get_by_role("button", name="Compare side by side")
    expect(compare).to_be_disabled()
    page.get_by_role("button", name="Select all").click()
    expect(page.get_by_text("3 images selected")).to_be_visible()
    page.get_by_label("Image 2").uncheck()
    download = page.get_by_role("link", name="Download ZIP (2)")
    expect(download).to_have_attribute("href", f"/api/batches/{made}/zip?image=1&image=3")
    # 023: those alone are downloaded.
    with page.expect_download() as downloading:
        download.click()
    with zipfile.ZipFile(io.BytesIO(Path(downloading.value.path()).read_bytes())) as archive:
        assert archive.testzip() is None
        found = {Path(name).name: archive.read(name) for name in archive.namelist()}
    assert {name for name in found if name.endswith(".png")} == {"image_001.png", "image_003.png"}
    assert found["image_003.png"] == (folder_of(served, made) / "image_003.png").read_bytes()
    assert json.loads(found["batch_info.json"])["batch"] == made
    # 021: two stand side by side.
    compare.click()
    dialog = page.get_by_role("dialog", name="Image 1 and image 3")
    left, right = (dialog.get_by_role("img", name=name) for name in ("Image 1", "Image 3"))
    for picture in (left, right):
        expect(picture).to_have_js_property("naturalWidth", 64)
    at, beside = left.bounding_box(), right.bounding_box()
    assert at["y"] == beside["y"]
    assert at["x"] + at["width"] <= beside["x"]


def test_024_a_batch_is_made_again_with_other_seeds(open_page: OpenPage, served: Served, made: str) -> None:
    page = open_page(f"/?batch={made}")
    page.get_by_role("button", name="Regenerate").click()
    page.wait_for_url(lambda url: "batch=" in url and not url.endswith(made))
    again = batch_at(page)
    before, after = served.items(made), served.items(again)
    assert [item.prompt_text for item in after] == [item.prompt_text for item in before]
    assert not {item.inputs["seed"] for item in before} & {item.inputs["seed"] for item in after}
    expect(page.get_by_role("heading", name="Batch complete: 3 successful")).to_be_visible()


def test_025_the_estimate_is_the_count_times_the_usual_time(served: Served, made: str, sandbox: Sandbox) -> None:
    wait_until(lambda: not parts_of(served.state).is_leased(), what="the end of the burst")
    pace = seconds_per_item(parts_of(served.state).bursts.read())
    assert pace is not None
    sandbox.hold()
    body = {"batchRequest": {"prompt": "a lighthouse", "batchCount": 7}}
    answer = served.answer("POST", "/api/batches", json=body)
    assert answer["estimatedTime"] == pytest.approx(7 * pace, abs=0.1)


def test_026_the_time_left_is_shown_while_images_are_made(
    open_page: OpenPage, serve: Callable[..., Served], sandbox: Sandbox
) -> None:
    fresh = serve()
    sandbox.change(seconds_per_prompt=0.2)
    sandbox.hold()
    page = open_page("/", server=fresh)
    batch = generate(page, count=20)
    expect(page.get_by_text("Time left: not known yet")).to_be_visible()
    finish_one(sandbox)
    fresh.wait_for_completed(batch, 1)
    left = fresh.progress(batch)["estimatedSecondsRemaining"]
    assert left == pytest.approx(19 * fresh.items(batch)[0].seconds)
    expect(page.get_by_text(re.compile(r"^About \d+ (s|min) left$"))).to_be_visible()


# What is kept


def test_027_a_batch_has_a_folder_of_its_own(served: Served, made: str) -> None:
    names = sorted(path.name for path in folder_of(served, made).iterdir())
    assert names == [
        "batch_info.json",
        *(f"image_00{number}.png" for number in (1, 2, 3)),
        *(f"prompt_00{number}.txt" for number in (1, 2, 3)),
    ]
    assert all(decodes(path) for path in folder_of(served, made).glob("*.png"))


def test_028_its_metadata_has_the_prompt_and_the_seeds(served: Served, made: str) -> None:
    path = folder_of(served, made) / "batch_info.json"
    # It is brought up to date a little after the last image.
    wait_until(lambda: json.loads(path.read_text())["ended_at"], what="the end in batch_info.json")
    info = json.loads(path.read_text())
    assert info["prompts"] == ["a lighthouse that was made"]
    assert info["seeds"] == [item.inputs["seed"] for item in served.items(made)]
    assert info["totals"]["completed"] == 3


def test_030_the_gallery_finds_a_batch_by_its_metadata(served: Served, made: str) -> None:
    found = served.answer("GET", "/api/gallery", params={"text": "lighthouse that was made"})["images"]
    ours = {image["image"]: image for image in found if image["batchId"] == made}
    assert sorted(ours) == ["1", "2", "3"]
    for item in served.items(made):
        image = ours[str(item.index)]
        assert (image["prompt"], int(image["seed"])) == ("a lighthouse that was made", item.inputs["seed"])
        picture = served.call("GET", image["url"])
        [output] = [output for output in item.outputs if output.path.endswith(".png")]
        assert hashlib.sha256(picture.content).hexdigest() == output.sha256
