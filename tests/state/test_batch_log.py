"""batches.jsonl: batches as they were asked for, and what was noted of them since."""

from __future__ import annotations

import multiprocessing
from datetime import timedelta
from pathlib import Path

import msgspec
from support.simulated_disk import SimulatedDisk
from support.state_scenes import NOON

from state.batch import (
    BatchRecord,
    DeliveredRecord,
    EndRecord,
    GoneRecord,
    GrownRecord,
    JoinedRecord,
    Notify,
    ToldRecord,
)
from state.json.batch_log import JsonBatchLog


def record(name: str) -> BatchRecord:
    return BatchRecord(
        batch=name,
        created_at=NOON,
        total=3,
        layout="numbered",
        directory="20260101_120000",
        parameters={"seed": 7, "cfg": 7.5},
        axes={"cfg": [5.0, 7.5]},
        notify=(Notify(url="http://127.0.0.1:9/hook", secret_env="KEY"),),
    )


def end(name: str, event: str) -> EndRecord:
    return EndRecord(batch=name, event=event, at=NOON + timedelta(seconds=5), how="done", completed=3)


def test_batches_come_back_with_what_was_noted_of_them(tmp_path: Path) -> None:
    log = JsonBatchLog(tmp_path)
    assert log.read() == {}
    log.append(record("a"))
    log.append(record("b"), end("a", "e1"))
    told = ToldRecord(event="e1", url="http://127.0.0.1:9/hook", at=NOON, problem="refused")
    log.append(told)
    log.append(GoneRecord(batch="b", at=NOON))
    found = JsonBatchLog(tmp_path).read()
    assert list(found) == ["a", "b"]
    assert found["a"].record == record("a")
    assert found["a"].ends == [end("a", "e1")]
    assert found["a"].told == [told]
    assert (found["a"].gone, found["b"].gone) == (False, True)


def test_calls_wait_for_their_answer_until_it_was_delivered_to_them_or_to_a_later_one(tmp_path: Path) -> None:
    log = JsonBatchLog(tmp_path)
    log.append(record("a"), record("b"))
    assert log.read()["a"].unanswered == [""]
    log.append(*(JoinedRecord(batch="a", call=call, at=NOON) for call in "xyz"))
    log.append(DeliveredRecord(batch="a", call="x", at=NOON))
    assert log.read()["a"].unanswered == ["y", "z"], "who called before x has given up"
    log.append(DeliveredRecord(batch="a", at=NOON), DeliveredRecord(batch="a", call="nobody", at=NOON))
    assert log.read()["a"].unanswered == ["y", "z"]
    log.append(DeliveredRecord(batch="a", call="z", at=NOON))
    assert log.read()["a"].unanswered == []
    assert log.read()["b"].unanswered == [""]


def test_a_torn_line_and_one_of_an_unknown_kind_hide_no_other(tmp_path: Path) -> None:
    log = JsonBatchLog(tmp_path)
    log.append(record("a"))
    with log.path.open("ab") as file:
        file.write(b'{"line":"later","batch":"a"}\n{"line":"batch","batch":"torn')
    log.append(record("b"))
    assert list(log.read()) == ["a", "b"]


def test_the_first_record_of_a_batch_stands(tmp_path: Path) -> None:
    log = JsonBatchLog(tmp_path)
    log.append(record("a"), end("a", "e1"), record("a"))
    assert len(log.read()["a"].ends) == 1


def test_a_batch_grows_and_never_shrinks(tmp_path: Path) -> None:
    log = JsonBatchLog(tmp_path)
    log.append(GrownRecord(batch="later", total=9), record("a"), record("b"))
    log.append(GrownRecord(batch="a", total=7), GrownRecord(batch="a", total=5))
    found = log.read()
    assert list(found) == ["a", "b"]
    assert [batch.record.total for batch in found.values()] == [7, 3]
    assert found["a"].record == msgspec.structs.replace(record("a"), total=7)


def test_an_append_survives_power_loss(tmp_path: Path) -> None:
    disk = SimulatedDisk(tmp_path)
    folder = tmp_path / "s.burst"
    disk.make_directory(folder)
    JsonBatchLog(folder, disk=disk).append(record("a"))
    assert list(JsonBatchLog(folder, disk=disk.after_forgetting()).read()) == ["a"]


def _append_many(folder: str, name: str) -> None:
    log = JsonBatchLog(Path(folder))
    for number in range(40):
        log.append(record(f"{name}{number}"))


def test_several_processes_append_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(str(tmp_path), name)) for name in "xyz"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(JsonBatchLog(tmp_path).read()) == 120
