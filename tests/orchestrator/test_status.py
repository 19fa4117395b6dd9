"""Status: read without a lock, beside whoever writes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
from support.leases import at_work, begin

from orchestrator.clock import Clock
from orchestrator.log_lines import local_time
from orchestrator.status import read_status, watch_batch, watch_status
from state.batch import BatchRecord
from state.burst_record import BurstRecord, Ending, RecipePace
from state.change import Change
from state.holder import Holder
from state.item import ErrorRecord, Item, OutputRecord, Status
from state.lease import Lease
from state.live import Live, Running
from state.open_store import open_store, parts_of
from state.store import Store

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class StepClock(Clock):
    """Waiting takes no time and lets the next step happen."""

    def __init__(self, steps: list[Callable[[], None]]) -> None:
        self.steps = steps
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.steps.pop(0)()
        return False


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "re_render_state.json"
    store = open_store(path, create=True)
    store.add([Item(key=key, status=Status.PENDING) for key in "abc"])
    store.close()
    return path


def end(store: Store, key: str) -> None:
    store.apply([Change(key, Status.PENDING, lambda item: item.cancel())])


def test_watching_says_each_change_and_ends_when_nothing_is_left(state: Path) -> None:
    writer = open_store(state)
    steps = [partial(end, writer, key) for key in "abc"]
    left = [report.remaining for report in watch_status(state, clock=StepClock([lambda: None, *steps]))]
    writer.close()
    assert left == [3, 2, 1, 0]


def wait_seconds(clock: StepClock, seconds: float) -> None:
    clock.seconds += seconds


def test_watching_says_when_no_run_is_at_work_once_and_again_after_the_next_run(state: Path) -> None:
    lines: list[str] = []
    counts: list[int] = []
    clock = StepClock([])
    writer = open_store(state)
    held: list[Lease] = []

    def begin_run() -> None:
        held.append(writer.lease())
        begin(held[0], "b1")

    def end_run() -> None:
        held.pop().end()

    def note_lines() -> None:
        counts.append(len(lines))

    clock.steps += [
        partial(wait_seconds, clock, 4.9),
        note_lines,
        partial(wait_seconds, clock, 0.2),
        note_lines,
        partial(wait_seconds, clock, 100),
        note_lines,
        begin_run,
        partial(wait_seconds, clock, 100),
        note_lines,
        end_run,
        partial(wait_seconds, clock, 4.9),
        note_lines,
        partial(wait_seconds, clock, 0.2),
        note_lines,
        *(partial(end, writer, key) for key in "abc"),
    ]
    left = [report.remaining for report in watch_status(state, clock=clock, idle=lines.append)]
    writer.close()
    assert counts == [0, 1, 1, 1, 1, 2]
    assert left[-1] == 0
    assert set(lines) == {"No run is at work, so nothing changes here: 3 left. Next: burst run"}


def test_watching_a_batch_says_when_no_run_is_at_work(state: Path) -> None:
    writer = add_batch(state, "b1", 1)
    lines: list[str] = []
    clock = StepClock([])
    clock.steps += [partial(wait_seconds, clock, 5), partial(end, writer, "b1/0")]
    assert [view.remaining for view in watch_batch(state, "b1", clock=clock, idle=lines.append)] == [1, 0]
    writer.close()
    assert lines == ["No run is at work, so nothing changes here: 4 left. Next: burst run"]


def test_status_sees_what_is_only_in_the_journal(state: Path) -> None:
    before = state.read_bytes()
    writer = open_store(state)
    end(writer, "a")
    assert state.read_bytes() == before
    assert read_status(state).counts[Status.CANCELLED] == 1
    writer.close()


def test_status_takes_no_lock_and_says_who_works(state: Path) -> None:
    with at_work(state, burst="b1", started_at=MOMENT):
        report = read_status(state)
        (holder,) = report.holders
        assert "b1" in report.as_text()
        assert report.as_json()["running"] == holder.describe()
        assert report.as_text().endswith("3 left."), "no other burst can be run now"
    assert not read_status(state).holders
    assert read_status(state).as_text().endswith("3 left. Next: burst run")


def test_status_says_what_is_rendered_and_that_its_steps_are_done(state: Path) -> None:
    log = parts_of(state).bursts
    paces = {"": RecipePace(items=5, median_seconds=40.0)}
    log.append(
        BurstRecord(
            burst="b0",
            started_at=MOMENT,
            ended_at=MOMENT,
            ended="done",
            size=5,
            completed=5,
            seconds=200.0,
            seconds_per_item=40.0,
            recipe_paces=paces,
        )
    )
    assert read_status(state).seconds_left == pytest.approx(120.0)
    since = datetime.now(UTC) - timedelta(seconds=10)
    running = Running(item="a", server="gpu1", since=since, node="KSampler", step=15, steps=20)
    with at_work(state, burst="b1") as lease:
        lease.show(Live(burst="b1", at=since, running=(running,)))
        report = read_status(state)
        assert "\nRendering: a on gpu1: KSampler 15/20 (75 %), 1" in report.as_text()
        (document,) = report.as_json()["rendering"]
        assert (document["item"], document["server"], document["percent"]) == ("a", "gpu1", 75)
        assert report.seconds_left == pytest.approx(120.0 - 30.0)
        lease.show(Live(burst="b1", at=since, running=(Running(item="a", server="gpu1", since=since),)))
        report = read_status(state)
        assert "\nRendering: a on gpu1: on the server for 1" in report.as_text()
        assert report.seconds_left == pytest.approx(120.0 - 10.0, abs=2.0)


def test_what_a_killed_run_showed_is_not_shown(state: Path) -> None:
    leave_killed(state, lived_seconds=5.0)
    (state.with_suffix(".burst") / "live.json").write_bytes(
        msgspec.json.encode(Live(burst="dead", at=MOMENT, running=(Running(item="a", server="s", since=MOMENT),)))
    )
    assert read_status(state).rendering == ()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"burst": 1}', b"\xff"])
def test_a_damaged_live_file_is_none(state: Path, content: bytes) -> None:
    with at_work(state, burst="b1"):
        (state.with_suffix(".burst") / "live.json").write_bytes(content)
        assert read_status(state).rendering == ()


@pytest.mark.parametrize("live", [True, False])
def test_watching_on_a_terminal_follows_the_steps(state: Path, live: bool) -> None:
    with at_work(state, burst="b1") as lease, open_store(state) as writer:

        def show(step: int) -> Callable[[], None]:
            running = Running(item="a", server="gpu1", since=MOMENT, node="KSampler", step=step, steps=20)
            return lambda: lease.show(Live(burst="b1", at=MOMENT, running=(running,)))

        def end_all() -> None:
            for key in "abc":
                end(writer, key)

        clock = StepClock([show(1), show(2), lambda: None, end_all])
        seen = [[one.step for one in report.rendering] for report in watch_status(state, clock=clock, live=live)]
    assert seen == ([[], [1], [2], [2]] if live else [[], [2]])


def leave_killed(state: Path, *, lived_seconds: float) -> Holder:
    """The state's folder as a killed burst leaves it."""
    folder = state.with_suffix(".burst")
    began = datetime.now(UTC) - timedelta(hours=1)
    holder = Holder(host="elsewhere", boot_id="another", pid=7, burst="dead", started_at=began, size=15)
    (folder / "holder.json").write_bytes(msgspec.json.encode(holder))
    ended = (began + timedelta(seconds=lived_seconds)).timestamp()
    os.utime(folder / "holder.json", (ended, ended))
    return holder


