"""The client for Comfy API v2 and the fake server of other tests, against what `comfy-api-proxy` answered."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.fake_api_v2 import HOSTED, FakeApiV2
from support.fake_faults import Page, first
from support.hand_clock import HandClock, PassingClock
from support.recorded import OF_ANY_VALUE, differences, form_differences

from orchestrator.comfyui import ComfyUI, OutputFile
from orchestrator.comfyui.api_v2 import ApiV2
from orchestrator.comfyui.lookup import Absent, Finished, Queued, delete_waiting, look_up, withdraw
from orchestrator.comfyui.responses import JobStatus
from orchestrator.comfyui.transport import Answer, Form
from orchestrator.errors import (
    KeyUsed,
    NotComfyUI,
    NotOnServer,
    PromptRejected,
    ServerBusy,
    ServerUnreachable,
    UnexpectedAnswer,
)

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data/api_v2.json").read_text("utf-8"))["cases"]
URL = "http://hosted:8189"
KEY = "0b0b0b0b-0000-4000-8000-000000000001"
IMAGE: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64}},
    "4": {"class_type": "StringConcatenate", "inputs": {"string_a": "a house"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "burst/x/9"}},
}
OURS = OF_ANY_VALUE | {
    *("id", "created_at", "expires_at", "urls", "url", "url_expires_at", "metadata", "outputs", "job_id", "message"),
    *("node_id", "class_type", "queue_position", "hash", "size_bytes", "missing_ids", "file_path"),
}


class Replay:
    """A transport that gives recorded answers, in turn."""

    def __init__(self, *names: str) -> None:
        self.requests_made = 0
        self.sent: list[tuple[str, str, Any, Mapping[str, str]]] = []
        self._answers = [RECORDED[name]["response"] for name in names]

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        self.sent.append((method, path, json.loads(body) if body else form, headers or {}))
        answer = self._answers.pop(0)
        return Answer(method, path, answer["status"], answer["headers"], json.dumps(answer["body"]).encode())


def recorded(*names: str) -> tuple[ApiV2, Replay]:
    replay = Replay(*names)
    return ApiV2(URL, transport=replay, clock=PassingClock(HandClock()), terms=HOSTED), replay


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def server(clock: HandClock) -> FakeApiV2:
    return FakeApiV2(URL, clock, lambda _: 10.0)


def submit(client: Any, key: str = KEY) -> str:
    return str(client.submit(IMAGE, prompt_id=key, number=1.0, extra_data={"burst": {"item": "a"}}).prompt_id)


# Recorded answers


def test_a_prompt_is_submitted_with_its_key_and_its_label() -> None:
    client, replay = recorded("jobs_listed", "submit")
    assert submit(client) == RECORDED["submit"]["response"]["body"]["id"]
    method, path, order, headers = replay.sent[-1]
    assert (method, path) == ("POST", "/api/v2/jobs")
    assert order == {"workflow": IMAGE, "metadata": KEY}
    assert headers == {"Idempotency-Key": KEY}


def test_a_server_that_lists_no_jobs_is_sent_no_label() -> None:
    client, replay = recorded("job_unknown", "submit", "submit")
    submit(client)
    submit(client)
    assert [order for _, _, order, _ in replay.sent[1:]] == [{"workflow": IMAGE}] * 2


def test_a_used_key_is_told_from_a_rejected_prompt() -> None:
    client, _ = recorded("jobs_listed", "submit_same_key", "submit_bad_value", "submit_unknown_class")
    with pytest.raises(KeyUsed, match="already been used"):
        submit(client)
    with pytest.raises(PromptRejected, match=r"Value 7\.5 bigger than max of 1\.0") as bad:
        submit(client)
    assert bad.value.refused_inputs() == {("2", "strength")}
    with pytest.raises(PromptRejected, match="NoSuchNode") as unknown:
        submit(client)
    assert unknown.value.node_errors == {}


def test_a_finished_job_as_a_history_entry() -> None:
    client, replay = recorded("job_succeeded")
    entry = client.history("a")
    assert entry is not None
    assert entry.succeeded
    (file,) = entry.files
    assert (file.node_id, file.kind, file.filename, file.type) == ("9", "images", "9_00001_.png", "output")
    assert file.asset == RECORDED["job_succeeded"]["response"]["body"]["outputs"][0]["id"]
    assert replay.sent[0][1] == "/api/v2/jobs/a"


def test_a_failed_job_names_its_node() -> None:
    client, _ = recorded("job_failed")
    entry = client.history("a")
    assert entry is not None
    assert entry.failure is not None
    assert str(entry.failure) == "node 4 (RegexReplace) failed: missing ), unterminated subpattern at position 0"
    assert entry.failure.node_id == "4"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("job_queued", JobStatus.PENDING),
        ("job_running", JobStatus.IN_PROGRESS),
        ("cancel_running", JobStatus.IN_PROGRESS),
        ("job_succeeded", JobStatus.COMPLETED),
        ("job_failed", JobStatus.FAILED),
        ("job_canceled_while_running", JobStatus.CANCELLED),
        ("job_canceled_while_queued", None),
    ],
)
def test_the_status_of_a_job(name: str, status: JobStatus | None) -> None:
    client, _ = recorded(name)
    assert client.job("a") is status


def test_an_unknown_job_is_looked_for_by_its_label() -> None:
    client, replay = recorded("job_unknown", "jobs_listed", "jobs_listed", "job_succeeded")
    label = RECORDED["submit"]["response"]["body"]["metadata"]
    job = RECORDED["submit"]["response"]["body"]["id"]
    assert client.job(label) is JobStatus.COMPLETED
    assert client.name_of(label) == job
    client.job(label)
    assert replay.sent[-1][1] == f"/api/v2/jobs/{job}"


def test_what_answers_in_another_way_is_not_such_a_server() -> None:
    client, _ = recorded("no_comfyui")
    with pytest.raises(NotComfyUI):
        client.queue_remaining()
    client, _ = recorded("job_unknown")
    assert client.queue_remaining() == 0


def test_a_client_for_comfyui_says_what_it_met(server: FakeApiV2) -> None:
    with pytest.raises(NotComfyUI, match=r'it speaks Comfy API v2; write `\[server_options."http://hosted:8189"\]`'):
        ComfyUI(URL, transport=server, clock=PassingClock(server.clock)).queue_remaining()
    page = FakeApiV2(URL, HandClock(), lambda _: 1.0)
    page.fault = lambda asked: Page(404)
    with pytest.raises(NotComfyUI) as other:
        ComfyUI(URL, transport=page, clock=PassingClock(page.clock)).queue_remaining()
    assert "v2" not in str(other.value)


def test_an_upload_is_referred_to_by_its_asset() -> None:
    client, replay = recorded("upload", "jobs_listed", "submit_with_asset", "submit_missing_asset")
    uploaded = client.upload_image("r.png", b"bytes", subfolder="burst")
    assert replay.sent[0][:3] == (
        "POST",
        "/api/v2/assets",
        {"file": ("r.png", b"bytes"), "file_path": "burst/r.png", "content_type": "image/png"},
    )
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": uploaded.as_input}}}
    client.submit(graph, prompt_id=KEY, number=1.0, extra_data={})
    asset = RECORDED["upload"]["response"]["body"]["id"]
    sent = replay.sent[-1][2]["workflow"]["1"]["inputs"]["image"]
    assert sent == {"__type": "core/ASSET", "info": {"id": asset, "file_path": "burst/r.png"}}
    assert graph["1"]["inputs"]["image"] == "burst/r.png"


# Against the fake


def test_an_answer_that_was_lost_is_found_by_its_label(server: FakeApiV2, clock: HandClock) -> None:
    client = server.client()
    server.fault = first(1, "POST /api/v2/jobs", "lost")
    with pytest.raises(ServerUnreachable):
        submit(client)
    (job,) = server.jobs
    assert look_up(client, [KEY]) == {KEY: Queued(job, running=True)}
    clock.seconds = 20.0
    (fate,) = look_up(client, [KEY]).values()
    assert isinstance(fate, Finished)
    assert fate.entry.prompt_id == job


def test_without_a_list_it_is_absent_and_its_key_taken(server: FakeApiV2) -> None:
    server.lists = False
    client = server.client()
    server.fault = first(1, "POST /api/v2/jobs", "lost")
    with pytest.raises(ServerUnreachable):
        submit(client)
    assert look_up(client, [KEY]) == {KEY: Absent()}
    with pytest.raises(KeyUsed):
        submit(client)
    assert len(server.jobs) == 1


def test_what_waits_is_taken_back_and_what_runs_is_not(server: FakeApiV2) -> None:
    client = server.client()
    first_job, second_job = submit(client), submit(client, str(uuid.uuid4()))
    assert delete_waiting(client, [first_job, second_job]) == {second_job: Absent()}
    assert look_up(client, [first_job]) == {first_job: Queued(first_job, running=True)}
    fates = withdraw(client, [first_job, second_job])
    assert isinstance(fates[first_job], Finished)
    assert isinstance(fates[second_job], Absent)


def test_a_cloud_that_says_canceled_of_what_never_ran(server: FakeApiV2) -> None:
    client, replay = recorded("job_queued", "cancel_queued", "job_canceled_while_running")
    assert client.job("a") is JobStatus.PENDING
    job = RECORDED["job_canceled_while_running"]["response"]["body"] | {"id": "a"}
    replay._answers[0] = {"status": 200, "headers": {}, "body": job}
    replay._answers[1] = {"status": 200, "headers": {}, "body": job}
    client.delete_from_queue(["a"])
    assert client.history("a") is None


def test_a_file_is_fetched_by_its_asset_and_resumed(server: FakeApiV2, clock: HandClock) -> None:
    client = server.client()
    job = submit(client)
    clock.seconds = 20.0
    entry = client.history(job)
    assert entry is not None
    with client.view(entry.files[0]) as download:
        whole = b"".join(download.iter_chunks())
    with client.view(entry.files[0], offset=10) as download:
        assert b"".join(download.iter_chunks()) == whole[10:]
    server.files.clear()
    with pytest.raises(NotOnServer), client.view(entry.files[0]):
        pass
    with pytest.raises(NotOnServer), client.view(OutputFile("9", "images", "x.png", "burst", "output")):
        pass


def test_keys_of_partner_nodes_go_with_the_prompt_and_into_no_message(server: FakeApiV2) -> None:
    server.secret_data = {"api_key_comfy_org": "comfyui-0123456789"}
    client = server.client()
    submit(client)
    (job,) = server.jobs.values()
    assert job["extra_data"] == {"api_key_comfy_org": "comfyui-0123456789"}
    server.fault = first(1, "POST /api/v2/jobs", Page(403, b"the key comfyui-0123456789 is wrong"))
    with pytest.raises(UnexpectedAnswer) as refused:
        submit(client, str(uuid.uuid4()))
    assert "comfyui-0123456789" not in f"{refused.value}{refused.value!r}{client!r}"


def test_a_full_queue_and_an_empty_account(server: FakeApiV2) -> None:
    client = server.client()
    server.refuses = {"status": 429, "code": "queue_full"}
    with pytest.raises(ServerBusy) as busy:
        submit(client)
    assert busy.value.status == 429
    server.refuses = {"status": 402, "code": "insufficient_credits"}
    with pytest.raises(UnexpectedAnswer, match="credit") as empty:
        submit(client)
    assert empty.value.needs_a_person


@pytest.mark.parametrize(
    ("name", "asked"),
    [("job_unknown", ("GET", f"/api/v2/jobs/{uuid.uuid4()}")), ("cancel_unknown", ("POST", "/api/v2/jobs/x/cancel"))],
)
def test_the_fake_does_not_know_as_the_proxy(server: FakeApiV2, name: str, asked: tuple[str, str]) -> None:
    as_recorded(name, server.exchange(*asked, body=b"{}"))


def test_the_fake_answers_as_the_proxy(server: FakeApiV2, clock: HandClock) -> None:
    def post(path: str, body: Any, key: str = KEY) -> Answer:
        return server.exchange("POST", path, body=json.dumps(body).encode(), headers={"Idempotency-Key": key})

    def get(path: str) -> Answer:
        return server.exchange("GET", path)

    order = {"workflow": IMAGE, "metadata": KEY}
    as_recorded("submit", made := post("/api/v2/jobs", order))
    as_recorded("submit_same_key", post("/api/v2/jobs", order))
    job = json.loads(made.body)["id"]
    waiting = json.loads(post("/api/v2/jobs", order, "other").body)["id"]
    as_recorded("job_running", get(f"/api/v2/jobs/{job}"))
    as_recorded("job_queued", get(f"/api/v2/jobs/{waiting}"))
    as_recorded("cancel_queued", post(f"/api/v2/jobs/{waiting}/cancel", {}))
    as_recorded("job_canceled_while_queued", get(f"/api/v2/jobs/{waiting}"))
    clock.seconds = 20.0
    as_recorded("job_succeeded", get(f"/api/v2/jobs/{job}"))
    outputs = json.loads(get(f"/api/v2/jobs/{job}").body)["outputs"]
    assert form_differences(RECORDED["job_succeeded"]["response"]["body"]["outputs"], outputs, where="") == []
    running = json.loads(post("/api/v2/jobs", order, "third").body)["id"]
    get(f"/api/v2/jobs/{running}")
    as_recorded("cancel_running", post(f"/api/v2/jobs/{running}/cancel", {}))
    as_recorded("job_canceled_while_running", get(f"/api/v2/jobs/{running}"))
    server.prompts_to_fail = 1
    failing = json.loads(post("/api/v2/jobs", order, "fourth").body)["id"]
    clock.seconds = 40.0
    as_recorded("job_failed", get(f"/api/v2/jobs/{failing}"))
    extra = {"workflow": IMAGE, "extra_data": {"burst": {}}}
    as_recorded("submit_other_extra_data", post("/api/v2/jobs", extra, "fifth"))


def as_recorded(name: str, found: Answer) -> None:
    wanted = RECORDED[name]["response"]
    assert found.status == wanted["status"]
    assert differences(wanted["body"], json.loads(found.body), free=OURS) == []


@pytest.mark.parametrize("lists", [True, False], ids=["lists jobs", "lists none"])
def test_which_jobs_have_ended_is_asked_once_for_all(lists: bool) -> None:
    clock = HandClock()
    server = FakeApiV2(URL, clock, lambda _: 10.0, lists=lists)
    with server.client() as client:
        ids = [client.submit(IMAGE, prompt_id=str(uuid.uuid4()), number=0, extra_data={}).prompt_id for _ in range(4)]
        client.delete_from_queue(ids[3:])
        clock.seconds += 25
        asked = len(server.requests)
        assert client.ended_among(ids) == (set(ids[:2]) if lists else set())
        assert len(server.requests) - asked == lists
        assert client.ended_among(ids[1:]) == (set(ids[1:2]) if lists else set())
