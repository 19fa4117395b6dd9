"""Images that the browser brings: kept, checked, and what batches are made from; prompts of any length."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.front_ends import Front, front
from support.media_files import by_extension

from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.web import uploads
from state.location import DatabaseAddress, Location


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
def idle(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, template="img2img", works=False) as found:
        yield found


def picture(kind: str = "PNG", color: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(stream, kind)
    return stream.getvalue()


def bring(front: Front, data: bytes, status: int = 200, *, state: int = 0) -> Any:
    answer = front.http.post(f"/api/uploads?state={state}", content=data)
    assert answer.status_code == status, answer.text
    return answer.json()["upload"] if status == 200 else answer.json()["error"]


def create(front: Front, status: int = 200, **request: Any) -> Any:
    body = {"batchRequest": {"prompt": "a fox", "batchCount": 2, **request}}
    answer = front.http.post("/api/create", json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer.json()["error"]


def file_of(front: Front, name: str) -> Path:
    return front.states[0].with_suffix(".burst") / "uploads" / name


@pytest.mark.parametrize(("kind", "extension"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("GIF", "gif")])
def test_an_image_is_kept_once_by_what_it_holds(idle: Front, kind: str, extension: str) -> None:
    data = picture(kind)
    name = bring(idle, data)
    assert name == f"{hashlib.sha256(data).hexdigest()}.{extension}"
    assert file_of(idle, name).read_bytes() == data
    before = file_of(idle, name).stat().st_ino
    assert bring(idle, data) == name
    assert file_of(idle, name).stat().st_ino == before
    assert not idle.states[0].exists(), "it makes no state"


def test_what_is_no_whole_image_is_refused_and_not_kept(idle: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    for data, said in (
        (b"", "is not a PNG, JPEG, WebP or GIF image"),
        (b"<svg onload=alert(1)>", "is not a PNG, JPEG, WebP or GIF image"),
        (by_extension()[".mp4"], "is not a PNG, JPEG, WebP or GIF image"),
        (picture()[:-30], "is cut short or damaged"),
    ):
        error = bring(idle, data, 400)
        assert error == {"kind": "BadRequest", "message": f"This file {said}; choose another one", "field": "image"}
    monkeypatch.setattr("orchestrator.web.upload_routes.LARGEST_BYTES", 64)
    assert bring(idle, picture(), 413)["field"] == "image"
    assert not file_of(idle, "x").parent.exists()
    assert uploads.LARGEST_BYTES == 64 << 20


def test_a_batch_is_made_from_an_uploaded_image(idle: Front) -> None:
    name = bring(idle, picture())
    batch = create(idle, image=name, baseParameters={"steps": 9})["batchId"]
    items = idle.items()
    assert [item.uploads for item in items] == [{"image": f"state0.burst/uploads/{name}"}] * 2
    assert {(item.prompt_text, item.inputs["steps"]) for item in items} == {("a fox", 9)}
    assert len({item.inputs["seed"] for item in items}) == 2
    answer = idle.http.post(f"/api/batches/{batch}/regenerate")
    assert answer.status_code == 200, answer.text
    again = [item for item in idle.items() if item.batch == answer.json()["batchId"]]
    assert [(item.uploads, item.inputs["steps"]) for item in again] == [(items[0].uploads, 9)] * 2


def test_a_state_in_a_database_takes_it_in(tmp_path: Path, sandbox: Sandbox) -> None:
    """The browser's host keeps the upload; another one renders."""
    state = DatabaseAddress(f"sqlite:///{tmp_path}/burst.db")
    with front(tmp_path, sandbox, template="img2img", works=False, state=state) as found:
        name = bring(found, picture())
        batch = create(found, image=name)["batchId"]
        first = found.items()
        (copy,) = {copy for item in first for copy in item.taken_in.values()}
        assert (tmp_path / copy).read_bytes() == picture()
        (Location.of(state).auxiliary("uploads") / name).unlink()
        answer = found.http.post(f"/api/batches/{batch}/regenerate")
        assert answer.status_code == 200, answer.text
        again = found.items()[len(first) :]
        assert {copy for item in again for copy in item.taken_in.values()} == {copy}


def test_a_prompt_beside_an_image_is_text_whatever_it_looks_like(idle: Front) -> None:
    prompt = '=cmd, "quoted"\n{a|b} <lora:x:1> \\n ' + "🦊" * 600
    create(idle, image=bring(idle, picture()), prompt=prompt)
    assert {item.prompt_text for item in idle.items()} == {prompt.strip()}


def test_only_an_uploaded_image_of_this_state_is_taken(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, template="img2img", works=False, states=2) as found:
        name = bring(found, picture(), state=1)
        error = create(found, 400, image=name)
        assert error == {
            "kind": "BadRequest",
            "message": "This image is not here any more; choose it again",
            "field": "image",
        }
        for wrong in ("/etc/passwd", "../x.png", "a" * 64, f"{'a' * 64}.png/../../x.png", f"{'a' * 64}.json"):
            assert create(found, 400, image=wrong)["field"] == "image"
        assert not any(state.exists() for state in found.states)


def test_a_template_that_takes_no_image_refuses_one(idle: Front) -> None:
    name = bring(idle, picture())
    error = create(idle, 400, image=name, baseParameters={"template": "txt2img-sdxl"})
    assert "image" in error["message"]
    assert "--" not in error["message"]
    assert not idle.states[0].exists()


def test_a_prompt_of_any_length_is_taken_beyond_the_contract_of_the_seed(idle: Front) -> None:
    long = "a fox 🦊, " * 300
    image = bring(idle, picture())
    create(idle, prompt=long, image=image)
    assert {item.prompt_text for item in idle.items()} == {long.strip()}
    assert create(idle, 400, prompt=" ", image=image)["message"] == "Prompt cannot be empty"
    refused = idle.ask(prompt=long)
    assert refused.json()["error"]["message"] == "Prompt cannot be longer than 500 characters"
    assert idle.ask(image=image).status_code == 400, "its contract has no image"


def test_what_is_brought_again_is_as_if_it_were_new(idle: Front) -> None:
    first = bring(idle, picture())
    path = file_of(idle, first)
    os.utime(path, (1, 1))
    assert bring(idle, picture()) == first
    assert path.stat().st_mtime > 1_000_000, "what is old and named by nothing is removed"
