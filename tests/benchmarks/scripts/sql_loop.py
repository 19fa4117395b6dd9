"""Claims 16 items, writes their intents, completes them one by one; again and again, on a SQL state.

    python -m tests.benchmarks.scripts.sql_loop burst|bare ADDRESS COUNT

Ends after COUNT items. `bare`: the same statements from the driver alone, with values that are ready, on the same
tables and with the same settings of the connection. Prints JSON: `began` and `ended` in seconds since the epoch, and
`items`.
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
_RECORD = json.dumps({"status": "completed", "padding": "x" * 700})
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


def bare_sqlite(address: str, count: int) -> int:
    connection = sqlite3.connect(address.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    free = f"SELECT seq FROM items INDEXED BY items_due WHERE {_FREE.format(waits='waits = 0')}"
    claim = f"UPDATE items SET lease = 1 WHERE seq IN ({free} ORDER BY priority, rank, seq LIMIT ?) RETURNING seq, key"
    change = "UPDATE items SET status = ?, server = ?, completed_at = ?, record = ? WHERE seq = ?"
    note = "INSERT INTO events (moment, item, was, becomes, at, writer, lease, server, prompt_id) VALUES "
    note += "(0, ?, ?, ?, 0.0, 'w', 1, 's', 'p')"
    execute, each = connection.execute, connection.executemany

    def commit(work: Callable[[], Any]) -> Any:
        execute("BEGIN IMMEDIATE")
        found = work()
        execute("COMMIT")
        return found

    def write(some: list[Any], was: str, becomes: str) -> None:
        each(change, [(becomes, "s", 0, _RECORD, seq) for seq, _ in some])
        each(note, [(key, was, becomes) for _, key in some])
        if becomes == "submitted":
            each("INSERT INTO places (place, item) VALUES (?, ?)", [(f"EP01/{key}", key) for _, key in some])

    done = 0
    while done < count and (claimed := commit(lambda: execute(claim, (_CLAIM,)).fetchall())):
        commit(lambda some=claimed: write(some, "pending", "submitted"))  # type: ignore[misc]
        for one in claimed:
            commit(lambda some=[one]: write(some, "submitted", "completed"))  # type: ignore[misc]
        done += len(claimed)
    return done


def bare_postgresql(address: str, count: int) -> int:
    import psycopg

    connection = psycopg.connect(address, autocommit=True, prepare_threshold=None)
    free = f"SELECT seq FROM items WHERE {_FREE.format(waits='NOT waits')} ORDER BY priority, rank, seq LIMIT 16"
    claim = (
        f"WITH free AS MATERIALIZED ({free} FOR UPDATE SKIP LOCKED) "
        "UPDATE items SET lease = 1 WHERE seq IN (SELECT seq FROM free) RETURNING seq, key"
    )
    change = "UPDATE items SET status = %s, server = %s, completed_at = %s, record = %s WHERE seq = %s"
    columns = "(moment, item, was, becomes, at, writer, lease, server, prompt_id)"
    moment = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
    note = f"INSERT INTO events {columns} VALUES ({moment}, %s, %s, %s, 0, 'w', 1, 's', 'p')"
    at_once = (
        f"WITH changed AS ({change} RETURNING key) INSERT INTO events {columns} "
        f"SELECT {moment}, key, %s, %s, 0, 'w', 1, 's', 'p' FROM changed RETURNING item"
    )
    done = 0
    while done < count and (claimed := connection.execute(claim).fetchall()):  # type: ignore[arg-type]
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(change, [("submitted", "s", 0, _RECORD, seq) for seq, _ in claimed])
            cursor.executemany(note, [(key, "pending", "submitted") for _, key in claimed])  # type: ignore[arg-type]
            claimed_places = [(f"EP01/{key}", key) for _, key in claimed]
            cursor.executemany("INSERT INTO places (place, item) VALUES (%s, %s)", claimed_places)
        for seq, _ in claimed:
            values = ("completed", "s", 0, _RECORD, seq, "submitted", "completed")
            connection.execute(at_once, values).fetchall()  # type: ignore[arg-type]
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
