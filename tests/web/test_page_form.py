"""The form in a browser: what it checks, what it sends, and what it says when that is refused."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image
from playwright.sync_api import expect
from support.background import Threads
from support.serving import Served

import templates
from orchestrator.sandbox import Sandbox
from state.open_store import parts_of

OpenPage = Callable[..., Any]
AWAY = "Cannot connect to server"


def send(page: Any) -> None:
    page.get_by_role("button", name="Generate Batch").click()


def write(page: Any, prompt: str = "a lighthouse") -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)


def unfold(page: Any, *groups: str) -> None:
    """Open folded groups of the form."""
    for group in groups:
        page.locator("summary").filter(has_text=re.compile(f"^{group}")).click()


def line(page: Any, group: str) -> Any:
    """What a folded group comes to."""
    return page.locator(f"#{group}-line")


def begun(page: Any) -> str:
    """The batch that the page went to."""
    expect(page).to_have_url(re.compile(r"\?batch=."))
    return str(page.url).partition("?batch=")[2]


def parameters(served: Served, batch: str, *, state: int = 0) -> dict[str, Any]:
    """As the batch's record has them, but for the seed."""
    found = parts_of(served.states[state]).batches.read()[batch].record.parameters
    return {name: value for name, value in found.items() if name != "seed"}


def batches_of(served: Served) -> list[str]:
    """The ids of all batches of its first state."""
    return list(parts_of(served.state).batches.read())


def test_a_prompt_of_any_length_is_taken_whole_and_counted_as_people_count(
    page: Any, served: Served, sandbox: Sandbox
) -> None:
    sandbox.hold()
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.focus()
    page.keyboard.insert_text("héllo 👩‍👩‍👧‍👦🦊")
    expect(page.locator("#prompt-count")).to_have_text("8 characters")
    page.keyboard.insert_text("x" * 600)
    expect(page.locator("#prompt-count")).to_have_text("608 characters")
    send(page)
    (item, *_) = served.items(begun(page))
    assert item.prompt_text == "héllo 👩‍👩‍👧‍👦🦊" + "x" * 600


