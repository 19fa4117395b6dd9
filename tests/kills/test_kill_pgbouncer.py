"""A state behind pgbouncer in transaction mode: whole runs, kills, and what LISTEN does not hear there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.background import Threads
from support.pgbouncer import PgBouncer, needs_pgbouncer
from support.postgres import fresh_database, own_server
from support.projects import Project
from support.state_scenes import NOON, PENDING, cancel, item
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from state.change import Change
from state.facts import Pause
from state.item import Status
from state.location import DatabaseAddress, Location
from state.open_store import open_store, parts_of
from state.sql.database import Database
from state.sql.notifications import is_heard

pytestmark = needs_pgbouncer


@pytest.fixture(scope="module")
def bouncer() -> Iterator[PgBouncer]:
    with PgBouncer(own_server()) as bouncer:
        yield bouncer


@pytest.fixture
def address(bouncer: PgBouncer) -> str:
    return bouncer.address(fresh_database())


def test_a_burst_is_killed_and_the_next_ones_finish_beside_each_other(
    address: str, tmp_path: Path, sandbox: Sandbox
) -> None:
    home = tmp_path / "project"
    home.mkdir()
    project = Project(home, server=sandbox.url, state=DatabaseAddress(address), count=8, output=home / "output")
    sandbox.hold("render")
    with project.start_run("-n", "4") as killed:
        project.wait_for(Status.SUBMITTED, 4)
        # An item is submitted before its prompt is on its way: one that arrives after the kill would be withdrawn.
        wait_until(lambda: sandbox.counts()["posts"] == 4, what="its prompts")
        killed.kill()
    with project.start_run("--until-done") as one, project.start_run("--until-done") as other:
        project.wait_for(Status.SUBMITTED, 8)
        sandbox.release()
        ends = [one.end(), other.end()]
    assert [ended.code for ended in ends] == [0, 0], [ended.err for ended in ends]
    after = project.run("--until-done")
    assert after.code == 0, after.err
    assert sandbox.counts()["posts"] == 8
    project.check_all_done(sandbox.counts())
    assert sorted(str(burst.ended) for burst in project.bursts()).count("killed") == 1
    made = project.burst("generate", "--prompt", "a dog", "--count", "2", "--json")
    assert (made.code, made.report["counts"]["completed"]) == (0, 2), made.err
    told = project.burst("doctor")
    assert "LISTEN hears nothing" in told.out, told.out
    assert "seen within 2 s" in told.out


def test_nothing_is_heard_there_and_everything_is_seen_within_two_seconds(address: str) -> None:
    with open_store(address, create=True) as store, open_store(address) as other:
        store.add([item("a"), item("b")])
        assert not store.is_told_at_once()
        with store.lease():
            follower_mark = store.changes().mark
            wait_until(lambda: not store.may_have_changed(), what="nothing new")
            other.apply([Change("a", PENDING, cancel)])
            other.facts.append(Pause(paused=True, at=NOON))
            wait_until(store.may_have_changed, what="news")
            assert list(store.changes(follower_mark).keys) == ["a"]
            assert store.pause() is not None


def test_only_one_process_at_a_time_adds_a_batch(address: str) -> None:
    """However many of its connections change hands meanwhile."""
    with open_store(address, create=True) as store:
        inside: list[int] = []
        most: list[int] = []

        def add(number: int) -> None:
            with parts_of(address).adding():
                inside.append(number)
                most.append(len(inside))
                for _ in range(3):
                    store.counts()
                inside.remove(number)

        with Threads(3) as threads:
            list(threads.map(add, range(9)))
    assert most == [1] * 9


def test_without_pgbouncer_it_is_heard(bouncer: PgBouncer) -> None:
    direct = fresh_database()
    assert is_heard(Database(Location.of(direct)))
    assert not is_heard(Database(Location.of(bouncer.address(direct))))
