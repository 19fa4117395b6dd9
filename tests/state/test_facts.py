"""facts.jsonl: what a newer burst wrote is kept, and a crash leaves what was there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from support.simulated_disk import Crash, SimulatedDisk
from support.state_scenes import NOON

from state.disk import Disk, Handle, OutOfSpace, Stamp
from state.facts import OLD_SPENDS_KEPT, ClientId, Fact, Facts, Pause, ServerHealth, Spend
from state.json.fact_log import JsonFactLog


def health(server: str, how: str, *, minutes: int = 0) -> ServerHealth:
    return ServerHealth(server=server, health=how, at=NOON + timedelta(minutes=minutes))


def test_a_kind_and_a_field_of_a_newer_burst_are_passed_over_and_kept(tmp_path: Path) -> None:
    log = JsonFactLog(tmp_path)
    log.append(health("a", "sick"))
    newer = b'{"line":"quota","hour":3}\n{"line":"pause","paused":true,"at":"2026-01-01T12:00:00Z","until":"07:00"}\n'
    with log.path.open("ab") as file:
        file.write(newer)
    log.append(ClientId(server="a", client_id="one", at=NOON))
    assert newer in log.path.read_bytes()
    assert log.read() == Facts(
        Pause(paused=True, at=NOON), {"a": health("a", "sick")}, {"a": ClientId(server="a", client_id="one", at=NOON)}
    )


def test_a_crash_leaves_what_was_appended_before_and_the_next_append_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "s.burst"
    for crash_at in range(9):
        disk = SimulatedDisk(tmp_path)
        disk.make_directory(folder)
        log = JsonFactLog(folder, disk=disk)
        log.append(health("a", "sick"))
        disk.crash_at = len(disk.log) + crash_at
        try:
            log.append(health("a", "well"))
        except Crash:
            pass
        else:
            break
        for found in (disk.after_sigkill(), *disk.after_power_loss()):
            log = JsonFactLog(folder, disk=found)
            assert log.read().health["a"].health in ("sick", "well")
            log.append(health("b", "well"))
            assert log.read().health["b"] == health("b", "well")
            assert JsonFactLog(folder, disk=found.after_forgetting()).read() == log.read()
    assert crash_at > 2


DAY = timedelta(days=1)


def spend(*, days: float = 0, prompts: int = 1) -> Spend:
    return Spend(server="cloud", prompts=prompts, at=NOON + timedelta(days=days))


def take(log: JsonFactLog, *, days: float = 0, most: int = 100) -> bool:
    """One more prompt, with what was spent in 24 hours."""
    return log.spend(spend(days=days), most=most, since=NOON + timedelta(days=days - 1))


def lines_of(log: JsonFactLog) -> list[bytes]:
    return log.path.read_bytes().splitlines()


class CountingDisk(Disk):
    """Counts what is read; every file has one number, as one that was replaced and one that came later may have."""

    def __init__(self) -> None:
        self.bytes_read = 0

    def open_to_read(self, path: Path) -> Handle:
        outer, opened = self, super().open_to_read(path)

        class Counted(Handle):
            def read_from(self, offset: int) -> bytes:
                data = super().read_from(offset)
                outer.bytes_read += len(data)
                return data

            def stamp(self) -> Stamp:
                return msgspec.structs.replace(super().stamp(), inode=1)

        counted = Counted(path, opened._descriptor)
        opened._descriptor = -1
        return counted


def test_a_log_is_read_on_from_where_the_last_reading_stopped(tmp_path: Path) -> None:
    disk = CountingDisk()
    log, other = JsonFactLog(tmp_path, disk=disk), JsonFactLog(tmp_path)
    other.append(*[health(f"s{number}", "well") for number in range(500)])
    assert len(log.read().health) == 500
    whole, disk.bytes_read = disk.bytes_read, 0
    for number in range(10):
        other.append(health("s0", "sick", minutes=number))
        assert log.read() == JsonFactLog(tmp_path).read()
    assert disk.bytes_read < whole / 10


def test_a_line_without_an_end_counts_and_is_read_again(tmp_path: Path) -> None:
    log = JsonFactLog(tmp_path)
    log.append(health("a", "sick"))
    whole = msgspec.json.encode(health("b", "sick"))
    for cut, known in ((9, {"a"}), (len(whole), {"a", "b"})):
        with log.path.open("ab") as file:
            file.write(whole[:cut] if cut < len(whole) else whole[9:])
        assert log.read().health.keys() == known
        assert log.read() == JsonFactLog(tmp_path).read()
    JsonFactLog(tmp_path).append(health("c", "sick"))
    assert list(log.read().health) == ["a", "b", "c"]


def test_another_file_of_the_same_number_is_read_whole(tmp_path: Path) -> None:
    log = JsonFactLog(tmp_path, disk=CountingDisk())
    log.append(health("a", "sick"))
    assert log.read().health.keys() == {"a"}
    log.path.write_bytes(msgspec.json.encode(health("b", "well")) + b"\n" + msgspec.json.encode(health("c", "well")))
    assert log.read().health.keys() == {"b", "c"}
    log.path.unlink()
    assert log.read() == Facts()


def test_what_was_spent_long_ago_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    log, other = JsonFactLog(tmp_path), JsonFactLog(tmp_path)
    log.append(health("a", "sick"), *[spend(days=-9)] * OLD_SPENDS_KEPT, spend(days=-1.5), spend(days=-0.5))
    newer = b'{"line":"quota","hour":3}'
    with log.path.open("ab") as file:
        file.write(newer + b'\n{"line":"spend","serv\n')
    before, known = lines_of(log), other.read()
    assert len(known.spends) == OLD_SPENDS_KEPT + 2
    assert take(log, most=2)
    kept = [line for line in before if line != msgspec.json.encode(spend(days=-9))]
    assert lines_of(log) == [*kept, msgspec.json.encode(spend())]
    assert newer in kept
    assert log.read() == other.read() == JsonFactLog(tmp_path).read()
    assert other.read().health == known.health
    assert not take(other, most=2), "what counts is still counted"
    assert take(other, most=3)
    assert log.read().spent(since=NOON - DAY) == 3


def test_few_old_lines_are_left_where_they_are(tmp_path: Path) -> None:
    log = JsonFactLog(tmp_path)
    log.append(*[spend(days=-9)] * (OLD_SPENDS_KEPT - 1))
    assert take(log)
    assert len(lines_of(log)) == OLD_SPENDS_KEPT


def test_a_crash_while_old_lines_are_dropped_loses_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.json.fact_log.OLD_SPENDS_KEPT", 3)
    folder = tmp_path / "s.burst"
    facts: list[Fact] = [health("a", "sick"), *[spend(days=-9)] * 3, spend(days=-0.5)]
    dropped = []
    for crash_at in range(30):
        disk = SimulatedDisk(tmp_path)
        disk.make_directory(folder)
        log = JsonFactLog(folder, disk=disk)
        log.append(*facts)
        disk.crash_at = len(disk.log) + crash_at
        try:
            take(log, most=9)
        except Crash:
            pass
        else:
            break
        for found in (disk.after_sigkill(), *disk.after_power_loss()):
            known = JsonFactLog(folder, disk=found).read()
            assert known.health["a"].health == "sick"
            assert known.spent(since=NOON - DAY) in (1, 2)
            dropped.append(len(known.spends) <= 2)
            assert take(JsonFactLog(folder, disk=found), most=known.spent(since=NOON - DAY) + 1)
    assert True in dropped, "a crash behind the rename was tried"
    assert False in dropped
    assert crash_at > 6


def test_a_full_disk_leaves_the_old_lines(tmp_path: Path) -> None:
    class Full(Disk):
        def create(self, path: Path, *, like: Path | None = None) -> Handle:
            raise OutOfSpace(f"{path}: full")

    log = JsonFactLog(tmp_path, disk=Full())
    log.append(*[spend(days=-9)] * OLD_SPENDS_KEPT)
    assert take(log)
    assert len(lines_of(log)) == OLD_SPENDS_KEPT + 1
