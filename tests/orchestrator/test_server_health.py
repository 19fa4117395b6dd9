"""A server that was found sick is named by status and doctor, until it completes something."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.state_scenes import item

from orchestrator.doctor import examine
from orchestrator.settings import Overrides
from orchestrator.status import read_status
from state.burst_record import BurstRecord
from state.open_store import open_store

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
REASON = "http://gpu:8188 seems sick: restart ComfyUI"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    path.write_text("{}")
    with open_store(path) as store:
        store.add([item("a")])
        store.facts.change_health("gpu", lambda now: now.advising_restart("sick", REASON, at=AT), at=AT)
    return path


def test_status_says_which_server_is_sick_since_when_and_why(state: Path) -> None:
    report = read_status(state)
    (line,) = [line for line in report.as_text().splitlines() if "sick" in line]
    assert line.startswith("Server gpu: sick since ")
    assert line.endswith(REASON)
    assert report.as_json()["notes"] == [line]


def test_status_says_it_once_where_the_last_run_ended_with_it(state: Path) -> None:
    with open_store(state) as store:
        record = BurstRecord(burst="b", started_at=AT, ended_at=AT, ended="error", size=1, seconds=1.0, reason=REASON)
        store.bursts.append(record)
    assert read_status(state).as_text().count(REASON) == 1


def test_doctor_warns_of_it(state: Path) -> None:
    report = examine(state, overrides=Overrides(servers=("http://127.0.0.1:9",)))
    (check,) = [check for check in report.checks if check.name == "health"]
    assert (check.verdict, check.facts["health"]) == ("warning", "sick")
    assert REASON in check.message


def test_one_that_has_completed_something_since_is_named_no_more(state: Path) -> None:
    with open_store(state) as store:
        store.facts.change_health("gpu", lambda now: now.without_failures(at=AT), at=AT)
    assert read_status(state).sick == ()
    assert "health" not in [check.name for check in examine(state, overrides=Overrides(servers=("http://x",))).checks]
