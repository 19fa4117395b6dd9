"""What `burst generate` reports, from the items and from the report of its bursts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.report_project import NOON

from orchestrator.batches.generate_report import Generated, resuming
from orchestrator.cycle.report import BurstReport
from orchestrator.settings import Overrides, load_settings
from state.batch import BatchRecord
from state.counts import Counts
from state.item import ErrorRecord, Item, Status

PENDING, COMPLETED, FAILED, CANCELLED = Status.PENDING, Status.COMPLETED, Status.FAILED, Status.CANCELLED


def report(**said: Any) -> BurstReport:
    nothing: dict[str, Any] = dict.fromkeys(BurstReport.__struct_fields__, 0)
    texts = {"burst": "b", "ended": "done", "reason": None, "output_dir": "output"}
    empty = {"counts": Counts(), "next_batch": [], "output_dirs": {}, "seconds_per_item": None, "seconds_left": None}
    empty |= {"servers": [], "failures": [], "notes": [], "set_aside": []}
    return msgspec.convert(nothing | texts | empty | said, BurstReport)


def outcome(*statuses: Status, report: BurstReport | None, on_error: Any = "stop", ended: str = "done") -> Generated:
    record = BatchRecord(
        batch="b", created_at=NOON, total=len(statuses), layout="numbered", directory="d", on_error=on_error
    )
    items = [
        Item(
            key=f"b/{index}",
            status=status,
            subfolder="d",
            filename=f"image_{index}.png",
            error=ErrorRecord(kind="k", message="out of luck") if status is FAILED else None,
        )
        for index, status in enumerate(statuses, 1)
    ]
    return Generated.of(record, items, report, ended=ended, directories=("/o/d",), seconds=1.0)


STOPPED = "d/image_2.png failed, and on_error is stop"


@pytest.mark.parametrize(
    ("statuses", "on_error", "of_bursts", "ended", "reason", "code"),
    [
        ((COMPLETED, COMPLETED), "stop", {}, "done", None, 0),
        ((COMPLETED, CANCELLED), "stop", {}, "done", None, 0),
        ((COMPLETED, FAILED), "stop", {"ended": "failure"}, "failure", None, 1),
        ((COMPLETED, FAILED, PENDING), "stop", {"ended": "failure"}, "failure", STOPPED, 1),
        ((COMPLETED, FAILED, PENDING), "stop", None, "failure", STOPPED, 1),
        ((COMPLETED, FAILED, PENDING), "continue", {"ended": "stopped"}, "stopped", None, 1),
        ((COMPLETED, FAILED, PENDING), "continue", None, "done", None, 1),
        ((COMPLETED, PENDING), "stop", {"ended": "deadline"}, "deadline", None, 0),
        (
            (PENDING, PENDING),
            "stop",
            {"ended": "error", "reason": "no server", "exit_code": 75},
            "error",
            "no server",
            75,
        ),
        ((FAILED, PENDING), "stop", {"ended": "error", "reason": "full", "exit_code": 2}, "error", "full", 2),
    ],
)
def test_how_it_ended_and_why(
    statuses: tuple[Status, ...], on_error: str, of_bursts: dict[str, Any] | None, ended: str, reason: Any, code: int
) -> None:
    found = outcome(*statuses, report=None if of_bursts is None else report(**of_bursts), on_error=on_error)
    assert (found.ended, found.reason, found.exit_code) == (ended, reason, code)
    assert found.as_json()["next"] == ("burst run" if PENDING in statuses else None)


@pytest.mark.parametrize(
    ("ended", "end"),
    [
        ("done", "1 of 2 done in 1.0 s"),
        ("deadline", "1 of 2 done in 1.0 s; stopped at the time limit"),
        ("stopped", "1 of 2 done in 1.0 s; stopped by a signal"),
    ],
)
def test_the_summary_says_why_items_are_left(ended: str, end: str) -> None:
    found = outcome(COMPLETED, PENDING, report=report(ended=ended))
    assert found.as_text().splitlines()[0] == f"Batch b: {end}"


@pytest.mark.parametrize(
    ("ended", "reason", "end"),
    [
        ("done", None, "."),
        ("deadline", None, "; stopped at the time limit."),
        ("stopped", None, "; stopped by a signal."),
        ("failure", None, "; stopped because an item failed."),
        ("error", "the disk is full", "."),
    ],
)
def test_the_headline_of_a_run_says_how_it_ended_where_no_other_line_does(
    ended: str, reason: str | None, end: str
) -> None:
    server = {
        "name": "a",
        "url": "http://a",
        "completed": 1,
        "failed": 0,
        "out": 0,
        "seconds_per_item": 1,
        "lost": None,
    }
    found = report(ended=ended, reason=reason, bursts=1, completed=1, servers=[server])
    (headline, *_) = found.as_text().splitlines()
    assert headline == f"This burst: 1 completed in 0.0 s{end}"


def test_what_the_bursts_note_is_said_for_people_too() -> None:
    assert "Note: a server is lost" in outcome(PENDING, report=report(notes=["a server is lost"])).as_text()


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ({}, "burst run"),
        ({"output_dir": Path("another")}, "burst run"),
        ({"servers": ("127.0.0.1:8188",)}, "burst run"),
        (
            {"servers": ("gpu1:8188", "http://me:hunter2@gpu2:8188/")},
            "burst run --server http://gpu1:8188 --server http://gpu2:8188",
        ),
        ({"bindings": {"seed": "3.seed"}, "template": "smoke"}, "burst run"),
    ],
)
def test_what_is_not_remembered_is_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMFYUI_URL", raising=False)
    kept = load_settings(Path("state.json"), Overrides(output_dir=Path("kept"), bindings={"prompt": "6.text"}))
    assert resuming(Overrides(**said), kept) == command
