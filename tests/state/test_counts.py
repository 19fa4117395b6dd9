"""How many items stand where, as one value."""

from __future__ import annotations

import pickle

import pytest

from state.counts import Counts
from state.item import Item, Status

ITEMS = [
    *(Item(key=f"p{number}", status=Status.PENDING) for number in range(4)),
    *(Item(key=f"s{number}", status=Status.SUBMITTED) for number in range(3)),
    *(Item(key=f"c{number}", status=Status.COMPLETED) for number in range(2)),
    Item(key="f", status=Status.FAILED),
]


def test_what_is_counted_under_which_name() -> None:
    counts = Counts.of(ITEMS)
    assert (counts.pending, counts.submitted, counts.completed, counts.failed, counts.cancelled) == (4, 3, 2, 1, 0)
    assert (counts.total, counts.remaining) == (10, 7)


def test_every_status_is_there_in_its_order() -> None:
    counts = Counts({Status.FAILED: 2})
    assert list(counts) == list(Status)
    assert counts[Status.PENDING] == counts["pending"] == 0  # type: ignore[index]
    assert counts.as_json() == {"pending": 0, "submitted": 0, "completed": 0, "failed": 2, "cancelled": 0}
    assert Counts() == dict.fromkeys(Status, 0)


def test_it_never_changes() -> None:
    given = {Status.PENDING: 1}
    counts = Counts(given)
    given[Status.PENDING] = 5
    assert counts.pending == 1
    with pytest.raises(TypeError):
        counts[Status.PENDING] = 2  # type: ignore[index]


def test_two_of_the_same_are_equal_and_others_are_not() -> None:
    assert Counts.of(ITEMS) == Counts.of(reversed(ITEMS))
    assert Counts.of(ITEMS) != Counts.of(ITEMS[1:])
    assert pickle.loads(pickle.dumps(Counts.of(ITEMS))) == Counts.of(ITEMS)


def test_the_text_names_what_is_not_zero() -> None:
    counts = Counts.of(ITEMS)
    assert counts.as_text() == "4 pending, 3 submitted, 2 completed, 1 failed"
    assert counts.as_text(without={Status.COMPLETED}) == "4 pending, 3 submitted, 1 failed"
    assert Counts().as_text() == ""
