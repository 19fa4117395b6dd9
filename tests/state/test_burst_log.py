"""bursts.jsonl: a memory of bursts that a crash can shorten but not spoil."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from scenes import NOON
from simulated_disk import SimulatedDisk

from state.burst_log import BurstLog, BurstRecord


def record(name: str) -> BurstRecord:
    return BurstRecord(
        burst=name,
        started_at=NOON,
        ended_at=NOON + timedelta(seconds=9),
        ended="killed",
        size=15,
        completed=4,
        seconds_per_item=1.25,
        reason="SIGKILL\nor so",
    )


def test_records_come_back_oldest_first(tmp_path: Path) -> None:
    log = BurstLog(tmp_path)
    assert log.read() == []
    records = [record(f"b{number}") for number in range(5)]
    for each in records:
        log.append(each)
    assert BurstLog(tmp_path).read() == records
    assert log.read(last=2) == records[-2:]
    assert len(log.path.read_bytes().splitlines()) == 5


@pytest.mark.parametrize("garbage", [b'{"burst":"b1","star', b"\xff\xfe", b'{"burst": 5}', b"\x00\x00"])
def test_a_torn_line_is_passed_over_and_spoils_none_that_follows(tmp_path: Path, garbage: bytes) -> None:
    log = BurstLog(tmp_path)
    log.append(record("b1"))
    with log.path.open("ab") as end:
        end.write(garbage)
    assert log.read() == [record("b1")]
    log.append(record("b2"))
    assert log.read() == [record("b1"), record("b2")]


def test_a_record_is_durable_when_append_returns(tmp_path: Path) -> None:
    disk = SimulatedDisk(tmp_path)
    BurstLog(tmp_path, disk=disk).append(record("b1"))
    disk = disk.after_forgetting()
    assert BurstLog(tmp_path, disk=disk).read() == [record("b1")]
    BurstLog(tmp_path, disk=disk).append(record("b2"))
    assert BurstLog(tmp_path, disk=disk.after_forgetting()).read() == [record("b1"), record("b2")]
