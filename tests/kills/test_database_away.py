"""PostgreSQL is restarted, killed or stopped under a run: it waits, goes on, or ends cleanly."""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from starlette.testclient import TestClient
from support.postgres import Postgres
from support.projects import AT_ONCE_SECONDS, Process, Project
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from orchestrator.web.app import create_app
from orchestrator.web.states import WatchedStates
from orchestrator.web.supervisor import Supervisor
from state.change import change_all
from state.item import Status
from state.location import DatabaseAddress
from state.open_store import open_store

LEASE = "state.sql.lease:SqlLease"
PLACES = {
    "claim": f"before:{LEASE}.claim",
    "intent": f"before:{LEASE}.apply",
    "POST": f"before:{LEASE}.guard_post:2",
    "answer": f"after:{LEASE}.guard_post:2",
    "download": "after:orchestrator.cycle.settlement:Settlement.fetch",
    "checkpoint": "before:orchestrator.cycle.transitions:Transitions.complete",
    "news": "before:state.sql.store:SqlStore.news",
    "end of burst": f"before:{LEASE}.end_burst",
    "end of run": f"before:{LEASE}.end",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def project(server: Postgres, tmp_path: Path, sandbox: Sandbox) -> Iterator[Project]:
    name = f"burst_{tmp_path.name}".lower().replace("-", "_")
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    home = tmp_path / "project"
    home.mkdir()
    yield Project(
        home, server=sandbox.url, state=DatabaseAddress(server.address(name)), output=home / "output", count=3
    )
    server.start()


def is_stopped(process: Process) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize(("place", "how"), [*zip(PLACES, itertools.cycle(["stop", "kill"]))])
def test_a_restart_in_the_middle_costs_nothing(
    project: Project, server: Postgres, sandbox: Sandbox, place: str, how: str
) -> None:
    """The run is held at this place while the server restarts, by an orderly end or as after a crash."""
    with project.start_run("--until-done", launch=["--freeze", PLACES[place]]) as run:
        wait_until(lambda: not run.lives() or is_stopped(run), what=place)
        assert run.lives(), run.err_so_far()
        getattr(server, how)()
        server.start()
        run.signal(signal.SIGCONT)
        ended = run.end()
    assert (ended.code, ended.report["completed"]) == (0, 3), ended.err
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())
    with open_store(project.state) as store:
        assert (store.holders(), store.is_leased()) == ([], False)
    assert [burst.ended for burst in project.bursts()] == ["done"]


def away(project: Project, server: Postgres, sandbox: Sandbox, *arguments: str) -> Process:
    """A run whose prompts are on the server, and whose database has just gone away."""
    sandbox.hold("render")
    run = project.start("run", "--poll-interval", "0.2", *arguments)
    project.wait_for(Status.SUBMITTED, 3)
    server.stop()
    wait_until(lambda: "waiting for it" in run.err_so_far() or not run.lives(), what="that it waits")
    assert run.lives(), run.err_so_far()
    return run


def test_it_waits_until_the_database_is_back(project: Project, server: Postgres, sandbox: Sandbox) -> None:
    with away(project, server, sandbox, "--until-done") as run:
        sandbox.release()
        server.start()
        ended = run.end()
    assert ended.code == 0, ended.err
    assert ended.err.count("waiting for it") == 1
    assert "the database answers again" in ended.err
    project.check_all_done(sandbox.counts())


def test_it_waits_no_longer_than_its_deadline(project: Project, server: Postgres, sandbox: Sandbox) -> None:
    with away(project, server, sandbox, "--max-seconds", "4") as run:
        ended = run.end()
    assert ended.code == 75
    (message,) = [line for line in ended.err.splitlines() if "run again" in line]
    assert "PostgreSQL does not answer" in message
    assert "check that it runs and can be reached, then run again: nothing is lost" in message
    assert "Traceback" not in ended.err
    sandbox.release()
    server.start()
    assert project.run("--until-done").code == 0
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())


def test_a_signal_ends_the_wait_at_once(project: Project, server: Postgres, sandbox: Sandbox) -> None:
    with away(project, server, sandbox, "--until-done") as run:
        ended = run.stop(signal.SIGTERM)
    assert ended.code == 143
    assert ended.seconds < AT_ONCE_SECONDS
    sandbox.release()
    server.start()
    assert project.run("--until-done").code == 0
    assert sandbox.counts()["posts"] == 3


def test_a_database_that_is_away_from_the_start_is_said_at_once(project: Project, server: Postgres) -> None:
    server.stop()
    for command in ("run", "status", "generate --prompt x", "pause", "doctor"):
        ended = project.burst(*command.split())
        assert ended.code == (1 if command == "doctor" else 75), (command, ended.err, ended.out)
        assert "PostgreSQL does not answer" in ended.err + ended.out
        assert len(ended.err.splitlines()) <= 1, ended.err
        assert "Traceback" not in ended.err


def test_the_browser_says_so_and_comes_back_by_itself(
    project: Project, server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    watched = WatchedStates([project.state])
    # Without a supervisor at work, which would start bursts.
    with contextlib.closing(watched):
        http = TestClient(create_app(watched, Supervisor(watched)), base_url="http://127.0.0.1:8189")
        paths = ("/api/states/0", "/api/batches/nobodys/progress", "/api/states")
        assert [http.get(path).status_code for path in paths] == [200, 404, 200]
        server.stop()
        assert [http.get(page).status_code for page in ("/", "/gallery", "/states")] == [200] * 3
        for path in paths[:2]:
            answer = http.get(path)
            assert answer.status_code == 503, path
            assert "PostgreSQL does not answer" in answer.json()["error"]["message"]
        (standing,) = http.get("/api/states").json()
        assert "PostgreSQL does not answer" in str(standing)
        server.start()
        assert [http.get(path).status_code for path in paths] == [200, 404, 200]
    assert "Traceback" not in caplog.text


def test_a_watched_status_says_so_and_comes_back_by_itself(project: Project, server: Postgres) -> None:
    with project.start("status", "--watch") as watching:
        wait_until(watching.out_so_far, what="the first status")
        server.stop()
        wait_until(lambda: "waiting for it" in watching.err_so_far(), what="that it waits")
        server.start()
        with open_store(project.state) as store:
            change_all(store, store.items(), lambda now: now.cancel())
        ended = watching.end()
    assert ended.code == 0, ended.err
    assert "3 cancelled" in ended.out
    assert ended.err.count("waiting for it") == 1


def test_generate_waits_for_it_too(project: Project, server: Postgres, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with project.start("generate", "--prompt", "a dog", "--count", "2") as made:
        project.wait_for(Status.SUBMITTED, 2)
        server.stop()
        wait_until(lambda: "waiting for it" in made.err_so_far() or not made.lives(), what="that it waits")
        sandbox.release()
        server.start()
        ended = made.end()
    assert ended.code == 0, ended.err
    assert project.count(Status.COMPLETED) == 2
    assert sandbox.counts()["posts"] == 2
