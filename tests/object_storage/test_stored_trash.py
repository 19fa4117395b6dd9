"""The trash of an output root in object storage: as that of a directory, also where it is cut off between requests."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.object_storage import Scene
from support.report_project import NOON, Album

from orchestrator.batches.cleaning import clean_batches
from orchestrator.clock import Clock
from orchestrator.object_storage.bucket import SHA256, Bucket
from orchestrator.settings import Overrides
from orchestrator.status import read_status
from orchestrator.trash_records import FOLDER
from orchestrator.trashing import TrashReport, empty_trash, list_trash, restore_images, trash_images
from orchestrator.verify import verify_outputs
from state.item import Status

PREFIX = "shots/2030/"
DATA = b"an image"


class Killed(BaseException):
    """Between two requests."""


class At(Clock):
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


class Shelf:
    """Two items with an image and its prompt each, which lie in a bucket."""

    def __init__(self, home: Path, scene: Scene) -> None:
        self.album, self.scene = Album(home), scene
        self.said = Overrides(output_dir=scene.root)
        self.album.add("b1", [{"seed": 1}, {"seed": 2}])
        for number in (1, 2):
            self.album.complete(f"b1/00{number}", f"b1/00{number}.png", f"b1/00{number}.txt", data=DATA)
        for path in ("b1/001.png", "b1/001.txt", "b1/002.png", "b1/002.txt"):
            self.put(path, DATA)
        self.album.output.rename(home / "gone")

    def put(self, path: str, data: bytes) -> None:
        self.scene.objects.put(PREFIX + path, data)

    def here(self) -> set[str]:
        """What lies in its place."""
        keys = self.scene.objects.keys()
        return {key.removeprefix(PREFIX) for key in keys if f"/{FOLDER}/" not in key}

    def lies(self) -> list[str]:
        """What is in the trash."""
        keys = self.scene.objects.keys()
        return sorted(key.rpartition("/")[2] for key in keys if f"/{FOLDER}/" in key and "/moving-" not in key)

    def marks(self) -> list[str]:
        """Which of its moves were cut off, and not looked at since."""
        keys = self.scene.objects.keys()
        return [key for key in keys if "/moving-" in key]

    def delete(self, *names: str, clock: Clock | None = None) -> TrashReport:
        return trash_images(self.album.state, names, overrides=self.said, clock=clock)

    def restore(self, *names: str) -> TrashReport:
        return restore_images(self.album.state, names, overrides=self.said)

    def check(self) -> None:
        """No record misses an object."""
        assert verify_outputs(self.album.state, quick=True, overrides=self.said).problems == ()


ALL = {"b1/001.png", "b1/001.txt", "b1/002.png", "b1/002.txt"}


@pytest.fixture
def shelf(tmp_path: Path, scene: Scene) -> Iterator[Shelf]:
    made = Shelf(tmp_path, scene)
    with contextlib.closing(made.album.store):
        yield made


def test_what_is_deleted_lies_in_a_dot_prefix_and_comes_back(shelf: Shelf) -> None:
    before = shelf.album.store.get("b1/001")
    assert [one.output.path for one in shelf.delete("b1/001").files] == ["b1/001.png", "b1/001.txt"]
    assert shelf.here() == ALL - {"b1/001.png", "b1/001.txt"}
    assert (shelf.lies(), shelf.marks()) == (["001.png", "001.txt"], [])
    shelf.album.store.refresh()
    item = shelf.album.store.get("b1/001")
    assert (item.status, item.outputs) == (Status.COMPLETED, ())
    found = verify_outputs(shelf.album.state, repair=True, overrides=shelf.said)
    assert (found.problems, found.put_back) == ((), ()), "nothing is rendered for that"
    assert read_status(shelf.album.state).counts.completed == 2
    assert shelf.delete("b1/001").files == (), "twice"
    assert shelf.restore().kept == ()
    assert (shelf.here(), shelf.lies()) == (ALL, [])
    shelf.album.store.refresh()
    assert shelf.album.store.get("b1/001") == before
    shelf.check()


def test_an_object_comes_back_to_a_free_name_alone(shelf: Shelf) -> None:
    shelf.delete("b1/001")
    shelf.put("b1/001.png", b"somebody's")
    (kept,) = shelf.restore("b1/001").kept
    assert (kept.path, kept.reason) == ("b1/001.png", "another file has its name now")
    assert shelf.scene.objects.read(PREFIX + "b1/001.png") == b"somebody's"
    assert shelf.lies() == ["001.png"], "it can still be brought back"
    shelf.scene.objects.delete(PREFIX + "b1/001.png")
    shelf.restore("b1/001")
    assert (shelf.here(), shelf.lies()) == (ALL, [])


def test_an_object_that_was_changed_stays(shelf: Shelf) -> None:
    shelf.put("b1/001.png", b"an IMAGE")
    (kept,) = shelf.delete("b1/001").kept
    assert kept.reason == "was changed since it was saved"
    assert "b1/001.png" in shelf.here()


@contextlib.contextmanager
def killed_after(writes: int) -> Iterator[None]:
    """Before the next request that changes anything."""
    left = itertools.count(writes, -1)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("put", "copy", "delete"):
            real = getattr(Bucket, name)

            def write(*arguments: Any, real: Any = real, **said: Any) -> Any:
                if next(left) <= 0:
                    raise Killed
                return real(*arguments, **said)

            patch.setattr(Bucket, name, write)
        yield


def test_deleting_is_ended_wherever_it_was_killed(shelf: Shelf) -> None:
    for writes in itertools.count():
        is_killed = False
        try:
            with killed_after(writes):
                shelf.delete("b1/001")
        except Killed:
            is_killed = True
        shelf.check()
        assert len(list_trash(shelf.album.state, overrides=shelf.said).files) == 2, "on record from the start"
        shelf.delete("b1/002")
        assert shelf.here() == set()
        assert (shelf.lies(), shelf.marks()) == (["001.png", "001.txt", "002.png", "002.txt"], []), writes
        assert shelf.restore().kept == ()
        assert (shelf.here(), shelf.lies()) == (ALL, [])
        shelf.check()
        if not is_killed:
            break
    assert writes == 6, "a mark, two copies, two deletions, the mark again"


def test_bringing_back_is_ended_wherever_it_was_killed(shelf: Shelf) -> None:
    for writes in itertools.count():
        shelf.delete("b1/001")
        is_killed = False
        try:
            with killed_after(writes):
                shelf.restore("b1/001")
        except Killed:
            is_killed = True
        shelf.check()
        shelf.restore()
        assert (shelf.here(), shelf.lies()) == (ALL, []), writes
        shelf.check()
        if not is_killed:
            break
    assert (writes, shelf.marks()) == (8, []), "an object is put to its place, so that nobody's is replaced"


def test_a_storage_that_goes_away_in_between_ends_it_when_it_is_back(shelf: Shelf) -> None:
    shelf.scene.front.deletions_left = 0
    assert len(shelf.delete("b1/001", "b1/002").files) == 4, "all are on record"
    shelf.scene.front.is_away, shelf.scene.front.deletions_left = False, None
    shelf.check()
    assert len(list_trash(shelf.album.state, overrides=shelf.said).files) == 4
    shelf.delete("b1/002")
    assert (shelf.here(), shelf.lies()) == (set(), ["001.png", "001.txt", "002.png", "002.txt"])


def test_it_is_emptied_after_30_days(shelf: Shelf) -> None:
    shelf.delete("b1/001", clock=At(NOON))
    shelf.delete("b1/002", clock=At(NOON + timedelta(days=20)))
    later = At(NOON + timedelta(days=31))
    cleaned = clean_batches(shelf.album.state, older_than=timedelta(days=30), overrides=shelf.said, clock=later)
    assert sorted(path.rpartition("/")[2] for path in cleaned.removed) == ["001.png", "001.txt"]
    assert shelf.lies() == ["002.png", "002.txt"]
    empty_trash(shelf.album.state, overrides=shelf.said)
    assert (shelf.here(), shelf.lies()) == (set(), [])
    assert list_trash(shelf.album.state, overrides=shelf.said).files == ()


def test_what_a_run_put_there_is_not_read_and_the_trash_is_listed_in_one_request(shelf: Shelf) -> None:
    digest = shelf.album.store.get("b1/001").outputs[0].sha256
    for path in ALL:
        shelf.scene.root.bucket.put(PREFIX + path, DATA, replace=True, attributes={SHA256: digest})
    shelf.scene.front.asked.clear()
    shelf.delete("b1/001", "b1/002")
    assert [line for line in shelf.scene.front.asked if line.startswith("GET") and "list-type" not in line] == []
    shelf.restore()
    kept = shelf.scene.objects.attributes(PREFIX + "b1/001.png")
    assert kept[SHA256] == digest, "and is known by it again"
    shelf.delete("b1/001", "b1/002")
    shelf.scene.front.asked.clear()
    assert len(list_trash(shelf.album.state, overrides=shelf.said).files) == 4
    assert [line.partition(" ")[0] for line in shelf.scene.front.asked if "delimiter" not in line] == ["GET"]
