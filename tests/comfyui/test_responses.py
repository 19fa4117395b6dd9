"""ComfyUI's answers as values: the recorded ones, and everything that could be wrong with them."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import responses
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.comfyui import ComfyUI, HistoryEntry, JobStatus, OutputFile, OutputText
from orchestrator.errors import PromptRejected, UnexpectedAnswer

URL = "http://comfy.test:8188"
CASES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "exchanges.json").read_text())["cases"]
HISTORIES = sorted(
    name for name in CASES if name.startswith("history") and len(CASES[name]["response"]["body"] or {}) == 1
)


def recorded(name: str) -> ComfyUI:
    """A client whose next request gets the recorded answer."""
    case = CASES[name]
    body, method = case["response"]["body"], case["request"]["method"]
    responses.add(
        method,
        URL + "/api" + case["request"]["path"].partition("?")[0],
        body=json.dumps(body) if body != "" else "",
        status=case["response"]["status"],
    )
    if method == "POST":
        responses.add("GET", URL + "/api/prompt", json={"exec_info": {"queue_remaining": 0}})
    return ComfyUI(URL)


def entry(name: str) -> HistoryEntry:
    prompt_id = CASES[name]["request"]["path"].rpartition("/")[2]
    found = recorded(name).history(prompt_id)
    assert found is not None
    return found


def history_of(body: object, prompt_id: str = "x") -> HistoryEntry | None:
    with responses.RequestsMock() as mock:
        mock.add("GET", f"{URL}/api/history/{prompt_id}", body=json.dumps(body))
        mock.add("GET", f"{URL}/history/{prompt_id}", body=json.dumps(body))
        mock.assert_all_requests_are_fired = False
        return ComfyUI(URL).history(prompt_id)


def minimal(**changes: object) -> dict[str, Any]:
    success = {"status_str": "success", "completed": True, "messages": []}
    return {"x": {"prompt": [1, "x", {}, {}, []], "outputs": {}, "status": success} | changes}


@responses.activate
def test_recorded_success() -> None:
    found = entry("history success")
    assert (found.succeeded, found.interrupted, found.failure) == (True, False, None)
    assert found.files == (
        OutputFile("9", "images", "954be33e-63a7-4487-974d-03c1e46594a8_00001_.png", "burst/EP01", "output"),
    )
    assert found.extra_data["burst"] == {"item": "prompts/EP01/a.txt"}
    assert found.graph["98:6"]["class_type"] == "EmptyImage"
    assert found.started_at == datetime.fromtimestamp(1795215008.464, UTC)
    assert found.finished_at is not None
    assert found.started_at is not None
    assert (found.finished_at - found.started_at).total_seconds() == pytest.approx(0.027)


@responses.activate
def test_recorded_batch_cached_text_and_empty() -> None:
    assert [file.filename[-10:] for file in entry("history success, batch of 3 images").files] == [
        "00001_.png",
        "00002_.png",
        "00003_.png",
    ]
    cached = entry("history success, all nodes cached (same output file as the first run)")
    assert cached.cached_nodes == {"98:6", "9"}
    assert entry("history success, text output").texts == (OutputText("2", "text", "xbc"),)
    assert (
        recorded("history unknown id").history(CASES["history unknown id"]["request"]["path"].rpartition("/")[2])
        is None
    )


@responses.activate
def test_recorded_failure_and_interruption() -> None:
    failed = entry("history error")
    assert not failed.succeeded
    assert failed.failure is not None
    assert failed.failure.node_id == "1"
    assert failed.failure.exception_type == "re.error"
    assert "RegexReplace" in str(failed.failure)
    assert "unterminated subpattern" in str(failed.failure)
    assert not failed.out_of_memory
    assert failed.finished_at is not None
    stopped = entry("history interrupted")
    assert (stopped.succeeded, stopped.interrupted, stopped.failure) == (False, True, None)


@responses.activate
def test_recorded_queue_and_info() -> None:
    queue = recorded("queue running and pending").queue()
    assert [prompt.number for prompt in queue.running + queue.pending] == [31, 32, 33]
    assert queue.pending[1].extra_data["burst"] == {"item": "i2"}
    assert recorded("prompt info while busy").queue_remaining() == 3
    assert recorded("object_info unknown").object_info("Nope") == {}
    assert "seed" in recorded("object_info KSampler").object_info("KSampler")["KSampler"]["input"]["required"]
    assert recorded("models checkpoints").models("checkpoints") == ["tiny-random.safetensors"]
    assert recorded("system_stats").system_stats()["system"]["comfyui_version"] == "0.3.64"
    assert recorded("features").features()["supports_preview_metadata"] is True
    assert recorded("upload image").upload_image("b.png", b"x", subfolder="burst").as_input == "burst/b.png"


@responses.activate
def test_recorded_submission() -> None:
    sent = recorded("submit ok, client-chosen prompt_id").submit(
        {"1": {}}, prompt_id="a", number=18, extra_data={"b": 1}
    )
    assert sent.prompt_id == "954be33e-63a7-4487-974d-03c1e46594a8"
    assert sent.number == 18
    order = json.loads(responses.calls[-1].request.body or b"")
    assert (order["prompt_id"], order["number"], order["prompt"], order["extra_data"]) == ("a", 18, {"1": {}}, {"b": 1})


@pytest.mark.parametrize(
    ("case", "node_id", "words"),
    [
        ("submit unknown node", None, ["node Nope does not exist", "#1"]),
        ("submit bad input value", "98:6", ["98:6", "EmptyImage", "Value -5 smaller than min of 1", "width"]),
        ("submit missing input", "9", ["9", "SaveImage", "Required input is missing", "images"]),
        ("submit model not on the server", "4", ["CheckpointLoaderSimple", "absent.safetensors"]),
        ("submit empty graph", None, ["Prompt has no outputs"]),
        ("submit without prompt", None, ["No prompt provided"]),
    ],
)
@responses.activate
def test_recorded_rejections(case: str, node_id: str | None, words: list[str]) -> None:
    with pytest.raises(PromptRejected) as caught:
        recorded(case).submit({}, prompt_id="a", number=1, extra_data={})
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert caught.value.node_id == node_id
    assert caught.value.error_type == CASES[case]["response"]["body"]["error"]["type"]
    assert len([call for call in responses.calls if call.request.method == "POST"]) == 1


@responses.activate
def test_recorded_commands_answer_with_nothing() -> None:
    recorded("queue delete pending").delete_from_queue(["3718e9d8-5363-4f3a-896e-9ee5d99dc72c"])
    assert json.loads(responses.calls[-1].request.body or b"") == CASES["queue delete pending"]["request"]["json"]
    recorded("interrupt one running prompt").interrupt("54ccdcaa-49a6-4e88-93fc-50665d2df0f1")
    assert (
        json.loads(responses.calls[-1].request.body or b"") == CASES["interrupt one running prompt"]["request"]["json"]
    )


def test_any_kind_with_a_filename_is_a_file_and_any_string_a_text() -> None:
    outputs = {
        "1": {
            "gifs": [{"filename": "a.mp4", "subfolder": "v", "type": "output", "format": "video/h264"}],
            "animated": [True],
            "3d": [{"filename": "m.glb"}],
            "text": ["eins", ["zwei"], None, 3],
            "string": "drei",
            "odd": [{"name": "x"}, {"filename": 7}, {"filename": ""}],
        },
        "2": {"images": [{"filename": "a.mp4", "subfolder": "v", "type": "output"}]},
        "3": None,
    }
    found = history_of(minimal(outputs=outputs))
    assert found is not None
    assert [(file.kind, file.filename, file.subfolder, file.type) for file in found.files] == [
        ("gifs", "a.mp4", "v", "output"),
        ("3d", "m.glb", "", "output"),
    ]
    assert [text.text for text in found.texts] == ["eins", "drei"]


@pytest.mark.parametrize(("outputs", "succeeded"), [({"1": {"text": ["a"]}}, True), ({}, False)])
def test_a_null_status_counts_its_outputs(outputs: dict[str, Any], succeeded: bool) -> None:
    found = history_of(minimal(status=None, outputs=outputs))
    assert found is not None
    assert found.succeeded is succeeded
    assert (found.failure is None) is succeeded


@pytest.mark.parametrize(
    ("exception_type", "message", "expected"),
    [
        ("torch.OutOfMemoryError", "Allocation on device", True),
        ("RuntimeError", "CUDA error: out of memory", True),
        ("ValueError", "the memory of summer", False),
    ],
)
def test_out_of_memory(exception_type: str, message: str, expected: bool) -> None:
    error = {"node_id": "3", "node_type": "KSampler", "exception_type": exception_type, "exception_message": message}
    status = {"status_str": "error", "completed": False, "messages": [["execution_error", error]]}
    found = history_of(minimal(status=status))
    assert found is not None
    assert found.out_of_memory is expected


def test_python_s_nan_is_read() -> None:
    with responses.RequestsMock() as mock:
        mock.add("GET", f"{URL}/api/object_info/A", body=b'{"A": {"max": NaN, "min": -Infinity}}')
        assert ComfyUI(URL).object_info("A")["A"]["min"] == float("-inf")


@pytest.mark.parametrize(
    "body",
    [
        [],
        "text",
        {"another": {}},
        {"x": []},
        minimal(outputs=[]),
        minimal(status={}),
        minimal(status="success"),
        minimal(status={"status_str": "odd"}),
    ],
)
def test_another_shape_is_no_answer(body: object) -> None:
    with pytest.raises(UnexpectedAnswer, match="/history/x answered 200"):
        history_of(body)


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"id": "x", "status": "in_progress"}, 200, JobStatus.IN_PROGRESS),
        ({"error": "Job not found"}, 404, None),
    ],
)
@responses.activate
def test_jobs_of_newer_servers(body: dict[str, Any], status: int, expected: JobStatus | None) -> None:
    responses.add("GET", f"{URL}/api/jobs/x", json=body, status=status)
    client = ComfyUI(URL)
    assert client.job("x") == expected
    assert client.has_jobs
    responses.add("POST", f"{URL}/api/jobs/x/cancel", json={"cancelled": True})
    assert client.cancel_job("x") is True


@pytest.mark.parametrize("timestamp", [1e300, -(10**18), 10**30, "now", None, True])
def test_a_time_that_is_none(timestamp: object) -> None:
    messages = [["execution_start", {"timestamp": timestamp}], ["execution_success", {"timestamp": 1000}]]
    found = history_of(minimal(status={"status_str": "success", "messages": messages}))
    assert found is not None
    assert found.started_at is None
    assert found.finished_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "body",
    [
        "404: Not Found",
        '{"detail": "Not Found", "path": "/api/jobs/x"}',
        '{"error": "no route"}',
        '{"error": "/api/jobs/x not found"}',
        '{"message": "Not Found"}',
        '{"error": {"message": "Job not found"}}',
        "[]",
    ],
)
@responses.activate
def test_a_server_without_jobs_is_told_apart_and_remembered(body: str) -> None:
    responses.add("GET", f"{URL}/api/jobs/x", body=body, status=404)
    client = ComfyUI(URL)
    for _ in range(2):
        with pytest.raises(UnexpectedAnswer, match="has no /api/jobs"):
            client.job("x")
    assert client.has_jobs is False
    assert client.requests_made == 1


_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [path] * bool(path) + [place for key, part in inner for place in _places(part, (*path, key))]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_history_entry_is_read_or_unexpected_never_anything_else(data: st.DataObject) -> None:
    body = copy.deepcopy(CASES[data.draw(st.sampled_from(HISTORIES))]["response"]["body"])
    prompt_id = next(iter(body))
    for _ in range(data.draw(st.integers(1, 3))):
        places = _places(body)
        if not places:
            break
        *above, last = data.draw(st.sampled_from(places))
        holder = body
        for key in above:
            holder = holder[key]
        if data.draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = data.draw(_JUNK)
    try:
        found = history_of(body, prompt_id)
    except UnexpectedAnswer:
        return
    if found is not None:
        assert found.succeeded + found.interrupted + (found.failure is not None) == 1
        assert all(isinstance(file.filename, str) and file.filename for file in found.files)
