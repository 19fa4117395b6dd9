"""`burst history`: every attempt and burst of a state, narrowed, counted, listed, and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from support.leases import at_work
from support.time_zones import time_zone

from burst import cli
from orchestrator.attempt_history import AttemptHistory, read_attempts
from orchestrator.errors import UsageError
from state.batch import BatchRecord
from state.burst_record import BurstRecord, Ending
from state.change import Change
from state.item import ErrorRecord, Item, OutputRecord, PastAttempt, Status
from state.open_store import open_store

NIGHT = datetime(2026, 11, 29, 22, tzinfo=UTC)
ERROR = ErrorRecord(kind="out_of_memory", message='=HYPERLINK(1), "no" memory')
Edit = Callable[[Item], Item]


def submit(server: str, *, at: datetime, name: str) -> Edit:
    return lambda now: now.submit(prompt_id=name, server=server, at=at, fingerprint="")


def complete(at: datetime, *, outputs: int = 2) -> Edit:
    made = tuple(OutputRecord(path=f"{number}.png", bytes=1000, sha256="0") for number in range(outputs))
    return lambda now: now.complete(outputs=made, at=at, seconds=30.0)


def fail(now: Item) -> Item:
    return now.fail(error=ERROR)


class Scene:
    """Two bursts on two hosts, an hour apart; each ended attempts that the test says."""

    def __init__(self, state: Path) -> None:
        self.state = state
        batch = BatchRecord(batch="b0a7", name="cast", created_at=NIGHT, total=2, layout="batch", directory="cast")
        with open_store(state, create=True) as store:
            store.add([Item(key=f"{number}.txt", status=Status.PENDING) for number in range(2)])
            store.add([Item(key=f"c{number}", status=Status.PENDING, batch="b0a7") for number in range(2)], batch=batch)

    def burst(
        self, burst: str, host: str, began: datetime, *ends: tuple[str, str, Edit], ended: Ending = "done"
    ) -> None:
        """`ends`: key, server, and how it ended."""
        with open_store(self.state) as store, store.lease() as lease:
            lease.begin_burst(burst=burst, size=5, started_at=began, run_started_at=began)
            for key, server, end in ends:
                lease.apply([Change(key, store.get(key).status, submit(server, at=began, name=f"{burst}-{key}"))])
                lease.apply([Change(key, Status.SUBMITTED, end)])
            record = BurstRecord(
                burst=burst,
                started_at=began,
                ended_at=began + timedelta(minutes=10),
                ended=ended,
                size=5,
                completed=0 if ended == "killed" else 1,
                seconds=600.0,
                host=host,
            )
            lease.end_burst(record)

    def read(self, **narrowed: Any) -> AttemptHistory:
        return read_attempts(self.state, **narrowed)

    def keys(self, **narrowed: Any) -> list[str]:
        return [row.item for row in self.read(last=None, **narrowed).attempts]


def dated(store_path: Path, moments: dict[str, datetime]) -> None:
    """Set when the attempts that did not complete have ended: by burst."""
    with open_store(store_path) as store:
        for item in list(store.items()):
            past = tuple(
                msgspec.structs.replace(one, ended_at=moments.get(one.burst or "", one.ended_at))
                for one in item.past_attempts
            )
            if past:
                store.apply(
                    [
                        Change(
                            item.key,
                            item.status,
                            lambda now, past=past: msgspec.structs.replace(now, past_attempts=past),
                        )
                    ]
                )


LATER = NIGHT + timedelta(hours=1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """First a completed and a failed item on gpu1, then the failed one again and one of the batch on gpu2."""
    scene = Scene(tmp_path / "state.json")
    scene.burst("b1", "attic", NIGHT, ("0.txt", "gpu1", complete(NIGHT)), ("1.txt", "gpu1", fail))
    with open_store(scene.state) as store:
        store.apply([Change("1.txt", Status.FAILED, Item.start_over)])
    scene.burst("b2", "cellar", LATER, ("1.txt", "gpu2", complete(LATER)), ("c0", "gpu2", fail))
    dated(scene.state, {"b1": NIGHT + timedelta(minutes=1), "b2": LATER + timedelta(minutes=1)})
    return scene


def test_every_attempt_is_a_row_oldest_first(scene: Scene) -> None:
    rows = [
        (row.item, row.result, row.host, row.attempt.server, row.attempt.burst)
        for row in scene.read(last=None).attempts
        if row.attempt is not None
    ]
    assert rows == [
        ("0.txt", "completed", "attic", "gpu1", "b1"),
        ("1.txt", "failed", "attic", "gpu1", "b1"),
        ("1.txt", "completed", "cellar", "gpu2", "b2"),
        ("c0", "failed", "cellar", "gpu2", "b2"),
    ]


def test_a_row_says_all_that_is_known(scene: Scene) -> None:
    first, *_, last = scene.read(last=None).as_json()["attempts"]
    assert first == {
        "item": "0.txt",
        "batch": None,
        "server": "gpu1",
        "host": "attic",
        "burst": "b1",
        "submitted_at": NIGHT.isoformat(),
        "ended_at": NIGHT.isoformat(),
        "seconds": 30.0,
        "result": "completed",
        "error": None,
        "message": None,
        "outputs": 2,
        "bytes": 2000,
        "prompt_id": "b1-0.txt",
    }
    assert (last["batch"], last["error"], last["message"]) == ("b0a7", ERROR.kind, ERROR.message)


@pytest.mark.parametrize(
    ("narrowed", "keys", "bursts"),
    [
        ({"since": LATER}, ["1.txt", "c0"], ["b2"]),
        ({"until": LATER}, ["0.txt", "1.txt"], ["b1"]),
        ({"since": NIGHT + timedelta(minutes=1), "until": LATER}, ["1.txt"], ["b1"]),
        ({"batch": "cast"}, ["c0"], ["b2"]),
        ({"batch": "b0"}, ["c0"], ["b2"]),
        ({"server": "gpu1"}, ["0.txt", "1.txt"], ["b1"]),
        ({"server": "gpu7"}, [], []),
        ({"host": "cellar"}, ["1.txt", "c0"], ["b2"]),
        ({"failed": True}, ["1.txt", "c0"], ["b1", "b2"]),
        ({"failed": True, "host": "attic"}, ["1.txt"], ["b1"]),
    ],
)
def test_it_can_be_narrowed(scene: Scene, narrowed: dict[str, Any], keys: list[str], bursts: list[str]) -> None:
    assert scene.keys(**narrowed) == keys
    found = scene.read(bursts=True, last=None, **narrowed)
    assert [row["burst"] for row in found.as_json()["bursts"]] == bursts
    assert (found.totals.attempts, found.attempts) == (len(keys), []), "counted, not kept"


def test_a_server_is_named_or_addressed(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "state.json")
    (tmp_path / "state.burst" / "settings.toml").write_text(
        'version = 2\n[servers]\ngpu1 = "http://10.0.0.7:8188"\n', encoding="utf-8"
    )
    scene.burst("b1", "attic", NIGHT, ("0.txt", "gpu1", complete(NIGHT)), ("1.txt", "http://10.0.0.8:8188", fail))
    assert scene.keys(server="10.0.0.7") == ["0.txt"]
    assert scene.keys(server="http://10.0.0.7:8188/") == ["0.txt"]
    assert scene.keys(server="10.0.0.8:8188") == ["1.txt"]


def test_totals_are_of_all_that_was_requested(scene: Scene) -> None:
    document = scene.read(last=1).as_json()
    assert [row["item"] for row in document["attempts"]] == ["c0"]
    del document["attempts"]
    assert document == {
        "schema": "burst.history/1",
        "state": str(scene.state),
        "since": None,
        "until": None,
        "items": 3,
        "results": {"completed": 2, "failed": 2},
        "seconds": 60.0,
        "outputs": 4,
        "bytes": 4000,
        "burst_seconds": 1200.0,
        "servers": ["gpu1", "gpu2"],
        "hosts": ["attic", "cellar"],
        "attempts_total": 4,
        "bursts_total": 2,
    }


def test_text_has_the_last_ten_and_what_all_come_to(scene: Scene) -> None:
    with time_zone("UTC"):
        lines = scene.read(last=2, since=NIGHT).as_text().splitlines()
    assert lines == [
        "Since 2026-11-29 22:00: 4 attempts of 3 items: 2 completed, 2 failed; 4 outputs, 4 KiB; 1 min 0 s on servers; "
        "2 bursts of 20 min 0 s",
        "  … and 2 attempts before these (everything=True shows them)",
        "  2026-11-29 23:00:00  completed  1.txt on gpu2, 30.0 s: 2 outputs, 2 KiB",
        '  2026-11-29 23:01:00  failed     c0 on gpu2: out_of_memory: =HYPERLINK(1), "no" memory',
    ]


def test_nothing_ended(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "state.json")
    assert scene.read().as_text() == "no attempt ended; 0 bursts of 0.0 s"
    assert scene.read().as_json()["attempts"] == []


def test_items_that_an_older_burst_left_are_rows_without_a_time(tmp_path: Path) -> None:
    records = {
        "done": {
            "status": "completed",
            "server": "gpu1",
            "prompt_id": "p",
            "submitted_at": "2026-11-29T22:00:00Z",
            "completed_at": "2026-11-29T22:00:09Z",
            "seconds": 8,
            "outputs": [{"path": "a.png", "bytes": 7, "sha256": "0"}],
        },
        "given up": {"status": "failed", "attempts": 3, "error": {"kind": "execution_error", "message": "no"}},
        "due": {"status": "pending", "attempts": 1, "error": {"kind": "execution_error", "message": "no"}},
    }
    (tmp_path / "state.json").write_text(json.dumps(records))
    found = read_attempts(tmp_path / "state.json").as_json()
    assert [(row["item"], row["result"], row["ended_at"], row["burst"]) for row in found["attempts"]] == [
        ("given up", "failed", None, None),
        ("done", "completed", "2026-11-29T22:00:09+00:00", None),
    ]
    assert [row.item for row in read_attempts(tmp_path / "state.json", since=NIGHT).attempts] == ["done"]


def test_a_killed_burst_is_counted_by_the_attempts_that_ended_in_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "state.json")
    scene.burst("b1", "attic", NIGHT, ("0.txt", "gpu1", complete(NIGHT)), ("1.txt", "gpu1", fail), ended="killed")
    (row,) = scene.read(bursts=True).as_json()["bursts"]
    assert (row["ended"], row["completed"], row["failed"], row["recovered"]) == ("killed", 1, 1, None)


def test_the_burst_at_work_is_listed_and_names_its_host(scene: Scene) -> None:
    with at_work(scene.state, burst="b3") as lease:
        lease.apply([Change("c1", Status.PENDING, submit("gpu1", at=NIGHT, name="p"))])
        lease.apply([Change("c1", Status.SUBMITTED, fail)])
        found = scene.read(bursts=True).as_json()["bursts"][-1]
        row = scene.read(last=None).attempts[-1]
    assert (found["burst"], found["ended"], found["ended_at"]) == ("b3", "running", None)
    assert (row.item, row.host) == ("c1", found["host"])


def burst(*arguments: str, state: Path) -> str:
    done = CliRunner().invoke(cli, ["history", "--state", str(state), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout_bytes.decode()


def test_csv_is_a_table_of_all_rows_that_a_spreadsheet_takes_literally(scene: Scene) -> None:
    text = burst("--csv", state=scene.state)
    assert text.count("\r\n") == 5
    assert text.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    document = json.loads(burst("--json", "--all", state=scene.state))
    assert list(rows[0]) == list(document["attempts"][0])
    for row, same in zip(rows, document["attempts"], strict=True):
        message = same["message"]
        expected = same | {"message": f"'{message}" if message is not None else None}
        assert row == {name: "" if value is None else str(value) for name, value in expected.items()}


def test_csv_of_bursts(scene: Scene) -> None:
    rows = list(csv.DictReader(io.StringIO(burst("--csv", "--bursts", state=scene.state), newline="")))
    assert [(row["burst"], row["host"], row["completed"]) for row in rows] == [
        ("b1", "attic", "1"),
        ("b2", "cellar", "1"),
    ]


def test_the_pieces_of_json_are_the_document(scene: Scene) -> None:
    for arguments, last in ((["--json"], 10), (["--json", "--all", "--bursts"], None)):
        document = read_attempts(scene.state, last=last, bursts="--bursts" in arguments).as_json()
        assert json.loads(burst(*arguments, state=scene.state)) == document


def test_a_time_that_ends_before_it_begins_is_refused(scene: Scene) -> None:
    with pytest.raises(UsageError, match=r"until=.* is not after since="):
        scene.read(since=LATER, until=NIGHT)


def test_many_rows_are_printed_in_pieces(tmp_path: Path) -> None:
    """The rows are in memory once; neither documents nor text of all of them ever are."""
    past = [{"result": "put_back", "ended_at": "2026-11-29T22:00:00Z", "prompt_id": f"p{n}"} for n in range(20)]
    records = {f"{n}.txt": {"status": "pending", "past_attempts": past} for n in range(100)}
    (tmp_path / "state.json").write_text(json.dumps(records))
    found = read_attempts(tmp_path / "state.json", last=None)
    assert len(found.attempts) == 2000
    for pieces in (found.csv_pieces(), found.text_pieces(), found.json_pieces(ensure_ascii=False)):
        lengths = [len(piece) for piece in pieces]
        assert max(lengths) < sum(lengths) / 10


def test_an_attempt_of_a_newer_kind_is_listed_and_counted(tmp_path: Path) -> None:
    past = PastAttempt(result="evicted", ended_at=NIGHT, server="gpu1")
    with open_store(tmp_path / "state.json", create=True) as store:
        store.add([Item(key="a", status=Status.PENDING, past_attempts=(past,))])
    found = read_attempts(tmp_path / "state.json").as_json()
    assert (found["results"], found["attempts"][0]["result"]) == ({"evicted": 1}, "evicted")


def test_two_formats_at_once_are_refused(scene: Scene) -> None:
    done = CliRunner().invoke(cli, ["history", "--state", str(scene.state), "--csv", "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["message"] == "--csv and --json exclude each other"
