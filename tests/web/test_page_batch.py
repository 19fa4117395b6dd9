"""A batch's page in a browser: reloads, servers that go and come back, batches that fail, are unknown, or come from
the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from playwright.sync_api import expect
from support.page_steps import finish_one
from support.projects import small_template
from support.serving import Served
from support.waiting import wait_until
from support.web_clock import Clockwork

from orchestrator import pause, resume
from orchestrator.sandbox import Sandbox
from state.change import change_all
from state.item import ItemOutput
from state.open_store import open_store

OpenPage = Callable[..., Any]
Serve = Callable[..., Served]
AWAY = "Cannot connect to server"


def alert_of(page: Any, text: str = AWAY) -> Any:
    return page.get_by_role("alert").filter(has=page.get_by_text(text, exact=True))


def ended(page: Any, text: str) -> None:
    expect(page.get_by_role("heading", name=f"Batch {text}")).to_be_visible()


def test_a_reload_goes_on_where_the_batch_is(page: Any, sandbox: Sandbox) -> None:
    sandbox.hold()
    page.get_by_label("Prompt", exact=True).fill("a lighthouse")
    page.get_by_role("button", name="Generate Batch").click()
    finish_one(sandbox)
    expect(page.locator("#shots img")).to_have_count(1)
    page.reload()
    expect(page.get_by_text("Image 2 of 5", exact=True)).to_be_visible()
    expect(page.locator("#shots img")).to_have_count(1)
    sandbox.release()
    ended(page, "complete: 5 successful, 0 failed")


def test_the_running_image_shows_its_step_and_a_preview(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=4.0, latent_previews=True)
    page = open_page(f"/?batch={served.begin(count=2)}")
    expect(page.locator(".shot.current .shot-state")).to_have_text(re.compile(r"^\S.* \d+/\d+ · \d+ %$"))
    preview = page.locator(".shot.current .shot-preview")
    expect(preview).to_be_visible()
    assert preview.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    sandbox.change(seconds_per_prompt=0.0, latent_previews=False)
    ended(page, "complete: 2 successful, 0 failed")
    expect(page.locator(".shot-preview")).to_be_hidden()


def test_an_image_that_is_made_from_another_says_what_it_waits_for(open_page: OpenPage, served: Served) -> None:
    served.made(count=2)
    pause(served.state)
    batch = served.begin(count=2)
    with open_store(served.state) as store:
        first, second = store.batch_keys(batch)
        made_from = {"image": ItemOutput(item=first, output=1)}
        change_all(store, store.get_many([second]), lambda now: msgspec.structs.replace(now, uploads=made_from))
    page = open_page(f"/?batch={batch}")
    expect(page.locator(".shot-state")).to_have_text(["Queued", f"Waits for {first}"])
    resume(served.state)


def test_a_batch_survives_a_kill_of_the_server_and_the_page_goes_on(
    open_page: OpenPage, serve: Serve, sandbox: Sandbox
) -> None:
    sandbox.hold()
    served = serve()
    batch = served.begin(count=4)
    page = open_page(f"/?batch={batch}", server=served, away=True)
    finish_one(sandbox)
    expect(page.locator("#shots img")).to_have_count(1)
    served.kill()
    # The composer may say it too, where it asked meanwhile.
    expect(alert_of(page).first).to_be_visible()
    expect(page.locator("#shots img")).to_have_count(1)
    served.start()
    expect(alert_of(page)).to_have_count(0)
    sandbox.release()
    ended(page, "complete: 4 successful, 0 failed")
    expect(page.locator("#grid img")).to_have_count(4)
    rendered = sandbox.counts()["rendered_by_item"]
    assert [rendered[item.key] for item in served.items(batch)] == [1, 1, 1, 1]


def test_how_often_progress_is_asked_for(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    page = open_page("about:blank", away=True)
    clockwork = Clockwork(page)
    clockwork.open(f"{served.url}/?batch={served.begin()}")

    # A hidden tab asks less often, and at once when it is seen again.
    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})")
    before = len(clockwork.asked())
    clockwork.advance(11_000)
    first, second, third = clockwork.asked()[before:]
    assert [second - first, third - second] == [5_000, 5_000]
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    assert len(clockwork.asked()) == before + 4
    clockwork.settle()

    # A slow answer is waited for before it asks again.
    held: list[Any] = []
    page.route("**/progress", lambda route: held.append(route))
    before = len(clockwork.asked())
    page.clock.run_for(5_000)
    assert len(clockwork.asked()) == before + 1
    wait_until(lambda: (clockwork.asked(), held)[1])
    held[0].continue_()
    clockwork.settle()
    page.clock.run_for(500)
    assert len(clockwork.asked()) == before + 2
    wait_until(lambda: (clockwork.asked(), len(held) == 2)[1])
    held[1].continue_()
    clockwork.settle()
    page.unroute("**/progress")

    # A server that is away is asked less and less often.
    page.route("**/progress", lambda route: route.abort())
    before = len(clockwork.asked())
    clockwork.advance(20_000)
    times = clockwork.asked()[before:]
    assert [later - earlier for earlier, later in pairwise(times)] == [1_000, 2_000, 4_000, 5_000, 5_000]
    expect(alert_of(page)).to_be_visible()

    # Time stands still: nothing but the button makes it ask.
    page.unroute("**/progress")
    before = len(clockwork.asked())
    alert_of(page).get_by_role("button", name="Retry").click()
    expect(alert_of(page)).to_be_hidden()
    assert len(clockwork.asked()) == before + 1


def test_all_failed_is_said_with_the_details(open_page: OpenPage, serve: Serve, sandbox: Sandbox) -> None:
    sandbox.change(failure_rate=1.0)
    served = serve()
    page = open_page("/", server=served)
    page.get_by_label("Number of images").fill("2")
    page.get_by_label("Prompt", exact=True).fill("a lighthouse")
    page.get_by_role("button", name="Generate Batch").click()
    alert = page.get_by_role("alert").filter(has_text="Batch generation failed")
    expect(alert.get_by_role("listitem")).to_have_count(2)
    for number in (1, 2):
        expect(alert).to_contain_text(re.compile(f"Image {number}: .*KSampler"))
    expect(page.locator("#comparison")).to_be_hidden()
    sandbox.change(failure_rate=0.0)
    page.get_by_role("button", name="Regenerate").click()
    ended(page, "complete: 2 successful, 0 failed")


@pytest.mark.parametrize("late", ["options", "progress"])
def test_a_server_that_does_not_answer_is_said_once(open_page: OpenPage, served: Served, late: str) -> None:
    page = open_page("about:blank", away=True)
    held: list[Any] = []

    def answer(route: Any) -> None:
        if late in route.request.url and not held:
            held.append(route)
        else:
            route.abort()

    page.route("**/api/**", answer)
    page.goto(f"{served.url}/?batch=any")
    expect(alert_of(page)).to_have_count(1)
    held[0].abort()
    expect(page.locator("#batch-alert")).to_be_visible()
    expect(alert_of(page)).to_have_count(1)


def test_an_unknown_batch_is_said_to_be_unknown(open_page: OpenPage, served: Served) -> None:
    page = open_page("about:blank", away=True)
    clockwork = Clockwork(page)
    clockwork.open(f"{served.url}/?batch=20000101_000000_none")
    expect(alert_of(page, "Batch not found")).to_be_visible()
    expect(page.get_by_text(AWAY)).to_be_hidden()
    expect(page.get_by_role("region", name="Progress")).to_be_hidden()
    clockwork.advance(10_000)
    assert len(clockwork.asked()) == 1


def test_back_leads_to_the_form_as_it_was_left(page: Any, sandbox: Sandbox) -> None:
    sandbox.hold()
    page.get_by_label("Prompt", exact=True).fill("a lighthouse to come back to")
    page.get_by_role("button", name="Generate Batch").click()
    expect(page.locator("#cancel")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a lighthouse to come back to")
    expect(page.locator("#cancel")).to_be_hidden()
    page.go_forward()
    expect(page.locator("#cancel")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^\(0/5\) a lighthouse to come back to"))


def test_comfyui_that_dies_in_the_middle_is_said_in_words_and_nothing_pulses(
    open_page: OpenPage, serve: Serve, tmp_path: Path
) -> None:
    """While the run still waits for it, and without an address that means nothing to whoever looks on."""
    with Sandbox(directory=tmp_path) as dying:
        dying.hold("render")
        served = serve(servers=[dying.url])
        page = open_page(f"/?batch={served.begin(count=3)}", server=served)
        finish_one(dying)
        expect(page.locator("#shots img")).to_have_count(1)
        dying.hold("render")
        expect(page.locator(".shot.current")).to_have_count(1)
    message = page.locator("#message")
    host = dying.url.removeprefix("http://")
    told = f"ComfyUI is not answering ({host}). Waiting for it; your 1 finished image is safe."
    expect(message).to_have_text(told)
    expect(message).to_have_class(re.compile("error"))
    expect(page.locator("#where")).to_have_text("1 of 3 images finished")
    expect(page.locator("#time-left")).to_have_text("")
    expect(page.locator(".shot.current")).to_have_count(0)
    expect(page.locator(".shot-state").first).to_have_text("Waiting")


def test_a_batch_behind_others_is_queued_and_not_rendering(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    sandbox.hold("render")
    for _ in range(2):
        requests.post(f"{sandbox.url}/prompt", json={"prompt": small_template()}, timeout=30).raise_for_status()
    page = open_page(f"/?batch={served.begin(count=2)}")
    expect(page.locator("#where")).to_have_text("Queued behind 2 images")
    expect(page.locator(".shot-state")).to_have_text(["Queued", "Queued"])
    expect(page.locator(".shot.current")).to_have_count(0)
    sandbox.release()
    ended(page, "complete: 2 successful, 0 failed")


def test_tiles_say_what_differs_and_images_are_counted(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    """A sweep whose images have one seed, of two prompts, with four images of each."""
    (served.home / "prompts.txt").write_text("a fox\na cat\n")
    batch = served.burst(
        "generate",
        *("--prompts-file", str(served.home / "prompts.txt"), "--sweep", "cfg=5,7.5"),
        *("--seed", "7", "--seed-mode", "fixed", "--batch-size", "4"),
    )["batch"]
    page = open_page(f"/?batch={batch}")
    ended(page, "complete: 16 successful, 0 failed")
    expect(page.locator("#batch-title")).to_have_text("a fox · a cat")
    expect(page.get_by_role("button", name="Regenerate")).to_be_hidden()  # only the command line can
    words = page.locator("#grid .differs")
    expect(words).to_have_text(
        [f"{prompt} · cfg {cfg}" for prompt in ("a fox", "a cat") for cfg in ("5", "7.5") for _ in range(4)]
    )
    expect(page.locator("#grid")).not_to_contain_text("seed 7")
    expect(page.locator("#batch-parameters")).to_contain_text("batch size 4 · default: model tiny-random.safetensors")


def test_why_nothing_goes_on_is_said_and_that_a_state_cannot_be_read_until_it_can(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    sandbox.hold()
    answer = served.progress(served.begin())
    page = open_page("about:blank", away=True)
    page.route("**/progress", lambda route: route.fulfill(json=answer))
    answer["message"] = "ComfyUI has been away since noon"
    page.goto(f"/?batch={answer['progress']['batchId']}")
    expect(page.get_by_text("ComfyUI has been away since noon")).to_be_visible()
    answer["message"] = None
    expect(page.get_by_text("ComfyUI has been away since noon")).to_be_hidden()
    page.unroute("**/progress")
    page.route("**/progress", lambda route: route.fulfill(status=500, json={"error": {"message": "byte 7 is torn"}}))
    expect(alert_of(page, "byte 7 is torn")).to_be_visible()
    page.unroute("**/progress")
    alert_of(page, "byte 7 is torn").get_by_role("button", name="Retry").click()
    expect(page.get_by_text("byte 7 is torn")).to_be_hidden()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()


def test_a_cancel_that_failed_stays_said_until_it_works(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    page = open_page("about:blank", away=True)
    clockwork = Clockwork(page)
    clockwork.open(f"{served.url}/?batch={served.begin()}")
    page.route("**/cancel", lambda route: route.abort())
    page.get_by_role("button", name="Cancel").click()
    expect(alert_of(page)).to_be_visible()
    clockwork.advance(2_000)
    expect(alert_of(page)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_enabled()
    page.unroute("**/cancel")
    alert_of(page).get_by_role("button", name="Retry").click()
    expect(page.get_by_role("button", name="Cancelling…")).to_be_disabled()
    expect(alert_of(page)).to_be_hidden()
    page.clock.resume()
    ended(page, "cancelled: 0 successful, 0 failed, 2 not made")


def test_a_cancelled_batch_is_tried_again_where_it_stopped(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    sandbox.hold("render")
    batch = served.begin("a comet", count=3)
    finish_one(sandbox)
    served.answer("POST", f"/api/batches/{batch}/cancel")
    sandbox.release()
    served.wait_for_end(batch)
    page = open_page(f"/?batch={batch}")
    ended(page, "cancelled: 1 successful, 0 failed, 2 not made")
    [before, *_] = served.items(batch)
    page.get_by_role("button", name="Try again").click()
    ended(page, "complete: 3 successful, 0 failed")
    expect(page.locator("#grid img")).to_have_count(3)
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    assert served.items(batch)[0] == before, "what was there is not made again"


def test_a_batch_of_the_command_line_is_followed_too(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    said = ("--prompt", "a lighthouse by hand", "--count", "3", "--queue-only")
    batch = served.burst("generate", *said)["batch"]
    page = open_page(f"/?batch={batch}")
    expect(page.get_by_role("heading", name="a lighthouse by hand")).to_be_visible()
    sandbox.release()
    ended(page, "complete: 3 successful, 0 failed")
