"""When a front end starts bursts, with what, and what it says where they cannot work.

A program of the test's own stands where `burst` does: it notes how it was started and ends as it is told.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.leases import at_work
from support.mounts import Mounts, fill, needs_root
from support.waiting import wait_until

from orchestrator import subprocesses
from orchestrator.clock import Clock
from orchestrator.settings import HEADERS_VARIABLE, Overrides
from orchestrator.web.server import arguments_of, environment_of
from orchestrator.web.states import WatchedStates
from orchestrator.web.supervisor import Supervisor
from state.burst_record import BurstRecord, SetAsideRecord
from state.change import Change
from state.item import Item, Status
from state.open_store import open_store, parts_of
from state.store import Store

_PROGRAM = """
import json, os, signal, sys, time
home = os.environ["STAND_IN"]
ends = os.path.join(home, "ends")
def told():
    try:
        return json.load(open(ends))
    except FileNotFoundError:
        return None
end = told()
said = {"argv": sys.argv[1:], "cwd": os.getcwd(), "pid": os.getpid(), "session": os.getsid(0), "env": dict(os.environ)}
said["waits"] = end is None
with open(os.path.join(home, "starts"), "a") as out:
    out.write(json.dumps(said) + "\\n")
while end is None:
    time.sleep(0.01)
    end = told()
reason, code, *notes = end
for name, line in notes:
    with open(name, "a") as out:
        out.write(line + "\\n")
sys.stderr.write("burst: a line before\\nburst: " + reason + "\\n" if reason else "")
sys.exit(code)
"""


class Hurried(Clock):
    """Waits pass at once, and take as long as they say; the pauses between tries are counted by it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.seconds += seconds
        return event.wait(0.002)


class StandIn:
    """The program, and all that there is of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = Hurried()
        self.begun_at: list[float] = []

    def starts(self) -> list[dict[str, Any]]:
        path = self.home / "starts"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def end_with(self, code: int, reason: str = "", *notes: tuple[Path, str]) -> None:
        """Those that run and those that come. `notes`: files and the line that each run appends there."""
        (self.home / "new").write_text(json.dumps([reason, code, *((str(file), line) for file, line in notes)]))
        (self.home / "new").replace(self.home / "ends")

    def wait_for_long_run(self) -> int:
        """One that goes on until `end_with`; how many there were with it."""
        (self.home / "ends").unlink()
        wait_until(lambda: self.starts()[-1]["waits"], what="a long run")
        return len(self.starts())

    def command(self, *arguments: str) -> list[str]:
        self.begun_at.append(self.clock.seconds)
        return [sys.executable, "-S", "-c", _PROGRAM, *arguments]

    def wait_for_starts(self, count: int) -> list[dict[str, Any]]:
        return wait_until(lambda: found if len(found := self.starts()) >= count else None, what=f"{count} starts") or []


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    found = StandIn(tmp_path)
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    monkeypatch.setattr(subprocesses, "command", found.command)
    yield found
    found.end_with(0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state with one item that is due."""
    (tmp_path / "elsewhere").mkdir()
    found = tmp_path / "elsewhere" / "state.json"
    store = open_store(found, create=True)
    store.add([Item(key=key, status=Status.PENDING, prompt_text="a fox") for key in ("x", "y")])
    store.close()
    return found


class Working:
    """Workers over these states until the end of the block."""

    def __init__(self, stand_in: StandIn, *paths: Path, said: Overrides | None = None) -> None:
        self.watched = WatchedStates(paths)
        overrides = said or Overrides()
        self.supervisor = Supervisor(
            self.watched, arguments=arguments_of(overrides), environment=environment_of(overrides), clock=stand_in.clock
        )

    def __enter__(self) -> Supervisor:
        self.supervisor.start()
        return self.supervisor

    def __exit__(self, *error: object) -> None:
        self.supervisor.stop()
        self.watched.close()


