"""`burst log`: what the records of a night become."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.hand_clock import HandClock
from support.leases import at_work
from support.time_zones import time_zone

from burst import cli
from orchestrator.burst_history import History, parse_since, read_history
from orchestrator.clock import Clock
from orchestrator.errors import UsageError
from state.burst_record import BurstRecord, Ending, SetAsideRecord
from state.change import Change
from state.item import ErrorRecord, Item, OutputRecord, Status
from state.open_store import open_store, parts_of

NIGHT = datetime(2026, 11, 29, 22, tzinfo=UTC)


class _TheNextMorning(Clock):
    def now(self) -> datetime:
        return NIGHT + timedelta(hours=10)


class Night:
    """A state, and the records of its runs, one after the other."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.now = NIGHT
        with open_store(state, create=True) as store:
            store.add([Item(key=f"{number}.txt", status=Status.PENDING) for number in range(12)])
        self._log = parts_of(state).bursts
        self._count = 0

    def run(
        self,
        ended: Ending = "done",
        *,
        bursts: int = 1,
        completed: int = 0,
        failed: int = 0,
        minutes: float = 1.0,
        pause_minutes: float = 1.0,
        reason: str | None = None,
        set_aside: tuple[SetAsideRecord, ...] = (),
    ) -> None:
        """One run; each of its bursts takes `minutes` and ends so many items."""
        began = self.now
        for number in range(1, bursts + 1):
            started, self.now = self.now, self.now + timedelta(minutes=minutes)
            self._count += 1
            self._log.append(
                BurstRecord(
                    burst=f"b{self._count}",
                    started_at=started,
                    ended_at=self.now,
                    ended=ended if number == bursts else "done",
                    size=15,
                    completed=completed,
                    failed=failed,
                    seconds=60 * minutes,
                    alive_seconds=(self.now - began).total_seconds(),
                    reason=reason if number == bursts else None,
                    set_aside=set_aside,
                )
            )
        self.now += timedelta(minutes=pause_minutes)

    def complete(self, number: int, *, seconds: float, at: datetime | None = None) -> None:
        at = at or self.now
        key, outputs = f"{number}.txt", (OutputRecord(path="a.png", bytes=1, sha256="0"),)
        self._change(key, Status.PENDING, lambda item: item.submit(prompt_id="p", server="s", at=at, fingerprint=""))
        self._change(key, Status.SUBMITTED, lambda item: item.complete(outputs=outputs, at=at, seconds=seconds))

    def fail(self, number: int, kind: str, message: str) -> None:
        error = ErrorRecord(kind=kind, message=message)
        self._change(f"{number}.txt", Status.PENDING, lambda item: item.fail(error=error))

    def _change(self, key: str, status: Status, edit: object) -> None:
        with open_store(self.state) as store:
            store.apply([Change(key, status, edit)])  # type: ignore[arg-type]

    def history(self, since: datetime = NIGHT) -> History:
        return read_history(self.state, since, clock=_TheNextMorning())


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with time_zone("UTC"):
        yield Night(tmp_path / "re_render_state.json")


def lines(history: History) -> list[str]:
    return history.as_text().splitlines()


def test_the_bursts_of_one_process_are_one_run_and_equal_endings_one_line(night: Night) -> None:
    night.run(bursts=30, completed=10)
    for _ in range(7):
        night.run(completed=15, failed=1)
    night.run("error", reason="http://gpu1: Connection refused")
    night.run(completed=15)
    history = night.history()
    assert (len(history.runs), history.bursts, history.completed, history.failed) == (10, 39, 420, 7)
    assert lines(history)[:4] == [
        "Since 2026-11-29 22:00: 420 completed, 7 failed in 10 runs (39 bursts)",
        "  22:00–22:44  8 runs, done: 405 completed, 7 failed",
        "  22:45–22:46  1 run, stopped by an error: 0 completed; http://gpu1: Connection refused",
        "  22:47–22:48  1 run, done: 15 completed",
    ]


def test_reasons_that_differ_in_a_number_alone_are_one_line_with_the_last_reason(night: Night) -> None:
    for port in (1, 2, 3):
        night.run("error", reason=f"127.0.0.1:{port}: refused")
    night.run("error", reason="the disk is full")
    assert lines(night.history())[1:3] == [
        "  22:00–22:05  3 runs, stopped by an error: 0 completed; 127.0.0.1:3: refused",
        "  22:06–22:07  1 run, stopped by an error: 0 completed; the disk is full",
    ]