def test_the_watchdogs_limit_counts_a_kill_that_no_burst_has_recorded_yet_and_counts_it_once(state: Path) -> None:
    assert read_status(state).as_json()["watchdog_limit_seconds"] is None
    assert "killed" not in read_status(state).as_text()
    log = parts_of(state).bursts
    log.append(BurstRecord(burst="b1", started_at=MOMENT, ended_at=MOMENT, ended="killed", size=15, seconds=65.0))
    holder = leave_killed(state, lived_seconds=60)
    for _ in range(2):
        report = read_status(state)
        said = report.as_json()
        assert (said["watchdog_limit_seconds"], said["watchdog_kills"]) == (pytest.approx(60, abs=0.01), 2)
        assert "killed here after about 1 min 0 s (seen 2 times); they now end by 54.0 s" in report.as_text()
        # What the next burst notes before it removes holder.json.
        log.append(holder.killed_record(holder.started_at + timedelta(seconds=60)))


def ended_burst(name: str, *, minute: int, ended: Ending, reason: str | None = None, failed: int = 0) -> BurstRecord:
    """A run of one burst that took a minute."""
    at = MOMENT + timedelta(minutes=minute)
    return BurstRecord(
        burst=name,
        started_at=at - timedelta(minutes=1),
        ended_at=at,
        ended=ended,
        size=15,
        seconds=60,
        alive_seconds=60,
        reason=reason,
        failed=failed,
    )


