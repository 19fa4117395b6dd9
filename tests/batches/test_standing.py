"""The table of how a batch stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batches.standing import BatchStanding, standing_of
from state.counts import Counts
from state.item import Status


@pytest.mark.parametrize(
    ("counts", "row"),
    [
        ({}, ("empty", "empty", "failed", None)),
        ({"pending": 3}, ("queued", "active", "queued", None)),
        ({"submitted": 3}, ("running", "active", "generating", None)),
        ({"pending": 2, "submitted": 1}, ("running", "active", "generating", None)),
        ({"pending": 2, "completed": 1}, ("running", "active", "generating", None)),
        ({"pending": 2, "failed": 1}, ("running", "active", "generating", None)),
        ({"submitted": 1, "cancelled": 2}, ("running", "active", "generating", None)),
        ({"completed": 3}, ("done", "done", "complete", "done")),
        ({"completed": 2, "failed": 1}, ("failed", "failed", "complete", "failed")),
        ({"failed": 3}, ("failed", "failed", "failed", "failed")),
        ({"cancelled": 3}, ("cancelled", "cancelled", "cancelled", "cancelled")),
        ({"completed": 1, "cancelled": 2}, ("cancelled", "cancelled", "cancelled", "cancelled")),
        ({"failed": 1, "cancelled": 2}, ("failed", "failed", "cancelled", "failed")),
        ({"completed": 1, "failed": 1, "cancelled": 2}, ("failed", "failed", "cancelled", "failed")),
    ],
)
def test_the_words_for_each_mixture_of_items(counts: dict[str, int], row: tuple[str | None, ...]) -> None:
    found = standing_of(Counts({Status(name): count for name, count in counts.items()}))
    assert (found.text, found.name_in_json, found.browser_status, found.end) == row


@given(st.dictionaries(st.sampled_from(Status), st.integers(0, 3)))
def test_a_batch_has_ended_exactly_when_it_has_items_and_none_remain(counts: dict[Status, int]) -> None:
    of_one = Counts(counts)
    assert (standing_of(of_one).end is not None) == (of_one.total > 0 and not of_one.remaining)


def test_every_row_is_reached_by_some_mixture() -> None:
    mixtures = ({status: at >> bit & 1 for bit, status in enumerate(Status)} for at in range(2 ** len(Status)))
    assert {standing_of(Counts(mixture)) for mixture in mixtures} == set(BatchStanding)
