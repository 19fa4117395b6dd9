"""Metrics of states: what they count, that they only grow, how little they read, and that Prometheus reads them."""

from __future__ import annotations

import random
import stat
import urllib.request
from collections.abc import Hashable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from support.hand_clock import HandClock

from burst import cli
from orchestrator.metrics.endpoint import served
from orchestrator.metrics.families import StateCollector, text_of, text_of_state
from orchestrator.metrics.totals import Totals
from state.burst_record import BurstRecord
from state.holder import Holder
from state.item import Item, Status
from state.json.burst_log import JsonBurstLog
from state.location import Location
from state.open_store import open_store, parts_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def record(number: int, *, ended: str = "done", pid: int = 1, alive: float = 10.0, **more: object) -> BurstRecord:
    at = NOON + timedelta(seconds=10 * number)
    return BurstRecord(
        burst=f"b{number}",
        started_at=at,
        ended_at=at + timedelta(seconds=10),
        ended=ended,  # type: ignore[arg-type]
        size=15,
        seconds=10.0,
        alive_seconds=alive,
        host="here",
        pid=pid,
        **more,  # type: ignore[arg-type]
    )


class Log:
    """A log of bursts that notes how much is read."""

    def __init__(self) -> None:
        self.records: list[BurstRecord] = []
        self.most_read = 0

    def append(self, one: BurstRecord) -> None:
        self.records.append(one)

    def read(self, *, last: int = 500) -> list[BurstRecord]:
        self.most_read = max(self.most_read, last)
        return self.records[-last:]

    def stamp(self) -> Hashable:
        return len(self.records) or None


