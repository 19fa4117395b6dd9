"""States in databases, through the command line: runs beside one another, kills, and the other commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.background import in_background
from support.postgres import fresh_database
from support.projects import Project
from support.state_scenes import complete, submit
from support.waiting import wait_until

from orchestrator import run_burst
from orchestrator.sandbox import Sandbox
from state.change import change_all
from state.item import Status
from state.location import DatabaseAddress
from state.open_store import open_store

MakeDatabase = Callable[..., Project]


@pytest.fixture(params=["sqlite", "postgresql"])
def make_database(
    request: pytest.FixtureRequest, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> MakeDatabase:
    """A project whose state is in a database."""

    def make(**parts: Any) -> Project:
        home = tmp_path / "project"
        home.mkdir()
        # A database on a server has no directory: its paths are relative to where the command is called.
        monkeypatch.chdir(home)
        address = f"sqlite:///{home}/burst.db" if request.param == "sqlite" else fresh_database()
        return Project(home, server=sandbox.url, state=DatabaseAddress(address), **parts)

    return make


def check_nothing_is_held(project: Project) -> None:
    with open_store(project.state) as store, store.lease() as lease:
        assert (store.holders(), list(lease.left_behind())) == ([], [])


def held(project: Project) -> list[int]:
    """The lease of each item that a run holds."""
    from sqlalchemy import select

    from state.sql.schema import items

    with open_store(project.state, read_only=True) as store, store._database.connect() as connection:  # type: ignore[attr-defined]
        return list(connection.execute(select(items.c.lease).where(items.c.lease.is_not(None))).scalars())


def wait_until_queued(sandbox: Sandbox, count: int) -> None:
    """Submitted is what is about to be sent, too."""
    wait_until(lambda: len(sandbox.counts()["queued"]) == count, what=f"{count} are in the server's queue")


def expire(project: Project, pid: int) -> None:
    """As if the lease of this process had not been renewed for long."""
    from sqlalchemy import update

    from state.sql.schema import leases

    with open_store(project.state) as store, store._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(update(leases).where(leases.c.pid == pid).values(expires_at=0.0))


def test_two_runs_share_the_items_of_one_state(make_database: MakeDatabase, sandbox: Sandbox) -> None:
    project = make_database(count=8)
    sandbox.hold("render")
    with project.start_run("-n", "4") as one, project.start_run("-n", "4") as other:
        project.wait_for(Status.SUBMITTED, 8)
        status = project.burst("status", "--json")
        assert (status.code, status.report["counts"]["submitted"]) == (0, 8)
        sandbox.release()
        assert [run.end().report["completed"] for run in (one, other)] == [4, 4]
    assert sandbox.counts()["posts"] == 8
    project.check_all_done(sandbox.counts())
    check_nothing_is_held(project)


def test_what_a_killed_run_had_sent_is_collected_by_the_next(make_database: MakeDatabase, sandbox: Sandbox) -> None:
    """While another run works."""
    project = make_database(count=6)
    sandbox.hold("render")
    with project.start_run("-n", "3") as killed, project.start_run("-n", "3") as other:
        wait_until_queued(sandbox, 6)
        killed.kill()
        sandbox.release()
        assert other.end().report["completed"] == 3
    assert project.count(Status.SUBMITTED) == 3
    after = project.run("--until-done")
    assert (after.code, after.report["completed"]) == (0, 3)
    assert sandbox.counts()["posts"] == 6
    project.check_all_done(sandbox.counts())
    check_nothing_is_held(project)
    assert sorted(str(burst.ended) for burst in project.bursts()) == ["done", "done", "killed"]


def test_what_a_killed_run_had_sent_is_collected_by_one_at_work(
    make_database: MakeDatabase, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No further run begins; its lease has expired."""
    monkeypatch.setattr("state.sql.lease.POLL_SECONDS", 0.1)
    project = make_database(count=6)
    sandbox.hold("render")
    with project.start_run("-n", "3") as killed:
        wait_until_queued(sandbox, 3)
        with in_background(run_burst, project.state, until_done=True, poll_seconds=0.1) as end:
            wait_until_queued(sandbox, 6)
            assert len(set(held(project))) == 2
            killed.kill()
            expire(project, killed.pid)
            wait_until(lambda: len(held(project)) == 6 and len(set(held(project))) == 1, what="one run holds all")
            sandbox.release()
            report = end()
    assert (report.completed, report.recovered) == (6, 3)
    assert sandbox.counts()["posts"] == 6
    project.check_all_done(sandbox.counts())
    check_nothing_is_held(project)


