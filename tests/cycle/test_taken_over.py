"""Two runs on one state in a database: one is frozen or killed in the middle of a POST, the other goes on.

Each scene is shown to end otherwise without the rule that it is about: what may be true by chance shows nothing.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation
from support.stores import KINDS, State

from orchestrator.errors import LockHeld
from state.item import Status
from state.sql.lease import SqlLease
from state.sql.schema import leases

POST = "POST /api/prompt"
ITEMS = 3
HOUR = timedelta(hours=1)
SQL = [kind for kind in KINDS if not kind.one_run]


class Ahead(HandClock):
    """Of a host whose clock is an hour ahead; time passes as on another one."""

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    @property
    def seconds(self) -> float:  # type: ignore[override]
        return self._clock.seconds

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._clock.seconds = seconds

    def now(self) -> datetime:
        return super().now() + HOUR


class Scene:
    """A server, a state, and the runs that a test opens on them, one after another."""

    def __init__(self, state: State, folder: Path) -> None:
        self.clock = HandClock()
        self.server = FakeServer("http://gpu:8188", self.clock, lambda _: 2.0)
        state.open(create=True)
        self._address = str(state.address)
        self._folder = folder
        self._opened = contextlib.ExitStack()

    def run(self, *, items: int = 0, clock: HandClock | None = None) -> Simulation:
        """One more run; what died before it is taken over."""
        run = Simulation(self._folder, clock or self.clock, [self.server], items=items, state=self._address)
        self._opened.callback(run.close)
        return run

    def expire(self, run: Simulation) -> None:
        """As if it had been frozen for longer than its lease."""
        run.lease.renew_no_more()  # type: ignore[attr-defined]
        with run.store._database.transaction() as connection:  # type: ignore[attr-defined]
            mine = leases.c.id == run.lease.id  # type: ignore[attr-defined]
            connection.execute(update(leases).where(mine).values(expires_at=0.0))

    def rendered(self) -> dict[str, int]:
        """How often each item has been rendered, or will be."""
        self.clock.seconds += 60
        self.server.tick()
        ended = [one for one in self.server.history.values() if one.ended_as == "success"]
        return dict(sorted(Counter(one.item for one in ended).items()))

    def at_first_post(self, happens: Callable[[], Any]) -> None:
        """While the first request to render anything is on its way."""

        def fault(asked: str) -> Any:
            if asked != POST:
                return None
            self.server.fault = lambda _: None
            return happens()

        self.server.fault = fault

    def close(self) -> None:
        self._opened.close()


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with State(getattr(request, "param", SQL[0]), tmp_path) as state:
        made = Scene(state, tmp_path)
        yield made
        made.close()


on_each = pytest.mark.parametrize("scene", SQL, indirect=True, ids=lambda kind: kind.name)
ONCE = {f"000{number}.txt": 1 for number in range(ITEMS)}


def take_out(monkeypatch: pytest.MonkeyPatch, name: str, naive: Callable[..., Any]) -> None:
    """Do without this rule of the lease."""
    monkeypatch.setattr(SqlLease, name, naive)


# Frozen between intent and POST


def freeze_before_post(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run A stands still after its intents are durable and before it asks whether it may send; B does everything."""
    a = scene.run(items=ITEMS)
    may_post = SqlLease.guard_post
    slept: list[bool] = []

    def sleeps_first(self: SqlLease, key: str) -> None:
        if not slept:
            slept.append(True)
            scene.expire(a)
            b = scene.run()
            b.burst(ITEMS)
            assert b.statuses() == [Status.COMPLETED] * ITEMS
        may_post(self, key)

    monkeypatch.setattr(SqlLease, "guard_post", sleeps_first)
    with contextlib.suppress(LockHeld):
        a.burst(ITEMS)
    assert slept


@on_each
def test_what_was_taken_over_before_its_post_is_sent_by_the_other_run_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze_before_post(scene, monkeypatch)
    assert scene.rendered() == ONCE


