"""facts.jsonl: the last fact of each kind holds, and what a newer burst wrote is kept."""

from __future__ import annotations

import multiprocessing
from datetime import timedelta
from pathlib import Path

from support.simulated_disk import Crash, SimulatedDisk
from support.state_scenes import NOON, seed, write_json

from state.facts import ClientId, Facts, Pause, ServerHealth
from state.json.fact_log import JsonFactLog
from state.open_store import open_store, parts_of


def health(server: str, how: str, *, minutes: int = 0) -> ServerHealth:
    return ServerHealth(server=server, health=how, at=NOON + timedelta(minutes=minutes))


def test_the_last_of_each_kind_and_server_holds(tmp_path: Path) -> None:
    log = JsonFactLog(tmp_path)
    assert (log.read(), log.stamp()) == (Facts(), None)
    log.append(Pause(paused=True, at=NOON, reason="night"), health("a", "sick"))
    first = log.stamp()
    log.append(health("b", "well"), ClientId(server="a", client_id="one", at=NOON))
    log.append(health("a", "well", minutes=1), Pause(paused=False, at=NOON))
    assert log.stamp() != first
    assert JsonFactLog(tmp_path).read() == Facts(
        Pause(paused=False, at=NOON),
        {"a": health("a", "well", minutes=1), "b": health("b", "well")},
        {"a": ClientId(server="a", client_id="one", at=NOON)},
    )


def test_it_is_part_of_a_state_before_there_is_one_and_after(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    parts_of(state).facts.append(Pause(paused=True, at=NOON))
    assert not state.exists()
    write_json(state, seed("a"))
    with open_store(state, read_only=True) as store:
        assert store.facts.read().pause == Pause(paused=True, at=NOON)


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


def _append_many(folder: str, name: str) -> None:
    log = JsonFactLog(Path(folder))
    for number in range(40):
        log.append(health(f"{name}{number}", "well"))


def test_several_processes_append_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(str(tmp_path), name)) for name in "xyz"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(JsonFactLog(tmp_path).read().health) == 3 * 40
