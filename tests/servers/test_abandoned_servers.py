"""A server that died with its host: its items stay, until somebody or its setting says that nobody will look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.fake_transport import FakeServer
from support.hand_clock import BEGINNING, HandClock
from support.simulated import Simulation
from support.state_scenes import NOON
from support.stores import KINDS, State

from orchestrator import abandon_server, add_servers, examine, list_servers, read_status
from orchestrator.abandonment import Silence
from orchestrator.clock import Clock
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import LockHeld, UsageError
from orchestrator.settings import Overrides
from state.burst_record import BurstRecord
from state.change import Change
from state.item import Item, Status
from state.location import state_path
from state.open_store import open_store
from state.server import RegisteredServer

COMPLETED, PENDING, SUBMITTED, CANCELLED = Status.COMPLETED, Status.PENDING, Status.SUBMITTED, Status.CANCELLED
GPU1, GPU2 = "http://10.0.0.7:8188", "http://127.0.0.1:1"
DEAD, ALIVE = "http://dead:8188", "http://alive:8188"


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        state.open(create=True)
        yield state


@pytest.fixture
def state(made: State) -> Path:
    """Two items are submitted to gpu1, of which one is to be cancelled, and one to gpu2."""
    path = state_path(str(made.address))
    with open_store(path) as store:
        store.add([Item(key=key, status=PENDING, prompt_text="x") for key in "abc"])
        for key, server in (("a", "gpu1"), ("b", GPU1), ("c", "gpu2")):
            store.apply([Change(key, PENDING, lambda now, at=server: sent(now, at))])  # type: ignore[misc]
        store.apply([Change("b", SUBMITTED, lambda now: now.request_cancel())])
    return path


def sent(item: Item, server: str) -> Item:
    return item.submit(prompt_id=f"id-{item.key}", server=server, at=NOON, fingerprint="f")


def statuses(state: Path) -> dict[str, Status]:
    with open_store(state, read_only=True) as store:
        return {item.key: item.status for item in store.items()}


def test_what_is_given_up_is_due_and_counted(state: Path) -> None:
    add_servers(state, [f"gpu1={GPU1}"])
    report = abandon_server(state, "gpu1")
    assert statuses(state) == {"a": PENDING, "b": CANCELLED, "c": SUBMITTED}
    assert report.as_json()["possibly_twice"] == 1
    assert "rendered twice" in report.as_text()
    with open_store(state, read_only=True) as store:
        assert (store.get("a").previous_prompt_ids, store.get("a").attempts) == (("id-a",), 0)
    assert [one.server.draining for one in list_servers(state).servers] == [True], "it gets nothing new"
    assert abandon_server(state, "gpu1").given_up == 0


def test_a_server_that_is_not_registered_is_given_up_too(state: Path) -> None:
    assert abandon_server(state, "gpu2").given_up == 1
    with pytest.raises(UsageError, match=f"knows no such server; it knows .*{GPU1}"):
        abandon_server(state, "gpu7")
    assert statuses(state) == {"a": SUBMITTED, "b": SUBMITTED, "c": PENDING}


def test_while_a_run_uses_the_server_it_is_refused(state: Path, made: State) -> None:
    """Seen by another process. With one that uses another server it is done, where states have several runs."""
    with made.open() as store, store.lease() as lease:
        lease.begin_burst(burst="busy", size=1, started_at=NOON, run_started_at=NOON, servers=["gpu1"])
        lease.take_over(["a", "b"])
        with pytest.raises(LockHeld, match="busy"):
            abandon_server(state, "gpu1")
        if not made.one_run:
            assert abandon_server(state, "gpu2").given_up == 1
            with pytest.raises(LockHeld, match=r"gpu1 is used by .*busy"):
                run(state, abandon="gpu1")
    assert statuses(state)["a"] is SUBMITTED
    assert abandon_server(state, "gpu1").given_up == 1


def run(state: Path, *, abandon: str | None = None, clock: Clock | None = None) -> list[str]:
    """On a server that nobody reaches; the notes of its report."""
    request = Request(
        state=state,
        overrides=Overrides(template="smoke", servers=(GPU2,)),
        wait_server_seconds=0.0,
        abandon_server=abandon,
    )
    return list(Run(request, clock=clock).execute().notes)


def test_its_setting_says_when_nobody_will_look(state: Path) -> None:
    """A run that does not use the server goes by what others have seen of it."""
    add_servers(state, [f"gpu1={GPU1}", "gpu2=http://10.0.0.8:8188"], abandon_after_seconds=1e9)
    notes = run(state)
    assert statuses(state)["a"] is SUBMITTED
    assert any("submitted to gpu1, which this run does not use" in note for note in notes)
    add_servers(state, ["gpu1"], abandon_after_seconds=60)
    notes = run(state)
    assert statuses(state) == {"a": PENDING, "b": CANCELLED, "c": SUBMITTED}
    assert any("1 item submitted to gpu1 due again: it has given no sign of life for" in note for note in notes)


def test_status_and_doctor_say_what_waits_where_and_since_when(state: Path) -> None:
    """Of a server that does not answer, and of one on another host; nothing of one that is well."""
    assert read_status(state).stranded == ()
    with open_store(state) as store:
        store.facts.change_servers(
            lambda _: [RegisteredServer(name="gpu2", url="http://127.0.0.1:8188", host="other", at=NOON)]
        )
        for minute, servers, away in ((1, ("gpu1",), ()), (2, (), ("gpu1",)), (3, (), ("gpu1",))):
            at = NOON.replace(minute=minute)
            store.bursts.append(
                BurstRecord(burst="b", started_at=at, ended_at=at, ended="error", size=1, servers=servers, away=away)
            )
    status = read_status(state)
    one, other = status.as_json()["stranded"]
    assert (one["server"], one["away_since"]) == ("gpu1", NOON.replace(minute=2).isoformat())
    assert (other["server"], other["host"], other["items"]) == ("gpu2", "other", 1)
    assert other["since"] == NOON.isoformat()
    assert "`burst servers abandon gpu1`" in status.as_text()
    assert "waits for that host, other" in status.as_text()
    checks = [check for check in examine(state).checks if check.name == "elsewhere"]
    assert any("1 item submitted to gpu1, the last at" in check.message for check in checks)
    add_servers(state, [f"gpu1={GPU1}"])
    assert [one["items"] for one in read_status(state).as_json()["stranded"]] == [2, 1], "by name or address"


def entry(**fields: object) -> RegisteredServer:
    return RegisteredServer(name="gpu1", url=GPU1, at=NOON, **({"abandon_after_seconds": 60.0} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "silent"),
    [
        ({}, 90.0),
        ({"servers": ("gpu1",)}, None),
        ({"host": "there"}, 90.0),
        ({"servers": ("gpu2",), "host": "here"}, 90.0),
    ],
    ids=str,
)
def test_signs_of_life(fields: dict[str, object], silent: float | None) -> None:
    now = NOON + timedelta(seconds=90)
    record = BurstRecord(
        burst="b", started_at=NOON, ended_at=NOON + timedelta(seconds=40), ended="done", size=1, **fields  # type: ignore[arg-type]
    )  # fmt: skip
    item = sent(Item(key="a", status=PENDING), "gpu1")
    assert Silence([entry()], [record]).too_long("gpu1", [item], now=now) == silent
    assert Silence([entry(abandon_after_seconds=None)], []).too_long("gpu1", [item], now=now) is None
    assert Silence([], []).too_long("gpu1", [item], now=now) is None
    answered = now - timedelta(seconds=30)
    assert Silence([entry()], []).too_long("gpu1", [item], now=now, answered_at=answered) is None
    its_host = Silence([entry(host="there")], [record]).too_long("gpu1", [item], now=now)
    assert its_host == (None if fields.get("host") == "there" else silent)


def silent_run(folder: Path, clock: HandClock, **fields: object) -> tuple[Simulation, FakeServer]:
    """A run of two servers, one of which answers no more from the 15th second on, with what it has."""
    dead = FakeServer(DEAD, clock, lambda _: 10.0)
    dead.fault = lambda _: "refused" if clock.seconds > 15.0 else None
    simulation = Simulation(folder, clock, [dead, FakeServer(ALIVE, clock, lambda _: 10.0)], items=8)
    registered = RegisteredServer(name=DEAD, url=DEAD, at=BEGINNING, **fields)  # type: ignore[arg-type]
    for worker in simulation.workers:
        worker.context.silence = Silence([registered], [])
    simulation.work.begin(8)
    return simulation, dead


def test_a_run_gives_up_its_own_silent_server_in_time_and_another_renders_what_it_had(
    tmp_path: Path, clock: HandClock
) -> None:
    simulation, dead = silent_run(tmp_path, clock, abandon_after_seconds=300.0)
    simulation.work_for(280.0)
    had = [item.key for item in simulation.store.items(SUBMITTED)]
    assert had
    assert simulation.store.counts()[COMPLETED] == 8 - len(had)
    simulation.work_for(200.0)
    assert simulation.store.counts()[COMPLETED] == 8
    assert simulation.tally.possibly_twice == len(had)
    assert any(f"{DEAD} due again" in note for note in simulation.tally.notes)
    dead.fault = lambda _: None
    simulation.work_for(600.0)
    assert simulation.store.counts()[COMPLETED] == 8


def test_without_the_setting_they_wait_for_the_server(tmp_path: Path, clock: HandClock) -> None:
    simulation, dead = silent_run(tmp_path, clock)
    simulation.work_for(2000.0)
    assert simulation.store.counts()[SUBMITTED]
    dead.fault = lambda _: None
    simulation.work_for(1000.0)
    assert simulation.store.counts()[COMPLETED] == 8
    assert simulation.tally.possibly_twice == 0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()
