"""Whatever a server answers is a value or is said to be none, and what is taken from it can be written down."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import responses
from hypothesis import example, given
from hypothesis import strategies as st
from support.damaged_json import JSON, LONE_SURROGATE, damaged, damaged_bytes, nested

from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui import responses as answers
from orchestrator.comfyui.responses import HistoryEntry
from orchestrator.errors import BurstError, ItemError, ServerUnreachable, TransientError
from orchestrator.shapes import WrongShape

URL = "http://comfy.test:8188"
CASES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "exchanges.json").read_text())["cases"]
BODIES = {name: case["response"]["body"] for name, case in CASES.items() if isinstance(case.get("response"), dict)}
HISTORIES = sorted(name for name in BODIES if name.startswith("history") and len(BODIES[name] or {}) == 1)
REJECTIONS = sorted(name for name in BODIES if name.startswith("submit") and CASES[name]["response"]["status"] == 400)
READERS: dict[str, tuple[Callable[[Any], object], list[str]]] = {
    "submitted": (answers.read_submitted, ["submit ok, client-chosen prompt_id"]),
    "rejection": (lambda body: answers.read_rejection(body, str), REJECTIONS),
    "queue": (answers.read_queue, ["queue running and pending"]),
    "remaining": (answers.read_queue_remaining, ["prompt info while busy"]),
    "names": (answers.read_names, ["models checkpoints"]),
    "uploaded": (answers.read_uploaded, ["upload image"]),
    "object": (answers.read_object, ["system_stats", "features", "object_info KSampler"]),
}
JOB = {"id": "x", "status": "in_progress", "create_time": 1, "outputs": {}}


def body_of(case: str) -> st.SearchStrategy[Any]:
    return damaged(BODIES[case]) | JSON


@pytest.mark.parametrize("reader", sorted(READERS))
@given(data=st.data())
def test_any_body_is_a_value_or_of_the_wrong_shape(reader: str, data: st.DataObject) -> None:
    read, cases = READERS[reader]
    with contextlib.suppress(WrongShape):
        read(data.draw(body_of(data.draw(st.sampled_from(cases)))))


@given(name=st.sampled_from(HISTORIES), data=st.data())
def test_any_history_is_one_of_three_ends_or_of_the_wrong_shape(name: str, data: st.DataObject) -> None:
    prompt_id = next(iter(BODIES[name]))
    entry: HistoryEntry | None = None
    with contextlib.suppress(WrongShape):
        entry = answers.read_history(prompt_id, data.draw(body_of(name)), str)
    if entry is not None:
        assert entry.succeeded + entry.interrupted + (entry.failure is not None) == 1
        assert all(file.filename and isinstance(file.subfolder, str) for file in entry.files)
        if entry.started_at and entry.finished_at:
            (entry.finished_at - entry.started_at).total_seconds()


@given(body=damaged(JOB) | JSON)
def test_any_job_has_a_status_or_the_wrong_shape(body: Any) -> None:
    answers.says_no_such_job(body)
    with contextlib.suppress(WrongShape):
        assert answers.read_job(body) in answers.JobStatus


@pytest.mark.parametrize("name", sorted(name for name in BODIES if isinstance(BODIES[name], dict)))
def test_undamaged_they_are_read(name: str) -> None:
    """Otherwise the tests above would see refusals alone."""
    for reader, (read, cases) in READERS.items():
        if name in cases:
            assert read(BODIES[name]) is not None, reader
    if name in HISTORIES:
        assert answers.read_history(next(iter(BODIES[name])), BODIES[name], str) is not None


def written(value: object) -> bytes:
    """As the journal writes it."""
    return msgspec.json.encode(value)


def history(client: ComfyUI) -> None:
    entry = client.history("x")
    if entry is not None:
        written([entry.files, entry.texts, str(entry.failure), entry.failure and entry.failure.node_id])


def submit(client: ComfyUI) -> None:
    sent = client.submit({}, prompt_id="x", number=1.0, extra_data={})
    written([sent.prompt_id, list(sent.node_errors)])


METHODS: dict[str, Callable[[ComfyUI], object]] = {
    "history": history,
    "submit": submit,
    "queue": lambda client: written([prompt.prompt_id for prompt in client.queue().running]),
    "remaining": lambda client: client.queue_remaining(),
    "job": lambda client: client.job("x"),
    "unfinished_jobs": lambda client: client.unfinished_jobs(),
    "cancel_jobs": lambda client: client.cancel_jobs(["x"]),
    "delete": lambda client: client.delete_from_queue(["x"]),
    "models": lambda client: written(client.models("loras")),
    "object_info": lambda client: client.object_info("KSampler"),
    "upload": lambda client: written(client.upload_image("a.png", b"").as_input),
}
STATUSES = st.sampled_from([200, 200, 200, 400, 206, 301, 302, 401, 404, 405, 416, 429, 500, 503])
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Location", "Retry-After"]),
    st.sampled_from(
        ["text/html", "http://[", "//", "9" * 30, "-1", "Wed, 21 Oct 2015 07:28:00", "Fri, 99 Foo", "x://y"]
    ),
)
FAILED = {"node_id": "3", "node_type": "A", "exception_type": "E", "exception_message": LONE_SURROGATE}
ODD_HISTORY = {
    "x": {
        "prompt": [1, "x", {}, {}, []],
        "outputs": {"9": {"images": [{"filename": f"{LONE_SURROGATE}.png", "subfolder": ""}]}},
        "status": {"status_str": "error", "messages": [["execution_error", FAILED]]},
    }
}
ODD_REJECTION = {"error": {"type": "t", "message": LONE_SURROGATE}, "node_errors": {LONE_SURROGATE: {}}}


@given(
    method=st.sampled_from(sorted(METHODS)),
    body=st.sampled_from(sorted(BODIES)).flatmap(
        lambda name: damaged_bytes(json.dumps(BODIES[name]).encode()) | damaged(BODIES[name]).map(json.dumps)
    )
    | st.binary(max_size=20),
    status=STATUSES,
    headers=HEADERS,
)
@example(method="history", body=json.dumps(ODD_HISTORY), status=200, headers={})
@example(method="submit", body=json.dumps({"prompt_id": LONE_SURROGATE}), status=200, headers={})
@example(method="submit", body=json.dumps(ODD_REJECTION), status=400, headers={})
@example(method="models", body=json.dumps([f"{LONE_SURROGATE}.safetensors"]), status=200, headers={})
@example(method="models", body=b"[" * 100_000, status=200, headers={})
@example(method="remaining", body=b'{"exec_info": {"queue_remaining": ' + b"9" * 5000 + b"}}", status=200, headers={})
@example(method="queue", body=json.dumps(nested(400)), status=200, headers={})
def test_any_answer_is_a_value_or_an_error_of_ours(
    method: str, body: bytes | str, status: int, headers: dict[str, str]
) -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as server:
        server.add("GET", f"{URL}/api/prompt", json={"exec_info": {"queue_remaining": 0}})
        client = ComfyUI(URL, retry_seconds=0.0)
        client.queue_remaining()
        server.reset()
        for verb in ("GET", "POST"):
            server.add(verb, re.compile(".*"), body=body, status=status, headers=headers)
        try:
            METHODS[method](client)
        except BurstError as error:
            message, kind = str(error), type(error)
            assert issubclass(kind, TransientError | ItemError)
            assert not issubclass(kind, ServerUnreachable)
            assert written(message)
