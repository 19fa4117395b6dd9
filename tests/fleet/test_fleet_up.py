"""`burst fleet up`: the tables of state and engine, made once, updated, refused where they cannot be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from procrastinate.schema import SchemaManager
from support.background import Threads
from support.documents import checked
from support.fleet import Fleet
from support.postgres import fresh_database

from burst import cli
from orchestrator.errors import BurstError, StateAway, StateError, StateVersionError, UsageError
from orchestrator.fleet.engine import Applied, apply_schema, check_schema, fleet_location, newest_migration
from orchestrator.fleet.fleet_up import fleet_up
from orchestrator.fleet.standing import fleet_status
from state.open_store import open_store

MIGRATIONS = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
OLD = "03.03.00_01_pre_priority_lock_fetch_job.sql"


def execute(address: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(address, autocommit=True) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def functions(address: str) -> set[str]:
    return {name for (name,) in execute(address, "SELECT proname FROM pg_proc WHERE proname LIKE 'procrastinate%'")}


def with_old_tables(*, up_to: str = OLD) -> str:
    """A database in which an older release of burst has made the tables of the engine."""
    address = fresh_database()
    for path in MIGRATIONS:
        if path.name <= up_to:
            execute(address, path.read_text(encoding="utf-8"))
    execute(address, f"COMMENT ON TABLE procrastinate_jobs IS 'schema of Procrastinate up to {up_to}'")
    return address


def test_state_and_engine_get_their_tables_in_one_database() -> None:
    address = fresh_database()
    up = fleet_up(address)
    assert (up.is_new_state, up.engine) == (True, Applied.MADE)
    check_schema(fleet_location(address))
    with open_store(address) as store:
        assert len(store) == 0
    again = fleet_up(address)
    assert (again.is_new_state, again.engine) == (False, Applied.NOTHING)


def test_several_at_once_make_the_tables_once() -> None:
    address = fresh_database()
    with Threads(4) as threads:
        found = list(threads.map(lambda _: fleet_up(address).engine, range(4)))
    assert sorted(one.value for one in found) == ["made", "nothing", "nothing", "nothing"]


def test_several_at_once_make_the_tables_of_the_engine_once() -> None:
    location = fleet_location(fresh_database())
    together = Barrier(4)

    def apply(_: int) -> Applied:
        together.wait()
        return apply_schema(location)

    with Threads(4) as threads:
        found = list(threads.map(apply, range(4)))
    assert sorted(one.value for one in found) == ["made", "nothing", "nothing", "nothing"]


def test_an_older_schema_becomes_the_one_that_is_made_new() -> None:
    address, new = with_old_tables(), fresh_database()
    with pytest.raises(StateError, match=r"older Procrastinate.*burst fleet up"):
        check_schema(fleet_location(address))
    assert apply_schema(fleet_location(address)) is Applied.MIGRATED
    assert apply_schema(fleet_location(new)) is Applied.MADE
    assert functions(address) == functions(new)
    assert apply_schema(fleet_location(address)) is Applied.NOTHING


def test_what_living_workers_of_the_older_version_call_stays_until_they_are_gone() -> None:
    address = with_old_tables()
    before = functions(address)
    execute(address, "INSERT INTO procrastinate_workers DEFAULT VALUES")
    assert apply_schema(fleet_location(address)) is Applied.PARTLY
    assert functions(address) > before
    check_schema(fleet_location(address))
    execute(address, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 day'")
    assert apply_schema(fleet_location(address)) is Applied.MIGRATED
    assert apply_schema(fleet_location(address)) is Applied.NOTHING


def test_tables_that_procrastinate_made_itself_are_used() -> None:
    address = fresh_database()
    execute(address, SchemaManager.get_schema())
    check_schema(fleet_location(address))
    assert apply_schema(fleet_location(address)) is Applied.NOTHING


def test_a_newer_schema_is_refused_and_left_alone() -> None:
    address = fresh_database()
    fleet_up(address)
    comment = "schema of Procrastinate up to 99.00.00_01_pre_something.sql"
    execute(address, f"COMMENT ON TABLE procrastinate_jobs IS '{comment}'")
    with pytest.raises(
        StateVersionError, match=rf"99\.00\.00_01.*this host knows {newest_migration()}.*Upgrade burst on this host"
    ):
        fleet_up(address)
    assert execute(address, "SELECT obj_description('procrastinate_jobs'::regclass)") == [(comment,)]
    check_schema(fleet_location(address))  # a worker of this release still finds all that it calls
    execute(address, "DROP FUNCTION procrastinate_fetch_job_v2")
    with pytest.raises(StateVersionError, match=r"newer Procrastinate"):
        check_schema(fleet_location(address))


def test_tables_of_an_unknown_version_are_refused() -> None:
    address = with_old_tables(up_to=MIGRATIONS[20].name)
    execute(address, "COMMENT ON TABLE procrastinate_jobs IS NULL")
    with pytest.raises(StateVersionError, match=r"another version.*without procrastinate_"):
        fleet_up(address)


@contextmanager
def role(address: str, name: str) -> Iterator[str]:
    """The address of the same database for a role that has no rights there."""
    execute(address, f"CREATE ROLE {name} LOGIN")
    try:
        theirs = re.sub("//postgres:?@", f"//{name}@", address)
        assert name in theirs
        yield theirs
    finally:
        execute(address, f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_missing_right_is_one_error_before_anything_is_made() -> None:
    address = fresh_database()
    execute(address, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with role(address, "guest") as guest:
        with pytest.raises(StateError, match=r"role guest may not create tables in schema public.*GRANT CREATE"):
            fleet_up(guest)
        assert execute(address, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []
        fleet_up(address)
        execute(address, "GRANT ALL ON ALL TABLES IN SCHEMA public TO guest")
        execute(address, "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO guest")
        assert fleet_up(guest).engine is Applied.NOTHING


def test_a_worker_without_tables_says_what_makes_them() -> None:
    with pytest.raises(StateError, match=r"no tables of a fleet yet; run `burst fleet up` once"):
        check_schema(fleet_location(fresh_database()))


@pytest.mark.parametrize("state", ["re_render_state.json", "sqlite:///burst.db"])
def test_a_fleet_is_for_states_in_postgresql(tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"a fleet works on a state in PostgreSQL.*burst state copy"):
        fleet_up(state)
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_away_is_tried_again_later() -> None:
    with pytest.raises(StateAway) as away:
        check_schema(fleet_location("postgresql://u:hunter2@127.0.0.1:1/burst"))
    assert away.value.exit_code == 75
    assert "hunter2" not in str(away.value)


def test_a_database_that_is_not_there_is_for_a_person() -> None:
    address = re.sub(r"/burst(\d+)\?", r"/nowhere\1?", fresh_database())
    with pytest.raises(BurstError, match="does not exist") as refused:
        check_schema(fleet_location(address))
    assert refused.value.exit_code == 2


@pytest.fixture
def burst() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def test_the_commands_print_what_their_types_say(fleet: Fleet, burst: Callable[..., Result]) -> None:
    fleet.register("a")
    fleet.register("b", host="other", draining=True)
    fleet.add("x")
    fleet.tick()
    state = ("--state", fleet.address)
    up = checked(json.loads(burst("fleet", "up", "--json", *state).stdout))
    assert (up["state_made"], up["engine"], up["servers"]) == (False, "nothing", ["a", "b"])
    assert "2 servers. Next, on each host: burst worker" in burst("fleet", "up", *state).stdout
    status = checked(json.loads(burst("fleet", "status", "--json", *state).stdout))
    assert (status["workers"], status["remaining"], status["paused"]) == (0, 1, False)
    assert status["servers"] == [
        {"name": "a", "url": "http://a:8188", "host": None, "draining": False, "due": True, "burst": "queued"},
        {"name": "b", "url": "http://b:8188", "host": "other", "draining": True, "due": False, "burst": None},
    ]
    text = burst("fleet", "status", *state).stdout
    assert "0 workers alive, 1 item remaining" in text
    assert "  a (http://a:8188): burst queued\n" in text
    assert "  b (http://b:8188): nothing to do, draining, on host other\n" in text
    assert text.endswith("No worker is alive. Next, on each host: burst worker\n")


def test_status_tells_a_running_burst_from_one_whose_worker_is_gone(fleet: Fleet) -> None:
    fleet.register("a")
    fleet.add("x")
    fleet.tick()
    fleet.leave_dead(queue="server:a")
    assert [one["burst"] for one in fleet_status(fleet.address).as_json()["servers"]] == ["stalled"]
    fleet.execute("UPDATE procrastinate_workers SET last_heartbeat = now()")
    status = fleet_status(fleet.address).as_json()
    assert ([one["burst"] for one in status["servers"]], status["workers"]) == (["running"], 1)


def test_a_role_that_may_only_read_sees_how_the_fleet_stands(fleet: Fleet) -> None:
    fleet.register("a")
    with role(fleet.address, "reader") as reader:
        fleet.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        assert [one.name for one in fleet_status(reader).servers] == ["a"]
