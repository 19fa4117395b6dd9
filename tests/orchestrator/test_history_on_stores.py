"""History and the time remaining, on every kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.leases import begin
from support.state_scenes import ERROR, NOON, OUTPUT, PENDING, SUBMITTED, item, submit
from support.stores import KINDS, State

from orchestrator import attempt_rows
from orchestrator.attempt_history import Wanted, history_of
from orchestrator.time_left import Paces, pace_of
from state.burst_record import BurstRecord
from state.change import Change


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        state.open(create=True).add([item(key) for key in "abc"])
        yield state


def test_attempts_and_bursts_are_the_same_on_every_store(state: State) -> None:
    with state.open() as store, store.lease() as lease:
        begin(lease, "b1")
        lease.apply([Change(key, PENDING, submit()) for key in "ab"])
        done = lambda now: now.complete(outputs=(OUTPUT,), at=NOON, seconds=1.5)  # noqa: E731
        lease.apply(
            [Change("a", SUBMITTED, done), Change("b", SUBMITTED, lambda now: now.put_back(charge=True, error=ERROR))]
        )
        lease.end_burst(
            BurstRecord(
                burst="b1",
                started_at=NOON,
                ended_at=NOON + timedelta(seconds=9),
                ended="done",
                size=2,
                completed=1,
                seconds=9.0,
                host="attic",
            )
        )
    found = history_of(state.open(read_only=True), Wanted(), last=None)
    assert [(row.item, row.result, row.host, row.error) for row in found.attempts] == [
        ("a", "completed", "attic", None),
        ("b", "failed", "attic", ERROR.kind),
    ]
    assert [(row.burst, row.ended, row.completed) for row in found.bursts] == [("b1", "done", 1)]
    totals = found.totals
    assert (totals.items, totals.outputs, totals.bytes, totals.seconds) == (2, 1, OUTPUT.bytes, 1.5)


def test_what_is_left_is_shared_by_all_runs_that_work_at_once(state: State) -> None:
    store = state.open()
    store.bursts.append(
        BurstRecord(
            burst="b0",
            started_at=NOON,
            ended_at=NOON,
            ended="done",
            size=1,
            completed=1,
            seconds=60.0,
            seconds_per_item=10.0,
            host="attic",
        )
    )
    records = store.bursts.read()
    with state.open().lease() as lease:
        begin(lease, "b1")
        assert pace_of(store, records, at_work=store.holders()) == 10.0
        if state.one_run:
            return
        with state.open().lease() as another:
            begin(another, "b2")
            assert len(store.holders()) == 2
            assert pace_of(store, records, at_work=store.holders()) == 5.0
            assert Paces.of(store, records, at_work=store.holders()).usual == 5.0
        assert pace_of(store, records, at_work=store.holders()) == 10.0


def completed_ones(state: State, count: int) -> None:
    store = state.open()
    store.add([item(f"n{number}") for number in range(count)])
    store.apply([Change(f"n{number}", PENDING, submit()) for number in range(count)])
    store.apply(
        [
            Change(
                f"n{number}",
                SUBMITTED,
                lambda now, at=NOON + timedelta(seconds=number): now.complete(outputs=(OUTPUT,), at=at, seconds=1.0),
            )
            for number in range(count)
        ]
    )


def test_narrowed_history_is_what_is_left_of_all_of_it(state: State) -> None:
    """However the store finds it."""
    completed_ones(state, 5)
    with state.open() as store, store.lease() as lease:
        begin(lease, "b1")
        lease.apply([Change("b", PENDING, submit(server="gpu2"))])
        lease.apply([Change("b", SUBMITTED, lambda now: now.put_back(charge=True, error=ERROR))])
    reader = state.open(read_only=True)
    rows = list(history_of(reader, Wanted(), last=None).attempts)
    failed_at = next(row.ended_at for row in rows if row.item == "b")
    for wanted in (
        Wanted(since=NOON + timedelta(seconds=2)),
        Wanted(until=NOON + timedelta(seconds=3)),
        Wanted(since=failed_at),
        Wanted(is_server=lambda name: name == "gpu2"),
        Wanted(is_server=lambda name: name == "s", until=NOON + timedelta(seconds=2)),
        Wanted(failed=True),
        Wanted(host="nowhere"),
        Wanted(batch="none"),
    ):
        left = [row for row in rows if wanted.takes(row) and wanted.batch is None]
        for last in (None, 100):
            found = history_of(reader, wanted, last=last)
            assert list(found.attempts) == left
            assert (found.totals.attempts, found.totals.items) == (len(left), len({row.item for row in left}))


def test_a_table_begins_before_all_of_it_was_read(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    completed_ones(state, 250)
    read, made = [0], attempt_rows._completed_row

    def counted(*arguments: Any) -> Any:
        read[0] += 1
        return made(*arguments)

    monkeypatch.setattr(attempt_rows, "_completed_row", counted)
    pieces = history_of(state.open(read_only=True), Wanted(), last=None, is_counted=False).csv_pieces()
    text = next(pieces) + next(pieces)
    assert text.count("\r\n") > 50
    assert read[0] < 150
    assert "".join(pieces).count("\r\n") + text.count("\r\n") == 251
