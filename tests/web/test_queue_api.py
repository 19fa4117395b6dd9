"""The queue over HTTP: what is rendered, what is next, moving a batch, the log of a run, the stream of events."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from support.background import Threads
from support.front_ends import Front, front
from support.leases import at_work
from support.serving import Served
from web.test_state_page import fill

from orchestrator.errors import EXIT_SIGTERM, StateError
from orchestrator.sandbox import Sandbox
from orchestrator.web import queue_view
from orchestrator.web.event_stream import EventStream
from orchestrator.web.supervisor import LOG_NAME
from state.live import Live, Running, Trouble
from state.open_store import parts_of

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def idle(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, works=False, states=2) as found:
        yield found


def queue(shown: Front) -> dict[str, Any]:
    answer = shown.http.get("/api/queue")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def move(shown: Front, batch: str, priority: str) -> Any:
    return shown.http.post(f"/api/batches/{batch}/priority", json={"priority": priority})


def test_nothing_is_there(idle: Front) -> None:
    found = queue(idle)
    assert (found["rendering"], found["next"]) == ([], [])
    assert [(one["state"], one["remaining"], one["working"]) for one in found["states"]] == [
        (0, 0, False),
        (1, 0, False),
    ]
    assert not idle.states[0].exists()


def test_what_remains_by_what_is_due_first(idle: Front) -> None:
    fill(idle, "broken", pending=1)
    first, second = (idle.start(prompt=prompt, batchCount=2)["batchId"] for prompt in ("a fox", "an owl"))
    elsewhere = idle.start(prompt="a dog", state=1)["batchId"]
    found = queue(idle)
    assert [(one["state"], one["batchId"], one["prompt"], one["pending"]) for one in found["next"]] == [
        (0, None, None, 1),
        (0, first, "a fox", 2),
        (0, second, "an owl", 2),
        (1, elsewhere, "a dog", 2),
    ]
    assert [(one["remaining"], one["failed"]) for one in found["states"]] == [(5, 1), (2, 0)]
    assert found["next"][1]["priority"] == "normal"


def test_a_batch_is_moved_to_the_front_and_behind_all(idle: Front) -> None:
    first, second = (idle.start(prompt=prompt)["batchId"] for prompt in ("a fox", "an owl"))
    done = move(idle, second, "first").json()
    assert (done["priority"], done["changed"]) == ("urgent", 2)
    assert [one["batchId"] for one in queue(idle)["next"]] == [second, first]
    assert move(idle, second, "low").json()["priority"] == "low"
    assert [(one["batchId"], one["priority"]) for one in queue(idle)["next"]] == [(first, "normal"), (second, "low")]


def test_of_many_batches_the_first_are_listed_and_all_are_counted(idle: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [idle.start()["batchId"] for _ in range(3)]
    monkeypatch.setattr(queue_view, "_LISTED", 2)
    found = queue(idle)
    assert ([one["batchId"] for one in found["next"]], found["nextTotal"]) == (batches[:2], 3)


def test_what_cannot_be_moved(idle: Front) -> None:
    batch = idle.start()["batchId"]
    assert move(idle, batch, "top").status_code == 400
    assert move(idle, "batch_nothere", "first").status_code == 404


def test_what_is_rendered_and_not_what_was_on_a_server_that_is_away(idle: Front) -> None:
    batch = idle.start(prompt="a fox")["batchId"]
    (item, *_) = idle.items()
    running = Running(item=item.key, server="gpu1", since=AT, node="KSampler", step=3, steps=12)
    live = Live(burst="b1", at=AT, running=(running,), preview_of=item.key)
    with at_work(idle.states[0], burst="b1") as lease:
        lease.show(live, preview=b"\xff\xd8\xff")
        (one,) = queue(idle)["rendering"]
        assert (one["batchId"], one["prompt"], one["number"]) == (batch, "a fox", 1)
        assert (one["server"], one["node"], one["step"], one["steps"], one["percent"]) == (
            "gpu1",
            "KSampler",
            3,
            12,
            25,
        )
        assert idle.http.get(one["preview"]).content == b"\xff\xd8\xff"
        assert queue(idle)["states"][0]["working"]
        away = Trouble(server="gpu1", kind="away", since=AT, message="refused")
        lease.show(msgspec.structs.replace(live, troubles=(away,)))
        assert queue(idle)["rendering"] == []
    assert queue(idle)["rendering"] == [], "nothing is at work any more"


def test_a_state_that_cannot_be_read_says_so_and_the_others_are_shown(idle: Front) -> None:
    idle.start(state=1)
    idle.states[0].write_text("{")
    found = queue(idle)
    assert str(idle.states[0]) in found["states"][0]["message"]
    assert [one["state"] for one in found["next"]] == [1]


def test_the_log_of_the_last_run(idle: Front) -> None:
    assert idle.http.get("/api/states/0/log").json() == {"lines": []}
    fill(idle, pending=1)
    parts_of(idle.states[0]).location.auxiliary(LOG_NAME).write_text("".join(f"line {n}\n" for n in range(1000)))
    lines = idle.http.get("/api/states/0/log").json()["lines"]
    assert (lines[-1], lines == [f"line {n}" for n in range(1000 - len(lines), 1000)]) == ("line 999", True)
    assert idle.http.get("/api/states/7/log").status_code == 404


class TestStream:
    """One text for all that hear it."""

    def test_it_is_sent_at_once_and_whenever_it_changes_and_made_once_for_all(self) -> None:
        texts, made = ["one"], [0]

        def make() -> str:
            made[0] += 1
            return texts[-1]

        async def main() -> None:
            stream = EventStream("queue", make, look_seconds=0.001)
            hearers = [stream.hear() for _ in range(3)]
            assert [await anext(one) for one in hearers] == [b"event: queue\ndata: one\n\n"] * 3
            assert made[0] < 3, "not once for each"
            texts.append("two")
            assert [await anext(one) for one in hearers] == [b"event: queue\ndata: two\n\n"] * 3
            late = stream.hear()
            assert await anext(late) == b"event: queue\ndata: two\n\n"
            for one in (*hearers, late):
                await one.aclose()
            assert stream.hearers == 0
            count = made[0]
            await asyncio.sleep(0.01)
            assert made[0] <= count + 1, "nobody hears it, so it is not made any more"
            texts.append("three")
            again = stream.hear()
            assert await anext(again) == b"event: queue\ndata: three\n\n"
            await again.aclose()

        in_a_thread(main)

    def test_it_goes_on_after_an_error_and_ends_when_it_is_closed(self) -> None:
        answers: list[str | Exception] = ["two", StateError("state.json", "cut"), "one"]

        def make() -> str:
            answer = answers.pop() if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        async def main() -> None:
            stream = EventStream("queue", make, look_seconds=0.001)
            heard = stream.hear()
            assert b"one" in await anext(heard)
            assert b"two" in await anext(heard)
            stream.close()
            assert [one async for one in heard] == []

        in_a_thread(main)


def test_a_page_hears_of_a_new_batch_and_the_server_ends_in_spite_of_it(serve: Callable[..., Served]) -> None:
    served = serve()
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=30)
    connection.request("GET", "/api/events")
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert heard(response)["next"] == []
    batch = served.begin("a fox", count=2)
    while (found := heard(response))["states"][0]["completed"] < 2:
        assert {one["batchId"] for one in found["next"]} <= {batch}
    assert served.end(signal.SIGTERM) == EXIT_SIGTERM
    assert response.read() is not None
    connection.close()


def in_a_thread(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Where no other test's event loop runs."""
    with Threads() as threads:
        threads.submit(lambda: asyncio.run(main())).result()


def heard(response: http.client.HTTPResponse) -> dict[str, Any]:
    """The next event's data."""
    while True:
        line = response.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            return dict(json.loads(line.removeprefix(b"data: ")))
