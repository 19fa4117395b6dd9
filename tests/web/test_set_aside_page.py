"""Recipes that cannot be used, and the names of batches: over HTTP and in a browser."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from support.projects import MISSING_CHECKPOINT, called, small_template, unusable_template
from support.serving import Served
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox


@pytest.fixture
def stuck(serve: Callable[..., Served]) -> Served:
    """A server with a batch that is called foxes, whose recipe its bursts have set aside."""
    served = serve(template=unusable_template())
    served.burst("generate", "--prompt", "a fox", "--count", "2", "--name", "foxes", "--queue-only")
    wait_until(lambda: served.answer("GET", "/api/states/0")["setAside"], what="its recipe to be set aside")
    return served


def give_another(served: Served, command: str) -> None:
    """Type the command that the page shows, with a workflow that can be used in place of what is to be filled in."""
    (served.home / "good.json").write_text(json.dumps(small_template()))
    burst, *words = shlex.split(re.sub(r" \[.*", " --template good.json", command))
    assert (burst, words[0]) == ("burst", "update")
    ended = called(words, cwd=served.home, env=served.env)
    assert ended.code == 0, ended.err


def test_state_batch_and_pages_name_recipe_batches_reason_and_way_out_until_there_is_another(
    open_page: Callable[..., Any], stuck: Served
) -> None:
    batch = stuck.answer("GET", "/api/batches/foxes")["batchId"]
    found = stuck.answer("GET", "/api/states/0")
    (one,) = found["setAside"]
    assert (one["workflow"], one["items"], one["batches"]) == (
        "small.json",
        2,
        [{"batchId": batch, "name": "foxes"}],
    )
    assert MISSING_CHECKPOINT in one["reason"]
    assert one["next"] == (
        f"burst update --made-with small.json --state {stuck.state} "
        "[--template NAME] [--bind NAME=NODE.INPUT] [--server NAME] [--output DIR]"
    )
    (item, _) = stuck.items(batch)
    assert one["recipe"] == item.recipe
    assert stuck.progress("foxes")["setAside"] == [one]
    assert (stuck.progress("foxes")["estimatedSecondsRemaining"], found["secondsLeft"]) == (None, None)

    state, shown_batch = open_page("/states", server=stuck), open_page("/states", server=stuck)
    # The batch is one click away.
    shown_batch.get_by_role("region", name="Set aside").get_by_role("link", name="foxes").click()
    expect(shown_batch.get_by_role("heading", name="a fox")).to_be_visible()
    expect(shown_batch).to_have_title(re.compile(r"^\(0/2\) foxes"))
    expect(shown_batch.locator("#batch-name")).to_have_text("Batch foxes")
    shown = state.get_by_role("region", name="Set aside")
    expect(shown.get_by_role("listitem")).to_have_count(1)
    expect(shown).to_contain_text("small.json · 2 items of batch foxes")
    expect(shown).to_contain_text(MISSING_CHECKPOINT)
    aside = shown_batch.locator("#set-aside")
    expect(aside).to_contain_text("small.json · 2 items")
    expect(aside).to_contain_text(MISSING_CHECKPOINT)
    for page in (state, shown_batch):
        expect(page.locator("#message")).to_be_hidden()
        expect(page.locator("#set-aside code")).to_contain_text(
            f"burst update --made-with small.json --state {stuck.state} "
        )
    give_another(stuck, str(aside.locator("code").text_content()))
    expect(shown_batch.get_by_role("heading", name="Batch complete: 2 successful, 0 failed")).to_be_visible()
    expect(shown).to_be_hidden()
    expect(state.locator("#working")).to_have_text("all done")
    assert stuck.answer("GET", "/api/states/0")["setAside"] == stuck.progress("foxes")["setAside"] == []


def test_a_batch_is_called_by_its_name_wherever_it_is_listed(
    open_page: Callable[..., Any], serve: Callable[..., Served], sandbox: Sandbox
) -> None:
    served = serve()
    served.burst(
        "generate", "--prompt", "a fox", "--count", "2", "--name", "foxes", "--layout", "gallery", "--queue-only"
    )
    batch = served.wait_for_end("foxes")["progress"]["batchId"]
    plain = served.made("an owl")
    named = {one["batchId"]: one["batchName"] for one in served.answer("GET", "/api/gallery")["images"]}
    assert named == {batch: "foxes", plain: None}
    page = open_page("/", server=served)
    page.get_by_role("radio", name="Recent batches").check()
    expect(page.locator(".feed-title")).to_have_text(["an owl", "foxes · a fox"])
    page.goto(f"{served.url}/gallery?view=batches")
    expect(page.locator("#batches").get_by_role("link")).to_have_text(["an owl", "foxes · a fox"])
    page.get_by_role("button", name="Delete foxes · a fox").click()
    expect(page.locator("#confirm-text")).to_contain_text("foxes · a fox")
    page.get_by_role("button", name="Keep").click()
    page.goto(f"{served.url}/gallery?text=fox")
    page.locator("#pictures").get_by_role("link").first.click()
    # Which of the two was collected last is the machine's affair.
    expect(page.locator("#viewer-title")).to_have_text(re.compile(r"^Image [12] · foxes$"))
    page.goto(f"{served.url}/?batch={plain}")
    expect(page.get_by_role("heading", name="an owl")).to_be_visible()
    expect(page.locator("#batch-name")).to_be_hidden()


def test_a_failed_item_names_its_batch(open_page: Callable[..., Any], serve: Callable[..., Served]) -> None:
    """The seed goes into the sampler's steps too, of which the server takes none."""
    served = serve(options=["--bind", "seed=3.seed,3.steps"])
    served.burst(
        *("generate", "--prompt", "a fox", "--count", "2", "--seed", "0", "--name", "foxes", "--queue-only"),
    )
    served.wait_for_end("foxes")
    (failed,) = served.answer("GET", "/api/states/0")["failed"]
    assert failed["batchName"] == "foxes"
    page = open_page("/states", server=served)
    expect(page.locator("#failed").get_by_role("link", name="batch foxes")).to_be_visible()
