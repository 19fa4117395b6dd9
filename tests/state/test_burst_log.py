"""bursts.jsonl: a memory of bursts that a crash can shorten but not spoil."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from support.simulated_disk import SimulatedDisk
from support.state_scenes import NOON

from state.disk import Disk, Handle
from state.json.burst_log import BurstRecord, JsonBurstLog


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
        alive_seconds=41.5,
        signal="SIGTERM",
    )


def test_a_record_of_before_runs_had_an_age_is_read(tmp_path: Path) -> None:
    log = JsonBurstLog(tmp_path)
    log.path.write_text(
        '{"burst":"b1","started_at":"2026-01-01T12:00:00Z","ended_at":"2026-01-01T12:00:09Z","ended":"stopped","size":5}\n'
    )
    (old,) = log.read()
    assert (old.ended, old.alive_seconds, old.signal) == ("stopped", None, None)


def test_a_record_that_this_version_does_not_understand_is_skipped(tmp_path: Path) -> None:
    """As one that ended `crashed` is by a version that does not know the word."""
    log = JsonBurstLog(tmp_path)
    log.append(record("b1"))
    with log.path.open("ab") as stream:
        stream.write(msgspec.json.encode(record("b2")).replace(b'"killed"', b'"evaporated"') + b"\n")
    log.append(record("b3"))
    assert [one.burst for one in log.read()] == ["b1", "b3"]


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    class Counting(Disk):
        def open_to_read(self, path: Path) -> Handle:
            return CountingHandle(path, os.open(path, os.O_RDONLY))

    class CountingHandle(Handle):
        def read_from(self, offset: int) -> bytes:
            found = super().read_from(offset)
            sizes.append(len(found))
            return found

    sizes: list[int] = []
    log = JsonBurstLog(tmp_path, disk=Counting())
    records = [record(f"b{number}") for number in range(3000)]
    log.path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in records))
    assert log.read(last=20) == records[-20:]
    assert log.read() == records[-500:]
    assert max(sizes) <= 384 * 1024 < log.path.stat().st_size


def test_one_record_with_a_long_reason_is_still_read(tmp_path: Path) -> None:
    log = JsonBurstLog(tmp_path)
    for number in range(300):
        log.append(record(f"b{number}"))
    wordy = msgspec.structs.replace(record("wordy"), reason="no " * 10_000)
    log.append(wordy)
    assert log.read(last=1) == [wordy]


@pytest.mark.parametrize("garbage", [b'{"burst":"b1","star', b"\xff\xfe", b'{"burst": 5}', b"\x00\x00"])
def test_a_torn_line_is_passed_over_and_spoils_none_that_follows(tmp_path: Path, garbage: bytes) -> None:
    log = JsonBurstLog(tmp_path)
    log.append(record("b1"))
    with log.path.open("ab") as end:
        end.write(garbage)
    assert log.read() == [record("b1")]
    log.append(record("b2"))
    assert log.read() == [record("b1"), record("b2")]


def test_a_record_is_durable_when_append_returns(tmp_path: Path) -> None:
    disk = SimulatedDisk(tmp_path)
    JsonBurstLog(tmp_path, disk=disk).append(record("b1"))
    disk = disk.after_forgetting()
    assert JsonBurstLog(tmp_path, disk=disk).read() == [record("b1")]
    JsonBurstLog(tmp_path, disk=disk).append(record("b2"))
    assert JsonBurstLog(tmp_path, disk=disk.after_forgetting()).read() == [record("b1"), record("b2")]