def values(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, {**sample.labels}, sample.value


def value(text: str, name: str, **labels: str) -> float:
    (found,) = (number for known, given, number in values(text) if known == name and labels.items() <= given.items())
    return found


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "re_render_state.json"
    path.write_text("{}")
    with open_store(path) as store:
        store.add([Item(key=f"{number}.txt", status=Status.PENDING) for number in range(3)])
        store.bursts.append(
            record(
                1,
                completed=2,
                failed=1,
                rendered=2,
                server_seconds={"gpu1": 4.0, "gpu2": 1.5},
                bytes=1000,
                put_back=3,
                rendered_twice=1,
                possibly_twice=2,
                checkpoints=4,
                checkpoint_seconds=0.5,
            )
        )
        # Killed: what its items said was made.
        store.bursts.append(record(2, ended="killed", pid=2, rendered=5, server_seconds={"gpu1": 2.5}, bytes=50))
        # Of a release that counted less.
        store.bursts.append(record(3, pid=3, completed=7))
    return path


def test_what_they_count(state: Path) -> None:
    text = text_of_state(state)
    assert value(text, "burst_items", status="pending") == 3
    assert value(text, "burst_runs_total", ending="done") == 2
    assert value(text, "burst_runs_total", ending="killed") == 1
    assert value(text, "burst_items_completed_total") == 2 + 5 + 7
    assert value(text, "burst_item_render_seconds_count") == 2 + 5
    assert value(text, "burst_item_render_seconds_sum") == 8.0
    assert value(text, "burst_server_busy_seconds_total", server="gpu1") == 6.5
    assert value(text, "burst_retries_total") == 3
    assert value(text, "burst_rendered_twice_total") == 1
    assert value(text, "burst_possibly_twice_total") == 2
    assert value(text, "burst_output_bytes_total") == 1050
    assert value(text, "burst_checkpoint_seconds_count") == 4
    assert value(text, "burst_checkpoint_seconds_sum") == 0.5
    assert value(text, "burst_last_completed_timestamp_seconds") == (NOON + timedelta(seconds=40)).timestamp()


def test_labels_are_bounded_and_every_family_has_help(state: Path) -> None:
    text = text_of_state(state)
    assert {name for _, labels, _ in values(text) for name in labels} == {"state", "status", "ending", "server"}
    assert ".txt" not in text
    families = list(text_string_to_metric_families(text))
    assert [family.name for family in families if not family.documentation.endswith((".", "0", "none"))] == []
    assert len({family.name for family in families}) == len(families) == 20


def test_ages_of_what_waits(state: Path) -> None:
    clock = HandClock()
    with open_store(state, clock=clock) as store, store.lease() as lease:
        from state.change import Change

        def submitted(item: Item) -> Item:
            return item.submit(prompt_id="p", server="gpu1", at=clock.now(), fingerprint="f")

        lease.apply([Change("1.txt", Status.PENDING, submitted)])
    clock.seconds += 90
    assert value(text_of_state(state, clock=clock), "burst_oldest_submitted_seconds") == 90


def test_they_only_grow_and_what_is_new_costs_what_is_new() -> None:
    dice, log, followed = random.Random(7), Log(), Totals()
    before: dict[str, float] = {}
    for number in range(400):
        for _ in range(dice.randrange(3)):
            ended = dice.choice(["done", "killed", "error", "done"])
            log.append(
                record(len(log.records), ended=ended, pid=dice.randrange(4), rendered=dice.randrange(9), bytes=5)
            )
        followed.follow(log)
        now = {
            **{f"burst {name}": count for name, count in followed.sums.bursts.items()},
            "completed": followed.sums.completed,
        }
        assert all(now[name] >= count for name, count in before.items())
        before = now
        if number == 10:
            log.most_read = 0
    assert log.most_read == 64
    afresh = Totals()
    afresh.follow(log)
    assert afresh.sums == followed.sums
    assert afresh.runs(()) == followed.runs(())


def test_a_run_of_several_bursts_counts_once_and_when_it_has_ended() -> None:
    log, totals = Log(), Totals()
    began = NOON
    for number, alive in ((0, 10.0), (1, 20.0), (2, 30.0)):
        log.append(record(number, alive=alive, ended="done" if number < 2 else "killed"))
        holder = Holder(host="here", boot_id="", pid=1, burst="x", started_at=began, size=1, run_started_at=began)
        totals.follow(log)
        assert sum(totals.runs([holder]).values()) == 0
    assert {ending: count for ending, count in totals.runs(()).items() if count} == {"killed": 1}
    assert totals.sums.bursts == {"done": 2, "killed": 1}


def test_each_call_of_the_command_reads_what_is_new(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = JsonBurstLog.read

    def noted(log: JsonBurstLog, *, last: int = 500) -> list[BurstRecord]:
        asked.append(last)
        return read(log, last=last)

    log = parts_of(state).bursts
    for number in range(4, 900):
        log.append(record(number, pid=number, completed=1))
    monkeypatch.setattr(JsonBurstLog, "read", noted)
    first = text_of_state(state)
    assert value(first, "burst_bursts_total", ending="done") == 2 + 896
    assert max(asked) > 900
    del asked[:]
    log.append(record(900, pid=899, alive=20.0, ended="error", completed=1, server_seconds={"gpu1": 0.5}))
    second = text_of_state(state)
    assert asked == [64]
    Location.of(state).cache("metrics.json").write_text("{")
    assert text_of_state(state) == second, "as if counted from the beginning"
    assert value(second, "burst_runs_total", ending="error") == 1, "the run of two bursts is one"


def test_a_log_that_is_another_one_is_counted_from_the_beginning(state: Path) -> None:
    text_of_state(state)
    burst_log = state.with_suffix(".burst") / "bursts.jsonl"
    burst_log.write_bytes(burst_log.read_bytes().splitlines(keepends=True)[0])
    assert value(text_of_state(state), "burst_items_completed_total") == 2


def test_where_nothing_can_be_kept_all_is_counted(state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert text_of_state(state) == text_of_state(state)


def test_records_that_were_taken_back_are_counted_no_more() -> None:
    log, totals = Log(), Totals()
    log.append(record(0))
    log.append(record(1, ended="killed", pid=2))
    totals.follow(log)
    log.records = [log.records[0], record(1, pid=2), record(2, pid=3)]
    totals.follow(log)
    assert totals.sums.bursts == {"done": 3}


def test_the_textfile_is_replaced_as_a_whole(state: Path, tmp_path: Path) -> None:
    target = tmp_path / "textfiles" / "burst.prom"
    target.parent.mkdir()
    for _ in range(2):
        done = CliRunner().invoke(cli, ["metrics", "--state", str(state), "--textfile", str(target)])
        assert (done.exit_code, done.output) == (0, "")
        assert value(target.read_text(), "burst_state_readable") == 1
        assert [path.name for path in target.parent.iterdir()] == ["burst.prom"]
        assert stat.S_IMODE(target.stat().st_mode) == 0o644
    kept = target.read_text()
    state.write_text("[]")
    assert CliRunner().invoke(cli, ["metrics", "--state", str(state), "--textfile", str(target)]).exit_code == 2
    assert target.read_text() == kept
    gone = CliRunner().invoke(cli, ["metrics", "--state", str(tmp_path), "--textfile", str(tmp_path / "no/b.prom")])
    assert gone.exit_code == 2


def test_a_port_of_its_own_reads_the_state_at_most_once_a_second(state: Path) -> None:
    reads = 0
    clock = HandClock()
    from orchestrator.metrics.figures import Figures, read_figures

    def counted(path: Path, totals: Totals) -> Figures:
        nonlocal reads
        reads += 1
        return read_figures(path, totals)

    collector = StateCollector([state], read=counted, clock=clock)
    assert text_of(collector) == text_of(collector)
    assert reads == 1
    clock.seconds += 1
    text_of(collector)
    assert reads == 2
    with served([state], host="127.0.0.1", port=0) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert value(answer.read().decode(), "burst_items", status="pending") == 3
        from orchestrator.errors import UsageError

        with pytest.raises(UsageError, match=f"127.0.0.1:{port}"), served([state], host="127.0.0.1", port=port):
            pass


def test_a_state_that_cannot_be_read_says_so_and_hides_no_other(state: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.json"
    damaged.write_text("[]")
    text = text_of(StateCollector([damaged, state]))
    assert value(text, "burst_state_readable", state=str(damaged)) == 0
    assert value(text, "burst_items", status="pending", state=str(state)) == 3


def test_a_killed_burst_counts_what_its_items_say(state: Path) -> None:
    """By the next one, which writes its record."""
    from state.attempts import with_what_was_made
    from state.change import Change
    from state.item import OutputRecord

    def submitted(item: Item) -> Item:
        return item.submit(prompt_id="p", server="gpu1", at=datetime.now(UTC), fingerprint="f")

    def completed(item: Item) -> Item:
        made = OutputRecord(path="a.png", bytes=70, sha256="0" * 64)
        return item.complete(outputs=[made], at=datetime.now(UTC), seconds=2.5)

    with open_store(state) as store:
        store.apply([Change("0.txt", Status.PENDING, submitted)], burst="killed")
        store.apply([Change("0.txt", Status.SUBMITTED, completed)], burst="killed")
        killed = BurstRecord(burst="killed", started_at=datetime.now(UTC), ended_at=NOON, ended="killed", size=3)
        made = with_what_was_made(killed, store)
        other = with_what_was_made(record(1), store)
    assert (made.rendered, made.bytes, made.server_seconds, made.completed) == (1, 70, {"gpu1": 2.5}, 0)
    assert (other.rendered, other.server_seconds) == (0, {})
    assert parts_of(state).bursts.read()[0].rendered == 2
