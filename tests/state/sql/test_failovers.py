"""PostgreSQL that has no connection left, becomes read-only or a standby, or hangs: it is waited for as if away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg
import pytest
from support.leases import begin
from support.outages import Waits
from support.plain_walk import keys_of
from support.postgres import Postgres, fresh_database, own_server
from support.state_scenes import COMPLETED, PENDING, SUBMITTED, complete, item, submit
from support.statements import fresh_engine, watch
from support.tcp_proxy import TcpProxy
from support.waiting import wait_until

from orchestrator.errors import NotAllowed, StateAway
from orchestrator.status import read_status
from state.change import Change
from state.location import state_path
from state.open_store import open_store
from state.sql import database
from state.store import Store


def execute(address: str, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            found = connection.execute(statement)  # type: ignore[arg-type]
        return found.fetchall() if found.description else []


def name_of(address: str) -> str:
    return address.split("/")[3].partition("?")[0]


def socket_of(server: Postgres) -> str:
    return f"{server.folder}/.s.PGSQL.5432"


@pytest.fixture
def address() -> str:
    """Of a state with four items."""
    address = fresh_database()
    with open_store(address, create=True) as store:
        store.add([item(f"{number}") for number in range(4)])
    return address


@pytest.fixture
def proxy(address: str) -> Iterator[TcpProxy]:
    with TcpProxy(socket_of(own_server())) as proxy:
        yield proxy


def through(proxy: TcpProxy, address: str) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{name_of(address)}?connect_timeout=2"


def checkpoint(store: Store, meanwhile: Callable[[int], object]) -> Waits:
    """A run at work completes an item; `meanwhile` is called before it, with 0, and at each pause."""
    with store.lease() as lease:
        begin(lease, "ours")
        assert keys_of(lease.claim(1)) == ["0"]
        lease.apply([Change("0", PENDING, submit(prompt_id="of-0"))])
        waits = Waits(20, meanwhile=meanwhile)
        store.wait_with(waits)
        meanwhile(0)
        assert keys_of(lease.apply([Change("0", SUBMITTED, complete)])) == ["0"]
        assert [one.key for one in store.items(COMPLETED)] == ["0"]
    return waits


def refuse_changes(address: str) -> None:
    """Those of connections from now on; those that are there are cut."""
    execute(
        own_server().address(),
        f"ALTER DATABASE {name_of(address)} SET default_transaction_read_only = on",
        f"SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = '{name_of(address)}'",
    )


def allow_changes(address: str) -> None:
    execute(own_server().address(), f"ALTER DATABASE {name_of(address)} RESET default_transaction_read_only")


def test_a_run_waits_for_a_database_that_became_read_only(address: str) -> None:
    """Each time on a new connection: the ones that it has stay as they are, wherever the address leads meanwhile."""

    def meanwhile(number: int) -> None:
        if number == 0:
            refuse_changes(address)
        if number == 2:
            allow_changes(address)

    with open_store(address) as store:
        waits = checkpoint(store, meanwhile)
    (reason,) = waits.reasons
    assert "PostgreSQL is read-only now (cannot execute" in reason
    assert waits.tries == 2


def claim(address: str, meanwhile: Callable[[], object], *, tries: int = 2) -> None:
    """A run at work claims an item, with little patience."""
    with open_store(address) as store, store.lease() as lease:
        begin(lease, "ours")
        store.wait_with(Waits(tries))
        meanwhile()
        lease.claim(1)


def test_it_ends_with_its_patience(address: str) -> None:
    with pytest.raises(StateAway, match=r"read-only now .*; check that the address leads to the primary") as end:
        claim(address, lambda: refuse_changes(address))
    assert end.value.exit_code == 75
    allow_changes(address)


def test_who_could_never_write_there_is_told_at_once(address: str) -> None:
    refuse_changes(address)
    with open_store(address) as store:
        store.wait_with(Waits(20))
        with pytest.raises(NotAllowed, match="a standby, or a role that may only read; name the primary"):
            store.lease()
    assert read_status(state_path(address)).counts.pending == 4
    allow_changes(address)


def test_a_run_goes_on_with_a_standby_that_is_promoted() -> None:
    with Postgres() as primary, Postgres() as standby:
        standby.follow(primary)
        with TcpProxy(socket_of(primary)) as proxy:
            made = through(proxy, primary.address())
            with open_store(made, create=True) as store:
                store.add([item(f"{number}") for number in range(4)])

            def meanwhile(number: int) -> None:
                if number == 0:
                    (at,) = execute(primary.address(), "SELECT pg_current_wal_lsn()")[0]
                    behind = f"SELECT 1 WHERE pg_last_wal_replay_lsn() >= '{at}'"
                    wait_until(lambda: execute(standby.address(), behind) != [], what="the standby has it all")
                    primary.kill()
                    proxy.path = socket_of(standby)
                    assert read_status(state_path(made)).counts.submitted == 1, "a standby can be read"
                if number == 2:
                    execute(standby.address(), "SELECT pg_promote()")

            with open_store(made) as store:
                waits = checkpoint(store, meanwhile)
            assert ["PostgreSQL is read-only now" in reason for reason in waits.reasons] == [True]


def test_a_server_without_a_free_connection_is_waited_for_and_named() -> None:
    with Postgres(max_connections="6", superuser_reserved_connections="0", max_wal_senders="0") as server:
        with open_store(server.address(), create=True) as store:
            store.add([item(f"{number}") for number in range(4)])
        taken: list[psycopg.Connection] = []

        def meanwhile(number: int) -> None:
            if number == 0:
                store._database.close()  # type: ignore[attr-defined]
                with contextlib.suppress(psycopg.OperationalError):
                    while True:
                        taken.append(psycopg.connect(server.address()))
                with pytest.raises(
                    StateAway, match=r"accepts no further connection .*; start fewer runs, raise"
                ) as told:
                    read_status(state_path(server.address()))
                assert told.value.exit_code == 75
            if number == 2:
                for one in taken:
                    one.close()

        with open_store(server.address()) as store:
            waits = checkpoint(store, meanwhile)
        assert ["accepts no further connection" in reason for reason in waits.reasons] == [True]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "ANSWER_SECONDS", 1.0)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("statement", ["UPDATE", "COMMIT"])
def test_a_statement_without_an_answer_ends_and_is_repeated(address: str, proxy: TcpProxy, statement: str) -> None:
    """A proxy takes what is sent and hands nothing on, so that TCP sees no fault."""
    waited: list[int] = []

    def hang(connection: object, text: str) -> None:
        if not waited and statement in text and proxy.armed:
            proxy.hangs = True

    def meanwhile(number: int) -> None:
        proxy.armed = number == 0
        if number:
            waited.append(number)
            proxy.hangs = False

    with open_store(through(proxy, address)) as store:
        watch(fresh_engine(store._database), hang)  # type: ignore[attr-defined]
        waits = checkpoint(store, meanwhile)
    assert waited
    assert ["PostgreSQL does not answer" in reason for reason in waits.reasons[:1]] == [True]
    with open_store(address) as store:
        assert [one.key for one in store.items(COMPLETED)] == ["0"]


@pytest.mark.usefixtures("soon")
def test_the_end_of_patience_ends_a_run_before_a_proxy_that_hangs(address: str, proxy: TcpProxy) -> None:
    with pytest.raises(StateAway, match="PostgreSQL does not answer"):
        claim(through(proxy, address), lambda: setattr(proxy, "hangs", True), tries=1)
