"""The fake server: its responses against recorded ones, and its faults as the client sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.fake_faults import Fault, Page, during, first
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.recorded import OF_ANY_VALUE, RECORDED, differences

from orchestrator.comfyui import OutputFile
from orchestrator.errors import NotOnServer, ServerBusy, ServerUnreachable, UnexpectedAnswer

URL = "http://gpu:8188"
OURS = OF_ANY_VALUE | {"exception_message", "exception_type", "current_inputs", "current_outputs", "text", "number"}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def server(clock: HandClock) -> FakeServer:
    return FakeServer(URL, clock, lambda _: 10.0)


def ask(server: FakeServer, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = server.exchange(method, f"/api{path}", body=None if body is None else json.dumps(body).encode())
    return answer.status, json.loads(answer.body or b'""')


def submit(server: FakeServer, entry: list[Any]) -> tuple[int, Any]:
    number, prompt_id, graph, extra_data, _ = entry
    body = {"prompt": graph, "prompt_id": prompt_id, "number": number, "extra_data": extra_data}
    return ask(server, "POST", "/prompt", body)


def as_recorded(name: str, found: tuple[int, Any]) -> None:
    wanted = RECORDED[name]["response"]
    assert found[0] == wanted["status"]
    assert differences(wanted["body"], found[1], free=OURS) == []


def entry_of(name: str) -> list[Any]:
    (found,) = RECORDED[name]["response"]["body"].values()
    entry: list[Any] = found["prompt"]
    return entry


def test_a_prompt_from_the_queue_to_the_history(server: FakeServer, clock: HandClock) -> None:
    entry = entry_of("history success")
    as_recorded("history unknown id", ask(server, "GET", f"/history/{entry[1]}"))
    as_recorded("queue empty", ask(server, "GET", "/queue"))
    as_recorded("prompt info (queue_remaining)", ask(server, "GET", "/prompt"))
    as_recorded("submit ok, client-chosen prompt_id", submit(server, entry))
    clock.seconds = 9.9
    assert ask(server, "GET", f"/history/{entry[1]}") == (200, {})
    clock.seconds = 10.0
    as_recorded("history success", ask(server, "GET", f"/history/{entry[1]}"))


def test_a_queue_of_three_one_of_which_is_deleted_and_one_interrupted(server: FakeServer, clock: HandClock) -> None:
    queued = RECORDED["queue running and pending"]["response"]["body"]
    for entry in queued["queue_running"] + queued["queue_pending"][::-1]:
        submit(server, entry)
    as_recorded("queue running and pending", ask(server, "GET", "/queue"))
    as_recorded("prompt info while busy", ask(server, "GET", "/prompt"))
    for name in ("queue delete pending", "interrupt one running prompt"):
        as_recorded(name, ask(server, "POST", RECORDED[name]["request"]["path"], RECORDED[name]["request"]["json"]))
    for name in ("history interrupted", "history of a deleted pending prompt"):
        as_recorded(name, ask(server, "GET", RECORDED[name]["request"]["path"]))
    clock.seconds = 10.0
    server.tick()
    assert list(server.history) == [queued["queue_running"][0][1], queued["queue_pending"][0][1]]


def test_a_prompt_that_fails(server: FakeServer, clock: HandClock) -> None:
    server.prompts_to_fail = 1
    entry = entry_of("history error")
    submit(server, entry)
    clock.seconds = 10.0
    as_recorded("history error", ask(server, "GET", f"/history/{entry[1]}"))


def test_a_text(server: FakeServer, clock: HandClock) -> None:
    entry = entry_of("history success, text output")
    submit(server, entry)
    clock.seconds = 10.0
    as_recorded("history success, text output", ask(server, "GET", f"/history/{entry[1]}"))


def test_files_whole_in_part_and_missing(server: FakeServer, clock: HandClock) -> None:
    submit(server, entry_of("history success"))
    clock.seconds = 10.0
    server.tick()
    ((path, data),) = server.files.items()
    folder, _, name = path.rpartition("/")
    with server.client() as client:
        for offset in (0, 100):
            with client.view(OutputFile("9", "images", name, folder, "output"), offset=offset) as download:
                assert (download.offset, download.total_bytes, download.accepts_resume) == (offset, len(data), True)
                assert b"".join(download.iter_chunks()) == data[offset:]
        with pytest.raises(NotOnServer), client.view(OutputFile("9", "images", "nope.png", "", "output")):
            pass


def test_a_download_that_breaks(server: FakeServer, clock: HandClock) -> None:
    server.files["a/b.png"] = bytes(range(100))
    server.fault = first(1, "view", "broken")
    got = []
    with server.client() as client, client.view(OutputFile("9", "images", "b.png", "a", "output")) as download:
        with pytest.raises(ServerUnreachable):
            got.extend(download.iter_chunks())
        assert (client.failures, client.pushbacks) == (0, 0)
    assert (b"".join(got), download.total_bytes) == (bytes(range(50)), 100)


@pytest.mark.parametrize(
    ("fault", "pushbacks", "failures"),
    [("refused", 0, 1), ("lost", 0, 1), ("late", 1, 1), (Page(429), 1, 0), (Page(503), 0, 0)],
)
def test_a_request_that_is_repeated_outlives_a_fault(
    server: FakeServer, clock: HandClock, fault: Fault, pushbacks: int, failures: int
) -> None:
    server.fault = during(fault, clock, 0.0, 0.1)
    with server.client() as client:
        assert client.queue_remaining() == 0
        assert (client.pushbacks, client.failures, client.requests_made) == (pushbacks, failures, 2)
    assert clock.seconds >= 0.25


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [("refused", False), (Page(503), False), (Page(502, after=True), True), ("lost", True), ("late", True)],
)
def test_a_prompt_is_sent_once_and_arrives_or_not(server: FakeServer, fault: Fault, arrives: bool) -> None:
    server.fault = first(9, "POST", fault)
    with server.client() as client, pytest.raises((ServerUnreachable, ServerBusy)) as caught:
        client.submit({}, prompt_id="x", number=1, extra_data={})
    assert bool(server.accepted) is arrives
    assert getattr(caught.value, "may_have_arrived", True) is (fault != "refused")
    assert [asked for _, asked in server.requests].count("POST /api/prompt") == 1


def test_a_restart_forgets_prompts_and_keeps_files(server: FakeServer, clock: HandClock) -> None:
    for name in ("history success", "history error"):
        submit(server, entry_of(name))
    clock.seconds = 10.0
    server.restart()
    assert ask(server, "GET", "/queue") == (200, {"queue_running": [], "queue_pending": []})
    assert ask(server, "GET", f"/history/{entry_of('history success')[1]}") == (200, {})
    assert len(server.files) == 1


def test_streams_are_closed_also_those_that_are_refused(server: FakeServer) -> None:
    server.files["a/b.png"] = b"data"
    opened = [Page(503), Page(429), Page(404), Page(200, b"data", {})]
    answers = iter(opened)
    server.fault = lambda asked: next(answers) if "view" in asked else None
    file = OutputFile("9", "images", "b.png", "a", "output")
    with server.client() as client:
        with pytest.raises(UnexpectedAnswer), client.view(file):
            pass
        with client.view(file) as download:
            assert not opened[-1].is_closed
            assert b"".join(download.iter_chunks()) == b"data"
        assert client.requests_made == 5
    assert [page.is_closed for page in opened] == [True] * 4