@pytest.mark.parametrize(
    "place", ["before:state.sql.lease:SqlLease.guard_post", "after:state.sql.lease:SqlLease.apply:2"]
)
def test_a_run_that_is_killed_between_intent_and_answer_renders_nothing_twice(
    make_database: MakeDatabase, sandbox: Sandbox, place: str
) -> None:
    project = make_database(count=3)
    assert project.run(launch=["--kill", place]).code == 137
    after = project.run("--until-done", launch=["--in-doubt", "0.5"])
    assert after.code == 0, after.err
    project.check_all_done(sandbox.counts())


def test_generate_ends_with_its_batch_while_another_run_works(make_database: MakeDatabase, sandbox: Sandbox) -> None:
    """Whichever of the two renders it."""
    project = make_database(count=4)
    sandbox.hold("render")
    with project.start_run("--until-done", "--ahead", "8") as run:
        project.wait_for(Status.SUBMITTED, 4)
        with project.start("generate", "--prompt", "a dog", "--count", "2", "--json") as made:
            wait_until(lambda: len(project.items()) == 6 or not made.lives(), what="its items")
            sandbox.release()
            ended = made.end()
            assert (ended.code, ended.report["counts"]["completed"]) == (0, 2), ended.err
        assert run.end().code == 0
    batches = project.burst("batches", "list", "--json").report["batches"]
    assert [batch["counts"]["completed"] for batch in batches] == [2]
    assert set(sandbox.counts()["rendered_by_item"].values()) == {1}
    wait_until(lambda: project.count(Status.COMPLETED) == 6, what="all completed")


def test_generate_looks_on_while_another_run_holds_what_it_wants(make_database: MakeDatabase, sandbox: Sandbox) -> None:
    """It can claim nothing, and its batch is not over."""
    project = make_database(count=1)
    request = ("generate", "--prompt", "a dog", "--count", "2")
    assert project.burst(*request, "--queue-only").code == 0
    with open_store(project.state) as store, store.lease() as other:
        held = other.claim(9)
        assert len(held) == 3
        with project.start(*request) as made:
            said = "Waiting for another burst"
            wait_until(lambda: said in made.out_so_far() + made.err_so_far() or not made.lives(), what=said)
            assert made.lives(), made.out_so_far()
            done = change_all(other, change_all(other, held, submit()), complete)
            assert [item.status for item in done] == [Status.COMPLETED] * 3
            ended = made.end()
    assert (ended.code, [item.status for item in project.items()]) == (0, [Status.COMPLETED] * 3), ended.err
    assert sandbox.counts()["posts"] == 0


def test_other_commands_work_on_such_a_state(make_database: MakeDatabase, sandbox: Sandbox) -> None:
    project = make_database(count=3)
    first, second, third = (item.key for item in project.items())
    assert project.burst("cancel", first).code == 0
    assert project.run("--until-done").report["completed"] == 2
    assert project.burst("retry", second).code == 0
    assert project.burst("priority", second, "urgent").code == 0
    assert project.burst("star", third).code == 0
    assert project.burst("status", "--check").code == 1
    assert project.run("--until-done").report["completed"] == 1
    assert project.burst("retry", "--cancelled").code == 0
    assert project.burst("pause").code == 0
    assert project.run().report["completed"] == 0
    assert project.burst("resume").code == 0
    assert project.run("--until-done").report["completed"] == 1
    for command in ("status --check", "verify", "history", "log", "doctor", "batches list"):
        done = project.burst(*command.split())
        assert done.code == 0, (command, done.err, done.out)
    assert project.burst("forget", first).code == 0
    assert [item.key for item in project.items()] == [second, third]
    assert sandbox.counts()["rendered_by_item"] == {first: 1, second: 2, third: 1}


def test_a_password_is_shown_by_no_command(make_project: Any, tmp_path: Path, sandbox: Sandbox) -> None:
    """Where the database asks for none, any is right."""
    address = fresh_database().replace("postgres@", "postgres:s3cret@")
    assert "s3cret" in address
    home = tmp_path / "project"
    home.mkdir()
    project = Project(home, server=sandbox.url, state=DatabaseAddress(address), output=home / "output")
    shown = [project.run("--until-done"), *(project.burst(*words.split()) for words in ("status", "doctor", "log"))]
    shown += [project.burst("status", "--json"), project.burst("status", "nobody's")]
    assert all("s3cret" not in done.out + done.err for done in shown)
    assert "postgresql://postgres@/" in shown[1].out