def test_why_the_last_run_failed_when_and_what_to_type(state: Path) -> None:
    log = parts_of(state).bursts
    fresh = read_status(state).as_json()
    assert (fresh["last_burst"], fresh["errors_in_a_row"], fresh["last_item_ended_at"]) == (None, 0, None)
    log.append(ended_burst("b1", minute=1, ended="error", reason="the disk is full"))
    log.append(ended_burst("b2", minute=3, ended="done", failed=1))
    assert "failed (" not in read_status(state).as_text()
    assert read_status(state).as_json()["errors_in_a_row"] == 0
    log.append(ended_burst("b3", minute=5, ended="error", reason="http://gpu1: Connection refused"))
    one = read_status(state).as_text()
    assert (
        f"The last run failed (stopped by an error) at {local_time(MOMENT + timedelta(minutes=5))}: http://gpu1: Conn"
        in one
    )
    log.append(ended_burst("b4", minute=7, ended="error", reason="http://gpu1: no route"))
    report = read_status(state)
    when = local_time(MOMENT + timedelta(minutes=7))
    assert (
        f"The last run failed (stopped by an error, 2 runs in a row) at {when}: http://gpu1: no route"
        in report.as_text()
    )
    assert report.as_text().endswith("3 left. Next: `burst doctor` finds the cause; then `burst run`")
    document = report.as_json()
    assert (document["last_burst"]["reason"], document["errors_in_a_row"]) == ("http://gpu1: no route", 2)
    assert document["last_item_ended_at"] == (MOMENT + timedelta(minutes=3)).isoformat()


def test_bursts_of_one_run_that_failed_are_one_error(state: Path) -> None:
    log = parts_of(state).bursts
    for number, ended in enumerate(("done", "done", "error"), start=1):
        record = ended_burst(f"b{number}", minute=number, ended=ended, reason="no answer")  # type: ignore[arg-type]
        log.append(msgspec.structs.replace(record, alive_seconds=60.0 * number))
    assert read_status(state).as_json()["errors_in_a_row"] == 1


def test_when_an_item_last_ended_is_the_latest_of_all(state: Path) -> None:
    store = add_batch(state, "b1", 2)
    for number, minutes in enumerate((9, 4)):
        complete(store, f"b1/{number}", at=MOMENT + timedelta(minutes=minutes), seconds=1.0, names=("a.png",))
    store.close()
    parts_of(state).bursts.append(ended_burst("b1", minute=5, ended="done", failed=1))
    assert read_status(state).last_item_ended_at == MOMENT + timedelta(minutes=9)


def test_what_is_left_is_estimated_from_the_bursts_that_completed_any(state: Path) -> None:
    log = parts_of(state).bursts
    for completed, seconds in ((4, 10.0), (0, 99.0), (1, 2.5)):
        log.append(
            BurstRecord(
                burst="b",
                started_at=MOMENT,
                ended_at=MOMENT,
                ended="done",
                size=15,
                completed=completed,
                seconds=seconds,
            )
        )
    report = read_status(state)
    assert (report.seconds_per_item, report.seconds_left) == (2.5, 7.5)


def test_the_last_burst_is_told_in_the_words_of_its_report(state: Path) -> None:
    for ended, text in (("deadline", "stopped at the time limit"), ("error", "stopped because an item failed")):
        facts = {"burst": "b", "started_at": MOMENT, "ended_at": MOMENT, "size": 1, "completed": 2, "seconds": 4.0}
        record = msgspec.convert({**facts, "ended": ended}, BurstRecord)
        parts_of(state).bursts.append(record)
        report = read_status(state)
        assert f"The last burst ({text}): 2 completed in 4.0 s" in report.as_text()
        assert report.as_json()["last_burst"]["ended"] == ended
    parts_of(state).bursts.append(msgspec.structs.replace(record, failed=3))
    assert "2 completed, 3 failed in 4.0 s" in read_status(state).as_text()