def test_a_night_of_500_bursts_is_at_most_twenty_lines(night: Night) -> None:
    unused = SetAsideRecord(name="a.json", reason="no model")
    for number in range(125):
        night.run(bursts=2, completed=3, failed=1, set_aside=(unused,))
        night.run(("error", "killed", "limit", "stopped")[number % 4], bursts=2, reason="no answer")
    for number in range(4):
        night.complete(number, seconds=10.0 + number)
        night.fail(number + 4, f"kind {number}", "no")
    night.fail(8, "kind 2", "no")
    history = night.history()
    assert len(lines(history)) <= 20
    assert history.bursts == 500
    assert sum(ending["runs"] for ending in history.as_json()["endings"]) == 250
    done, *_ = history.stretches
    assert (len(done.runs), done.completed, done.is_scattered) == (125, 750, True)
    assert "  11-29 22:00–11-30 10:26  125 runs, done, others between them: 750 completed, 250 failed" in lines(history)
    assert any(line.startswith("  ") and "32 runs, stopped by an error" in line for line in lines(history))


def test_more_reasons_than_lines_are_gathered_by_how_the_runs_ended(night: Night) -> None:
    for number in range(30):
        night.run("error", reason=f"trouble {chr(ord('a') + number)}")
        night.run(completed=1)
    assert [(one.runs[0].ended, len(one.runs)) for one in night.history().stretches] == [("error", 30), ("done", 30)]


def test_failures_are_shown_by_kind_where_some_failed_since_then(night: Night) -> None:
    night.fail(1, "execution", "node 3: out of luck")
    night.fail(2, "execution", "another")
    night.fail(3, "prompt", "the prompt text is empty")
    night.run(failed=3)
    shown = [line for line in lines(night.history()) if line.startswith("Failed")]
    assert shown == [
        "Failed: 2 × execution, such as 1.txt: node 3: out of luck",
        "Failed: 1 × prompt, such as 3.txt: the prompt text is empty",
    ]
    later = night.now
    night.run(completed=1)
    assert not [line for line in lines(night.history(later)) if line.startswith("Failed")], "they failed before"
    assert night.history(later).as_json()["failures"] == []


def test_what_a_killed_run_completed_is_counted_from_its_items(night: Night) -> None:
    night.complete(0, seconds=1.0, at=NIGHT + timedelta(seconds=5))
    night.complete(1, seconds=1.0, at=NIGHT + timedelta(seconds=61))
    night.complete(2, seconds=1.0, at=NIGHT + timedelta(minutes=2, seconds=5))
    night.run("killed")
    night.run(completed=1)
    night.complete(3, seconds=1.0, at=night.now + timedelta(seconds=5))
    night.run("killed")
    assert lines(night.history())[:4] == [
        "Since 2026-11-29 22:00: 4 completed in 3 runs",
        "  22:00–22:01  1 run, killed: 2 completed",
        "  22:02–22:03  1 run, done: 1 completed",
        "  22:04–22:05  1 run, killed: 1 completed",
    ]


def test_what_a_killed_run_completed_is_known_by_name_beside_another_run(night: Night) -> None:
    """On another host a run completes more meanwhile."""
    with at_work(night.state, burst="b1") as lease:
        for number in (1, 2):
            sent = partial(Item.submit, prompt_id="p", server="s", at=night.now, fingerprint="")
            lease.apply([Change(f"{number}.txt", Status.PENDING, sent)])
            done = partial(Item.complete, outputs=(), at=night.now, seconds=1.0)
            lease.apply([Change(f"{number}.txt", Status.SUBMITTED, done)])
    with at_work(night.state, burst="other") as lease:
        lease.apply([Change("3.txt", Status.PENDING, sent)])
        lease.apply([Change("3.txt", Status.SUBMITTED, done)])
    night.run("killed")
    assert [run.completed for run in night.history().runs] == [2]


def test_no_run_was_at_work_is_said_only_where_none_was(night: Night) -> None:
    """One works for half an hour while others come and go; after all of them nobody does for ten minutes."""
    log = parts_of(night.state).bursts
    for host, began, ended in (("a", 5, 6), ("b", 10, 11), ("long", 0, 30), ("a", 40, 41)):
        log.append(
            BurstRecord(
                burst=f"{host}{began}",
                started_at=NIGHT + timedelta(minutes=began),
                ended_at=NIGHT + timedelta(minutes=ended),
                ended="done",
                size=1,
                alive_seconds=60.0 * (ended - began),
                host=host,
            )
        )
    history = night.history()
    assert history.gaps == ((NIGHT + timedelta(minutes=30), NIGHT + timedelta(minutes=40)),)
    assert history.idle_seconds == 600.0


