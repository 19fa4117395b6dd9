"""An Idempotency-Key: sent again with the same request, the answer is the same batch, whatever happened meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.background import Threads
from support.front_ends import Front, front

from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.generation import generate
from orchestrator.sandbox import Sandbox, SandboxSettings
from state.batch import GoneRecord
from state.open_store import open_store, parts_of

KEY = {"Idempotency-Key": "press-1"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
def idle(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, works=False, states=2) as found:
        yield found


def send(front: Front, *, state: int = 0, headers: dict[str, str] | None = KEY, **request: Any) -> Any:
    body = {"batchRequest": {"prompt": "a fox", "batchCount": 2, **request}, "state": state}
    return front.http.post("/api/batches", json=body, headers=headers)


def batches(front: Front, number: int = 0) -> list[str]:
    return list(parts_of(front.states[number]).batches.read())


def test_each_press_without_a_key_is_a_batch(idle: Front) -> None:
    answers = [send(idle, headers=None).json() for _ in range(2)]
    assert batches(idle) == [answer["batchId"] for answer in answers]


def test_the_same_key_and_request_are_one_batch(idle: Front) -> None:
    first, second = (send(idle) for _ in range(2))
    assert first.status_code == 200, first.text
    assert first.json() == second.json()
    assert len(idle.items()) == 2
    assert send(idle, headers={"Idempotency-Key": "press-2"}).json()["batchId"] != first.json()["batchId"]


def test_the_same_key_at_the_same_moment_is_one_batch(idle: Front) -> None:
    with Threads(4) as pool:
        answers = [answer.json() for answer in pool.map(lambda _: send(idle), range(4))]
    assert {answer["batchId"] for answer in answers} == set(batches(idle))
    assert len(batches(idle)) == 1


def test_the_key_is_known_after_a_restart_and_without_comfyui(idle: Front, tmp_path: Path, sandbox: Sandbox) -> None:
    first = send(idle).json()["batchId"]
    sandbox.change(unavailable_rate=1.0)
    with front(tmp_path, sandbox, works=False, states=2) as restarted:
        assert send(restarted).json()["batchId"] == first


@pytest.mark.parametrize("other", [{"prompt": "a cat"}, {"batchCount": 3}, {"seedMode": "incremental"}, {"state": 1}])
def test_the_same_key_and_another_request_are_refused(idle: Front, other: dict[str, Any]) -> None:
    first = send(idle).json()["batchId"]
    answer = send(idle, **other)
    assert answer.status_code == 422
    message = answer.json()["error"]["message"]
    assert "Idempotency-Key 'press-1'" in message
    assert first in message
    assert (len(batches(idle)), len(batches(idle, 1))) == (1, 0)


def test_a_cleaned_batch_still_answers_its_key(idle: Front) -> None:
    first = send(idle).json()
    with open_store(idle.states[0]) as store:
        store.batches.append(GoneRecord(batch=first["batchId"], at=datetime.now(UTC)))
    again = send(idle)
    assert (again.status_code, again.json()["batchId"], again.json()["queuedImages"]) == (200, first["batchId"], 2)


def test_made_again_with_a_key(idle: Front) -> None:
    first, other = send(idle, headers=None).json()["batchId"], send(idle, headers=None).json()["batchId"]
    again = [idle.http.post(f"/api/batches/{first}/regenerate", headers=KEY) for _ in range(2)]
    assert again[0].json() == again[1].json()
    assert len(batches(idle)) == 3
    assert idle.http.post(f"/api/batches/{other}/regenerate", headers=KEY).status_code == 422
    assert send(idle).status_code == 422
    assert idle.http.post(f"/api/batches/{first}/regenerate").json()["batchId"] not in batches(idle)[:3]


@pytest.mark.parametrize("key", ["", "a b", "x" * 201])
def test_what_is_no_key_is_refused(idle: Front, key: str) -> None:
    answer = send(idle, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "Idempotency-Key")
    assert batches(idle) == []


def test_a_batch_is_found_by_its_name(idle: Front) -> None:
    state = idle.watched.states[1]
    request = Request(state=state.path, overrides=state.overrides)
    made: Any = generate(BatchSpec(prompt="a fox", count=2, name="hero"), request=request)
    for call in ("/api/batches/hero", "/api/gallery/batches"):
        answer = idle.http.get(call).json()
        found = answer["batches"][0] if "batches" in answer else answer
        assert (found["batchId"], found["name"]) == (made.record.batch, "hero")
    progress = idle.http.get("/api/batches/hero/progress").json()
    assert (progress["progress"]["batchId"], progress["name"]) == (made.record.batch, "hero")
    assert idle.http.get("/api/batches/hero/images/1").json()["batchId"] == made.record.batch
    assert idle.http.get("/api/batches/hero/zip").status_code == 200
    assert len(idle.http.delete("/api/batches/hero").json()["deleted"]) == 4
    assert idle.http.get("/api/batches/hero").status_code == 404
