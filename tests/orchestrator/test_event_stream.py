"""`burst watch`: each thing that happens is told once, with an id from which another watcher goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.documents import checked
from support.state_scenes import item
from support.stores import KINDS, State

from burst import cli
from orchestrator.clock import Clock
from orchestrator.errors import UsageError
from orchestrator.event_stream import Event, watch_events
from state.batch import BatchRecord, EndRecord
from state.burst_record import BurstRecord
from state.change import Change
from state.item import ErrorRecord, OutputRecord
from state.location import state_path
from state.store import Store

OUTPUT = OutputRecord(path="a.png", bytes=5, sha256="ab" * 32)


class Steps(Clock):
    """At each wait of the watcher one more step is done; after the last one it is stopped."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if self.steps:
            self.steps.pop(0)()
        else:
            event.set()
        return event.is_set()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        yield state


def now() -> datetime:
    return Clock().now()


def submit(store: Store, key: str) -> None:
    edit = lambda one: one.submit(prompt_id=f"p-{key}", server="gpu1", at=now(), fingerprint="f")  # noqa: E731
    store.apply([Change(key, store.get(key).status, edit)])


def complete(store: Store, key: str) -> None:
    edit = lambda one: one.complete(outputs=(OUTPUT,), at=now(), seconds=2.0)  # noqa: E731
    store.apply([Change(key, store.get(key).status, edit)])


def fail(store: Store, key: str) -> None:
    edit = lambda one: one.fail(error=ErrorRecord(kind="k", message="out of luck"))  # noqa: E731
    store.apply([Change(key, store.get(key).status, edit)])


def watched(state: State, *steps: Any, since: str | None = None) -> list[Event]:
    return list(watch_events(state_path(str(state.address)), since=since, clock=Steps(*steps)))


def said(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(one.type, (one.parts.get("item") or {}).get("key")) for one in events]


def test_what_happens_is_told_once_as_it_happens(state: State) -> None:
    store = state.open(create=True)
    store.add([item("a"), item("b"), item("c")])
    submit(store, "c")
    steps = [
        lambda: submit(store, "a"),
        lambda: complete(store, "a"),
        lambda: submit(store, "b"),
        lambda: fail(store, "b"),
    ]
    found = watched(state, *steps, lambda: None)
    assert said(found) == [
        ("item.submitted", "a"),
        ("item.completed", "a"),
        ("item.submitted", "b"),
        ("item.failed", "b"),
    ]
    documents = [checked(json.loads(json.dumps(one.as_json()))) for one in found]
    assert documents[1]["item"]["files"] == [{"path": "a.png", "bytes": 5, "sha256": "ab" * 32}]
    assert (documents[3]["item"]["error"], documents[3]["item"]["server"]) == ("out of luck", "gpu1")
    assert [one["id"] for one in documents] == sorted(one["id"] for one in documents)


def test_another_watcher_goes_on_from_an_id_and_misses_nothing(state: State) -> None:
    store = state.open(create=True)
    store.add([item("a"), item("b")])
    first = watched(state, lambda: submit(store, "a"))
    assert said(first) == [("item.submitted", "a")]
    complete(store, "a")
    submit(store, "b")
    again = watched(state, lambda: complete(store, "b"), since=first[-1].id)
    assert said(again) == [("item.completed", "a"), ("item.submitted", "b"), ("item.completed", "b")]
    more = watched(state, since=again[-1].id)
    # What may have been noted late is told again, under its id.
    assert {one.id for one in more} <= {one.id for one in (*first, *again)}


def test_ends_of_batches_and_runs_are_told(tmp_path: Path) -> None:
    with State(KINDS[0], tmp_path) as state:
        store = state.open(create=True)
        record = BatchRecord(batch="b1", created_at=now(), total=1, layout="batch", directory="d", name="foxes")
        store.add([item("b1/1", batch="b1")], batch=record)

        def end() -> None:
            at = now()
            with store.lease() as lease:
                lease.end_burst(
                    BurstRecord(
                        burst="x1", started_at=at, ended_at=now(), ended="done", size=1, host="h", pid=7, completed=1
                    )
                )
            store.batches.append(EndRecord(batch="b1", event="e1", at=now(), how="done", completed=1))

        found = watched(state, end)
        assert [one.type for one in found] == ["run.began", "run.ended", "batch.done"]
        documents = [checked(json.loads(json.dumps(one.as_json()))) for one in found]
        assert (documents[1]["run"]["ended"], documents[1]["run"]["completed"]) == ("done", 1)
        assert (documents[2]["batch"]["name"], documents[2]["batch"]["event"]) == ("foxes", "e1")


def test_it_ends_when_nothing_is_left(tmp_path: Path) -> None:
    with State(KINDS[0], tmp_path) as state:
        store = state.open(create=True)
        store.add([item("a")])
        submit(store, "a")
        clock = Steps(lambda: complete(store, "a"), lambda: pytest.fail("it watches on"))
        found = list(watch_events(state_path(str(state.address)), until_done=True, clock=clock))
        assert said(found) == [("item.completed", "a")]


def test_the_command_prints_one_object_a_line_and_refuses_what_is_no_id(tmp_path: Path) -> None:
    with State(KINDS[0], tmp_path) as state:
        store = state.open(create=True)
        store.add([item("a")])
        submit(store, "a")
        complete(store, "a")
        store.settle(at_end=True)
        first = f"{int((now() - timedelta(hours=1)).timestamp() * 1e6):016d}-{'0' * 12}"
        words = ["watch", "--json", "--until-done", "--state", str(state.address)]
        result = CliRunner().invoke(cli, [*words, "--since", first])
        assert result.exit_code == 0, result.output
        lines = [checked(json.loads(line)) for line in result.stdout.splitlines()]
        assert [one["type"] for one in lines] == ["item.submitted", "item.completed"]
        text = CliRunner().invoke(cli, [*(word for word in words if word != "--json"), "--since", first]).stdout
        assert text.splitlines()[1].endswith("item.completed a: a.png")
        with pytest.raises(UsageError, match="expected the id of an event"):
            list(watch_events(state_path(str(state.address)), since="yesterday"))
