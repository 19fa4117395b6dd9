"""The table of how bursts end."""

from __future__ import annotations

from typing import get_args

import pytest

from orchestrator.burst_endings import TEXTS, Ended, recorded, text_of
from orchestrator.web.state_routes import Burst
from state.burst_record import Ending


def test_the_table_has_every_value_that_json_has() -> None:
    browser = get_args(Burst.model_fields["ended"].annotation)
    assert set(TEXTS) == {*get_args(Ended), *get_args(Ending), *browser}


@pytest.mark.parametrize("ended", get_args(Ended))
def test_what_a_report_says_can_be_recorded(ended: Ended) -> None:
    assert recorded(ended) in get_args(Ending)
    assert recorded(ended) == ("error" if ended == "failure" else ended)


@pytest.mark.parametrize(
    ("ended", "reason", "text"),
    [
        ("done", None, "done"),
        ("deadline", None, "stopped at the time limit"),
        ("limit", None, "stopped at the learned time limit"),
        ("stopped", None, "stopped by a signal"),
        ("error", None, "stopped because an item failed"),
        ("error", "the disk is full", "stopped by an error"),
        ("crashed", "TypeError", "crashed"),
        ("killed", None, "killed"),
    ],
)
def test_a_record_in_words(ended: Ending, reason: str | None, text: str) -> None:
    assert text_of(ended, reason) == text
