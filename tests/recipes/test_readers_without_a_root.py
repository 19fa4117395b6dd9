"""Commands and pages on a host that does not know an output root: they say so, and go on with what they know."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.front_ends import front
from support.two_hosts import MakeHost

from orchestrator.batches.batch_status import list_batches
from orchestrator.batches.cleaning import clean_batches
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.doctor import examine
from orchestrator.generation import Generation
from orchestrator.places import root_named
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from orchestrator.status import read_status
from state.change import change_all
from state.item import OutputRecord
from state.location import DatabaseAddress
from state.open_store import open_store

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
SAID = "this host has no root of this name"


@pytest.fixture
def batch(host: MakeHost, nas: Path, sqlite: DatabaseAddress) -> str:
    """One image, rendered on another host. This process is on one without the root."""
    one, other = host("one"), host("other")
    one.mount("shared", nas)
    one.be()
    said = Overrides(template="txt2img-sd15", output_dir=root_named("root://shared/out"))
    made = Generation(BatchSpec(prompt="a fox"), Request(state=sqlite, overrides=said), queue_only=True).execute()
    data = b"\x89PNG of a fox"
    with open_store(sqlite) as store:
        (item,) = store.items()
        image = OutputRecord(path=f"{item.subfolder}/a.png", bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        path = nas / "out" / image.path
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        change_all(store, [item], lambda now: now.submit(prompt_id="p", server="gpu1", at=NOON, fingerprint="f"))
        change_all(store, store.items(), lambda now: now.complete(outputs=(image,), at=NOON, seconds=1.0))
    other.be()
    return str(made.record.batch)  # type: ignore[union-attr]


def test_commands(batch: str, sqlite: DatabaseAddress, nas: Path) -> None:
    status = read_status(sqlite)
    assert (status.counts.completed, SAID in status.as_text()) == (1, False)
    assert [view["batch"] for view in list_batches(sqlite).as_json()["batches"]] == [batch]
    (check,) = [check for check in examine(sqlite).checks if check.name == "output"]
    assert (check.verdict, SAID in check.message) == ("problem", True)
    clean_batches(sqlite, older_than=timedelta(0))
    assert len(list((nas / "out").rglob("*.png"))) == 1


def test_pages(batch: str, sqlite: DatabaseAddress, tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, template=None, works=False, state=sqlite) as found:
        for path in ("/api/gallery", f"/api/batches/{batch}/progress", "/api/states"):
            answer = found.http.get(path)
            assert answer.status_code in (200, 404), (path, answer.text)
        for path in (f"/api/images/{batch}/1", f"/api/thumbnails/{batch}/1", f"/api/batches/{batch}/zip"):
            answer = found.http.get(path)
            assert answer.status_code < 500 or SAID in answer.text, (path, answer.status_code, answer.text)
