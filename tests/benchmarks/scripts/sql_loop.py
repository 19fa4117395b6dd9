"""Claims 16 items, writes their intents, completes them one by one; again and again, on a SQL state.

    python -m tests.benchmarks.scripts.sql_loop burst|bare ADDRESS COUNT

Ends after COUNT items. `bare`: the same statements from the driver alone, with values that are ready, on the same
tables, with the same settings of the connection and as many commits: what is changed is held by a lease that has not
ended, and let go where it ends. Prints JSON: `began` and `ended` in seconds since the epoch, and `items`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from state.change import Change
from state.item import Item, OutputRecord, Status
from state.open_store import open_store
from tests.benchmarks.scripts.sql_state import OTHER, OWN

_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
_CLAIM = 16
_OUTPUT = OutputRecord(path="EP01/a.png", bytes=123_456, sha256="0" * 64)
_RECORD = json.dumps({"status": "completed", "padding": "x" * 630})
"""About as long as those of `submit` and `complete`."""
_SERVER, _PROMPT, _WRITER = "http://127.0.0.1:8188", str(uuid.uuid4()), uuid.uuid4().hex
_LEASE = (
    "INSERT INTO leases (host, boot_id, pid, process, renewed_at, expires_at) VALUES ('', '', 0, '', 0, 1e12) "
    "RETURNING id"
)
_SET = (
    "UPDATE items SET status = ?, server = ?, completed_at = ?, record = ?, "
    "lease = CASE WHEN ? THEN NULL ELSE lease END WHERE seq = ? AND status = ? AND lease = ? "
    "AND EXISTS (SELECT id FROM leases WHERE id = ? AND ended_at IS NULL AND expires_at > {now})"
)
_FREE = "status = 'pending' AND {waits} AND lease IS NULL AND kind = '" + OWN + "'"


def submit(now: Item) -> Item:
    return now.submit(prompt_id=str(uuid.uuid4()), server="http://127.0.0.1:8188", at=_AT, fingerprint="0" * 64)


def complete(now: Item) -> Item:
    return now.complete(outputs=(_OUTPUT,), at=_AT, seconds=1.5)


def burst(address: str, count: int) -> int:
    done = 0
    with open_store(address) as store, store.lease() as lease:
        while done < count and (claimed := lease.claim(_CLAIM, without={OTHER})):
            lease.apply([Change(item.key, Status.PENDING, submit) for item in claimed])
            for item in claimed:
                lease.apply([Change(item.key, Status.SUBMITTED, complete)])
            done += len(claimed)
    return done


def values_of(seq: int, lease: int, *, was: str, becomes: str) -> tuple[Any, ...]:
    """Of `_SET`."""
    return becomes, _SERVER, 0, _RECORD, becomes == "completed", seq, was, lease, lease


def bare_sqlite(address: str, count: int) -> int:
    connection = sqlite3.connect(address.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    ((lease,),) = connection.execute(_LEASE).fetchall()
    free = f"SELECT seq FROM items INDEXED BY items_due WHERE {_FREE.format(waits='waits = 0')}"
    claim = f"UPDATE items SET lease = ? WHERE seq IN ({free} ORDER BY priority, rank, seq LIMIT ?) RETURNING seq, key"
    change = _SET.format(now="1e9")
    note = "INSERT INTO events (moment, item, was, becomes, at, writer, lease, server, prompt_id) VALUES "
    note += "(0, ?, ?, ?, 1e9, ?, ?, ?, ?)"
    execute, each = connection.execute, connection.executemany

    def commit(work: Callable[[], Any]) -> Any:
        execute("BEGIN IMMEDIATE")
        found = work()
        execute("COMMIT")
        return found

    def write(some: list[Any], was: str, becomes: str) -> None:
        each(change, [values_of(seq, lease, was=was, becomes=becomes) for seq, _ in some])
        each(note, [(key, was, becomes, _WRITER, lease, _SERVER, _PROMPT) for _, key in some])
        if becomes == "submitted":
            each("INSERT INTO places (place, item) VALUES (?, ?)", [(f"EP01/{key}", key) for _, key in some])

    done = 0
    while done < count and (claimed := commit(lambda: execute(claim, (lease, _CLAIM)).fetchall())):
        commit(lambda some=claimed: write(some, "pending", "submitted"))  # type: ignore[misc]
        for one in claimed:
            commit(lambda some=[one]: write(some, "submitted", "completed"))  # type: ignore[misc]
        done += len(claimed)
    return done


def bare_postgresql(address: str, count: int) -> int:
    import psycopg

    connection = psycopg.connect(address, autocommit=True, prepare_threshold=None)
    ((lease,),) = connection.execute(_LEASE).fetchall()
    free = f"SELECT seq FROM items WHERE {_FREE.format(waits='NOT waits')} ORDER BY priority, rank, seq LIMIT 16"
    claim = (
        f"WITH free AS MATERIALIZED ({free} FOR UPDATE SKIP LOCKED) "
        "UPDATE items SET lease = %s WHERE seq IN (SELECT seq FROM free) RETURNING seq, key"
    )
    now = "extract(epoch FROM clock_timestamp())"
    change = _SET.format(now=now).replace("?", "%s")
    columns = "(moment, item, was, becomes, at, writer, lease, server, prompt_id)"
    moment = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
    at_once: Any = (
        f"WITH changed AS ({change} RETURNING key) INSERT INTO events {columns} "
        f"SELECT {moment}, key, %s, %s, {now}, %s, %s, %s, %s FROM changed RETURNING item"
    )

    def values(seq: int, was: str, becomes: str) -> tuple[Any, ...]:
        changed = values_of(seq, lease, was=was, becomes=becomes)
        return *changed, was, becomes, _WRITER, lease, _SERVER, _PROMPT

    done = 0
    while done < count and (claimed := connection.execute(claim, (lease,)).fetchall()):  # type: ignore[arg-type]
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(at_once, [values(seq, "pending", "submitted") for seq, _ in claimed])
            claimed_places = [(f"EP01/{key}", key) for _, key in claimed]
            cursor.executemany("INSERT INTO places (place, item) VALUES (%s, %s)", claimed_places)
        for seq, _ in claimed:
            connection.execute(at_once, values(seq, "submitted", "completed")).fetchall()
        done += len(claimed)
    return done


def main() -> None:
    side, address, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    bare = bare_sqlite if address.startswith("sqlite") else bare_postgresql
    work = burst if side == "burst" else bare
    began = time.time()
    done = work(address, count)
    print(json.dumps({"began": began, "ended": time.time(), "items": done}))


if __name__ == "__main__":
    main()
