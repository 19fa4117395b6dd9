"""A role of PostgreSQL that may only read: all that shows a state works, and nothing is written or upgraded."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from starlette.testclient import TestClient
from support.database_roles import reading_role, writing_role
from support.front_ends import ORIGIN, Idle
from support.postgres import fresh_database
from support.sql_dumps import DUMPS, dumped, fill, load

from burst import cli
from orchestrator.errors import NotAllowed
from orchestrator.settings import Overrides
from orchestrator.web.app import create_app
from orchestrator.web.server import arguments_of, environment_of
from orchestrator.web.states import WatchedStates
from state.location import Location
from state.open_store import open_store


@dataclass
class Scene:
    """A state, and who may only read it."""

    owner: str
    reader: str
    before: str
    is_older: bool

    def call(self, command: str) -> Result:
        return CliRunner().invoke(cli, [*shlex.split(command), "--state", self.reader])

    def check_unchanged(self) -> None:
        assert dumped(self.owner) == self.before


@pytest.fixture(scope="module", params=["of this release", "of the first one"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    owner, is_older = fresh_database(), request.param == "of the first one"
    if is_older:
        load((DUMPS / "0001.postgresql.sql").read_text(), owner)
    else:
        fill(owner)
    with reading_role(owner) as reader:
        yield Scene(owner, reader, dumped(owner), is_older)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


SHOWING = (
    *("status", "status --json", "status --all", "status --stats", "status b", "status b --json"),
    *("history", "history --json", "log", "log --json", "batches list", "batches list --json"),
    *(
        "report b",
        "report b --json",
        "run --dry-run",
        "trash",
        "query",
        "query --csv",
        "forget failed --dry-run",
        "servers list",
        "metrics",
    ),
)
WRITING = (
    *("cancel due", "pause", "run", "retry", "star completed", "tag x completed", "priority b high"),
    *("forget failed", "verify --repair --yes", "servers add gpu9=http://10.0.0.9:8188", "reset --yes"),
)


def test_commands_that_show_something(scene: Scene) -> None:
    for command in SHOWING:
        done = scene.call(command)
        assert done.exit_code == 0, f"{command}: {done.output}"
    scene.check_unchanged()


def test_doctor_says_what_is_wrong_with_the_project_alone(scene: Scene) -> None:
    done = scene.call("doctor")
    assert done.exit_code in (0, 1), done.output
    assert "permission denied" not in done.output
    scene.check_unchanged()


def test_commands_that_write_say_that_the_role_may_not(scene: Scene) -> None:
    for command in WRITING:
        done = scene.call(command)
        assert done.exit_code == 2, f"{command}: {done.output}"
        assert "this role may not do that (permission denied" in done.output or "must be owner" in done.output, command
        if scene.is_older:
            assert "its tables are of an older burst (schema version 1; this one writes" in done.output, command
            assert "call `burst state upgrade` once as the role that owns them" in done.output, command
        else:
            assert "name a role that may, or have it granted" in done.output, command
    scene.check_unchanged()


def test_status_is_watched_until_nothing_is_left(tmp_path: Path) -> None:
    owner = fresh_database()
    fill(owner)
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("DELETE FROM items WHERE status IN ('pending', 'submitted')")
        connection.execute("UPDATE leases SET ended_at = 0, clean = true")
    before = dumped(owner)
    with reading_role(owner) as reader:
        done = CliRunner().invoke(cli, ["status", "--watch", "--json", "--state", reader])
    assert done.exit_code == 0, done.output
    assert dumped(owner) == before


def test_a_role_that_may_change_rows_and_no_table(tmp_path: Path) -> None:
    """As of a worker: it works on tables of today, and says what to do about older ones, which it reads."""
    owner = fresh_database()
    load((DUMPS / "0001.postgresql.sql").read_text(), owner)
    with writing_role(owner) as worker:
        with open_store(worker) as store:
            assert store.get("due").key == "due"
            with pytest.raises(
                NotAllowed, match=r"older burst .*permission denied .*call `burst state upgrade` once as"
            ):
                store.lease()
            done = CliRunner().invoke(cli, ["state", "upgrade", "--state", owner])
            assert done.exit_code == 0, done.output
        with psycopg.connect(owner, autocommit=True) as connection:
            name = worker.partition("://")[2].partition("@")[0]
            for what in ("ALL TABLES", "ALL SEQUENCES"):
                connection.execute(f"GRANT ALL ON {what} IN SCHEMA public TO {name}")  # type: ignore[arg-type]
        with open_store(worker) as store, store.lease() as lease:
            assert len(lease.claim(1)) == 1


def test_a_standby_says_so(tmp_path: Path) -> None:
    """And whatever else opens its transactions for reading only."""
    owner = fresh_database()
    fill(owner)
    joined = "&" if "?" in owner else "?"
    with open_store(f"{owner}{joined}options=-cdefault_transaction_read_only%3Don") as store:
        assert len(store) == 7
        store.add([])
        with pytest.raises(NotAllowed, match=r"is read-only .*: a standby, or a role that may only read; name the"):
            store.settings.write("")


@contextlib.contextmanager
def page_of(address: str) -> Iterator[TestClient]:
    said = Overrides()
    watched = WatchedStates([Location.of(address).path], said)
    supervisor = Idle(watched, arguments=arguments_of(said), environment=environment_of(said))
    app = create_app(watched, supervisor)
    with TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}, raise_server_exceptions=False) as http:
        yield http


def test_the_pages_show_it_and_their_buttons_say_why_not(scene: Scene) -> None:
    reading = ["/", "/gallery", "/states", "/api/states", "/api/states/0", "/api/states/0/trash", "/api/states/0/log"]
    reading += ["/api/batches/b/progress", "/api/gallery", "/api/gallery/batches", "/api/queue"]
    buttons = {
        "/api/batches/b/cancel": {},
        "/api/states/0/retry": {},
        "/api/states/0/pause": {},
        "/api/batches/b/priority": {"priority": "high"},
    }
    with page_of(scene.reader) as http:
        for path in reading:
            answer = http.get(path)
            assert answer.status_code == 200, f"{path}: {answer.text}"
        for path, body in buttons.items():
            answer = http.post(path, json=body)
            assert answer.status_code == 403, f"{path}: {answer.text}"
            assert "this role may not do that" in answer.json()["error"]["message"]
    scene.check_unchanged()
