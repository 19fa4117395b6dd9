"""What the client makes of every answer that was recorded of real servers, version by version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from support.fake_faults import Page
from support.recorded import RECORDINGS

import templates
from orchestrator.comfyui import ComfyUI, JobStatus, OutputFile, OutputText
from orchestrator.comfyui.events import Event, read_message
from orchestrator.comfyui.transport import Answer, Form
from orchestrator.errors import NotOnServer, PromptRejected, UnexpectedAnswer
from orchestrator.outputs.choice import chosen

VERSIONS = list(RECORDINGS)
NEWER = "0.33.0"
URL = "http://gpu:8188"
UNKNOWN = "e5591324-6639-42cf-a211-3ae417f1524f"


class Recording:
    """The transport of a client: a server that answers what one of this version was recorded to answer."""

    requests_made = 0

    def __init__(self, cases: Sequence[Mapping[str, Any]]) -> None:
        self._cases = cases

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        if path == "/api/prompt" and method == "GET" and not self._has(method, path):
            return Answer(method, path, 200, {}, b'{"exec_info": {"queue_remaining": 0}}')
        status, given, data = self._answer(method, path)
        return Answer(method, path, status, given, data)

    def stream(self, path: str, *, params: Mapping[str, str], offset: int) -> Page:
        status, headers, data = self._answer("GET", f"{path}?{urlencode(params)}")
        return Page(status, data, headers)

    def open_events(self, path: str) -> Any:
        raise NotImplementedError

    def close(self) -> None: ...

    def _has(self, method: str, path: str) -> bool:
        return any(self._is(case, method, path) for case in self._cases)

    def _is(self, case: Mapping[str, Any], method: str, path: str) -> bool:
        asked = case["request"]
        without = path if asked["path"].startswith("/api/") else path.removeprefix("/api")
        return bool(asked["method"] == method and asked["path"].partition("?")[0] == without.partition("?")[0])

    def _answer(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        for case in self._cases:
            if self._is(case, method, path):
                answer = case["response"]
                body = answer["body"]
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                headers = {name: value for name, value in answer["headers"].items() if name != "Content-Length"}
                return answer["status"], headers, data
        return 404, {}, b""


def client(version: str, *names: str) -> ComfyUI:
    return ComfyUI(URL, transport=Recording([RECORDINGS[version][name] for name in names]))


def answering(version: str, name: str, body: Any) -> ComfyUI:
    """As `client`, with another body in the answer."""
    case = RECORDINGS[version][name]
    return ComfyUI(URL, transport=Recording([{**case, "response": {"status": 200, "headers": {}, "body": body}}]))


def body_of(version: str, name: str) -> Any:
    return RECORDINGS[version][name]["response"]["body"]


def named(*beginnings: str, status: int | None = None, but: tuple[str, ...] = ()) -> list[Any]:
    """Cases of all versions whose names begin so."""
    return [
        pytest.param(version, name, id=f"{version} {name}")
        for version, cases in RECORDINGS.items()
        for name, case in cases.items()
        if name.startswith(beginnings) and not name.startswith(but or ("-",))
        if status is None or case["response"]["status"] == status
    ]


def submit(version: str, name: str) -> Any:
    order = RECORDINGS[version][name]["request"]["json"]
    graph, prompt_id = order.get("prompt", {}), order.get("prompt_id", "x")
    return client(version, name).submit(graph, prompt_id=prompt_id, number=1, extra_data={})


@pytest.mark.parametrize(("version", "name"), named("submit", status=200))
def test_a_prompt_that_was_taken(version: str, name: str) -> None:
    found, body = submit(version, name), body_of(version, name)
    assert (found.prompt_id, found.number, found.node_errors) == (body["prompt_id"], body["number"], {})


@pytest.mark.parametrize(("version", "name"), named("submit", status=400))
def test_a_prompt_that_was_refused(version: str, name: str) -> None:
    with pytest.raises(PromptRejected) as refused:
        submit(version, name)
    error, body = refused.value, body_of(version, name)
    assert (error.error_type, error.node_errors) == (body["error"]["type"], body["node_errors"])
    assert body["error"]["message"].rstrip(".") in str(error)
    assert all(f"node {node_id} " in str(error) for node_id in body["node_errors"])


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("0.3.64", "Cannot execute because node Nope does not exist: Node ID '#1'"),
        (NEWER, "Node 'Nope' not found. The custom node may not be installed: Node ID '#1'"),
    ],
)
def test_a_class_that_is_missing_is_named_with_its_node(version: str, said: str) -> None:
    with pytest.raises(PromptRejected, match="Nope") as refused:
        submit(version, "submit unknown node")
    assert str(refused.value) == f"the server rejected the prompt: {said}"


@pytest.mark.parametrize(("version", "name"), named("history", status=200, but=("history max_items", "history delete")))
def test_a_history(version: str, name: str) -> None:
    case = RECORDINGS[version][name]
    prompt_id = case["request"]["path"].rpartition("/")[2]
    found = client(version, name).history(prompt_id)
    if not case["response"]["body"]:
        assert found is None
        return
    entry = case["response"]["body"][prompt_id]
    assert found is not None
    assert found.succeeded == ("success" in name)
    assert found.interrupted == ("interrupted" in name or "cancelled" in name)
    assert (found.failure is not None) == ("error" in name)
    assert found.graph == entry["prompt"][2]
    assert found.started_at is not None
    assert found.finished_at is not None
    listed = [
        value["filename"] if isinstance(value, dict) else value
        for kinds in entry["outputs"].values()
        for kind, values in kinds.items()
        for value in (values if kind != "animated" else ())
    ]
    files, texts = [file.filename for file in found.files], [text.text for text in found.texts]
    assert sorted([*files, *texts]) == sorted(listed)


def test_an_asset_is_the_file_that_it_is() -> None:
    name = "history success, outputs with assets"
    (prompt_id,) = body_of(NEWER, name)
    found = client(NEWER, name).history(prompt_id)
    assert found is not None
    assert found.files == (OutputFile("9", "images", f"{prompt_id}_00001_.png", "burst", "output"),)
    uploaded = client(NEWER, "upload image, with assets").upload_image("b.png", b"x", subfolder="burst")
    assert uploaded.as_input == "burst/b.png"


class TestIntermediateOutputs:
    """A node in between shows what it makes, and shows it again where it comes from the cache."""

    def history(self, name: str) -> Any:
        (prompt_id,) = body_of(NEWER, name)
        return client(NEWER, name).history(prompt_id)

    def test_made_by_this_prompt(self) -> None:
        found = self.history("history success, intermediate output")
        assert [(file.node_id, file.type, file.is_between, file.is_earlier) for file in found.files] == [
            ("9", "output", False, False),
            ("2", "temp", True, False),
        ]

    def test_made_by_an_earlier_one(self) -> None:
        found = self.history("history success, cached intermediate output")
        assert [(file.node_id, file.type, file.is_between, file.is_earlier) for file in found.files] == [
            ("9", "output", False, False),
            ("2", "temp", True, True),
        ]

    def test_an_output_node_s_from_the_cache_is_all_that_there_is(self) -> None:
        for version in VERSIONS:
            name = "history success, all nodes cached (same output file as the first run)"
            prompt_id = next(iter(body_of(version, name)))
            found = client(version, name).history(prompt_id)
            assert found is not None
            assert [(file.is_between, file.is_earlier) for file in found.files] == [(False, False)]

    def test_an_earlier_one_s_is_not_chosen_whatever_its_type(self) -> None:
        graph = self.history("history success, cached intermediate output").graph
        ours = OutputFile("9", "images", "ours.png", "", "output")
        for kind in ("temp", "output"):
            theirs = OutputFile("2", "images", "theirs.png", "", kind, is_between=True, is_earlier=True)
            assert chosen(graph, [theirs, ours], []) == ([ours], [])
            assert chosen(graph, [theirs], [OutputText("5", "text", "t")])[0] == []
            assert chosen(graph, [theirs, ours], [], nodes=["2"])[0] == [theirs], "where it is named, it is wanted"

    @pytest.mark.parametrize(
        ("files", "wanted"),
        [
            (("ours temp", "between temp"), ("ours temp",)),
            (("between temp",), ("between temp",)),
            (("ours temp", "between output"), ("between output",)),
            (("ours output", "between output", "between temp"), ("ours output", "between output")),
        ],
    )
    def test_previews_in_between_are_left_out_beside_those_of_output_nodes(
        self, files: tuple[str, ...], wanted: tuple[str, ...]
    ) -> None:
        listed = [
            OutputFile("9", "images", name, "", name.split()[1], is_between=name.startswith("between"))
            for name in files
        ]
        assert tuple(one.filename for one in chosen({}, listed, [])[0]) == wanted

    def test_a_file_that_ours_lists_too_is_ours(self) -> None:
        name = "history success, cached intermediate output"
        body = json.loads(json.dumps(body_of(NEWER, name)))
        (prompt_id,) = body
        outputs = body[prompt_id]["outputs"]
        outputs["2"]["images"] = outputs["9"]["images"]
        body[prompt_id]["outputs"] = {"2": outputs["2"], "9": outputs["9"]}
        found = answering(NEWER, name, body).history(prompt_id)
        assert found is not None
        assert [(file.node_id, file.is_earlier) for file in found.files] == [("9", False)]


@pytest.mark.parametrize(("version", "name"), named("queue empty", "queue running", "queue before", "queue after"))
def test_a_queue(version: str, name: str) -> None:
    body = body_of(version, name)
    found = client(version, name).queue()
    assert [one.prompt_id for one in found.running] == [entry[1] for entry in body["queue_running"]]
    assert [one.prompt_id for one in found.pending] == [entry[1] for entry in body["queue_pending"]]
    assert found.is_of_newer_server == (version == NEWER and bool(body["queue_running"]))
    graphs = client(version, name).queued_graphs()
    assert [one.graph for one in graphs] == [entry[2] for entry in body["queue_running"] + body["queue_pending"]]


@pytest.mark.parametrize("parts", [5, 6])
@pytest.mark.parametrize("version", VERSIONS)
def test_entries_of_five_and_six_parts(version: str, parts: int) -> None:
    """Versions between these two showed a sixth part, with what is secret; later ones cut it off."""
    name = "queue running and pending"
    body = json.loads(json.dumps(body_of(version, name)))
    for entry in [*body["queue_running"], *body["queue_pending"]]:
        entry += [{"api_key_comfy_org": "a key"}][: parts - 5]
    asking = answering(version, name, body)
    assert len(asking.queue().pending) == 2
    assert [len(one.graph) for one in asking.queued_graphs()] == [3, 3, 3]
    assert "a key" not in str((asking.queue(), asking.queued_graphs()))


@pytest.mark.parametrize("version", VERSIONS)
class TestSmallAnswers:
    def test_counts(self, version: str) -> None:
        assert client(version, "prompt info (queue_remaining)").queue_remaining() == 0
        assert client(version, "prompt info while busy").queue_remaining() == 3

    def test_commands(self, version: str) -> None:
        client(version, "queue delete pending").delete_from_queue([UNKNOWN])
        client(version, "interrupt one running prompt").interrupt(UNKNOWN)

    def test_what_it_is(self, version: str) -> None:
        assert client(version, "system_stats").system_stats()["system"]["comfyui_version"] == version
        assert client(version, "features").features()["supports_preview_metadata"] is True
        assert client(version, "models checkpoints").models("checkpoints") == body_of(version, "models checkpoints")

    def test_an_upload(self, version: str) -> None:
        found = client(version, "upload image").upload_image("b.png", b"x", subfolder="burst")
        assert (found.as_input, found.type) == ("burst/b.png", "input")

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("view missing", NotOnServer),
            ("view bad filename", UnexpectedAnswer),
            ("view bad subfolder", UnexpectedAnswer),
        ],
    )
    def test_a_file_that_is_not_given(self, version: str, name: str, error: type[Exception]) -> None:
        with pytest.raises(error), client(version, name).view(OutputFile("9", "images", "nope.png", "", "output")):
            pass

    def test_a_file(self, version: str) -> None:
        with client(version, "view ok").view(OutputFile("9", "images", "x.png", "burst/EP01", "output")) as download:
            assert download.first_bytes().startswith(b"<")

    @pytest.mark.parametrize(
        ("class_type", "input_name", "offers"),
        [
            ("KSampler", "sampler_name", "euler"),
            ("KSampler", "seed", None),
            ("LoadImage", "image", "example.png"),
            ("EmptyImage", "width", None),
        ],
    )
    def test_a_class(self, version: str, class_type: str, input_name: str, offers: str | None) -> None:
        info = client(version, f"object_info {class_type}").object_info(class_type)[class_type]
        spec = templates.declared_inputs(info, "required")[input_name]
        found = templates.choices_of(input_name, spec)
        assert (found is not None and offers in (found.values or ())) if offers else found is None

    def test_a_class_that_is_not_there(self, version: str) -> None:
        assert client(version, "object_info unknown").object_info("Nope") == {}

    @pytest.mark.parametrize("name", [name for name in RECORDINGS[NEWER] if name.startswith("ws ")])
    def test_what_the_websocket_tells(self, version: str, name: str) -> None:
        if name == "ws connect" or name not in RECORDINGS[version]:
            return
        found = [read_message(json.dumps(one)) for one in RECORDINGS[version][name]["messages"]]
        kinds = [one.kind for one in found if isinstance(one, Event) and one.kind != "other"]
        ends = 2 if "then the next one" in name else 1
        assert (kinds.count("began"), kinds.count("ended"), kinds.count("over")) == (ends, ends, ends)
        assert (kinds[0], kinds[-2:]) == ("began", ["ended", "over"])


class TestJobs:
    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("job unknown", None),
            ("job of a deleted pending prompt", None),
            ("job pending", JobStatus.PENDING),
            ("job in progress", JobStatus.IN_PROGRESS),
            ("job completed", JobStatus.COMPLETED),
            ("job failed", JobStatus.FAILED),
            ("job cancelled", JobStatus.CANCELLED),
            ("job with a preview", JobStatus.COMPLETED),
            ("job with assets", JobStatus.COMPLETED),
            ("job with a cached intermediate output", JobStatus.COMPLETED),
        ],
    )
    def test_a_job(self, name: str, status: JobStatus | None) -> None:
        asking = client(NEWER, name)
        assert not asking.is_known_to_have_jobs
        assert asking.job(RECORDINGS[NEWER][name]["request"]["path"].rpartition("/")[2]) is status
        assert asking.has_jobs
        assert asking.is_known_to_have_jobs

    def test_all_that_are_unfinished(self) -> None:
        found = client(NEWER, "jobs pending and in progress").unfinished_jobs()
        assert found is not None
        assert list(found.values()) == [JobStatus.PENDING, JobStatus.PENDING, JobStatus.IN_PROGRESS]
        assert client(NEWER, "jobs, none").unfinished_jobs() == {}

    @pytest.mark.parametrize(
        ("name", "done"),
        [
            ("cancel several jobs", True),
            ("cancel several jobs, none is there", True),
            ("cancel several jobs, one is no UUID", False),
            ("cancel without a list", False),
        ],
    )
    def test_cancelling(self, name: str, done: bool) -> None:
        assert client(NEWER, name).cancel_jobs([UNKNOWN]) is done

    def test_the_older_version_has_none(self) -> None:
        asking = client("0.3.64")
        assert not asking.has_jobs
        assert not asking.cancel_jobs([UNKNOWN])