def put(path: Path, key: str, status: Status) -> None:
    store = open_store(path)
    steps = (Status.SUBMITTED, status) if status is Status.COMPLETED else (status,)
    for step in steps:
        store.apply(
            [Change(key, store.get(key).status, lambda item, to=step: msgspec.structs.replace(item, status=to))]
        )
    store.close()


def looks(stand_in: StandIn, count: int = 20) -> None:
    """Wait until the workers have looked so many times more."""
    until = stand_in.clock.seconds + 0.5 * count
    wait_until(lambda: stand_in.clock.seconds >= until, what="more looks")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_burst_is_told_what_the_front_end_was_told_and_its_secrets_are_not_for_all_to_see(
    stand_in: StandIn, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(HEADERS_VARIABLE, "X-One: from-the-environment")
    monkeypatch.chdir(tmp_path)
    said = Overrides(
        servers=("http://one:1", "http://two:2"),
        bindings={"seed": "3.seed", "steps": "3.steps"},
        output_dir=Path("renders"),
        headers={"Authorization": "Bearer s3cret"},
    )
    with Working(stand_in, path, said=said):
        (start,) = stand_in.wait_for_starts(1)
    words = start["argv"]
    assert words[:2] == ["run", "--until-done"]
    pairs = [(word, words[at + 1]) for at, word in enumerate(words[:-1]) if word.startswith("--")]
    assert [value for name, value in pairs if name == "--server"] == ["http://one:1", "http://two:2"]
    assert [value for name, value in pairs if name == "--bind"] == ["seed=3.seed", "steps=3.steps"]
    assert ("--output", str(tmp_path / "renders")) in pairs
    assert ("--state", str(path)) in pairs
    assert "s3cret" not in " ".join(words)
    assert start["env"][HEADERS_VARIABLE].splitlines() == [
        "X-One: from-the-environment",
        "Authorization: Bearer s3cret",
    ]
    assert start["cwd"] == str(path.parent)
    assert start["session"] == start["pid"], "Ctrl-C at a terminal is the front end's; it tells its bursts"


def test_one_burst_a_state_at_a_time(stand_in: StandIn, path: Path) -> None:
    with Working(stand_in, path) as supervisor:
        stand_in.wait_for_starts(1)
        for _ in range(5):
            supervisor.wake(0)
        assert supervisor.is_working(0)
        assert len(stand_in.starts()) == 1
        stand_in.end_with(0)
        stand_in.wait_for_starts(2)


def test_while_somebody_else_works_none_is_started(stand_in: StandIn, path: Path) -> None:
    with at_work(path) as lease, Working(stand_in, path) as supervisor:
        looks(stand_in)
        assert stand_in.starts() == []
        assert supervisor.message(0) is None
        lease.end()
        stand_in.wait_for_starts(1)


def test_while_somebody_else_works_there_is_nothing_to_say(stand_in: StandIn, path: Path) -> None:
    stand_in.end_with(75, "away")
    with Working(stand_in, path) as supervisor:
        wait_until(lambda: supervisor.message(0), what="a reason")
        with at_work(path, wait_seconds=5):
            wait_until(lambda: supervisor.message(0) is None, what="the reason to be gone")


def test_where_nothing_is_due_none_is_started(stand_in: StandIn, path: Path, tmp_path: Path) -> None:
    put(path, "x", Status.FAILED)
    put(path, "y", Status.CANCELLED)
    with Working(stand_in, path, tmp_path / "none.json"):
        looks(stand_in)
        assert stand_in.starts() == []
        put(path, "x", Status.PENDING)
        stand_in.wait_for_starts(1)


def test_what_cannot_work_is_said_and_tried_again_after_growing_pauses(
    stand_in: StandIn, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.end_with(75, "http://one:1 does not answer")
    with Working(stand_in, path) as supervisor:
        stand_in.wait_for_starts(6)
        assert supervisor.message(0) == "http://one:1 does not answer"
    pauses = [after - before for before, after in zip(stand_in.begun_at, stand_in.begun_at[1:], strict=False)]
    assert pauses[:5] == [pytest.approx(pause, abs=0.6) for pause in (1.0, 2.0, 5.0, 5.0, 5.0)]
    said = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1, "once, not at each try"


def test_work_that_is_added_is_not_kept_waiting_by_a_pause(stand_in: StandIn, path: Path) -> None:
    stand_in.end_with(75, "away")
    with Working(stand_in, path) as supervisor:
        stand_in.wait_for_starts(5)
        tried = len(stand_in.begun_at)
        before = stand_in.clock.seconds
        supervisor.wake(0)
        wait_until(lambda: len(stand_in.begun_at) > tried, what="another try")
        assert stand_in.begun_at[tried] - before < 2


def test_nor_is_what_is_added_while_a_run_fails(stand_in: StandIn, path: Path) -> None:
    stand_in.end_with(75, "away")
    with Working(stand_in, path) as supervisor:
        stand_in.wait_for_starts(4)
        long = stand_in.wait_for_long_run()
        supervisor.wake(0)
        stand_in.end_with(75, "away")
        wait_until(lambda: len(stand_in.begun_at) > long, what="another try")
    assert stand_in.begun_at[long] - stand_in.begun_at[long - 1] < 2


def test_a_run_that_got_something_done_begins_the_pauses_anew(stand_in: StandIn, path: Path) -> None:
    stand_in.end_with(75, "away")
    with Working(stand_in, path):
        stand_in.wait_for_starts(4)
        long = stand_in.wait_for_long_run()
        put(path, "x", Status.COMPLETED)
        stand_in.end_with(75, "away")
        wait_until(lambda: len(stand_in.begun_at) > long, what="another try")
    assert stand_in.begun_at[long] - stand_in.begun_at[long - 1] < 2


def test_an_end_without_a_word_is_said_by_its_code_and_a_good_one_not_at_all(stand_in: StandIn, path: Path) -> None:
    stand_in.end_with(2)
    with Working(stand_in, path) as supervisor:
        assert wait_until(lambda: supervisor.message(0)) == "burst run ended with exit code 2"
        stand_in.end_with(1)  # items failed: it has worked
        wait_until(lambda: supervisor.message(0) is None, what="the reason to be gone")
        looks(stand_in, 3)
        assert supervisor.message(0) is None


def test_once_a_picture_is_there_the_reason_is_a_thing_of_the_past(stand_in: StandIn, path: Path) -> None:
    stand_in.end_with(75, "away")
    working = Working(stand_in, path)
    with working as supervisor:
        wait_until(lambda: supervisor.message(0), what="a reason")
        stand_in.wait_for_long_run()
        assert supervisor.message(0) == "away", "nothing is known to be better yet"
        put(path, "x", Status.COMPLETED)
        working.watched.states[0].refresh()
        assert supervisor.message(0) is None


def test_what_a_good_run_left_is_tried_again_a_second_later(stand_in: StandIn, path: Path) -> None:
    """It waits for a time of doubt, or for a server; runs on end would keep a core busy."""
    stand_in.end_with(0)
    with Working(stand_in, path):
        stand_in.wait_for_starts(3)
    pauses = [after - before for before, after in zip(stand_in.begun_at, stand_in.begun_at[1:], strict=False)]
    assert min(pauses) >= 1.0


REASON = "2 items remaining, all made with w.json: no such model"


def note_set_aside(path: Path, template: str | None = None, output: str | None = None) -> tuple[Path, str]:
    """What a run appends that could not use the default recipe, or that of items which name this template."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    one = SetAsideRecord(name="w.json", reason="no such model", template=template, output=output)
    record = BurstRecord(burst="b", started_at=at, ended_at=at, ended="error", size=1, reason=REASON, set_aside=(one,))
    return parts_of(path).checkpoint_directory / "bursts.jsonl", msgspec.json.encode(record).decode()


def rested(stand_in: StandIn) -> None:
    """Wait until no run was started for a while after the first one."""
    stand_in.wait_for_starts(1)
    looks(stand_in, 40)
    assert len(stand_in.begun_at) == 1


def test_where_all_is_set_aside_runs_are_minutes_apart(stand_in: StandIn, path: Path) -> None:
    stand_in.end_with(2, REASON, note_set_aside(path))
    with Working(stand_in, path) as supervisor:
        rested(stand_in)
        assert supervisor.message(0) == REASON
        stand_in.wait_for_starts(2)
    assert stand_in.begun_at[1] - stand_in.begun_at[0] == pytest.approx(300, abs=2)


def test_where_an_output_directory_is_full_they_are_half_a_minute_apart(stand_in: StandIn, path: Path) -> None:
    stand_in.end_with(2, REASON, note_set_aside(path, output="/renders"))
    with Working(stand_in, path):
        rested(stand_in)
        stand_in.wait_for_starts(2)
    assert stand_in.begun_at[1] - stand_in.begun_at[0] == pytest.approx(30, abs=2)


@needs_root
def test_a_disk_that_is_too_full_for_the_reason_is_the_reason(stand_in: StandIn, tmp_path: Path) -> None:
    """The state, and what its runs write about their ends, are on the same disk."""
    with contextlib.closing(Mounts(tmp_path)) as mounts:
        disk = mounts.tmpfs("disk", 256)
        state = disk / "state.json"
        with open_store(state, create=True) as store:
            store.add([Item(key="x", status=Status.PENDING, prompt_text="a fox")])
        fill(disk)
        stand_in.end_with(2, "")
        with Working(stand_in, state) as supervisor:
            wait_until(lambda: supervisor.message(0), what="why it does not go on")
            assert "the disk is full; free some space" in str(supervisor.message(0))


@pytest.mark.parametrize("what", ["an item is changed", "an item is added", "settings", "a wake"])
def test_a_change_ends_that_rest(stand_in: StandIn, path: Path, what: str) -> None:
    stand_in.end_with(2, REASON, note_set_aside(path))
    with Working(stand_in, path) as supervisor:
        rested(stand_in)
        before = stand_in.clock.seconds
        match what:
            case "an item is changed":
                put(path, "x", Status.FAILED)
            case "an item is added":
                with open_store(path) as store:
                    store.add([Item(key="z", status=Status.PENDING, prompt_text="an owl")])
            case "settings":
                parts_of(path).settings.write('output = "elsewhere"\n')
            case _:
                supervisor.wake(0)
        wait_until(lambda: len(stand_in.begun_at) > 1, what="another try")
    assert stand_in.begun_at[1] - before < 150


def test_a_state_that_cannot_be_read_during_that_rest_is_looked_at_now_and_then(
    stand_in: StandIn, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.end_with(2, REASON, note_set_aside(path))
    opened: list[float] = []

    def noting(*said: Any, **more: Any) -> Store:
        opened.append(stand_in.clock.seconds)
        return open_store(*said, **more)

    with Working(stand_in, path) as supervisor:
        rested(stand_in)
        monkeypatch.setattr("orchestrator.web.states.open_store", noting)
        path.write_text("{broken")
        wait_until(lambda: "not JSON" in (supervisor.message(0) or ""), what="the reason")
        looks(stand_in, 60)
        assert len(opened) <= 10, "in thirty seconds"


def test_no_rest_while_an_item_of_another_recipe_is_left(stand_in: StandIn, path: Path) -> None:
    with open_store(path) as store:
        store.add([Item(key="z", status=Status.PENDING, prompt_text="an owl", template="other.json")])
    stand_in.end_with(2, REASON, note_set_aside(path))
    with Working(stand_in, path):
        stand_in.wait_for_starts(3)
    assert stand_in.begun_at[1] - stand_in.begun_at[0] < 10


def test_no_rest_after_a_run_that_set_nothing_aside_itself(stand_in: StandIn, path: Path) -> None:
    """The record is an earlier burst's: this run did not get as far as the items."""
    file, line = note_set_aside(path)
    file.write_text(line + "\n")
    stand_in.end_with(75, "away")
    with Working(stand_in, path):
        stand_in.wait_for_starts(3)
    assert stand_in.begun_at[1] - stand_in.begun_at[0] < 10


def test_no_rest_where_work_was_added_during_the_run(stand_in: StandIn, path: Path) -> None:
    with Working(stand_in, path) as supervisor:
        stand_in.wait_for_starts(1)
        supervisor.wake(0)
        stand_in.end_with(2, REASON, note_set_aside(path))
        wait_until(lambda: len(stand_in.begun_at) > 1, what="another try")
    assert stand_in.begun_at[1] - stand_in.begun_at[0] < 10


def test_a_reason_goes_with_the_work(stand_in: StandIn, path: Path) -> None:
    stand_in.end_with(75, "away")
    with Working(stand_in, path) as supervisor:
        wait_until(lambda: supervisor.message(0), what="a reason")
        for key in ("x", "y"):
            put(path, key, Status.CANCELLED)
        wait_until(lambda: supervisor.message(0) is None, what="the reason to be gone")


def test_a_state_that_cannot_be_read_is_said_once_and_looked_at_now_and_then(
    stand_in: StandIn, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.end_with(0)
    whole = path.read_bytes()
    path.write_text("{broken")
    opened: list[float] = []

    def noting(*said: Any, **more: Any) -> Store:
        opened.append(stand_in.clock.seconds)
        return open_store(*said, **more)

    monkeypatch.setattr("orchestrator.web.states.open_store", noting)
    with Working(stand_in, path) as supervisor:
        looks(stand_in, 60)
        assert "not JSON at line 1" in (supervisor.message(0) or "")
        assert len(opened) <= 10, "in thirty seconds"
        assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 1
        assert stand_in.starts() == []
        path.write_bytes(whole)
        stand_in.wait_for_starts(1)
        wait_until(lambda: supervisor.message(0) is None, what="the reason to be gone")


def test_a_place_that_cannot_be_looked_at_is_one_message(
    stand_in: StandIn, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.end_with(0)
    with Working(stand_in, path) as supervisor:
        path.unlink()
        path.symlink_to(path)
        looks(stand_in, 60)
        assert supervisor.message(0) is not None
    (line,) = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    assert "Errno" not in line
    assert line.count(str(path)) == 1
    assert "symbolic links" in line


def test_a_stop_ends_its_bursts_and_starts_no_more(stand_in: StandIn, path: Path) -> None:
    with Working(stand_in, path):
        (start,) = stand_in.wait_for_starts(1)
    assert not is_alive(start["pid"])
    assert len(stand_in.begun_at) == 1


def test_a_stop_while_a_burst_is_being_started_ends_that_one_too(
    stand_in: StandIn, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = Working(stand_in, path)
    command = stand_in.command

    def stopping(*arguments: str) -> list[str]:
        threading.Thread(target=working.supervisor.stop).start()
        wait_until(working.supervisor._stop.is_set, what="the stop")
        return command(*arguments)

    monkeypatch.setattr(subprocesses, "command", stopping)
    working.supervisor.start()
    wait_until(lambda: not any(thread.is_alive() for thread in working.supervisor._threads), what="the end")
    assert stand_in.begun_at
    assert not any(is_alive(start["pid"]) for start in stand_in.starts())
    working.watched.close()


def test_a_burst_whose_front_end_is_killed_can_go_on_speaking(stand_in: StandIn, path: Path) -> None:
    """Into a pipe that nobody reads from, its next word would be its last."""
    with Working(stand_in, path):
        (start,) = stand_in.wait_for_starts(1)
        told = {number: os.readlink(f"/proc/{start['pid']}/fd/{number}") for number in (0, 1, 2)}
        os.kill(start["pid"], signal.SIGKILL)
    assert told[0] == told[1] == "/dev/null"
    assert told[2] == str(parts_of(path).checkpoint_directory / "serve.log")
