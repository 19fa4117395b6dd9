"""`burst status` on a state in a database: the runs of all hosts, and what it costs to look on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from support.hand_clock import BEGINNING, HandClock
from support.leases import begin
from support.state_scenes import ERROR, OUTPUT, PENDING, SUBMITTED, cancel, complete, item, submit
from support.stores import KINDS, State

from orchestrator.batches.batch_status import list_batches
from orchestrator.status import read_status, watch_status
from state.batch import BatchRecord
from state.change import Change
from state.item import Item
from state.lease import Lease
from state.live import Live, Running
from state.recipe import Recipe, workflow_bytes, workflow_digest

SQL = [kind for kind in KINDS if not kind.one_run]


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        state.open(create=True).add([item(f"{number}") for number in range(6)])
        yield state


class WaitingClock(HandClock):
    """Each wait passes at once, after `meanwhile` was called with its number."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def meanwhile(self, number: int) -> None:
        """What others do in that wait."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits += 1
        self.seconds += seconds
        self.meanwhile(self.waits)
        return False


def at_work(state: State, burst: str, key: str, server: str) -> Lease:
    lease = state.open().lease()
    lease.renew_no_more()  # type: ignore[attr-defined]
    begin(lease, burst)
    (item,) = lease.claim(1)
    assert item.key == key
    lease.apply([Change(key, PENDING, submit())])
    lease.show(
        Live(
            burst=burst,
            at=BEGINNING,
            running=(Running(item=key, server=server, since=BEGINNING, node="KSampler", step=4, steps=20),),
        )
    )
    return lease


def test_the_runs_of_all_hosts_and_what_each_renders(state: State) -> None:
    with at_work(state, "b1", "0", "gpu1") as one, at_work(state, "b2", "1", "gpu2"):
        one.publish_wait("gpu3 does not answer")
        report = read_status(state.open().location.path)
        found = report.as_json()
        lines = report.as_text().splitlines()
    assert [(run["burst"], run["waits_for"]) for run in found["runs"]] == [("b1", "gpu3 does not answer"), ("b2", None)]
    assert [(one["item"], one["server"], one["step"]) for one in found["rendering"]] == [
        ("0", "gpu1", 4),
        ("1", "gpu2", 4),
    ]
    assert sum(line.startswith("A burst is at work: pid ") for line in lines) == 2
    assert [line.split(": KSampler")[0] for line in lines if line.startswith("Rendering")] == [
        "Rendering: 0 on gpu1",
        "Rendering: 1 on gpu2",
    ]
    assert sum("gpu3 does not answer" in line for line in lines) == 1


def test_looking_on_costs_little_while_nothing_changes_and_shows_each_change(state: State) -> None:
    """For a minute, twice a second; then somebody cancels an item, which is shown at once."""
    other, clock, made = state.open(), WaitingClock(), []
    counted = [0]

    def note(*rest: object) -> None:
        counted[0] += 1

    def meanwhile(number: int) -> None:
        if number == 1:
            counted[0] = 0
        if number == 121:
            made.append(counted[0])
            other.apply([Change(one.key, PENDING, cancel) for one in other.items(PENDING)])

    clock.meanwhile = meanwhile  # type: ignore[method-assign]
    event.listen(Engine, "before_cursor_execute", note)
    try:
        left = [report.remaining for report in watch_status(state.open().location.path, clock=clock)]
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert left == [6, 0]
    assert made[0] / 60 <= 5, "statements a second"
    assert clock.seconds <= 60 + timedelta(seconds=4).total_seconds()


@pytest.mark.parametrize("batches", [1, 30])
def test_status_reads_all_items_twice_at_most_however_many_batches_there_are(state: State, batches: int) -> None:
    """Once for all counts and figures, once for what is due before the last item of each batch."""
    store = state.open()
    for number in range(batches):
        name = f"batch{number}"
        record = BatchRecord(batch=name, created_at=BEGINNING, total=2, layout="numbered", directory=name)
        store.add([item(f"{name}/{key}", batch=name) for key in "ab"], batch=record)
    store.apply([Change("batch0/a", PENDING, submit())])
    store.apply([Change("batch0/a", SUBMITTED, complete)])
    store.apply([Change("1", PENDING, lambda now: now.fail(error=ERROR))])
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        report = read_status(store.location.path)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(report.batches) == batches
    assert report.last_item_ended_at is not None
    assert sum("count(" in statement or "max(" in statement for statement in seen if "FROM items" in statement) == 2
    # What is read for each batch is its recipe, by its id.
    assert len([statement for statement in seen if "FROM items" in statement or "AS anon_" in statement]) <= 12


SERVED = ("http://10.0.0.1:8188", "http://10.0.0.2:8188", "http://10.0.0.3:8188", "http://10.0.0.4:8188")


@pytest.mark.parametrize(
    ("runs", "named", "servers"),
    [
        ([], (), 4),
        ([SERVED[:1]], (), 1),
        ([SERVED[:1], SERVED[:2]], (), 2),
        ([SERVED[:2], ("http://10.0.0.9:8188",)], (), 3),
        ([SERVED[:2], SERVED[2:]], SERVED[:1], 1),
        ([("http://10.0.0.9:8188",)], SERVED[:1], 4),
    ],
    ids=["nobody", "one", "two share one", "a new one", "only one may", "none may"],
)
def test_the_time_left_of_a_batch_counts_the_servers_that_are_at_work(
    state: State, runs: list[tuple[str, ...]], named: tuple[str, ...], servers: int
) -> None:
    """And not all that ever rendered any of it. What an item takes there is 8 s."""
    store = state.open()
    store.apply([Change(one.key, PENDING, cancel) for one in store.items(PENDING)])
    graph = {"1": {"class_type": "EmptyImage", "inputs": {}}}
    recipe = Recipe(workflow=workflow_digest(workflow_bytes(graph)), output="output", servers=named)
    store.recipes.add(recipe, graph)
    record = BatchRecord(batch="b", created_at=BEGINNING, total=7, layout="numbered", directory="b")
    added = store.add([item(f"b{number}", batch="b", recipe=recipe.id) for number in range(7)], batch=record)
    for one, server in zip(added, SERVED, strict=False):
        store.apply([Change(one.key, PENDING, submit(server=server))])
        done = partial(Item.complete, outputs=(OUTPUT,), at=BEGINNING, seconds=8.0)
        store.apply([Change(one.key, SUBMITTED, done)])
    with contextlib.ExitStack() as held:
        for number, names in enumerate(runs):
            lease = held.enter_context(state.open().lease())
            lease.begin_burst(burst=f"b{number}", size=9, started_at=BEGINNING, run_started_at=BEGINNING, servers=names)
        (view,) = list_batches(store.location.path).batches
        found = read_status(store.location.path).seconds_left
    assert view.seconds_left == pytest.approx(8.0 / servers * 3)
    assert found == pytest.approx(8.0 / servers * 3)
