"""Further images from those that are there, over the API: variations, stages, and what failed once more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.front_ends import Front, front
from support.gallery_scene import png
from support.image_project import INVERT
from support.report_project import NOON

from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.generation import generate
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides
from state.change import Change
from state.item import ErrorRecord, Item, ItemOutput, OutputRecord
from state.open_store import open_store, parts_of

KEY = {"Idempotency-Key": "press-1"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(), directory=tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def idle(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    sandbox.change(**SandboxSettings().as_dict())
    with front(tmp_path, sandbox, works=False, states=2) as found:
        yield found


def items(idle: Front, batch: str) -> list[Item]:
    found = [item for number in range(len(idle.states)) if idle.states[number].exists() for item in idle.items(number)]
    return sorted((item for item in found if item.batch == batch), key=lambda item: item.index or 0)


def change(idle: Front, item: Item, *edits: Any) -> None:
    with open_store(idle.states[0]) as store:
        for edit in edits:
            store.apply([Change(item.key, store.get(item.key).status, edit)])


def finish(idle: Front, item: Item) -> None:
    """It has its image, without a server."""
    data = png()
    target = idle.output / item.subfolder / item.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    path = target.relative_to(idle.output).as_posix()
    record = OutputRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    change(
        idle,
        item,
        lambda now: now.submit(prompt_id="p", server="s", at=NOON, fingerprint="f"),
        lambda now: now.complete(outputs=(record,), at=NOON, seconds=1.0),
    )


def made(idle: Front, **request: Any) -> str:
    """A batch whose first image is there."""
    batch = str(idle.start(**request)["batchId"])
    finish(idle, items(idle, batch)[0])
    return batch


def vary(idle: Front, batch: str, *, headers: Any = None, image: str = "1", **body: Any) -> Any:
    return idle.http.post(f"/api/batches/{batch}/images/{image}/variations", json=body, headers=headers)


def offers(idle: Front, batch: str) -> Any:
    answer = idle.http.get(f"/api/batches/{batch}/images/1/derivations")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_variations_have_the_same_prompt_and_settings_and_other_seeds(idle: Front) -> None:
    prompt = "a {fox|cat}, (very) red"
    batch = made(idle, prompt=prompt, baseParameters={"steps": 7, "negative": "fog", "width": 512, "height": 512})
    answer = vary(idle, batch, count=3)
    assert answer.status_code == 200, answer.text
    first, *_ = items(idle, batch)
    again = items(idle, answer.json()["batchId"])
    assert [item.prompt_text for item in again] == [prompt] * 3
    assert {item.recipe for item in again} == {first.recipe}
    assert [{**item.inputs, "seed": 0} for item in again] == [{**first.inputs, "seed": 0}] * 3
    seeds = {item.inputs["seed"] for item in again}
    assert len(seeds) == 3
    assert first.inputs["seed"] not in seeds
    assert vary(idle, batch).json()["queuedImages"] == 4


def test_variations_of_the_image_itself_start_from_it(idle: Front) -> None:
    batch = made(idle, prompt="a fox", baseParameters={"steps": 7, "negative": "fog"}, model=None)
    offered = offers(idle, batch)["fromImage"]
    assert (offered["possible"], offered["template"], offered["strength"]) == (True, "img2img", 0.6)
    answer = vary(idle, batch, count=2, strength=0.3)
    assert answer.status_code == 200, answer.text
    first, *_ = items(idle, batch)
    again = items(idle, answer.json()["batchId"])
    assert [item.uploads for item in again] == [{"image": ItemOutput(item=first.key, output=1)}] * 2
    for item in again:
        assert item.prompt_text == "a fox"
        assert item.inputs.items() >= {"denoise": 0.3, "steps": 7, "negative": "fog"}.items()
        assert item.inputs["model"] == "sd_xl_base_1.0.safetensors", "not the one that img2img names"
    assert len({item.inputs["seed"] for item in again}) == 2
    assert idle.workflow_names(answer.json()["batchId"]) == {"img2img"}


def test_a_stage_is_made_from_images_of_several_batches_and_varied_itself(idle: Front) -> None:
    batches = [made(idle, prompt=prompt) for prompt in ("a fox", "an owl")]
    body = {"images": [{"batchId": batch, "image": "1"} for batch in batches], "stage": "smoke-image"}
    answer = idle.http.post("/api/stages", json=body, headers=KEY)
    assert answer.status_code == 200, answer.text
    assert idle.http.post("/api/stages", json=body, headers=KEY).json() == answer.json()
    stage = answer.json()["batchId"]
    sources = [item.sources for item in items(idle, stage)]
    assert sources == [(items(idle, batch)[0].key,) for batch in batches]
    finish(idle, items(idle, stage)[0])
    refused = vary(idle, stage)
    assert refused.status_code == 400
    assert "smoke-image, has no seed" in refused.json()["error"]["message"]
    repainted = idle.http.post("/api/stages", json=body | {"stage": "img2img"}).json()["batchId"]
    assert [item.prompt_text for item in items(idle, repainted)] == ["a fox", "an owl"]
    finish(idle, items(idle, repainted)[0])
    again = items(idle, vary(idle, repainted, count=2).json()["batchId"])
    assert [item.sources for item in again] == [sources[0]] * 2
    other = items(idle, vary(idle, repainted, count=1, strength=0.9).json()["batchId"])
    assert [item.sources for item in other] == [(items(idle, repainted)[0].key,)]
    assert other[0].recipe == again[0].recipe


def test_stages_are_offered_where_they_can_work_with_why_not(idle: Front, tmp_path: Path, sandbox: Sandbox) -> None:
    batch = made(idle)
    (tmp_path / "invert.json").write_text(json.dumps(INVERT))
    (tmp_path / "odd.json").write_text(json.dumps(INVERT | {"2": {"class_type": "Odd", "inputs": {"image": ["1", 0]}}}))
    for name in ("invert.json", "odd.json"):
        said = Overrides(template=str(tmp_path / name), output_dir=idle.output, servers=(sandbox.url,))
        request = Request(state=idle.states[0], overrides=said)
        generate(BatchSpec(from_batch=batch), request=request, queue_only=True)
    found = {one["name"]: one for one in offers(idle, batch)["stages"]}
    assert set(found) == {"img2img", "invert.json", "odd.json", "smoke-image", "upscale", "upscale-model"}, (
        "what takes no image is none"
    )
    assert found["img2img"]["possible"]
    assert "image to image" in found["img2img"]["purpose"]
    assert found["invert.json"]["possible"]
    assert not found["odd.json"]["possible"]
    assert "Odd" in found["odd.json"]["why"]
    recipe = found["invert.json"]["id"]
    body = {"images": [{"batchId": batch, "image": "1"}], "stage": recipe}
    staged = idle.http.post("/api/stages", json=body)
    assert staged.status_code == 200, staged.text
    assert idle.workflow_names(staged.json()["batchId"]) == {"invert.json"}
    refused = idle.http.post("/api/stages", json=body | {"stage": "odd.json"})
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "stage")


def test_models_to_upscale_with_are_those_of_the_servers_and_one_is_chosen(idle: Front, sandbox: Sandbox) -> None:
    batch = made(idle)
    sandbox.change(upscale_models=["4x-UltraSharp.pth", "RealESRGAN_x4plus.pth"])
    found = {one["name"]: one for one in offers(idle, batch)["stages"]}
    assert [name for name, one in found.items() if one["upscales"]] == ["upscale", "upscale-model"]
    assert found["upscale"]["models"] == [], "it needs none"
    assert found["upscale-model"]["models"] == ["RealESRGAN_x4plus.pth", "4x-UltraSharp.pth"], "its own first"
    assert "v1-5-pruned-emaonly-fp16.safetensors" in found["img2img"]["models"][0]
    body = {"images": [{"batchId": batch, "image": "1"}], "stage": "upscale-model"}
    for model in (None, "4x-UltraSharp.pth"):
        answer = idle.http.post("/api/stages", json=body | {"model": model})
        assert answer.status_code == 200, answer.text
        [item] = items(idle, answer.json()["batchId"])
        assert item.inputs.get("model") == model
    count = len(parts_of(idle.states[0]).batches.read())
    for wrong in (body | {"model": "nobody-has-this.pth"}, body | {"model": "4x-UltraSharp.pth", "stage": "upscale"}):
        refused = idle.http.post("/api/stages", json=wrong)
        assert (refused.status_code, refused.json()["error"]["field"]) == (400, "model")
    assert len(parts_of(idle.states[0]).batches.read()) == count


def test_another_upscale_model_than_the_workflows_will_do_and_none_says_what_to_do(
    idle: Front, sandbox: Sandbox
) -> None:
    batch = made(idle)
    for models, possible in ((["2x_tiny.pth"], True), ([], False)):
        sandbox.change(upscale_models=models)
        [found] = [one for one in offers(idle, batch)["stages"] if one["name"] == "upscale-model"]
        assert (found["possible"], found["models"]) == (possible, models)
    assert "put one into the folder models/upscale_models" in found["why"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/batches/{batch}/images/2/variations", {}, 404),
        ("/api/batches/nothing/images/1/variations", {}, 404),
        ("/api/batches/{batch}/images/1/variations", {"count": 0}, 400),
        ("/api/batches/{batch}/images/1/variations", {"count": "4"}, 400),
        ("/api/batches/{batch}/images/1/variations", {"strength": 0}, 400),
        ("/api/batches/{batch}/images/1/variations", {"seed": 1}, 400),
        ("/api/stages", {"images": [], "stage": "img2img"}, 400),
        ("/api/stages", {"images": [{"batchId": "{batch}", "image": "2"}], "stage": "img2img"}, 404),
        ("/api/stages", {"images": [{"batchId": "{batch}", "image": "1"}], "stage": "txt2img-sdxl"}, 400),
        ("/api/stages", {"images": [{"batchId": "{batch}", "image": "1"}], "stage": "/etc/passwd"}, 400),
        ("/api/batches/{batch}/images/7/retry", {}, 404),
        ("/api/batches/{batch}/images/x/retry", {}, 404),
    ],
)
def test_what_does_not_fit_is_refused_and_adds_nothing(
    idle: Front, path: str, body: dict[str, Any], status: int
) -> None:
    batch = made(idle)
    sent = json.loads(json.dumps(body).replace("{batch}", batch))
    answer = idle.http.post(path.replace("{batch}", batch), json=sent)
    assert answer.status_code == status, answer.text
    assert list(parts_of(idle.states[0]).batches.read()) == [batch]


def test_a_key_makes_one_batch_and_another_request_with_it_is_refused(idle: Front) -> None:
    batch = made(idle)
    first = vary(idle, batch, headers=KEY, count=2)
    assert vary(idle, batch, headers=KEY, count=2).json() == first.json()
    assert vary(idle, batch, headers=KEY, count=3).status_code == 422
    assert vary(idle, batch, headers=KEY, count=2, strength=0.5).status_code == 422
    assert len(parts_of(idle.states[0]).batches.read()) == 2
    other = made_elsewhere(idle)
    assert vary(idle, other, headers=KEY, count=2).status_code == 422


def made_elsewhere(idle: Front) -> str:
    """A batch of the other state, whose first image is there."""
    batch = str(idle.start(state=1)["batchId"])
    first = items(idle, batch)[0]
    with open_store(idle.states[1]) as store:
        record = OutputRecord(path="a.png", bytes=1, sha256="a" * 64)
        submit = Change(
            first.key, first.status, lambda now: now.submit(prompt_id="p", server="s", at=NOON, fingerprint="f")
        )
        store.apply([submit])
        status = store.get(first.key).status
        store.apply([Change(first.key, status, lambda now: now.complete(outputs=(record,), at=NOON, seconds=1.0))])
    return batch


def test_images_of_two_states_are_no_stage(idle: Front) -> None:
    refs = [{"batchId": batch, "image": "1"} for batch in (made(idle), made_elsewhere(idle))]
    answer = idle.http.post("/api/stages", json={"images": refs, "stage": "img2img"})
    assert answer.status_code == 400
    assert "several states" in answer.json()["error"]["message"]


def test_what_failed_is_tried_once_more_and_what_is_there_stays(idle: Front) -> None:
    batch = made(idle)
    _, second = items(idle, batch)
    change(
        idle,
        second,
        lambda now: now.submit(prompt_id="q", server="s", at=NOON, fingerprint="f"),
        lambda now: now.fail(error=ErrorRecord(kind="k", message="out of luck")),
    )
    answers = [idle.http.post(f"/api/batches/{batch}/images/{image}/retry").json() for image in ("2", "2", "1")]
    assert answers == [{"items": [second.key]}, {"items": []}, {"items": []}]
    assert [str(item.status) for item in items(idle, batch)] == ["completed", "pending"]


def test_a_batch_is_tried_again_with_what_failed_and_was_cancelled(idle: Front) -> None:
    batch = str(idle.start(batchCount=3)["batchId"])
    first, second, _ = items(idle, batch)
    finish(idle, first)
    change(
        idle,
        second,
        lambda now: now.submit(prompt_id="q", server="s", at=NOON, fingerprint="f"),
        lambda now: now.fail(error=ErrorRecord(kind="k", message="out of luck")),
    )
    stage = {"images": [{"batchId": batch, "image": "1"}], "stage": "upscale"}
    other = idle.http.post("/api/stages", json=stage).json()["batchId"]
    for one in (batch, other):
        assert idle.http.post(f"/api/batches/{one}/cancel").status_code == 200
    assert [str(item.status) for item in items(idle, batch)] == ["completed", "failed", "cancelled"]
    answers = [idle.http.post(f"/api/batches/{batch}/retry").json() for _ in range(2)]
    keys = [item.key for item in items(idle, batch)[1:]]
    assert answers == [{"items": keys, "notes": []}, {"items": [], "notes": []}]
    assert [str(item.status) for item in items(idle, batch)] == ["completed", "pending", "pending"]
    assert [str(item.status) for item in items(idle, other)] == ["cancelled"], "it is another batch"
    assert idle.http.post("/api/batches/nothing/retry").status_code == 404


def test_a_stage_whose_source_was_cancelled_says_what_to_try_again(idle: Front) -> None:
    batch = str(idle.start()["batchId"])
    generate(
        BatchSpec(from_batch=batch),
        request=Request(state=idle.states[0], overrides=Overrides(template="upscale", output_dir=idle.output)),
        queue_only=True,
    )
    [stage] = {item.batch for item in idle.items()} - {batch}
    assert idle.http.post(f"/api/batches/{batch}/cancel").status_code == 200
    answer = idle.http.post(f"/api/batches/{stage}/retry").json()
    assert answer["items"] == []
    assert "retry that" in answer["notes"][0]


def test_a_server_that_is_away_is_said_and_nothing_is_added(idle: Front, sandbox: Sandbox) -> None:
    batch = made(idle)
    sandbox.change(unavailable_rate=1.0)
    for answer in (vary(idle, batch), idle.http.get(f"/api/batches/{batch}/images/1/derivations")):
        assert answer.status_code == 503
        assert "Cannot connect to server" in answer.json()["error"]["message"]
    assert list(parts_of(idle.states[0]).batches.read()) == [batch]


def test_an_image_of_another_kind_of_model_is_not_started_from(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.change(**SandboxSettings().as_dict())
    with front(tmp_path, sandbox, template="smoke", works=False) as idle:
        batch = made(idle)
        offered = offers(idle, batch)
        assert offered["variations"]["possible"]
        assert (offered["fromImage"]["possible"], offered["fromImage"]["template"]) == (False, None)
        assert "takes this image's model" in offered["fromImage"]["why"]
        refused = vary(idle, batch, strength=0.5)
        assert (refused.status_code, refused.json()["error"]["field"]) == (400, "strength")