def test_an_image_is_dropped_where_the_template_takes_one(
    open_page: OpenPage, serve: Callable[..., Served], sandbox: Sandbox
) -> None:
    sandbox.hold()
    served = serve(template=json.loads((Path(templates.__file__).parent / "img2img.json").read_text()))
    page = open_page("/", server=served)
    field = page.get_by_label("Image", exact=True)
    expect(field).to_be_visible()
    write(page)
    send(page)
    expect(page.get_by_text("Choose an image", exact=True)).to_be_visible()
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG")
    page.locator(".drop").evaluate(
        """(place, bytes) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
          place.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        list(stream.getvalue()),
    )
    expect(page.locator("#images-shown img")).to_have_js_property("naturalWidth", 8)
    expect(page.get_by_text("Choose an image", exact=True)).to_be_hidden()
    send(page)
    name = f"{hashlib.sha256(stream.getvalue()).hexdigest()}.png"
    for item in served.items(begun(page)):
        assert item.uploads == {"image": f"state-0.burst/uploads/{name}"}
    page.go_back()
    unfold(page, "Template")
    page.get_by_role("radio", name="txt2img-sdxl").check()
    expect(field).to_be_hidden()
    assert "smoke-image" not in page.locator("#template-cards").inner_text()


def check_refused(page: Any, label: str, value: str, message: str) -> None:
    """This value is refused beside its field; without it nothing is."""
    field, told = page.get_by_label(label, exact=True), page.get_by_text(message)
    field.fill(value)
    send(page)
    expect(told).to_be_visible()
    field.fill("")
    expect(told).not_to_be_visible()


def test_wrong_fields_are_told_until_they_are_mended_and_the_first_has_the_focus(page: Any) -> None:
    count = page.get_by_label("Number of images")
    count.fill("1")
    send(page)
    prompt = page.get_by_label("Prompt", exact=True)
    expect(prompt).to_be_focused()
    expect(prompt).to_have_attribute("aria-invalid", "true")
    expect(prompt).to_have_accessible_description(re.compile("Prompt cannot be empty"))
    expect(page.get_by_text("Minimum 2 images required for batch")).to_be_visible()
    write(page, "a")
    expect(page.get_by_text("Prompt cannot be empty")).to_be_hidden()
    expect(prompt).not_to_have_attribute("aria-invalid", "true")
    count.fill("2")

    unfold(page, "Size", "Sampling")
    expect(page.get_by_label("Steps", exact=True)).not_to_have_attribute("placeholder", "")
    check_refused(page, "Steps", "0", "Steps is a whole number from 1 to 10000")
    check_refused(page, "Steps", "2.5", "Steps is a whole number from 1 to 10000")
    check_refused(page, "CFG", "-1", "CFG is a number from 0 to 1000")
    check_refused(page, "Width", "8", "Width is a whole number from 16 to 16384")

    page.get_by_label("Randomize seeds").uncheck()
    for seed in ("-1", "1.5", "seven", str(2**64)):
        check_refused(page, "Base seed", seed, f"Base seed is a whole number from 0 to {2**64 - 1}")


def test_all_that_is_said_arrives(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    write(page)
    unfold(page, "Model", "Size", "Sampling", "Negative prompt")
    said = {"Steps": "7", "CFG": "4.5", "Width": "128", "Height": "96", "Negative prompt": "fog"}
    for label, value in said.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_label("Model", exact=True).fill("sd_xl_base_1.0.safetensors")
    chosen = {"Sampler": "dpmpp_2m", "Scheduler": "karras"}
    for label, value in chosen.items():
        page.get_by_label(label, exact=True).select_option(value)
    send(page)
    assert parameters(served, begun(page)) == {
        "steps": 7,
        "cfg": 4.5,
        "width": 128,
        "height": 96,
        "negative": "fog",
        "model": "sd_xl_base_1.0.safetensors",
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
    }


def test_what_is_left_empty_is_the_templates(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    for label, value in (("Steps", "2"), ("CFG", "7"), ("Width", "64"), ("Height", "64")):
        expect(page.get_by_label(label, exact=True)).to_have_attribute("placeholder", value)
    expect(page.get_by_label("Model", exact=True)).to_have_value("")
    expect(page.get_by_label("Model", exact=True)).to_have_attribute("placeholder", "Default (tiny-random.safetensors)")
    write(page)
    send(page)
    assert parameters(served, begun(page)) == {}


def test_a_profile_decides_what_is_left_empty(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    write(page)
    unfold(page, "Template", "Sampling")
    page.get_by_label("Profile").select_option("quality")
    expect(page.get_by_label("Steps")).to_have_attribute("placeholder", "30")
    expect(line(page, "sampling")).to_have_text("30 steps · CFG 8.5 · dpmpp_2m · karras · from profile")
    page.get_by_label("CFG").fill("3")
    send(page)
    found = parameters(served, begun(page))
    assert (found["steps"], found["cfg"], found["sampler"]) == (30, 3, "dpmpp_2m")


def test_another_template_has_other_fields(page: Any) -> None:
    unfold(page, "Template", "Model", "Sampling", "Negative prompt")
    page.get_by_role("radio", name="smoke").check()
    for label in ("Steps", "CFG"):
        expect(page.get_by_label(label, exact=True)).to_be_hidden()
    page.get_by_role("radio", name="txt2img-sdxl").check()
    for label in ("Steps", "CFG", "Model", "Negative prompt", "Sampler"):
        expect(page.get_by_label(label, exact=True)).to_be_visible()


def test_with_several_states_one_is_chosen(open_page: OpenPage, serve: Callable[..., Served], sandbox: Sandbox) -> None:
    sandbox.hold()
    served = serve(states=2)
    page = open_page("/", server=served)
    write(page)
    unfold(page, "Template")
    page.get_by_label("State", exact=True).select_option(str(served.states[1]))
    send(page)
    assert len(served.items(begun(page), state=1)) == 5
    assert not served.states[0].exists()


def test_another_state_has_its_own_template_unless_one_was_chosen(
    open_page: OpenPage, serve: Callable[..., Served], sandbox: Sandbox
) -> None:
    """What is the default of one state, or only shown as the first, is no choice for the other."""
    sandbox.hold()
    own = [None, "txt2img-sd15"]
    page = open_page("about:blank", server=serve(states=2), away=True)

    def answer(route: Any) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        default, chosen = own[int(query["state"][0])], query.get("template", [None])[0]
        said = route.fetch().json() | {"default": default, "template": chosen or default or "smoke"}
        said["templateChoices"] = [
            {"name": name, "kind": "text", "purpose": "A template"}
            for name in ("txt2img-sd15", "smoke", "txt2img-sdxl")
        ]
        route.fulfill(json=said)

    sent: list[Any] = []
    page.route("**/api/options?*", answer)
    page.route("**/api/forecast", lambda route: route.abort())
    page.route("**/api/create", lambda route: (sent.append(route.request.post_data_json), route.abort()))
    page.goto("/")
    unfold(page, "Template")
    state = page.get_by_label("State", exact=True)
    expect(page.get_by_role("radio", name="smoke")).to_be_checked()
    state.select_option("1")
    expect(page.get_by_role("radio", name="Default (txt2img-sd15)")).to_be_checked()
    write(page)
    send(page)
    expect(page.get_by_text(AWAY).first).to_be_visible()
    assert sent.pop()["batchRequest"]["baseParameters"] == {}
    page.get_by_role("radio", name="txt2img-sdxl").check()
    state.select_option("0")
    expect(page.get_by_role("radio", name="Default")).to_have_count(0)
    expect(page.get_by_role("radio", name="txt2img-sdxl")).to_be_checked()


def test_a_prompt_is_text_whatever_it_looks_like(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    prompt = """<img src=x onerror=alert(1)><script>alert(2)</script> {{7*7}} "seed":"12" & 'so' \\" on"""
    write(page, prompt)
    send(page)
    batch = begun(page)
    page.reload()
    expect(page.locator("#batch-title")).to_have_text(prompt)
    assert {item.prompt_text for item in served.items(batch)} == {prompt}
    expect(page.locator("#batch-title *")).to_have_count(0)


def lose_the_answer(route: Any) -> None:
    """It was done, and the page does not hear of it."""
    route.fetch()
    route.abort()


def test_an_answer_that_was_lost_starts_nothing_twice(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    page = open_page("/", away=True)
    before = list(batches_of(served))
    write(page, "a lighthouse whose answer was lost")
    page.route("**/api/create", lose_the_answer, times=1)
    send(page)
    alert = page.get_by_role("alert").filter(has=page.get_by_text(AWAY, exact=True))
    expect(alert).to_be_visible()
    (made,) = set(batches_of(served)) - set(before)
    alert.get_by_role("button", name="Retry").click()
    assert begun(page) == made
    assert len(batches_of(served)) == len(before) + 1


def test_two_quick_presses_queue_one_batch_and_each_that_was_answered_another(
    page: Any, served: Served, sandbox: Sandbox
) -> None:
    """The same request, on purpose."""
    sandbox.hold()
    before = len(batches_of(served))
    made = []
    for press in ("dblclick", "click"):
        write(page, "a lighthouse, twice")
        getattr(page.get_by_role("button", name="Generate Batch"), press)()
        made.append(begun(page))
        assert len(batches_of(served)) == before + len(made)
        page.go_back()
        expect(page.get_by_role("button", name="Generate Batch")).to_be_visible()
    assert len(set(made)) == 2


def test_a_lost_answer_to_regenerate_starts_nothing_twice(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    batch = served.made("a lighthouse made again")
    page = open_page(f"/?batch={batch}", away=True)
    before = set(batches_of(served))
    sandbox.hold()
    page.route("**/regenerate", lose_the_answer, times=1)
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator("#batch-alert")).to_contain_text(AWAY)
    (made,) = set(batches_of(served)) - before
    page.locator("#batch-alert").get_by_role("button", name="Retry").click()
    expect(page).to_have_url(re.compile(made))
    assert set(batches_of(served)) == before | {made}


def test_a_refusal_of_the_api_is_shown(open_page: OpenPage, sandbox: Sandbox) -> None:
    page = open_page("/", away=True)
    write(page)
    unfold(page, "Model")
    page.get_by_label("Model", exact=True).fill("sd_xl_base_1.0.safetensors")
    sandbox.change(checkpoints=("tiny-random.safetensors",))
    send(page)
    expect(page.locator("#model-wrong")).to_contain_text("sd_xl_base_1.0.safetensors")
    expect(page.get_by_role("button", name="Generate Batch")).to_be_enabled()


def test_comfyui_away_is_said_and_retry_sends_again(open_page: OpenPage, served: Served, sandbox: Sandbox) -> None:
    page = open_page("/", away=True)
    write(page, "a lighthouse that was sent twice")
    expect(page.get_by_label("Steps")).to_have_attribute("placeholder", "2")
    asked = asked_of(sandbox)
    sandbox.change(unavailable_rate=1.0)
    send(page)
    alert = page.get_by_role("alert").filter(has=page.get_by_text(AWAY, exact=True))
    expect(alert).to_be_visible()
    # A burst would go on trying for twenty seconds; nobody looks at a page for so long.
    assert asked_of(sandbox) - asked <= 6
    sandbox.change(unavailable_rate=0.0)
    sandbox.hold()
    alert.get_by_role("button", name="Retry").click()
    assert {item.prompt_text for item in served.items(begun(page))} == {"a lighthouse that was sent twice"}


def asked_of(sandbox: Sandbox) -> int:
    return sum(sandbox.counts()["requests"].values())


def test_the_form_says_that_comfyui_is_away_and_mends_itself(
    open_page: OpenPage, serve: Callable[..., Served], sandbox: Sandbox
) -> None:
    sandbox.change(unavailable_rate=1.0)
    page = open_page("about:blank", server=serve(), away=True)
    page.clock.install()
    page.goto("/")
    expect(page.locator("#server-away")).to_contain_text(AWAY)
    expect(page.get_by_label("Steps")).to_have_attribute("placeholder", "2")
    sandbox.change(unavailable_rate=0.0)
    page.clock.run_for(5_000)
    expect(page.locator("#models option")).not_to_have_count(0)
    expect(page.locator("#server-away")).to_be_hidden()


def test_recent_batches_lead_to_their_pages(page: Any, served: Served) -> None:
    batch = served.made("a lighthouse among the recent ones")
    page.get_by_role("radio", name="Recent batches").check()
    entry = page.locator(".feed-batch").filter(has_text="a lighthouse among the recent ones")
    expect(entry).to_contain_text("Done")
    expect(entry).to_contain_text("2 images")
    entry.get_by_role("link", name="a lighthouse among the recent ones", exact=True).click()
    assert begun(page) == batch
    expect(page.locator("#grid img")).to_have_count(2)


def test_pages_that_wait_for_comfyui_share_one_answer(serve: Callable[..., Served], sandbox: Sandbox) -> None:
    sandbox.change(unavailable_rate=1.0)
    served, asked = serve(), asked_of(sandbox)
    with Threads(6) as pages:
        answers = list(pages.map(lambda _: served.answer("GET", "/api/options"), range(6)))
    assert not any(answer["server"]["reachable"] for answer in answers)
    # Two seconds of trying, with pauses that grow: five requests, once.
    assert asked_of(sandbox) - asked <= 10
