"""The composer in a browser: what is folded, lists, tables, files, sweeps, and filling it from an image."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect
from support.serving import Served
from support.workbooks import workbook

import templates
from orchestrator.sandbox import Sandbox

OpenPage = Callable[..., Any]


def write(page: Any, prompt: str = "a lighthouse") -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)


def unfold(page: Any, *groups: str) -> None:
    for group in groups:
        page.locator("#batch-form summary").filter(has_text=re.compile(f"^{group}")).click()


def line(page: Any, group: str) -> Any:
    return page.locator(f"#{group}-line")


def create(page: Any, label: str) -> None:
    page.get_by_role("button", name=label, exact=True).click()


def begun(page: Any) -> str:
    expect(page).to_have_url(re.compile(r"\?batch=."))
    return str(page.url).partition("?batch=")[2]


def png(color: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(stream, "PNG")
    return stream.getvalue()


def drop(page: Any, *files: tuple[str, str, bytes], on: str = "#batch-form") -> None:
    page.locator(on).evaluate(
        """(place, files) => {
          const dataTransfer = new DataTransfer();
          for (const [name, type, base64] of files) {
            dataTransfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, { type }));
          }
          place.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [(name, kind, base64.b64encode(data).decode()) for name, kind, data in files],
    )


def test_folded_lines_say_what_is_in_effect_and_only_what_was_chosen_is_sent(
    page: Any, served: Served, sandbox: Sandbox
) -> None:
    sandbox.hold()
    expect(line(page, "model")).to_have_text("tiny-random · default")
    expect(line(page, "size")).to_have_text("64 × 64 · default")
    expect(line(page, "sampling")).to_have_text("2 steps · CFG 7 · euler · normal · default")
    expect(line(page, "loras")).to_have_text("none")
    expect(line(page, "template")).to_have_text("small · default")
    unfold(page, "Sampling", "Size")
    page.get_by_label("Steps").fill("3")
    expect(line(page, "sampling")).to_have_text("3 steps · CFG 7 · euler · normal")
    page.get_by_role("button", name="16:9").click()
    expect(line(page, "size")).to_have_text("88 × 48")
    page.get_by_role("button", name="Swap width and height").click()
    expect(line(page, "size")).to_have_text("48 × 88")
    expect(page.get_by_role("button", name="9:16")).to_have_attribute("aria-pressed", "true")
    write(page)
    with page.expect_request("**/api/create") as sent:
        page.keyboard.press("Control+Enter")
    asked = sent.value.post_data_json["batchRequest"]
    assert asked["baseParameters"] == {"steps": 3, "width": 48, "height": 88}
    assert asked.keys() == {"prompt", "batchCount", "seedMode", "baseParameters"}
    begun(page)


def test_the_default_size_is_no_choice_and_reset_is_one_step_of_undo(page: Any) -> None:
    unfold(page, "Size")
    page.get_by_role("button", name="3:2").click()
    expect(line(page, "size")).not_to_contain_text("default")
    page.get_by_role("button", name="1:1").click()
    expect(page.get_by_label("Width", exact=True)).to_have_value("")
    expect(line(page, "size")).to_have_text("64 × 64 · default")
    write(page)
    unfold(page, "Sampling")
    page.get_by_label("Steps").fill("9")
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("")
    expect(page.get_by_label("Number of images")).to_have_value("5")
    expect(line(page, "sampling")).to_contain_text("default")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a lighthouse")
    expect(page.get_by_label("Steps")).to_have_value("9")


