"""What past bursts teach, where several hosts and servers share a state: limits by host, paces by server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from support.state_scenes import NOON

from orchestrator import run_burst
from orchestrator.attempt_history import read_attempts
from orchestrator.cycle import pacing
from orchestrator.cycle.request import Request
from orchestrator.cycle.time_limit import TimeLimit
from orchestrator.sandbox import Sandbox
from orchestrator.servers import default_name, this_host
from orchestrator.status import read_status
from orchestrator.time_left import Paces, bursts_at_work, pace_of, recipe_seconds
from state.burst_record import MEMORY_RECORDS, BurstRecord, Ending, RecipePace, recent_records, runs_of
from state.holder import Holder
from state.item import Item, Status
from state.open_store import open_store, parts_of

HERE = this_host()


class Night:
    """The records of runs of several hosts on one state."""

    def __init__(self) -> None:
        self.records: list[BurstRecord] = []

    def run(
        self,
        host: str | None,
        *,
        seconds: float,
        ended: Ending = "killed",
        pid: int | None = None,
        per_item: float | None = None,
        completed: int = 1,
    ) -> None:
        at = NOON + timedelta(hours=len(self.records))
        self.records.append(
            BurstRecord(
                burst=f"b{len(self.records)}",
                started_at=at,
                ended_at=at + timedelta(seconds=seconds),
                ended=ended,
                size=15,
                completed=completed,
                seconds=seconds,
                alive_seconds=seconds,
                seconds_per_item=per_item,
                host=host,
                pid=pid,
            )
        )


@pytest.fixture
def night() -> Night:
    """Here runs are killed after a minute; on the other host after ten, and its runs alternate with ours."""
    night = Night()
    for _ in range(3):
        night.run(HERE, seconds=60.0)
        night.run("elsewhere", seconds=600.0)
    return night


# By host


def test_each_host_learns_its_own_watchdog(night: Night) -> None:
    limits = [pacing.learned_limit(pacing.of_host(night.records, host)) for host in (HERE, "elsewhere")]
    assert [(limit.seconds, limit.kills) for limit in limits if limit is not None] == [(60.0, 3), (600.0, 3)]


def test_long_lives_elsewhere_do_not_refute_a_watchdog_here() -> None:
    night = Night()
    for _ in range(3):
        night.run(HERE, seconds=60.0)
        night.run("elsewhere", seconds=6000.0, ended="done")
    assert TimeLimit.of(Request(), night.records, began_at=NOON).seconds == 54.0
    assert pacing.learned_limit(pacing.of_host(night.records, "elsewhere")) is None


def test_kills_on_one_host_do_not_make_bursts_smaller_on_another() -> None:
    night = Night()
    for _ in range(3):
        night.run(HERE, seconds=1.0, ended="done", completed=0)
        night.run("elsewhere", seconds=60.0)
    assert Request(size="auto").burst_size(night.records) == 15
    assert pacing.automatic_size(pacing.of_host(night.records, "elsewhere"), seconds=None) == 1


def test_a_host_without_runs_of_its_own_learns_from_all(night: Night) -> None:
    """Containers often have a new name each time: a new one is no blank page."""
    assert pacing.of_host(night.records, "new") == night.records
    night.run("new", seconds=600.0)
    assert pacing.of_host(night.records, "new") == night.records
    night.run("new", seconds=600.0)
    assert [record.host for record in pacing.of_host(night.records, "new")] == ["new", "new"]


def test_records_of_older_bursts_teach_every_host() -> None:
    night = Night()
    for host in (None, HERE, None, "elsewhere", HERE):
        night.run(host, seconds=60.0)
    assert [record.host for record in pacing.of_host(night.records, HERE)] == [None, HERE, None, HERE]


def test_a_host_is_known_by_either_spelling() -> None:
    night = Night()
    for _ in range(2):
        night.run("render farm", seconds=60.0)
        night.run("elsewhere", seconds=600.0)
    assert len(pacing.of_host(night.records, "render_farm")) == 2


def test_status_shows_the_watchdog_of_this_host(tmp_path: Path, night: Night) -> None:
    with open_store(tmp_path / "state.json", create=True) as store:
        store.add([Item(key="a", status=Status.PENDING)])
        for record in night.records:
            store.bursts.append(record)
    watchdog = read_status(tmp_path / "state.json").watchdog
    assert watchdog is not None
    assert watchdog.seconds == 60.0


def test_runs_that_alternate_are_told_apart() -> None:
    """Two processes that began in the same second, each with two bursts; and a later process of the same number."""

    def burst(name: str, *, pid: int | None, minute: int, host: str | None = HERE) -> BurstRecord:
        ended = NOON + timedelta(minutes=minute)
        return BurstRecord(
            burst=name,
            started_at=NOON,
            ended_at=ended,
            ended="done",
            size=1,
            alive_seconds=60.0 * (minute % 10),
            host=host,
            pid=pid,
        )

    records = [
        burst("a1", pid=1, minute=1),
        burst("b1", pid=2, minute=1),
        burst("c1", pid=1, minute=1, host="elsewhere"),
        burst("a2", pid=1, minute=2),
        burst("b2", pid=2, minute=3),
        burst("d1", pid=1, minute=11),
    ]
    found = [[record.burst for record in run] for run in runs_of(records)]
    assert found == [["a1", "a2"], ["b1", "b2"], ["c1"], ["d1"]]


def test_a_killed_burst_names_its_process() -> None:
    holder = Holder(host=HERE, boot_id="", pid=7, burst="b", started_at=NOON, size=1)
    assert holder.killed_record(NOON).pid == 7


def test_a_log_of_several_hosts_is_read_further_back(tmp_path: Path) -> None:
    log = parts_of(tmp_path / "state.json").bursts
    (tmp_path / "state.burst").mkdir()
    night = Night()
    for number in range(MEMORY_RECORDS + 50):
        night.run(HERE if number < 40 else "elsewhere", seconds=60.0)
    night.run("third", seconds=60.0)
    (tmp_path / "state.burst" / "bursts.jsonl").write_bytes(
        b"".join(msgspec.json.encode(record) + b"\n" for record in night.records)
    )
    assert {record.host for record in log.read()} == {"elsewhere", "third"}
    assert len(recent_records(log)) == MEMORY_RECORDS + 51


# By server


def paced(servers: dict[str, float]) -> BurstRecord:
    paces = {server: {"r": RecipePace(items=3, median_seconds=seconds)} for server, seconds in servers.items()}
    first = next(iter(paces.values()))
    return BurstRecord(
        burst="b",
        started_at=NOON,
        ended_at=NOON,
        ended="done",
        size=1,
        recipe_paces=first,
        servers=tuple(servers),
        server_paces=paces if len(servers) > 1 else {},
    )


@pytest.mark.parametrize(
    "records",
    [[paced({"slow": 60.0, "quick": 4.0})], [paced({"slow": 60.0}), paced({"quick": 4.0})]],
    ids=["one burst", "a burst each"],
)
def test_each_server_has_its_own_pace(tmp_path: Path, records: Sequence[BurstRecord]) -> None:
    with open_store(tmp_path / "state.json", create=True) as store:
        found = {name: recipe_seconds(store, records, server=name)["r"] for name in ("slow", "quick")}
        assert found == {"slow": 60.0, "quick": 4.0}
        assert recipe_seconds(store, records, server="new")["r"] in (60.0, 4.0), "better than nothing"


def test_a_record_has_the_paces_of_several_servers() -> None:
    one = {"gpu1": {"r": [2.0, 4.0, 3.0]}, "gpu2": {}}
    assert pacing.server_paces(one) == (("gpu1",), {})
    two = {"gpu1": {"r": [2.0]}, "gpu2": {None: [5.0]}}
    assert pacing.server_paces(two) == (
        ("gpu1", "gpu2"),
        {
            "gpu1": {"r": RecipePace(items=1, median_seconds=2.0)},
            "gpu2": {"": RecipePace(items=1, median_seconds=5.0)},
        },
    )


# Side by side


def holder(pid: int, *, host: str = HERE) -> Holder:
    return Holder(host=host, boot_id="", pid=pid, burst=f"b{pid}", started_at=NOON, size=15)


def test_one_run_at_work_is_what_was_measured() -> None:
    night = Night()
    night.run(HERE, seconds=60.0, per_item=10.0, pid=1)
    assert bursts_at_work(night.records, [holder(2)], 10.0) == 1.0
    assert bursts_at_work(night.records, [], 10.0) == 1.0


def test_runs_side_by_side_share_what_is_left(tmp_path: Path) -> None:
    """One takes 10 s an item, one 30 s: together 7.5 s; one that measured nothing counts as one more of the usual."""
    night = Night()
    night.run(HERE, seconds=60.0, per_item=10.0, pid=1)
    night.run("elsewhere", seconds=60.0, per_item=30.0, pid=1)
    both = [holder(1), holder(1, host="elsewhere")]
    with open_store(tmp_path / "state.json", create=True) as store:
        usual = pace_of(store, night.records)
        assert usual == 20.0
        assert pace_of(store, night.records, at_work=both) == pytest.approx(7.5)
        assert Paces.of(store, night.records, at_work=both).usual == pytest.approx(7.5)
        assert Paces.of(store, night.records, at_work=both[:1]).usual == 20.0
        unknown = [holder(8), holder(9)]
        assert pace_of(store, night.records, at_work=unknown) == pytest.approx(10.0)


def test_paces_of_recipes_are_shared_too(tmp_path: Path) -> None:
    record = paced({"gpu1": 30.0})
    with open_store(tmp_path / "state.json", create=True) as store:
        alone = Paces.of(store, [record], without=30.0)
        shared = Paces.of(store, [record], without=30.0, at_work=[holder(1), holder(2), holder(3)])
    assert (alone.of_recipe("r"), alone.servers) == (30.0, 1.0)
    assert (shared.of_recipe("r"), shared.usual, shared.servers) == (10.0, 10.0, 3.0)


# A run


def test_a_run_records_its_process_its_servers_and_its_attempts(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with open_store(state, create=True) as store:
        store.add([Item(key=key, status=Status.PENDING, prompt_text="a fox") for key in "ab"])
    with Sandbox() as sandbox:
        report = run_burst(state, server=[sandbox.url], template="smoke", poll_seconds=0.05)
        name = default_name(sandbox.url)
    assert report.completed == 2
    (record,) = parts_of(state).bursts.read()
    assert (record.pid, record.servers, record.server_paces) == (os.getpid(), (name,), {})
    rows = read_attempts(state).as_json()["attempts"]
    assert sorted(row["item"] for row in rows) == ["a", "b"]
    for row in rows:
        assert (row["burst"], row["host"], row["server"], row["outputs"]) == (record.burst, HERE, name, 1)
    (burst,) = read_attempts(state, bursts=True).as_json()["bursts"]
    assert (burst["burst"], burst["completed"]) == (record.burst, 2)
