"""ComfyUI's answers as values: the recorded ones, and everything that could be wrong with them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st
from support.damaged_json import LONE_SURROGATE

from orchestrator.comfyui import (
    ComfyUI,
    HistoryEntry,
    JobStatus,
    OutputFile,
    OutputText,
    Queue,
    QueuedPrompt,
    Submitted,
    UploadedImage,
)
from orchestrator.comfyui import responses as answers
from orchestrator.comfyui.lookup import Absent, Queued, look_up
from orchestrator.errors import PromptRejected, ServerBusy, UnexpectedAnswer
from orchestrator.shapes import WrongShape

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


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("mesh/ComfyUI_00001_.glb", ("ComfyUI_00001_.glb", "mesh", "output")),
        ("chair.OBJ", ("chair.OBJ", "", "output")),
        ("3d\\old\\chair.ply [temp]", ("chair.ply", "3d\\old", "temp")),
    ],
)
def test_a_bare_name_of_a_3d_viewer_is_a_file(value: str, place: tuple[str, str, str]) -> None:
    outputs = {"7": {"result": [value, None, "temp/bg.png"]}}
    found = answers.read_history("a", {"a": {"outputs": outputs, "status": {"status_str": "success"}}}, str)
    assert found is not None
    assert found.files == (OutputFile("7", "result", *place, is_viewed=True),)
    assert [text.text for text in found.texts] == ["temp/bg.png"]


def test_what_another_node_saved_is_one_file_and_a_text_stays_a_text() -> None:
    saved = {"filename": "a.glb", "subfolder": "mesh", "type": "output"}
    outputs = {
        "7": {"result": ["mesh/a.glb"]},
        "9": {"3d": [saved]},
        "8": {"text": ["mesh/a.glb", "see a.glb.\nb.glb"]},
    }
    found = answers.read_history("a", {"a": {"outputs": outputs, "status": {"status_str": "success"}}}, str)
    assert found is not None
    assert found.files == (OutputFile("9", "3d", "a.glb", "mesh", "output"),)
    assert len(found.texts) == 2


@pytest.mark.parametrize(("outputs", "succeeded"), [({"1": {"text": ["a"]}}, True), ({}, False)])
def test_a_null_status_counts_its_outputs(outputs: dict[str, Any], succeeded: bool) -> None:
    found = history_of(minimal(status=None, outputs=outputs))
    assert found is not None
    assert found.succeeded is succeeded
    assert (found.failure is None) is succeeded


@pytest.mark.parametrize(
    "messages",
    [None, {}, "text", [7, ["execution_start"], ["execution_cached", []], [1, {}]], [["execution_cached", {}]]],
)
@pytest.mark.parametrize("prompt", [None, {}, [], [1, "x"], [1, "x", [], 7]])
def test_a_history_entry_without_details_is_a_result_all_the_same(messages: object, prompt: object) -> None:
    body = {"x": {"prompt": prompt, "outputs": {}, "status": {"status_str": "success", "messages": messages}}}
    found = history_of(body)
    assert found is not None
    assert (found.succeeded, found.graph, found.extra_data, found.cached_nodes) == (True, {}, {}, frozenset())
    assert history_of({"x": {"outputs": {}}}) is not None


@pytest.mark.parametrize(
    ("exception_type", "message", "expected"),
    [
        ("torch.OutOfMemoryError", "Allocation on device", True),
        ("RuntimeError", "CUDA error: out of memory", True),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("RuntimeError", "MPS backend out of memory (MPS allocated: 5.0 GB, other allocations: 1.0 GB)", True),
        ("RuntimeError", "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)", True),
        (
            "RuntimeError",
            "Could not allocate tensor with 5 bytes. There is not enough GPU video memory available!",
            True,
        ),
        (
            "RuntimeError",
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 400000000000 bytes. Error code 12 (Cannot allocate memory)",
            True,
        ),
        ("RuntimeError", "data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.", True),
        ("OSError", "The paging file is too small for this operation to complete. (os error 1455)", True),
        ("OSError", "[Errno 12] Cannot allocate memory", True),
        ("MemoryError", "", True),
        ("numpy._core._exceptions._ArrayMemoryError", "Unable to allocate 2.00 TiB for an array", True),
        ("RuntimeError", "std::bad_alloc", True),
        ("KeyError", "'NotAMemoryErrorName'", False),
        ("RuntimeError", "There is not enough room on the canvas", False),
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


ENTRY = [1, "x", {"1": {}}, {"burst": 1}, ["1"]]
QUEUED = QueuedPrompt("x", 1.0, {"burst": 1})


@pytest.mark.parametrize(
    ("read", "body", "expected"),
    [
        (answers.read_names, ["a", "b"], ["a", "b"]),
        (answers.read_submitted, {"prompt_id": "x", "number": 2, "node_errors": {"1": {}}, "new": 1},
         Submitted("x", 2.0, {"1": {}})),
        (answers.read_submitted, {"prompt_id": "x", "number": None, "node_errors": []}, Submitted("x", None, {})),
        (answers.read_submitted, {"prompt_id": "x"}, Submitted("x", None, {})),
        (answers.read_queue, {"queue_running": [ENTRY], "queue_pending": [[*ENTRY, 7]]}, Queue((QUEUED,), (QUEUED,))),
        (answers.read_queue, {"queue_running": [[1, "x"], [1, "x", 0, []]], "queue_pending": []},
         Queue((QueuedPrompt("x", 1.0, {}),) * 2, ())),
        (answers.read_queue_remaining, {"exec_info": {"queue_remaining": 3, "new": 1}}, 3),
        (answers.read_job, {"status": "failed", "new": 1}, JobStatus.FAILED),
        (answers.read_uploaded, {"name": "a.png", "subfolder": "s", "type": "temp"},
         UploadedImage("a.png", "s", "temp")),
        (answers.read_uploaded, {"name": "a.png", "subfolder": None, "type": ""}, UploadedImage("a.png", "", "input")),
        (answers.read_uploaded, {"name": "a.png", "type": 7}, UploadedImage("a.png", "", "input")),
    ],
)  # fmt: skip
def test_what_a_server_may_add_or_leave_out(read: Callable[[object], object], body: object, expected: object) -> None:
    assert read(body) == expected


@pytest.mark.parametrize(
    ("read", "body", "message"),
    [
        (answers.read_object, [], "expected a mapping, got a list"),
        (answers.read_names, {"a": 1}, "expected a list, got a mapping"),
        (answers.read_names, ["a", ""], r"\[1\]: expected text of length >= 1"),
        (answers.read_submitted, {"number": 1}, "prompt_id: missing"),
        (answers.read_submitted, {"prompt_id": ""}, "prompt_id: expected text of length >= 1"),
        (answers.read_submitted, {"prompt_id": 7}, "prompt_id: expected text, got a whole number"),
        (answers.read_submitted, {"prompt_id": "x", "number": True}, "number: expected a number, got true or false"),
        (answers.read_submitted, {"prompt_id": "x", "number": "1"}, "number: expected a number, got text"),
        (answers.read_queue, {"queue_running": [], "queue_pending": [["1", "x"]]}, r"queue_pending\[0\]\[0\]: "),
        (answers.read_queue, {"queue_running": [{"number": 1, "prompt_id": "x"}], "queue_pending": []},
         r"queue_running\[0\]: expected a list, got a mapping"),
        (answers.read_queue_remaining, {"exec_info": []}, "exec_info: expected a mapping, got a list"),
        (answers.read_queue_remaining, {"exec_info": {}}, "exec_info.queue_remaining: missing"),
        (answers.read_queue_remaining, {"exec_info": {"queue_remaining": True}}, "queue_remaining: expected a whole"),
        (answers.read_queue_remaining, {"exec_info": {"queue_remaining": 1.5}}, "queue_remaining: expected a whole"),
        (answers.read_job, {"status": "lost"}, "status: not one of the known values"),
        (answers.read_job, {"status": LONE_SURROGATE}, "holds half a surrogate pair"),
        (answers.read_uploaded, {"subfolder": ""}, "name: missing"),
        (lambda body: answers.read_rejection(body, str), {"node_errors": {}}, "error: missing"),
        (lambda body: answers.read_rejection(body, str), {"error": 7}, "error: expected text or a mapping, got a"),
    ],
)  # fmt: skip
def test_a_body_that_does_not_fit_names_the_place(read: Callable[[object], object], body: object, message: str) -> None:
    with pytest.raises(WrongShape, match=message):
        read(body)


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


@pytest.mark.parametrize("more", [False, True], ids=["all", "a page of them"])
@responses.activate
def test_what_no_page_shows_is_asked_for_by_its_id(more: bool) -> None:
    """A server that lists the first jobs only does not make the others lost."""
    ids = ["a", "b", "c"]
    for one in ids:
        responses.add("GET", f"{URL}/api/history/{one}", json={})
        known = one != "c"
        body = {"id": one, "status": "pending"} if known else {"error": "Job not found"}
        responses.add("GET", f"{URL}/api/jobs/{one}", json=body, status=200 if known else 404)
    responses.add(
        "GET", f"{URL}/api/jobs/00000000-0000-4000-8000-000000000000", json={"error": "Job not found"}, status=404
    )
    listed = [{"id": one, "status": "pending"} for one in (["a"] if more else ["a", "b"])]
    page = {"jobs": listed, "pagination": {"offset": 0, "limit": None, "total": 2, "has_more": more}}
    responses.add("GET", f"{URL}/api/jobs", json=page)
    fates = look_up(ComfyUI(URL), ids)
    assert fates == {"a": Queued("a", running=False), "b": Queued("b", running=False), "c": Absent()}
    asked = [call.request.path_url for call in responses.calls]
    assert ("/api/jobs/b" in asked) is more


@pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": [{"id": "x"}], "pagination": {"has_more": False}}, []])
@responses.activate
def test_a_list_of_jobs_that_does_not_fit_says_nothing(body: Any) -> None:
    responses.add("GET", f"{URL}/api/jobs", json=body)
    with pytest.raises(UnexpectedAnswer, match="check that this address is a ComfyUI server's"):
        ComfyUI(URL).unfinished_jobs()


@pytest.mark.parametrize("status", [500, 503])
@responses.activate
def test_jobs_that_may_be_cancelled_or_not(status: int) -> None:
    responses.add("POST", f"{URL}/api/jobs/cancel", status=status)
    with pytest.raises(ServerBusy):
        ComfyUI(URL, retry_seconds=0).cancel_jobs(["x"])


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
