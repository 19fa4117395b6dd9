"""facts.jsonl: what a newer burst wrote is kept, and a crash leaves what was there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from support.simulated_disk import Crash, SimulatedDisk
from support.state_scenes import NOON

from state.facts import ClientId, Facts, Pause, ServerHealth
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
