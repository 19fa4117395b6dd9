"""Rows that are sorted in pieces."""

from __future__ import annotations

import random
from contextlib import closing

import msgspec
import pytest

from orchestrator.sorted_rows import SortedRows


class Row(msgspec.Struct, frozen=True):
    at: int
    name: str | None = None


@pytest.mark.parametrize("most", [1, 2, 7, 1000])
def test_it_is_as_if_they_were_sorted_at_once(most: int) -> None:
    draw = random.Random(most)
    rows = [Row(draw.randrange(20), name=str(number)) for number in range(100)]
    with closing(SortedRows(Row, by=lambda row: row.at, most=most)) as sorting:
        sorting.extend(rows[:30])
        sorting.extend(rows[30:])
        assert list(sorting) == sorted(rows, key=lambda row: row.at)


def test_no_more_are_in_memory_than_allowed() -> None:
    with closing(SortedRows(Row, by=lambda row: row.at, most=10)) as sorting:
        for number in range(300):
            sorting.extend([Row(number % 13)])
            assert len(sorting._rows) < 10


def test_of_none_there_are_none() -> None:
    assert list(SortedRows(Row, by=lambda row: row.at)) == []
