"""`batches clean` and what a browser brought: what nothing names goes once it is old, all else stays."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.gallery_scene import png
from support.report_project import Album

from orchestrator import clean_batches
from orchestrator.clock import Clock
from state.batch import BatchRecord
from state.item import Item, Status

WEEK = timedelta(weeks=1)


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(tmp_path)


def brought(album: Album, number: int, *, days: float = 30, extension: str = "png") -> Path:
    """A file as the browser's page leaves it, so long ago."""
    data = png((number, 1, 2))
    path = album.store.location.auxiliary("uploads") / f"{hashlib.sha256(data).hexdigest()}.{extension}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    at = Clock().now().timestamp() - days * 86_400
    os.utime(path, (at, at))
    return path


def named(album: Album, path: Path) -> str:
    """As items name it."""
    return path.relative_to(album.home).as_posix()


def add(album: Album, key: str, **said: Any) -> None:
    album.store.add([Item(key=key, status=Status.PENDING, **said)])


def test_what_nothing_names_goes_and_all_else_stays(album: Album) -> None:
    unused, young, used, failed, listed = (brought(album, number) for number in range(5))
    os.utime(young)
    mine = unused.with_name("notes.txt")
    mine.write_text("of the user's own")
    os.utime(mine, (1, 1))
    add(album, "a", uploads={"image": named(album, used)})
    add(album, "b", uploads={"image": named(album, failed)})
    album.submit("b")
    album.fail("b")
    record = BatchRecord(
        batch="c", created_at=Clock().now(), total=1, layout="gallery", directory="c", parameters={"table": listed.name}
    )
    album.store.add([Item(key="c/1", status=Status.PENDING, batch="c", index=1)], batch=record)
    planned = clean_batches(album.state, older_than=WEEK, dry_run=True)
    assert unused.exists()
    done = clean_batches(album.state, older_than=WEEK)
    assert planned.removed == done.removed == (named(album, unused),)
    assert done.bytes == len(png((0, 1, 2)))
    assert "of the trash or of inputs that nothing needs" in done.as_text()
    assert not unused.exists()
    assert all(path.exists() for path in (young, used, failed, listed, mine))
    assert clean_batches(album.state, older_than=WEEK).removed == ()


def test_what_was_brought_today_stays_whatever_is_said(album: Album) -> None:
    path = brought(album, 1, days=0.5)
    assert clean_batches(album.state, older_than=timedelta()).removed == ()
    assert path.exists()


def test_nothing_was_ever_brought(album: Album) -> None:
    assert clean_batches(album.state, older_than=WEEK).removed == ()