def test_where_nothing_is_left_the_way_back_is_named(state: Path) -> None:
    with open_store(state) as store:
        for key in ("a", "b", "c"):
            end(store, key)
        assert "`burst retry --cancelled` brings the 3 cancelled back" in read_status(state).next_line()
        store.apply([Change("b", Status.CANCELLED, lambda item: item.start_over())])
        fail(store, "b")
        assert "`burst retry` tries the 1 failed again" in read_status(state).next_line()


def fail(store: Store, key: str) -> None:
    error = ErrorRecord(kind="execution", message="no")
    store.apply([Change(key, Status.PENDING, lambda item: item.fail(error=error))])


def test_check_code_says_whether_work_remains_and_whether_any_failed(state: Path) -> None:
    store = open_store(state)
    fail(store, "a")
    assert read_status(state).check_code == 1, "work remains, whatever failed"
    end(store, "b")
    end(store, "c")
    assert read_status(state).check_code == 3
    store.apply([Change("a", Status.FAILED, lambda item: item.start_over())])
    assert read_status(state).check_code == 1
    end(store, "a")
    assert read_status(state).check_code == 0
    store.close()


def add_batch(state: Path, name: str, count: int) -> Store:
    record = BatchRecord(batch=name, created_at=MOMENT, total=count, layout="numbered", directory=name)
    store = open_store(state)
    store.add([Item(key=f"{name}/{index}", status=Status.PENDING, batch=name) for index in range(count)], batch=record)
    return store


def test_active_batches_stand_below_the_counts_and_all_lists_the_ended_ones_too(state: Path) -> None:
    store = add_batch(state, "b1", 2)
    add_batch(state, "b2", 1).close()
    end(store, "b1/0")
    end(store, "b2/0")
    store.close()
    report = read_status(state)
    assert [batch["batch"] for batch in report.as_json()["batches"]] == ["b1"]
    assert "Batch b1: running, 50 % of 2" in report.as_text()
    assert "b2" not in report.as_text()
    assert [batch.id for batch in read_status(state, ended=True).batches] == ["b1", "b2"]


def test_watching_a_batch_ends_with_it_and_leaves_the_others_out(state: Path) -> None:
    writer = add_batch(state, "b1", 2)
    steps = [partial(end, writer, key) for key in ("a", "b1/0", "b", "b1/1")]
    seen = [view.remaining for view in watch_batch(state, "b", clock=StepClock(steps))]
    writer.close()
    assert seen == [2, 1, 0]
    assert read_status(state).remaining == 1


def complete(store: Store, key: str, *, at: datetime, seconds: float, names: tuple[str, ...]) -> None:
    outputs = tuple(OutputRecord(path=name, bytes=1, sha256="0") for name in names)
    submitted = Change(key, Status.PENDING, lambda item: item.submit(prompt_id="p", server="s", at=at, fingerprint=""))
    store.apply([submitted])
    ended = Change(key, Status.SUBMITTED, lambda item: item.complete(outputs=outputs, at=at, seconds=seconds))
    store.apply([ended])


def test_the_figures_are_of_the_last_hundred_and_count_pictures_alone(state: Path) -> None:
    store = add_batch(state, "b1", 103)
    for index in range(101):
        # The oldest by its time, whatever its place, is not among the last hundred.
        at, seconds = (MOMENT, 1000.0) if index == 50 else (MOMENT + timedelta(seconds=1 + index), 4.0)
        names = (f"{index}.png", f"{index}_002.png", f"{index}.txt")
        complete(store, f"b1/{index}", at=at, seconds=seconds, names=names)
    store.close()
    record = BurstRecord(
        burst="b", started_at=MOMENT, ended_at=MOMENT, ended="done", size=15, completed=2, seconds=10.0
    )
    before = read_status(state, stats=True).as_json()["stats"]["images_per_minute"]
    assert before == pytest.approx(2 * 60 * 100 / (99 * 4.0 + 1000.0)), "of the first hundred, while no burst has ended"
    parts_of(state).bursts.append(record)
    report = read_status(state, stats=True)
    assert report.as_json()["stats"] == {
        "images": 202,
        "images_per_minute": 24.0,
        "mean_seconds": 4.0,
        "queue_length": 5,
        "total_completed": 101,
        "total_failed": 0,
        "total_cancelled": 0,
    }
    assert "24.0 images a minute, 4.0 s each" in report.as_text()
    assert "stats" not in read_status(state).as_json()
