"""The browser's contract: three calls, their fields, their errors, and what becomes of a batch."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.background import Threads
from support.front_ends import Front, front
from support.projects import small_template
from support.waiting import wait_until

from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.generation import Generation
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.web import batch_routes
from state.change import Change
from state.item import Status
from state.open_store import open_store, parts_of


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
def working(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox) as found:
        yield found


@pytest.fixture
def idle(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, works=False) as found:
        yield found


def test_a_batch_is_queued_rendered_and_told(working: Front) -> None:
    started = working.start(batchCount=3)
    assert started["queuedImages"] == 3
    assert not started["estimateKnown"]
    done = working.wait_for(started["batchId"], "complete")
    assert done["progress"] | {"thumbnails": None} == {
        "batchId": started["batchId"],
        "totalImages": 3,
        "completedImages": 3,
        "failedImages": [],
        "currentImage": None,
        "status": "complete",
        "thumbnails": None,
    }
    assert len(done["thumbnails"]) == 3
    assert done["thumbnails"] == done["progress"]["thumbnails"]
    assert done["estimatedSecondsRemaining"] == 0
    folder = working.output / "batches" / started["batchId"]
    assert sorted(path.name for path in folder.glob("*.png")) == ["image_001.png", "image_002.png", "image_003.png"]
    info = json.loads((folder / "batch_info.json").read_text())
    assert info["prompts"] == ["a fox"]
    assert info["seeds"] == [image["seed"] for image in done["images"]]
    assert working.start()["estimateKnown"]


def test_random_seeds_are_independent_ones(idle: Front) -> None:
    idle.start(batchCount=5)
    seeds = [item.inputs["seed"] for item in idle.items()]
    assert len(set(seeds)) == 5
    assert seeds != list(range(seeds[0], seeds[0] + 5))


def test_a_base_is_for_incremental_seeds_alone(idle: Front) -> None:
    idle.start(batchCount=3, seedMode="random", baseSeed=41)
    assert 41 not in [item.inputs["seed"] for item in idle.items()]


def test_one_failed_picture_does_not_stop_the_others(idle: Front) -> None:
    first = idle.start()["batchId"]
    again = idle.http.post(f"/api/batches/{first}/regenerate").json()["batchId"]
    records = parts_of(idle.states[0]).batches.read()
    assert {records[batch].record.on_error for batch in (first, again)} == {"continue"}


def test_bursts_are_told_of_what_was_added_and_taken_back(idle: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []
    monkeypatch.setattr(idle.supervisor, "wake", woken.append)
    batch = idle.start()["batchId"]
    assert woken == [0]
    for call in ("regenerate", "cancel"):
        assert idle.http.post(f"/api/batches/{batch}/{call}").status_code == 200
    assert woken == [0, 0, 0]


def test_incremental_seeds_begin_at_the_base(idle: Front) -> None:
    idle.start(batchCount=3, seedMode="incremental", baseSeed=41)
    assert [item.inputs["seed"] for item in idle.items()] == [41, 42, 43]


def test_parameters_reach_every_picture(idle: Front) -> None:
    said = {"steps": 9, "cfg": 3.5, "width": 512, "sampler": "euler", "scheduler": "karras", "negative": "fog"}
    started = idle.start(model="v1-5-pruned-emaonly-fp16.safetensors", baseParameters=said)
    for item in idle.items():
        assert {name: item.inputs[name] for name in said} == said
        assert item.inputs["model"] == "v1-5-pruned-emaonly-fp16.safetensors"
    assert idle.progress(started["batchId"])["parameters"]["steps"] == 9


def test_a_profile_and_a_shipped_template(idle: Front) -> None:
    own = idle.start()["batchId"]
    other = idle.start(baseParameters={"template": "txt2img-sd15", "profile": "speed"})["batchId"]
    assert (idle.workflow_names(own), idle.workflow_names(other)) == ({"txt2img-sdxl"}, {"txt2img-sd15"})
    item = idle.items()[-1]
    assert (item.inputs["steps"], item.inputs["batch_size"]) == (15, 8)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"batchCount": 1}, "Minimum 2 images required for batch"),
        ({"batchCount": 21}, "Maximum 20 images allowed per batch"),
        ({"prompt": " \n"}, "Prompt cannot be empty"),
        ({"prompt": "x" * 501}, "Prompt cannot be longer than 500 characters"),
        ({"model": "sdxl"}, "did you mean 'sd_xl_base_1.0.safetensors'?"),
        ({"baseParameters": {"sampler": "eulr"}}, "did you mean 'euler'?"),
        ({"baseParameters": {"profile": "sped"}}, 'profile "sped": there is no such profile'),
        ({"baseParameters": {"cfg": 500.0}}, "cfg: cfg is from 0 to 100"),
        ({"baseParameters": {"width": 100}}, "width: width 100 is not a multiple of 8"),
        ({"baseParameters": {"template": "smoke", "steps": 3}}, "steps: this workflow has no binding 'steps'"),
        ({"baseParameters": {"template": "/etc/passwd"}}, "no template '/etc/passwd'"),
        ({"baseParameters": {"template": "../workflow"}}, "no template '../workflow'"),
        ({"baseParameters": {"stepz": 3}}, "stepz"),
        ({"batchCount": "5"}, "batchCount"),
        ({"seedMode": "incremental", "baseSeed": 2**64 - 1}, "baseSeed: 18446744073709551615, and one more"),
        ({"seedMode": "incremental", "baseSeed": 2**64}, "baseSeed"),
        ({"seedMode": "other"}, "seedMode"),
        ({"baseParameters": {"steps": 0}}, "steps"),
    ],
)
def test_what_cannot_be_rendered_is_refused_and_nothing_is_added(
    idle: Front, request_: dict[str, Any], message: str
) -> None:
    answer = idle.ask(**request_)
    assert answer.status_code == 400
    said = answer.json()["error"]["message"]
    assert message in said
    assert "--" not in said
    assert not idle.states[0].exists()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"batchCount": 1}, "batchCount"),
        ({"batchCount": 2.5}, "batchCount"),
        ({"prompt": ""}, "prompt"),
        ({"baseParameters": {"steps": 0}}, "steps"),
        ({"baseParameters": {"template": "/etc/passwd"}}, "template"),
        ({"baseParameters": {"profile": "slow"}}, "profile"),
        ({"baseParameters": {"sampler": "eular"}}, "sampler"),
        ({"baseParameters": {"scheduler": "karas"}}, "scheduler"),
        ({"model": "gone.safetensors"}, "model"),
        ({"model": "gone.safetensors", "baseParameters": {"sampler": "eular"}}, None),
    ],
    ids=str,
)
def test_the_form_is_told_which_field_is_wrong(idle: Front, request_: dict[str, Any], field: str | None) -> None:
    assert idle.ask(**request_).json()["error"]["field"] == field


def test_the_bounds_themselves_are_taken(idle: Front) -> None:
    assert idle.start(batchCount=20, prompt="x" * 500)["queuedImages"] == 20


@contextlib.contextmanager
def full_for(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The disk is full for files of this name, and one was written to."""
    write, refused = os.write, []

    def writing(number: int, data: bytes) -> int:
        if os.readlink(f"/proc/self/fd/{number}").endswith(name):
            refused.append(name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(number, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", writing)
        yield
    assert refused


@pytest.mark.parametrize("full", ["settings.toml.tmp", "journal.jsonl", "state0.json.tmp"])
def test_a_full_disk_is_said_and_leaves_no_half_batch(idle: Front, full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with full_for(full, monkeypatch):
        answer = idle.ask()
    assert answer.status_code == 507
    assert "the disk is full" in answer.json()["error"]["message"]
    assert idle.http.get("/api/gallery/batches").json()["batches"] == []
    assert idle.start()["queuedImages"] == 2
    assert len(idle.items()) == 2


def test_a_full_disk_of_the_thumbnails_is_said_in_the_gallery(idle: Front) -> None:
    """They are shown all the same, and made again each time."""
    (state,) = idle.watched.states
    idle.http.app.state.library.thumbnails(state).refusal = "/thumbnails: the disk is full"  # type: ignore[attr-defined]
    for path in ("/api/gallery", "/api/gallery/batches"):
        (note,) = idle.http.get(path).json()["notes"]
        assert note == "Thumbnails cannot be kept, so this page is slow: /thumbnails: the disk is full"


@pytest.mark.parametrize("full", ["state0.json.tmp", "batches.jsonl"])
def test_a_batch_that_the_journal_has_was_started_whatever_becomes_of_the_other_files(
    idle: Front, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told that it was not, somebody would start it again."""
    idle.start()
    with full_for(full, monkeypatch):
        assert idle.start()["queuedImages"] == 2
    assert len(idle.items()) == 4
    assert len(idle.http.get("/api/gallery/batches").json()["batches"]) == 2


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"x"', b"\xff", b'{"batchRequest": null}'])
def test_a_body_that_is_none_is_refused(idle: Front, body: bytes) -> None:
    answer = idle.http.post("/api/batches", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    if body == b"{":
        assert answer.json()["error"] == {"kind": "BadRequest", "message": "the body is not JSON", "field": None}


def test_no_comfyui_is_503_and_nothing_is_added(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, works=False, server="http://127.0.0.1:9") as away:
        answer = away.ask()
        assert answer.status_code == 503
        assert answer.json()["error"]["message"].startswith("Cannot connect to server")
        assert not away.states[0].exists()
        offered = away.http.get("/api/options").json()
        assert not offered["server"]["reachable"]
        assert offered["takes"], "the form can be filled in meanwhile"


@pytest.mark.parametrize("call", ["GET {}/progress", "POST {}/cancel", "POST {}/regenerate", "GET {}"])
def test_an_unknown_batch_is_404(idle: Front, call: str) -> None:
    idle.start()
    method, path = call.split()
    # The beginning of an id is not the id.
    for batch in ("nope", idle.items()[0].batch[:-1] if idle.items()[0].batch else ""):
        answer = idle.http.request(method, f"/api/batches/{path.format(batch)}")
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Batch not found")


def test_a_method_that_is_none_says_which_are(idle: Front) -> None:
    answer = idle.http.put("/api/batches")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"]["message"] == "Method Not Allowed"


def test_cancelling_takes_no_other_batch_and_does_not_wait_long_for_a_server_that_is_away(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    with front(tmp_path, sandbox, works=False) as idle:
        batch, other = (idle.start()["batchId"] for _ in range(2))
        with open_store(idle.states[0]) as store:
            (key,) = (item.key for item in store.items() if item.batch == batch and item.index == 1)
            out = {"status": Status.SUBMITTED, "prompt_id": "p", "server": "http://127.0.0.1:9"}
            store.apply([Change(key, Status.PENDING, lambda item: msgspec.structs.replace(item, **out))])
        began = time.monotonic()
        assert idle.http.post(f"/api/batches/{batch}/cancel").json() == {"cancelled": True, "completedImages": 0}
        assert time.monotonic() - began < 12, "a burst would ask for 20 s"
        found = idle.progress(batch)
        assert [image["status"] for image in found["images"]] == ["submitted", "cancelled"]
        assert idle.progress(other)["progress"]["status"] == "queued"


def test_what_becomes_of_a_batch_while_it_is_cancelled_is_counted(idle: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says what stands in the state then, not what was seen before."""
    batch = idle.start()["batchId"]
    cancel = batch_routes.cancel

    def late(state: Path, *said: Any, **more: Any) -> Any:
        with open_store(state) as store:
            key = next(store.items()).key
            for was, status in ((Status.PENDING, Status.SUBMITTED), (Status.SUBMITTED, Status.COMPLETED)):
                edit = lambda item, to=status: msgspec.structs.replace(item, status=to, prompt_id="p")  # noqa: E731
                store.apply([Change(key, was, edit)])
        return cancel(state, *said, **more)

    monkeypatch.setattr(batch_routes, "cancel", late)
    assert idle.http.post(f"/api/batches/{batch}/cancel").json()["completedImages"] == 1


def test_pages_may_ask_while_others_write(idle: Front) -> None:
    """Twenty at once, of a state that another store appends to, hands over, and that is edited by hand."""
    batch = idle.start(batchCount=20)["batchId"]
    done = threading.Event()

    def poll() -> list[dict[str, Any]]:
        found = []
        while not done.is_set():
            found.append(idle.progress(batch)["progress"])
            assert idle.http.get("/api/states").status_code == 200
        return found

    with Threads(20) as pool:
        polls = [pool.submit(poll) for _ in range(20)]
        try:
            with open_store(idle.states[0]) as store:
                for number, item in enumerate(list(store.items())):
                    fail = lambda item: msgspec.structs.replace(item, status=Status.FAILED)  # noqa: E731
                    store.apply([Change(item.key, Status.PENDING, fail)])
                    store.settle(at_end=number % 3 == 0)
                    if number % 5 == 0:
                        whole = json.loads(idle.states[0].read_bytes())
                        replaced = idle.states[0].with_suffix(".edited")
                        replaced.write_text(json.dumps(whole, indent=number % 4))
                        replaced.replace(idle.states[0])
        finally:
            done.set()
    for found in (one.result() for one in polls):
        counts = [len(one["failedImages"]) for one in found]
        assert {one["totalImages"] for one in found} == {20}
        assert counts == sorted(counts)
    assert idle.progress(batch)["progress"]["status"] == "failed"


def test_cancel_keeps_what_is_finished(working: Front, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=0.3)
    batch = working.start(batchCount=20)["batchId"]
    wait_until(lambda: working.progress(batch)["progress"]["completedImages"], what="a first picture")
    answer = working.http.post(f"/api/batches/{batch}/cancel")
    assert answer.json()["cancelled"] is True
    assert 1 <= answer.json()["completedImages"] < 20
    ended = working.wait_for(batch, "cancelled")
    kept = [image for image in ended["images"] if image["url"]]
    assert len(kept) == ended["progress"]["completedImages"] >= answer.json()["completedImages"]
    assert len(list((working.output / "batches" / batch).glob("*.png"))) == len(kept)
    assert working.http.post(f"/api/batches/{batch}/cancel").json()["completedImages"] == len(kept), "safe to repeat"


def test_a_failed_picture_is_named_and_the_others_go_on(working: Front, sandbox: Sandbox) -> None:
    sandbox.change(fail_next=3)  # one item's three attempts, or one of each of three: whichever, all end
    batch = working.start(batchCount=4)["batchId"]
    done = working.wait_for(batch, "complete", "failed")
    assert done["progress"]["completedImages"] + len(done["progress"]["failedImages"]) == 4
    assert done["progress"]["completedImages"] >= 3


def test_all_failed(tmp_path: Path) -> None:
    with Sandbox(SandboxSettings(failure_rate=1.0)) as broken, front(tmp_path, broken) as found:
        batch = found.start()["batchId"]
        done = found.wait_for(batch, "failed")
        assert done["progress"]["failedImages"] == [1, 2]
        assert all(image["error"] for image in done["images"])


def test_text_that_looks_like_a_dynamic_prompt_is_taken_as_it_is(idle: Front) -> None:
    text = r"a {red|blue} __animal__ \{x\}"
    first = idle.start(batchCount=2, prompt=text, baseParameters={"negative": "{a|b}"})["batchId"]
    again = idle.http.post(f"/api/batches/{first}/regenerate").json()["batchId"]
    for batch in (first, again):
        items = [item for item in idle.items() if item.batch == batch]
        assert [(item.prompt_text, item.inputs["negative"]) for item in items] == [(text, "{a|b}")] * 2


def test_regenerate_makes_the_same_with_other_seeds(idle: Front) -> None:
    first = idle.start(batchCount=3, seedMode="incremental", baseSeed=1, baseParameters={"steps": 9})["batchId"]
    random = idle.start(batchCount=3, prompt="two foxes")["batchId"]
    elsewhere = idle.start(batchCount=2, baseParameters={"template": "txt2img-sd15"})["batchId"]
    again = idle.http.post(f"/api/batches/{elsewhere}/regenerate").json()["batchId"]
    assert idle.workflow_names(again) == {"txt2img-sd15"}
    for batch, counts_up in ((first, True), (random, False)):
        again = idle.http.post(f"/api/batches/{batch}/regenerate").json()["batchId"]
        items = {name: [item for item in idle.items() if item.batch == name] for name in (batch, again)}
        before, after = items[batch], items[again]
        assert [item.prompt_text for item in after] == [item.prompt_text for item in before]
        old, new = ([item.inputs.pop("seed") for item in some] for some in (before, after))
        assert [item.inputs for item in after] == [item.inputs for item in before]
        assert not set(old) & set(new)
        assert (new == list(range(new[0], new[0] + 3))) is counts_up


def test_regenerate_uses_the_workflow_of_its_batch_whatever_became_of_the_file(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """And the state's own template may be named as its batches name it."""
    workflow = tmp_path / "mine.json"
    workflow.write_text(json.dumps(small_template()))
    sandbox.change(accept_any_model=True)
    with front(tmp_path, sandbox, template=str(workflow), works=False) as before:
        batch = before.start()["batchId"]
        assert before.workflow_names(batch) == {"mine.json"}
        assert before.start(baseParameters={"template": "mine.json"})["queuedImages"] == 2
    workflow.unlink()
    with front(tmp_path, sandbox, template="txt2img-sd15", works=False) as idle:
        again = idle.http.post(f"/api/batches/{batch}/regenerate").json()["batchId"]
        assert idle.workflow_names(again) == {"mine.json"}
        recipes = parts_of(idle.states[0]).recipes
        (recipe_id,) = {str(item.recipe) for item in idle.items() if item.batch == again}
        assert recipes.workflow(recipes.get(recipe_id)) == small_template()
        assert recipes.get(recipe_id).servers == (), "those of the front end are not the batch's own"


def test_batches_of_the_command_line_are_shown_too(idle: Front) -> None:
    idle.start()
    made = Generation(
        BatchSpec(prompt="an owl", count=3),
        Request(state=idle.states[0], overrides=idle.watched.states[0].overrides),
        queue_only=True,
    ).execute()
    found = idle.progress(made.record.batch)  # type: ignore[union-attr]
    assert (found["prompt"], found["progress"]["totalImages"]) == ("an owl", 3)


def test_a_batch_of_several_prompts_is_made_again_by_the_command_line(idle: Front, tmp_path: Path) -> None:
    idle.start()
    (tmp_path / "list.txt").write_text("an owl\na fox\n")
    made = Generation(
        BatchSpec(prompts_file=str(tmp_path / "list.txt")),
        Request(state=idle.states[0], overrides=idle.watched.states[0].overrides),
        queue_only=True,
    ).execute()
    answer = idle.http.post(f"/api/batches/{made.record.batch}/regenerate")  # type: ignore[union-attr]
    assert answer.status_code == 400
    assert "several prompts" in answer.json()["error"]["message"]
    assert len(idle.items()) == 4


def test_several_states_are_each_their_own(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, states=2) as two:
        batches = [two.start(state=number)["batchId"] for number in (0, 1)]
        for batch in batches:
            two.wait_for(batch, "complete")
        assert [len(two.items(number)) for number in (0, 1)] == [2, 2]
        assert two.ask(state=2).status_code == 404


def test_several_pictures_of_one_prompt_have_names_of_their_own(working: Front) -> None:
    batch = working.start(baseParameters={"profile": "balanced", "width": 64, "height": 64})["batchId"]
    done = working.wait_for(batch, "complete")
    assert [image["image"] for image in done["images"][:5]] == ["1", "1-2", "1-3", "1-4", "2"]
    assert done["progress"]["totalImages"] == 2


def test_an_estimate_counts_what_comes_before(idle: Front, tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox) as working:
        working.wait_for(working.start()["batchId"], "complete")
    first, second = idle.start(batchCount=4), idle.start(batchCount=2)
    assert second["estimatedTime"] == pytest.approx(first["estimatedTime"] * 6 / 4, rel=0.1, abs=0.2)