def test_a_dropped_list_of_prompts_fills_the_prompt_and_undo_takes_it_back(page: Any) -> None:
    write(page, "what was there")
    drop(page, ("prompts.txt", "text/plain", b"\xef\xbb\xbfa fox\r\na cat\r\n"))
    prompt = page.get_by_label("Prompt", exact=True)
    expect(prompt).to_have_value("a fox\na cat")
    expect(page.get_by_label("One prompt per line")).to_be_checked()
    page.get_by_role("button", name="Undo").click()
    expect(prompt).to_have_value("what was there")
    expect(page.get_by_label("One prompt per line")).not_to_be_checked()
    drop(page, ("notes.pdf", "application/pdf", b"%PDF"))
    expect(page.locator("#file-wrong")).to_contain_text("notes.pdf: this kind of file is not read here")
    drop(page, ("large.txt", "text/plain", b"x" * (1 << 20) + b"x"))
    expect(page.locator("#file-wrong")).to_contain_text("large.txt is over 1 MiB")


def test_several_prompts_each_so_many_times(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    write(page, "a fox\n# no prompt\na cat\n\nan owl")
    page.get_by_label("One prompt per line").check()
    count = page.get_by_label("Number of images")
    assert (count.get_attribute("min"), count.get_attribute("max")) == ("1", "999")
    count.fill("4")
    expect(page.locator("#forecast")).to_contain_text("3 prompts × 4 = 12 images")
    create(page, "Create 12 images")
    assert [item.prompt_text for item in served.items(begun(page))] == ["a fox"] * 4 + ["a cat"] * 4 + ["an owl"] * 4


def test_up_to_999_images_and_batch_generate_keeps_its_bounds(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    write(page)
    count = page.get_by_label("Number of images")
    count.fill("21")
    create(page, "Generate Batch")
    expect(page.get_by_text("Maximum 20 images allowed per batch")).to_be_visible()
    page.get_by_label("Up to 999").check()
    expect(page.get_by_role("form", name="Create")).to_be_visible()
    expect(page.get_by_text("Maximum 20 images allowed per batch")).to_be_hidden()
    count.fill("1000")
    page.locator("#batch-form [type=submit]").click()
    expect(page.get_by_text("Number of images is a whole number from 1 to 999")).to_be_visible()
    count.fill("21")
    create(page, "Create 21 images")
    assert len(served.items(begun(page))) == 21


def test_dynamic_prompts_are_shown_expanded_before_anything_is_made(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    page = open_page("/", away=True)
    sandbox.hold()
    write(page, "a {red|green} fox")
    page.get_by_label("Expand {a|b} and __wildcards__").check()
    examples = page.locator("#expansions-list li")
    expect(examples).to_have_count(3)
    assert set(examples.all_inner_texts()) <= {"a red fox", "a green fox"}
    write(page, "a {red|green fox")
    expect(page.locator("#forecast")).to_contain_text("{")
    expect(examples).to_have_count(0)
    write(page, "a {red} fox")
    create(page, "Generate Batch")
    assert {item.prompt_text for item in served.items(begun(page))} == {"a red fox"}


def test_a_dropped_table_is_shown_by_its_columns_and_made(
    open_page: OpenPage, served: Served, sandbox: Sandbox
) -> None:
    page = open_page("/", away=True)
    sandbox.hold()
    drop(page, ("shots.csv", "text/csv", b"prompt,CFG Scale\na fox,hot\n"))
    expect(page.locator("#file-wrong")).to_contain_text("shots.csv: line 2, column 'CFG Scale'")
    drop(page, ("shots.xlsx", "", workbook([["prompt", "CFG Scale"], ["a fox", 5], ["a cat", 6]])))
    expect(page.locator("#table-name")).to_have_text("shots.xlsx")
    expect(page.locator("#table-rows")).to_contain_text("2 rows")
    expect(page.locator("#table-columns li")).to_have_text(["prompt", "CFG Scale → cfg"])
    page.reload()
    expect(page.locator("#table-name")).to_have_text("shots.xlsx")
    page.get_by_label("Number of images").fill("2")
    create(page, "Create 4 images")
    made = [(item.prompt_text, item.inputs["cfg"]) for item in served.items(begun(page))]
    assert made == [("a fox", 5)] * 2 + [("a cat", 6)] * 2
    page.get_by_role("button", name="Remove table").click()
    expect(page.get_by_label("Prompt", exact=True)).to_be_visible()


def test_several_dropped_images_are_an_item_each(
    open_page: OpenPage, serve: Callable[..., Served], sandbox: Sandbox
) -> None:
    sandbox.hold()
    served = serve(template=json.loads((Path(templates.__file__).parent / "img2img.json").read_text()))
    page = open_page("/", server=served)
    expect(page.get_by_label("Image", exact=True)).to_be_visible()
    drop(page, ("a.png", "image/png", png("red")), ("b.png", "image/png", png("blue")), ("x.txt", "text/plain", b"no"))
    expect(page.locator("#images-shown img")).to_have_count(2)
    write(page)
    page.get_by_label("Number of images").fill("1")
    create(page, "Create 2 images")
    assert len({str(item.uploads["image"]) for item in served.items(begun(page))}) == 2


def test_what_is_refused_is_told_where_it_is(open_page: OpenPage) -> None:
    """An image that is not there, images for a template that takes none, and a mistake in an axis."""
    page = open_page("/?from=nothing/1", away=True)
    expect(page.locator("#form-alert")).to_contain_text("Image not found")
    expect(line(page, "size")).to_have_text("64 × 64 · default")
    drop(page, ("a.png", "image/png", png("red")), ("b.png", "image/png", png("blue")))
    expect(page.locator("#file-wrong")).to_contain_text("This template takes no image")
    drop(page, ("a.png", "image/png", png("red")))
    expect(page.locator("#file-wrong")).to_have_text(
        re.compile(r"a\.png: This image has no settings of burst or ComfyUI in it")
    )
    write(page)
    unfold(page, "Sweep")
    page.get_by_role("button", name="+ Axis").click()
    page.get_by_label("Values of axis 1").fill("5, 5")
    page.locator("#batch-form [type=submit]").click()
    expect(page.locator("#axes-wrong")).to_have_text("5 is there twice; take one out")
    page.get_by_label("Values of axis 1").fill("hot")
    page.locator("#batch-form [type=submit]").click()
    expect(page.locator("#axes-wrong")).to_contain_text("hot")
    expect(page.locator("#axes-wrong")).not_to_contain_text("--")


def test_a_sweep_of_two_axes(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    write(page)
    unfold(page, "Sweep")
    page.get_by_role("button", name="+ Axis").click()
    expect(page.get_by_label("Axis 1", exact=True)).to_have_value("cfg")
    page.get_by_label("Values of axis 1").fill("5..9 step 2")
    expect(page.get_by_text("5, 7, 9 · 3 values")).to_be_visible()
    page.get_by_role("button", name="+ Axis").click()
    page.get_by_label("Axis 2", exact=True).select_option("sampler")
    for name in ("euler", "dpmpp_2m"):
        page.get_by_role("group", name="Values of Sampler").get_by_label(name, exact=True).check()
    page.get_by_label("Number of images").fill("1")
    expect(page.locator("#forecast")).to_contain_text("6 images")
    expect(line(page, "axes")).to_have_text("cfg × 3 · sampler × 2")
    create(page, "Create 6 images")
    made = {(item.inputs["cfg"], item.inputs["sampler"]) for item in served.items(begun(page))}
    assert made == {(cfg, sampler) for cfg in (5, 7, 9) for sampler in ("euler", "dpmpp_2m")}


def test_loras_from_the_servers_list(page: Any, served: Served, sandbox: Sandbox) -> None:
    sandbox.hold()
    write(page)
    unfold(page, "LoRAs")
    expect(page.locator("#loras-known option")).to_have_attribute("value", "tiny-lora.safetensors")
    page.get_by_role("button", name="+ LoRA").click()
    page.get_by_label("LoRA 1", exact=True).fill("tiny-lora.safetensors")
    page.get_by_label("Strength", exact=True).fill("0.6")
    page.get_by_role("button", name="+ LoRA").click()
    page.get_by_label("LoRA 2", exact=True).fill("not this one")
    page.get_by_role("button", name="Remove LoRA 2").click()
    expect(line(page, "loras")).to_have_text("tiny-lora 0.6")
    create(page, "Generate Batch")
    assert {item.inputs["lora"] for item in served.items(begun(page))} == {"tiny-lora.safetensors:0.6"}


@pytest.fixture
def image(served: Served) -> str:
    """An image with settings of its own; where it is."""
    parameters = {"steps": 3, "cfg": 4.5, "width": 64, "height": 96, "negative": "fog"}
    batch = served.made(
        "a lighthouse at noon", count=2, seedMode="incremental", baseSeed=2**64 - 2, baseParameters=parameters
    )
    return f"{batch}/2"


def check_filled(page: Any) -> None:
    prompt = page.get_by_label("Prompt", exact=True)
    expect(prompt).to_have_value("a lighthouse at noon")
    expect(page.get_by_label("Base seed")).to_have_value(str(2**64 - 1))
    expect(line(page, "sampling")).to_have_text("3 steps · CFG 4.5 · euler · normal")
    expect(line(page, "size")).to_have_text("64 × 96")
    expect(line(page, "negative")).to_have_text("fog")


def test_use_these_settings_fills_the_composer_once_and_undo_takes_it_back(open_page: OpenPage, image: str) -> None:
    page = open_page("/")
    write(page, "what was typed")
    page.goto(f"{page.url}?from={image}")
    expect(page.get_by_text("Filled with the settings of image 2")).to_be_visible()
    check_filled(page)
    assert "from" not in page.url
    write(page, "and changed")
    page.reload()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("and changed")
    page.goto(f"{page.url}?from={image}")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a lighthouse at noon")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("and changed")


def test_a_dropped_picture_fills_the_composer_with_its_settings(page: Any, served: Served, image: str) -> None:
    drop(page, ("again.png", "image/png", served.call("GET", f"/images/{image}").content))
    expect(page.get_by_text("Filled with the settings of again.png")).to_be_visible()
    check_filled(page)


def test_the_time_is_told_once_a_pace_is_known(page: Any, served: Served) -> None:
    served.made("a lighthouse that was timed")
    write(page)
    expect(page.locator("#forecast")).to_have_text(re.compile(r"^5 images · about \d+ (s|min)$"))


def test_values_of_an_axis_as_people_write_them_and_folders_in_the_order_of_their_paths(page: Any) -> None:
    values = page.evaluate(
        """async () => {
          const { valuesOf } = await import("/static/composer/values.js");
          return [
            ["5, 7, 9"], ["5..9"], ["1-2 step 0.5"], ["9 to 5 by 2"], ["-1..1"], ["a, \\"b, c\\", d-e"], ["1..3", true],
            [""], ["5, 5"], ["1..2000"], ["1..2 step 0"], ["0.1..0.3:0.1"],
          ].map(([text, texts]) => valuesOf(text, { texts })).map(({ values, wrong }) => wrong || values.join("|"));
        }"""
    )
    assert values == [
        "5|7|9", "5|6|7|8|9", "1|1.5|2", "9|7|5", "-1|0|1", "a|b, c|d-e", "1..3",
        "", "5 is there twice; take one out", "An axis has up to 1000 values", "The step of a range is more than 0",
        "0.1|0.2|0.3",
    ]  # fmt: skip
    found = page.evaluate(
        """async () => {
          const { filesOf } = await import("/static/composer/dropped.js");
          const file = (name) => ({ name, isFile: true, file: (give) => give(new File([], name)) });
          const folder = (name, ...children) => ({
            name, isDirectory: true,
            createReader: () => ({ readEntries: (give) => give(children.splice(0, 2)) }),
          });
          const more = folder("more", file("a.png"));
          const dropped = folder("shots", file("10.png"), file("9.png"), file(".hidden.png"), more);
          const files = [new File([], "shots"), new File([], "x.png")];
          return (await filesOf({ files, items: [{ webkitGetAsEntry: () => dropped }] })).map(({ name }) => name);
        }"""
    )
    assert found == ["x.png", "9.png", "10.png", "a.png"]