@on_each
def test_without_a_check_before_each_post_it_would_be_rendered_twice(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt that comes late is withdrawn, too, as far as it still waits: this is done without as well."""
    take_out(monkeypatch, "guard_post", lambda self, key: None)
    monkeypatch.setattr("orchestrator.cycle.submission.Submission._withdraw_late", lambda *_: None)
    freeze_before_post(scene, monkeypatch)
    assert scene.rendered()["0000.txt"] == 2


# Frozen in a POST that is refused


def refuse_late(scene: Scene) -> list[Status]:
    """A's connection is refused after B has taken the items over and sent them. A would make its own due again."""
    a = scene.run(items=ITEMS)
    runs = []

    def taken_over() -> str:
        scene.expire(a)
        b = scene.run()
        b.work.begin(ITEMS)
        b.work_for(15.0)
        runs.append(b)
        return "refused"

    scene.at_first_post(taken_over)
    with contextlib.suppress(LockHeld):
        a.burst(ITEMS)
    (b,) = runs
    after = b.statuses()
    c = scene.run()
    c.burst(ITEMS)
    b.burst(ITEMS)
    return after


@on_each
def test_a_run_that_lost_its_lease_makes_nothing_due_again(scene: Scene) -> None:
    scene.server.seconds = lambda _: 8.0
    assert refuse_late(scene) == [Status.SUBMITTED] * ITEMS
    assert {one.item for one in scene.server.accepted.values()} == set(ONCE)
    assert len(scene.server.accepted) == ITEMS


@on_each
def test_without_a_lease_in_each_change_it_would_be_sent_twice(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is the expected one: B has submitted it again."""
    take_out(monkeypatch, "apply", lambda self, changes, sync=True: self._store.apply(changes))
    scene.server.seconds = lambda _: 8.0
    assert Status.PENDING in refuse_late(scene)
    assert len(scene.server.accepted) > ITEMS


# A POST that outlives its run, and a host whose clock is ahead


def outlive(scene: Scene) -> None:
    """A is killed while its POST is on its way. B's host is an hour ahead; B looks, and the POST arrives after that."""
    a = scene.run(items=1)
    runs = []

    def killed() -> str:
        scene.expire(a)
        b = scene.run(clock=Ahead(scene.clock))
        b.work.begin(1)
        for _ in range(3):
            b.workers[0].turn()
        runs.append(b)
        return "lost"

    scene.at_first_post(killed)
    with contextlib.suppress(LockHeld):
        a.burst(1)
    (b,) = runs
    b.burst(1)


@pytest.mark.parametrize("scene", SQL[1:], indirect=True, ids=lambda kind: kind.name)
def test_a_clock_that_is_an_hour_ahead_has_nothing_sent_twice(scene: Scene) -> None:
    outlive(scene)
    assert len(scene.server.accepted) == 1


@pytest.mark.parametrize("scene", SQL[1:], indirect=True, ids=lambda kind: kind.name)
def test_by_the_clocks_of_hosts_it_would_be_sent_twice(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    take_out(monkeypatch, "now", lambda self: self._clock.now())
    outlive(scene)
    assert len(scene.server.accepted) == 2


# A POST that arrives after all


def arrive_late(scene: Scene) -> None:
    """A's POST is on its way for longer than its lease; B has sent the item again and collected it when it arrives."""
    a = scene.run(items=1)

    def taken_over() -> None:
        scene.expire(a)
        b = scene.run()
        b.burst(1)
        assert b.statuses() == [Status.COMPLETED]

    scene.at_first_post(taken_over)
    with contextlib.suppress(LockHeld):
        a.burst(1)


@on_each
def test_a_prompt_that_arrives_when_its_item_is_another_run_s_is_withdrawn(scene: Scene) -> None:
    arrive_late(scene)
    assert len(scene.server.accepted) == 2
    assert scene.rendered() == {"0000.txt": 1}


@on_each
def test_otherwise_it_would_be_rendered_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cycle.submission.Submission._withdraw_late", lambda *_: None)
    arrive_late(scene)
    assert scene.rendered() == {"0000.txt": 2}
