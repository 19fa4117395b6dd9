"""Threads of tests: what does not end fails its test and keeps no process."""

from __future__ import annotations

import threading

import pytest
from support.background import Threads


def test_results_and_errors_are_those_of_the_calls_on_no_more_threads_than_wanted() -> None:
    seen = set()

    def name(number: int) -> int:
        seen.add(threading.current_thread().name)
        return 10 // number

    with Threads(2) as threads:
        assert list(threads.map(name, [1, 2, 5, 10])) == [10, 5, 2, 1]
        with pytest.raises(ZeroDivisionError):
            threads.submit(name, 0).result()
    assert 1 <= len(seen) <= 2


def test_a_thread_that_stands_fails_the_test_and_shows_where_it_stands() -> None:
    go_on = threading.Event()
    with pytest.raises(AssertionError, match=r"(?s)1 threads did not end in 0.05 s.*go_on\.wait"):  # noqa: SIM117
        with Threads(patience_seconds=0.05) as threads:
            threads.submit(lambda: go_on.wait())
    go_on.set()


def test_what_failed_in_the_block_is_reported_beside_what_did_not_end() -> None:
    go_on = threading.Event()

    def fail_beside_a_thread() -> None:
        with Threads(patience_seconds=0.05) as threads:
            threads.submit(go_on.wait)
            raise ValueError("the cause")

    with pytest.raises(AssertionError) as found:
        fail_beside_a_thread()
    assert isinstance(found.value.__context__, ValueError)
    go_on.set()
