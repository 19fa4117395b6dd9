"""The states at a glance, over HTTP: counts, bursts, failures and their retry, the learned limit, servers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.background import Threads
from support.front_ends import Front, front
from support.leases import at_work
from support.waiting import wait_until

from orchestrator.clock import Clock
from orchestrator.sandbox import Sandbox
from orchestrator.servers import default_name
from orchestrator.settings import Overrides, Settings
from orchestrator.web import state_routes
from orchestrator.web.state_routes import ServerQueues
from orchestrator.web.states import WatchedStates
from state.burst_record import BurstRecord, SetAsideRecord
from state.change import Change
from state.item import ErrorRecord, Item, Status
from state.open_store import open_store, parts_of

AT = datetime(2026, 11, 21, 5, tzinfo=UTC)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def idle(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, works=False) as found:
        yield found


def state(shown: Front, number: int = 0) -> dict[str, Any]:
    answer = shown.http.get(f"/api/states/{number}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def fill(shown: Front, *failed: str, pending: int = 0) -> None:
    """A state with these failed items and so many pending ones."""
    store = open_store(shown.states[0], create=True)
    due = [Item(key=f"due{number}", status=Status.PENDING, prompt_text="a fox") for number in range(pending)]
    store.add([*(Item(key=key, status=Status.PENDING, prompt_text="an owl") for key in failed), *due])
    error = ErrorRecord(kind="execution_error", message="it broke")
    edit = lambda item: msgspec.structs.replace(item, status=Status.FAILED, error=error)  # noqa: E731
    store.apply([Change(key, Status.PENDING, edit) for key in failed])
    store.close()


def test_a_state_that_is_not_there_yet(idle: Front) -> None:
    found = state(idle)
    assert not found["exists"]
    assert set(found["counts"].values()) == {0}
    assert (found["bursts"], found["failed"], found["limit"], found["secondsPerItem"]) == ([], [], None, None)
    assert idle.http.post("/api/states/0/retry", json={}).json() == {"items": []}
    assert not idle.states[0].exists()


def test_counts_and_failed_items_with_their_reasons(idle: Front) -> None:
    fill(idle, "x", pending=2)
    found = state(idle)
    assert found["counts"] == {"pending": 2, "submitted": 0, "completed": 0, "failed": 1, "cancelled": 0}
    assert found["failed"] == [
        {
            "item": "x",
            "batchId": None,
            "batchName": None,
            "prompt": "an owl",
            "kind": "execution_error",
            "message": "it broke",
        }
    ]


def test_failed_items_are_retried_one_or_all(idle: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []
    monkeypatch.setattr(idle.supervisor, "wake", woken.append)
    fill(idle, "x", "y", "z")
    assert idle.http.post("/api/states/0/retry", json={"items": ["y"]}).json() == {"items": ["y"]}
    assert woken == [0]
    assert state(idle)["counts"]["pending"] == 1
    assert idle.http.post("/api/states/0/retry", json={"items": []}).json() == {"items": ["x", "z"]}
    assert state(idle)["counts"]["pending"] == 3
    assert idle.http.post("/api/states/0/retry", json={"items": ["nope"]}).status_code == 400
    assert idle.http.post("/api/states/0/retry", json={"things": []}).status_code == 400


def test_what_is_retried_is_worked_off(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, template="smoke") as working:
        # The first batch makes the state and its settings.
        working.wait_for(working.start()["batchId"], "complete")
        fill(working, "x")
        assert working.http.post("/api/states/0/retry", json={}).json() == {"items": ["x"]}
        wait_until(lambda: state(working)["counts"]["completed"] == 3, what="it to be rendered")


def test_bursts_as_they_went_killed_ones_too(idle: Front) -> None:
    fill(idle, "x")
    log = parts_of(idle.states[0]).bursts
    for number, ended in enumerate(("done", "killed", "error")):
        began = AT + timedelta(minutes=number)
        log.append(
            BurstRecord(
                burst=f"b{number}",
                started_at=began,
                ended_at=began + timedelta(seconds=20),
                ended=ended,  # type: ignore[arg-type]
                size=15,
                completed=7,
                seconds=20.0,
                reason="the disk is full" if ended == "error" else None,
            )
        )
    found = state(idle)["bursts"]
    assert [(burst["burst"], burst["ended"], burst["completed"]) for burst in found] == [
        ("b0", "done", 7),
        ("b1", "killed", None),
        ("b2", "error", 7),
    ]
    assert found[2]["reason"] == "the disk is full"
    assert [burst["endedText"] for burst in found] == ["done", "killed", "stopped by an error"]


def test_the_burst_at_work_is_shown_and_one_that_nobody_recorded(idle: Front) -> None:
    fill(idle, "x")
    folder = parts_of(idle.states[0]).checkpoint_directory
    with at_work(idle.states[0], burst="now", started_at=AT):
        found = state(idle)
        assert found["working"]
        assert [
            (burst["burst"], burst["ended"], burst["endedText"], burst["endedAt"]) for burst in found["bursts"]
        ] == [("now", "running", "running", None)]
        left = (folder / "holder.json").read_bytes()
    (folder / "holder.json").write_bytes(left)
    os.utime(folder / "holder.json", (1, 1))
    found = state(idle)
    assert not found["working"]
    assert [(burst["burst"], burst["ended"]) for burst in found["bursts"]] == [("now", "killed")]


def test_the_learned_limit(idle: Front) -> None:
    fill(idle, "x")
    log = parts_of(idle.states[0]).bursts
    for number in range(2):
        began = AT + timedelta(hours=number)
        ended = began + timedelta(seconds=60)
        log.append(
            BurstRecord(
                burst=str(number),
                started_at=began,
                ended_at=ended,
                ended="killed",
                size=5,
                seconds=60,
                alive_seconds=60,
            )
        )
    assert state(idle)["limit"] == {"seconds": 60.0, "usableSeconds": 54.0, "kills": 2}


def test_a_servers_queue_is_asked_for_once_in_a_while(idle: Front, sandbox: Sandbox) -> None:
    sandbox.hold("next")
    first = idle.http.get("/api/states/0/servers").json()
    assert first[0] | {"devices": []} == {
        "name": default_name(sandbox.url),
        "url": sandbox.url,
        "reachable": True,
        "message": None,
        "version": "0.3.64",
        "devices": [],
        "running": 0,
        "pending": 0,
    }
    assert "GiB free" in first[0]["devices"][0]
    before = sandbox.counts()["requests"]
    assert [idle.http.get("/api/states/0/servers").json() for _ in range(20)] == [first] * 20
    [state(idle) for _ in range(20)]
    assert sandbox.counts()["requests"] == before


def test_a_server_that_does_not_answer_is_said_soon_and_asked_again_later(tmp_path: Path, sandbox: Sandbox) -> None:
    """One that is waited for as a burst waits would take 20 s, of each page that asks."""
    with front(tmp_path, sandbox, works=False, server="http://127.0.0.1:9") as away:
        began = time.monotonic()
        (found,) = away.http.get("/api/states/0/servers").json()
        assert time.monotonic() - began < 12
        assert not found["reachable"]
        assert "127.0.0.1:9" in found["message"]


def test_what_servers_said_is_each_states_own_and_kept_for_three_seconds(tmp_path: Path, sandbox: Sandbox) -> None:
    class Moved(Clock):
        seconds = 0.0

        def monotonic(self) -> float:
            return self.seconds

    clock = Moved()
    with Sandbox() as other:
        (one,), (two,) = (
            WatchedStates([tmp_path / name], Overrides(servers=(server.url,))).states
            for name, server in (("one.json", sandbox), ("two.json", other))
        )
        two.number = 1
        servers = ServerQueues(clock)
        for seconds, asked in ((0.0, 1), (2.9, 1), (3.1, 2)):
            clock.seconds = seconds
            assert [queue.url for state in (one, two) for queue in servers.of(state)] == [sandbox.url, other.url]
            assert sandbox.counts()["requests"]["GET /queue"] == asked


def test_a_server_that_is_waited_for_keeps_no_other_state_waiting(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, first, go_on = state_routes._queue_of, threading.Event(), threading.Event()

    def slow(server: str, settings: Settings) -> state_routes.ServerQueue:
        if not first.is_set():
            first.set()
            assert go_on.wait(30)
        return ask(server, settings)

    monkeypatch.setattr(state_routes, "_queue_of", slow)
    with front(tmp_path, sandbox, works=False, states=2) as two, Threads(2) as pool:
        try:
            waiting = pool.submit(two.http.get, "/api/states/0/servers")
            assert first.wait(30)
            assert pool.submit(two.http.get, "/api/states/1/servers").result(10).json()[0]["reachable"]
        finally:
            go_on.set()
        assert waiting.result().status_code == 200


def test_a_state_that_cannot_be_read_says_why_and_the_others_are_shown(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, works=False, states=2) as two:
        two.start()
        two.start(state=1)
        two.states[0].write_text("{broken")
        one, other = two.http.get("/api/states").json()
        assert "not JSON at line 1" in one["message"]
        assert one["exists"]
        assert (other["message"], other["counts"]["pending"]) == (None, 2)
        assert state(two)["message"] == one["message"]
        assert state(two, 1)["message"] is None
        answer = two.http.post("/api/states/0/retry", json={})
        assert answer.status_code == 500
        assert "not JSON" in answer.json()["error"]["message"]


def test_settings_that_cannot_be_read_are_said_and_mended_while_it_runs(idle: Front) -> None:
    batch = idle.start()["batchId"]
    path = parts_of(idle.states[0]).checkpoint_directory / "settings.toml"
    whole = path.read_text()
    path.write_text("template = [")
    for call in ("/api/states/0", f"/api/batches/{batch}/progress"):
        answer = idle.http.get(call)
        assert answer.status_code == 500
        assert str(path) in answer.json()["error"]["message"]
    path.write_text(whole)
    assert state(idle)["counts"]["pending"] == 2
    idle.progress(batch)


def test_the_last_hundred_bursts_and_the_first_hundred_failures(idle: Front) -> None:
    fill(idle, *(f"x{number:03}" for number in range(120)), pending=3)
    log = parts_of(idle.states[0]).bursts
    said = {"started_at": AT, "ended_at": AT, "ended": "done", "size": 1, "completed": 1, "seconds": 4.0}
    for number in range(120):
        log.append(BurstRecord(burst=f"b{number}", **said))  # type: ignore[arg-type]
    store = open_store(idle.states[0])
    store.apply([Change("due0", Status.PENDING, lambda item: msgspec.structs.replace(item, status=Status.SUBMITTED))])
    store.close()
    found = state(idle)
    assert [one["burst"] for one in found["bursts"]] == [f"b{number}" for number in range(20, 120)]
    assert (len(found["failed"]), found["failed"][0]["item"]) == (100, "x000")
    assert (found["secondsPerItem"], found["secondsLeft"]) == (4.0, 12.0), "what is out is left too"


def test_the_time_that_is_left_is_of_what_a_burst_can_render(idle: Front) -> None:
    fill(idle, pending=3)
    unused = SetAsideRecord(template="w.json", name="w.json", reason="it is gone")
    burst = {"started_at": AT, "ended_at": AT, "ended": "done", "size": 1, "completed": 1, "seconds": 4.0}
    parts_of(idle.states[0]).bursts.append(BurstRecord(burst="b0", set_aside=(unused,), **burst))  # type: ignore[arg-type]
    edit = lambda item: msgspec.structs.replace(item, template="w.json")  # noqa: E731
    found = []
    with open_store(idle.states[0]) as store:
        for number in range(3):
            found.append(state(idle))
            store.apply([Change(f"due{number}", Status.PENDING, edit)])
    found.append(state(idle))
    assert [one["secondsLeft"] for one in found] == [12.0, 8.0, 4.0, None]
    assert [sum(recipe["items"] for recipe in one["setAside"]) for one in found] == [0, 1, 2, 3]
    assert found[-1]["setAside"][0]["batches"] == []


def test_a_killed_burst_that_is_recorded_is_shown_once(idle: Front) -> None:
    fill(idle, "x")
    folder = parts_of(idle.states[0]).checkpoint_directory
    with at_work(idle.states[0], burst="b0", started_at=AT):
        left = (folder / "holder.json").read_bytes()
    (folder / "holder.json").write_bytes(left)
    os.utime(folder / "holder.json", (1, 1))
    killed = {"started_at": AT, "ended_at": AT, "ended": "killed", "size": 1, "completed": 1, "seconds": 4.0}
    parts_of(idle.states[0]).bursts.append(BurstRecord(burst="b0", **killed))  # type: ignore[arg-type]
    assert [(one["burst"], one["ended"]) for one in state(idle)["bursts"]] == [("b0", "killed")]


def test_retrying_is_of_the_state_that_is_named(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, works=False, states=2) as two:
        fill(two, "x")
        store = open_store(two.states[1], create=True)
        store.close()
        assert two.http.post("/api/states/1/retry", json={}).json() == {"items": []}
        assert two.http.post("/api/states/1/retry", json={"items": ["x"]}).status_code == 400
        assert state(two)["counts"]["failed"] == 1


def test_every_state_is_listed_and_an_unknown_one_is_404(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, works=False, states=2) as two:
        assert [one["path"] for one in two.http.get("/api/states").json()] == [str(path) for path in two.states]
        for path in ("/api/states/2", "/api/states/-1", "/api/states/2/servers"):
            assert two.http.get(path).status_code == 404
        assert two.http.post("/api/states/2/retry", json={}).status_code == 404