def test_what_was_slow(night: Night) -> None:
    night.complete(0, seconds=500.0, at=NIGHT - timedelta(hours=1))
    for number, seconds in ((1, 4.0), (2, 40.0), (3, 6.0), (4, 30.0)):
        night.complete(number, seconds=seconds)
    night.run(completed=4, pause_minutes=90)
    night.run("error", reason="no answer", minutes=2, pause_minutes=5)
    night.run(completed=1)
    document = night.history().as_json()
    assert [(one["item"], one["seconds"]) for one in document["slowest"]] == [
        ("2.txt", 40.0),
        ("4.txt", 30.0),
        ("3.txt", 6.0),
    ]
    assert (document["mean_seconds"], document["idle_seconds"], document["fruitless_seconds"]) == (20.0, 5700.0, 120.0)
    text = lines(night.history())
    assert "Slowest: 2.txt 40.0 s, 4.txt 30.0 s, 3.txt 6.0 s; on average 20.0 s" in text
    assert (
        "Waiting: no run at work for 1 h 35 min (longest 22:01–23:31); 2 min 0 s in runs that finished no item" in text
    )
    assert text[-1] == "Now: 7 left, about 2 min 48 s. Next: burst run"


def test_notes_of_recipes_that_were_set_aside_come_once(night: Night) -> None:
    for reason in ("no model x", "no model y"):
        night.run(set_aside=(SetAsideRecord(recipe="r", name="a.json", reason=reason),))
    assert night.history().notes == ("items made with a.json were set aside: no model y",)


def test_only_what_ended_since_then_counts_however_many_there_were_before(night: Night) -> None:
    night.run(bursts=700, completed=1, minutes=0.01)
    since = night.now
    night.run(bursts=700, completed=1, minutes=0.01)
    assert (night.history(since).completed, night.history().completed) == (700, 1400)
    empty = night.history(night.now)
    assert lines(empty) == ["Since 2026-11-29 22:16: no run ended", "Now: 12 left, about 7.2 s. Next: burst run"]


def test_a_run_at_work_is_named(night: Night) -> None:
    with at_work(night.state, burst="b0", started_at=NIGHT):
        history = read_history(night.state, NIGHT)
        assert [line for line in lines(history) if line.startswith("At work: pid ") and "b0" in line]
        assert "b0" in history.as_json()["running"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", datetime(2025, 12, 31, 22, tzinfo=UTC)),
        ("1d", datetime(2025, 12, 31, tzinfo=UTC)),
        ("2026-11-30T06:00Z", datetime(2026, 11, 30, 6, tzinfo=UTC)),
        ("2026-11-30T06:00+02:00", datetime(2026, 11, 30, 4, tzinfo=UTC)),
    ],
)
def test_since_when(text: str, moment: datetime) -> None:
    assert parse_since(text, clock=HandClock()) == moment


@pytest.mark.parametrize("text", ["2026-11-30", "2026-11-30T06:00"])
def test_since_a_time_without_a_zone_is_local(text: str) -> None:
    moment = parse_since(text)
    assert moment.tzinfo is not None
    assert moment.replace(tzinfo=None) == datetime.fromisoformat(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2 x", "2026-13-01", "0001-01-01"])
def test_since_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"2h|12h"):
        parse_since(text)


def test_times_are_local(night: Night) -> None:
    night.run(completed=1)
    with time_zone("XXX-3:30"):
        assert lines(night.history())[:2] == [
            "Since 2026-11-30 01:30: 1 completed in 1 run",
            "  01:30–01:31  1 run, done: 1 completed",
        ]
        assert parse_since("2026-11-30T01:30") == NIGHT


def test_the_command(night: Night) -> None:
    night.run(completed=2)
    command = ["log", "--state", str(night.state), "--since", "2026-11-29"]
    assert "2 completed in 1 run" in CliRunner().invoke(cli, command).stdout
    document = json.loads(CliRunner().invoke(cli, [*command, "--json"]).stdout)
    assert (document["schema"], document["runs"], document["endings"][0]["ended"]) == ("burst.log/1", 1, "done")
    assert CliRunner().invoke(cli, ["log", "--state", str(night.state), "--since", "soon"]).exit_code == 2
