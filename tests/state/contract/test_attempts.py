"""An attempt that ends is on record in the change set that ends it, whatever becomes of the item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from support.leases import begin
from support.state_scenes import (
    ERROR,
    NOON,
    OUTPUT,
    PENDING,
    accept,
    cancel,
    change,
    complete,
    fail,
    item,
    start_over,
    submit,
)
from support.stores import State

from state.change import Change
from state.item import PAST_ATTEMPTS_KEPT, ErrorRecord, Item, ItemOutput, OutputRecord, PastAttempt
from state.stages import LOST_SOURCE
from state.store import Store


def attempts_of(item: Item) -> list[PastAttempt]:
    """All that are on record, the last one last."""
    done = item.completed_attempt
    return [*item.past_attempts, *([done] if done is not None else [])]


def results(store: Store, key: str = "a") -> list[str]:
    return [one.result for one in attempts_of(store.get(key))]


def charge(now: Item) -> Item:
    return now.put_back(charge=True, error=ERROR)


def put_back(now: Item) -> Item:
    return now.put_back(charge=False)


@pytest.fixture
def store(store: Store) -> Store:
    """Of one pending item."""
    store.add([item("a")])
    return store


@pytest.mark.parametrize(
    ("end", "result", "error"),
    [
        (charge, "failed", ERROR.kind),
        (fail, "failed", ERROR.kind),
        (put_back, "put_back", None),
        (Item.crash, "crashed", None),
        (lambda now: now.crash().fail(error=ERROR, charge=False), "failed", ERROR.kind),
        (cancel, "cancelled", None),
    ],
    ids=["charged", "failed", "put back", "crashed", "set aside", "cancelled"],
)
def test_a_prompt_that_ends_is_an_attempt(
    state: State, store: Store, end: Callable[[Item], Item], result: str, error: str | None
) -> None:
    with store.lease() as lease:
        begin(lease, "b1")
        began = lease.now()
        lease.apply([Change("a", PENDING, submit())])
        lease.apply([Change("a", store.get("a").status, end)])
        (attempt,) = attempts_of(state.open().get("a"))
        assert began <= attempt.ended_at <= lease.now()
    assert msgspec.structs.replace(attempt, ended_at=NOON) == PastAttempt(
        result=result, ended_at=NOON, submitted_at=NOON, server="s", prompt_id="id-a", burst="b1", error=error
    )


def test_a_completed_item_has_the_attempt_that_made_its_outputs(store: Store) -> None:
    side = OutputRecord(path="EP01/a.json", bytes=9, sha256="cd" * 32)

    def complete_with_sidecar(now: Item) -> Item:
        done = now.complete(outputs=(OUTPUT, side), at=NOON, seconds=1.5)
        return msgspec.structs.replace(done, sidecar=side.path)

    with store.lease() as lease:
        begin(lease, "b1")
        lease.apply([Change("a", PENDING, submit())])
        lease.apply([Change("a", store.get("a").status, complete_with_sidecar)])
    assert not store.get("a").past_attempts
    assert list(attempts_of(store.get("a"))) == [
        PastAttempt(
            result="completed",
            ended_at=NOON,
            submitted_at=NOON,
            server="s",
            prompt_id="id-a",
            burst="b1",
            seconds=1.5,
            outputs=1,
            bytes=5,
        )
    ]


def test_attempts_outlive_whatever_makes_the_item_due_again(store: Store) -> None:
    change(store, "a", submit())
    change(store, "a", charge)
    change(store, "a", submit(prompt_id="second"))
    change(store, "a", complete)
    assert results(store) == ["failed", "completed"]
    change(store, "a", start_over)
    assert results(store) == ["failed", "completed"]
    change(store, "a", submit(prompt_id="third"))
    change(store, "a", complete)
    assert [(one.result, one.prompt_id) for one in attempts_of(store.get("a"))] == [
        ("failed", "id-a"),
        ("completed", "second"),
        ("completed", "third"),
    ]


def test_a_burst_is_named_only_by_what_it_ended(store: Store) -> None:
    with store.lease() as lease:
        begin(lease, "b1")
        lease.apply([Change("a", PENDING, submit())])
        lease.apply([Change("a", store.get("a").status, complete)])
    assert change(store, "a", start_over).completed_by is None
    change(store, "a", submit(prompt_id="second"))
    change(store, "a", complete)
    assert [one.burst for one in attempts_of(store.get("a"))] == ["b1", None]


def test_the_next_burst_of_a_run_is_named(store: Store) -> None:
    with store.lease() as lease:
        for burst in ("b1", "b2"):
            begin(lease, burst)
            lease.apply([Change("a", PENDING, submit(prompt_id=burst))])
            lease.apply([Change("a", store.get("a").status, charge)])
    assert [(one.burst, one.prompt_id) for one in attempts_of(store.get("a"))] == [("b1", "b1"), ("b2", "b2")]


@pytest.mark.parametrize(
    "back",
    [lambda now: now.unsend(item("a")), Item.send_again, accept, lambda now: now.charge_attempt(error=ERROR)],
    ids=["reached no queue", "same prompt again", "accepted", "collected again"],
)
def test_a_prompt_that_goes_on_or_never_began_is_no_attempt(store: Store, back: Callable[[Item], Item]) -> None:
    change(store, "a", submit())
    change(store, "a", back)
    assert not results(store)


def test_an_item_that_fails_before_it_is_sent_has_an_attempt_without_a_server(store: Store) -> None:
    change(store, "a", fail)
    (attempt,) = attempts_of(store.get("a"))
    assert (attempt.result, attempt.error, attempt.server, attempt.submitted_at) == ("failed", ERROR.kind, None, None)


def test_what_ends_with_its_source_was_not_attempted(store: Store) -> None:
    store.add([item("b", uploads={"image": ItemOutput(item="a", output=1)})])
    change(store, "a", submit())
    change(store, "a", fail)
    assert store.get("b").status == "failed"
    assert (results(store), results(store, "b")) == (["failed"], [])


def test_what_can_never_be_due_was_not_attempted(store: Store) -> None:
    """As a run ends what an edit by hand left waiting."""
    lost = ErrorRecord(kind=LOST_SOURCE, message="gone")
    change(store, "a", lambda now: now.fail(error=lost, charge=False))
    assert results(store) == []


def test_what_is_redone_with_its_source_keeps_the_attempt_that_ended_meanwhile(store: Store) -> None:
    store.add([item("b", uploads={"image": ItemOutput(item="a", output=1)})])
    for edit in (submit(), complete):
        change(store, "a", edit)
    change(store, "b", submit())
    change(store, "a", start_over)
    change(store, "b", complete)
    assert (store.get("b").status, results(store, "b")) == ("pending", ["completed"])


def test_the_latest_attempts_are_kept(store: Store) -> None:
    for number in range(PAST_ATTEMPTS_KEPT + 3):
        change(store, "a", submit(prompt_id=f"id-{number}"))
        change(store, "a", put_back)
    kept = [one.prompt_id for one in attempts_of(store.get("a"))]
    assert kept == [f"id-{number}" for number in range(3, PAST_ATTEMPTS_KEPT + 3)]


def test_what_a_newer_burst_says_of_an_attempt_is_kept(state: State, store: Store) -> None:
    newer: dict[str, Any] = {"result": "evicted", "ended_at": "2026-01-01T12:00:00Z", "tariff": 3}
    raw = msgspec.json.encode({"status": "pending", "past_attempts": [newer]})
    store.add([Item.from_record("n", raw)])
    for edit in (submit(), put_back):
        change(store, "n", edit)
    found = msgspec.json.decode(state.open().get("n").to_record())["past_attempts"]
    assert found[0] == newer
    assert results(store, "n") == ["evicted", "put_back"]
