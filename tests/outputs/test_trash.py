"""The trash: deleted images come back, whatever happens in between."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.killable_disk import Fuse, KillableDisk, Killed
from support.report_project import NOON, Album

from orchestrator.batches import batch_info
from orchestrator.batches.cleaning import clean_batches
from orchestrator.clock import Clock
from orchestrator.errors import UsageError
from orchestrator.forgetting import forget
from orchestrator.outputs.placement import placement_of
from orchestrator.prompt_directories import walk
from orchestrator.settings import Overrides, load_settings
from orchestrator.trash import Moved, Trash
from orchestrator.trash_records import FOLDER
from orchestrator.trashing import empty_trash, list_trash, restore_images, trash_images
from orchestrator.verify import verify_outputs
from state.batch import EndRecord
from state.change import change_all
from state.disk import Disk
from state.item import Item, Status
from state.open_store import open_store

DATA = b"an image"


class At(Clock):
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


class Shelf:
    """An album whose output directory is its own."""

    def __init__(self, home: Path, output: Path | None = None) -> None:
        home.mkdir(exist_ok=True)
        self.album = Album(home)
        if output is not None:
            self.album.output = output
        self.said = Overrides(output_dir=self.album.output)

    @property
    def state(self) -> Path:
        return self.album.state

    def path(self, name: str) -> Path:
        return self.album.output / name

    def items(self) -> dict[str, Item]:
        self.album.store.refresh()
        return {item.key: item for item in self.album.store.items()}

    def outputs(self, key: str) -> list[str]:
        return [output.path for output in self.items()[key].outputs]

    def lies(self) -> list[Path]:
        """What is in the trash's folder."""
        return sorted(path for path in self.path(FOLDER).rglob("*") if path.is_file())

    def delete(self, *names: str, clock: Clock | None = None) -> Any:
        return trash_images(self.state, names, overrides=self.said, clock=clock)

    def restore(self, *names: str) -> Any:
        return restore_images(self.state, names, overrides=self.said)

    def trash(self, disk: Disk | None = None) -> Trash:
        store = self.album.store
        return Trash(store, placement_of(store, load_settings(self.state, self.said)), clock=At(NOON), disk=disk)

    def check(self) -> None:
        """Nothing that is on record is missed, and nothing is there twice."""
        found = verify_outputs(self.state, overrides=self.said)
        assert found.problems == ()
        for item in self.items().values():
            names = [output.path for output in (*item.outputs, *item.trashed)]
            assert len(names) == len(set(names))


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "one")
    made.album.add("b1", [{"seed": 1}, {"seed": 2}])
    for number in (1, 2):
        made.album.complete(f"b1/00{number}", f"b1/00{number}.png", f"b1/00{number}.txt", data=DATA)
    with contextlib.closing(made.album.store):
        yield made


def test_what_is_deleted_is_neither_missed_nor_rendered_again_and_comes_back(shelf: Shelf) -> None:
    before = shelf.items()["b1/001"]
    done = shelf.delete("b1/001")
    assert [(one.item.key, one.output.path) for one in done.files] == [
        ("b1/001", "b1/001.png"),
        ("b1/001", "b1/001.txt"),
    ]
    item = shelf.items()["b1/001"]
    assert (item.status, item.outputs, [one.path for one in item.trashed]) == (
        Status.COMPLETED,
        (),
        ["b1/001.png", "b1/001.txt"],
    )
    assert not shelf.path("b1/001.png").exists()
    assert [path.read_bytes() for path in shelf.lies()] == [DATA, DATA]
    found = verify_outputs(shelf.state, repair=True, overrides=shelf.said)
    assert (found.problems, found.put_back) == ((), ())
    assert list_trash(shelf.state, overrides=shelf.said).as_json()["bytes"] == 2 * len(DATA)
    assert shelf.restore("b1/001").kept == ()
    assert shelf.items()["b1/001"] == before
    assert shelf.path("b1/001.png").read_bytes() == DATA
    assert (shelf.lies(), shelf.path(FOLDER).exists()) == ([], False)
    shelf.check()


def test_twice(shelf: Shelf) -> None:
    shelf.delete("b1/001")
    assert shelf.delete("b1/001").files == ()
    shelf.restore()
    with pytest.raises(UsageError, match="nothing of 'b1/001' is in the trash"):
        shelf.restore("b1/001")
    assert shelf.restore().files == ()
    first = shelf.delete(str(shelf.path("b1/001.png"))).files
    shelf.restore(str(shelf.path("b1/001.png")))
    again = shelf.delete("b1/001").files
    assert {one.id for one in first}.isdisjoint(one.id for one in again)
    shelf.check()


def test_with_the_last_image_goes_its_sidecar_and_with_another_one_it_stays(shelf: Shelf) -> None:
    shelf.album.add("b2", [{"seed": 1}])
    shelf.album.complete("b2/001", "b2/001.png", "b2/001_002.png", "b2/001.txt", data=DATA)
    store = shelf.album.store
    change_all(store, [store.get("b2/001")], lambda now: msgspec.structs.replace(now, sidecar="b2/001.txt"))
    shelf.delete(str(shelf.path("b2/001.png")))
    assert shelf.outputs("b2/001") == ["b2/001_002.png", "b2/001.txt"]
    shelf.delete(str(shelf.path("b2/001_002.png")))
    assert shelf.outputs("b2/001") == []
    shelf.restore("b2/001")
    assert shelf.outputs("b2/001") == ["b2/001.png", "b2/001_002.png", "b2/001.txt"], "in their order"


def test_a_favourite_and_what_is_made_from_another_output_keep_their_numbers(shelf: Shelf) -> None:
    shelf.album.add("b2", [{"seed": 1}])
    shelf.album.complete("b2/001", "b2/001.png", "b2/001_002.png", "b2/001.txt", data=DATA)
    store = shelf.album.store
    marked = {"sidecar": "b2/001.txt", "favourite": True, "favourite_outputs": (2,)}
    change_all(store, [store.get("b2/001")], lambda now: msgspec.structs.replace(now, **marked))
    from orchestrator.marks import is_favourite
    from orchestrator.outputs.source_files import source_file
    from state.item import ItemOutput

    shelf.delete(str(shelf.path("b2/001.png")))
    item = shelf.items()["b2/001"]
    assert [is_favourite(item, output.path) for output in item.outputs] == [True, False]
    source = ItemOutput(item="b2/001", output=2)
    assert source_file(source, item, shelf.album.output) == shelf.path("b2/001_002.png")
    gone = ItemOutput(item="b2/001", output=1)
    with pytest.raises(Exception, match="output 1 of b2/001 was removed"):
        source_file(gone, item, shelf.album.output)


def test_a_file_that_was_changed_or_is_anothers_too_stays(shelf: Shelf) -> None:
    shelf.album.add("b2", [{"seed": 1}])
    shelf.album.complete("b2/001", "b1/002.png", data=DATA)
    shelf.path("b1/001.png").write_bytes(b"the user's own")
    done = shelf.delete("b1/001", "b1/002")
    assert {one.path: one.reason for one in done.kept} == {
        "b1/001.png": "was changed since it was saved",
        "b1/002.png": "is another item's too",
    }
    assert "b1/001.png" in shelf.outputs("b1/001")
    assert shelf.path("b1/001.png").read_bytes() == b"the user's own"
    assert shelf.path("b1/002.png").read_bytes() == DATA


def test_an_image_comes_back_to_a_free_place_alone(shelf: Shelf) -> None:
    shelf.delete("b1/001")
    shelf.path("b1/001.png").write_bytes(b"somebody's")
    (kept,) = shelf.restore("b1/001").kept
    assert (kept.path, kept.reason) == ("b1/001.png", "another file has its name now")
    assert shelf.path("b1/001.png").read_bytes() == b"somebody's"
    assert shelf.outputs("b1/001") == ["b1/001.txt"]
    assert len(shelf.lies()) == 1, "it is still there to be brought back"
    shelf.path("b1/001.png").unlink()
    shelf.restore("b1/001")
    shelf.check()


def test_a_place_that_another_item_has_on_record_is_taken_even_where_its_file_is_gone(shelf: Shelf) -> None:
    shelf.delete("b1/001")
    shelf.album.add("b2", [{"seed": 1}])
    shelf.album.complete("b2/001", "b1/001.png", data=b"another")
    shelf.path("b1/001.png").unlink()
    assert [one.reason for one in shelf.restore("b1/001.png").kept] == ["another file has its name now"]


def test_what_is_made_again_meanwhile_does_not_come_back(shelf: Shelf) -> None:
    shelf.delete("b1/001")
    store = shelf.album.store
    change_all(store, [store.get("b1/001")], lambda now: now.start_over())
    assert {one.reason for one in shelf.restore("b1/001").kept} == {"b1/001 is pending: it will be rendered again"}
    assert len(shelf.items()["b1/001"].trashed) == 2
    shelf.album.complete("b1/001", "b1/001.png", data=b"a new one")
    assert {one.path: one.reason for one in shelf.restore("b1/001").kept} == {
        "b1/001.png": "another file has its name now"
    }
    assert shelf.path("b1/001.png").read_bytes() == b"a new one"


def test_one_that_changes_between_the_look_and_the_record_goes_back_to_the_trash(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by `burst retry` in another process."""
    shelf.delete("b1/001")
    store, rename = shelf.album.store, Disk.rename

    def racing(self: Disk, source: Path, target: Path, *, replace: bool = True) -> None:
        rename(self, source, target, replace=replace)
        if target == shelf.path("b1/001.png"):
            change_all(store, [store.get("b1/001")], lambda now: now.start_over())

    monkeypatch.setattr(Disk, "rename", racing)
    trash = shelf.trash()
    (one,) = [one for one in trash.files() if one.output.path == "b1/001.png"]
    assert {kept.reason for kept in trash.restore([one.id]).kept} == {"b1/001 was changed meanwhile"}
    assert not shelf.path("b1/001.png").exists()
    assert len(shelf.lies()) == 2


def test_two_states_on_one_output_directory_have_a_trash_each(tmp_path: Path) -> None:
    output = tmp_path / "output"
    shelves = [Shelf(tmp_path / name, output) for name in ("one", "other")]
    for number, shelf in enumerate(shelves):
        shelf.album.add("b1", [{"seed": 1}])
        shelf.album.complete("b1/001", "b1/001.png", data=b"image %d" % number)
        shelf.delete("b1/001")
    assert len(shelves[0].lies()) == 2
    empty_trash(shelves[0].state, overrides=shelves[0].said)
    assert len(shelves[0].lies()) == 1
    assert shelves[1].restore().kept == ()
    assert (output / "b1/001.png").read_bytes() == b"image 1"
    for shelf in shelves:
        shelf.album.store.close()


def test_after_thirty_days_it_goes(shelf: Shelf) -> None:
    shelf.delete("b1/001", clock=At(NOON))
    shelf.delete("b1/002", clock=At(NOON + timedelta(days=30)))
    assert len(shelf.lies()) == 4
    shelf.delete("b1/002", clock=At(NOON + timedelta(days=30, seconds=1)))
    assert len(shelf.lies()) == 2
    assert [one.kept_as for one in shelf.items()["b1/001"].trashed] == [None, None]
    with pytest.raises(UsageError, match="nothing of 'b1/001'"):
        shelf.restore("b1/001")


def test_emptying_by_age_and_without_changing_anything(shelf: Shelf) -> None:
    shelf.delete("b1/001", clock=At(NOON))
    shelf.delete("b1/002", clock=At(NOON + timedelta(days=2)))
    clock = At(NOON + timedelta(days=3))
    told = empty_trash(shelf.state, older_than=timedelta(days=2), dry_run=True, overrides=shelf.said, clock=clock)
    assert ([one.item.key for one in told.files], len(shelf.lies())) == (["b1/001"] * 2, 4)
    empty_trash(shelf.state, older_than=timedelta(days=2), overrides=shelf.said, clock=clock)
    assert len(shelf.lies()) == 2
    empty_trash(shelf.state, overrides=shelf.said, clock=clock)
    assert not shelf.path(FOLDER).exists()
    assert list_trash(shelf.state, overrides=shelf.said).as_text() == "The trash is empty."
    shelf.check()


def test_cleaning_empties_it_by_the_same_age(shelf: Shelf) -> None:
    """The batch itself has ended today."""
    shelf.delete("b1/001", clock=At(NOON - timedelta(days=40)))
    old = {"older_than": timedelta(days=30), "overrides": shelf.said, "clock": At(NOON)}
    told = clean_batches(shelf.state, dry_run=True, **old)  # type: ignore[arg-type]
    assert (len(told.removed), told.bytes, told.batches) == (2, 2 * len(DATA), ())
    assert "Would remove 2 files" in told.as_text()
    assert len(shelf.lies()) == 2
    assert clean_batches(shelf.state, **old).removed == told.removed  # type: ignore[arg-type]
    assert (shelf.lies(), len(shelf.outputs("b1/002"))) == ([], 2)


@pytest.mark.parametrize("removals", range(4))
def test_cleaning_that_was_killed_leaves_no_record_without_its_file_and_is_ended_by_the_next(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, removals: int
) -> None:
    old = {"older_than": timedelta(days=30), "overrides": shelf.said, "clock": At(NOON + timedelta(days=40))}
    unlink, left = Path.unlink, itertools.count(removals, -1)

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.is_relative_to(shelf.album.output) and next(left) <= 0:
            raise Killed
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(Killed):
        clean_batches(shelf.state, **old)  # type: ignore[arg-type]
    monkeypatch.setattr(Path, "unlink", unlink)
    shelf.check()
    assert len(shelf.album.files()) > 0
    clean_batches(shelf.state, **old)  # type: ignore[arg-type]
    shelf.check()
    assert (shelf.album.files(), shelf.lies()) == ([], [])
    assert list_trash(shelf.state, overrides=shelf.said).files == ()
    shelf.album.store.refresh()
    assert shelf.album.log.read()["b1"].gone
    assert clean_batches(shelf.state, **old).batches == ()  # type: ignore[arg-type]


def test_no_scan_enters_it(shelf: Shelf) -> None:
    shelf.delete("b1")
    assert [path for path in walk(shelf.album.output) if path.is_file()] == []


def test_forgetting_an_item_with_its_files_empties_its_trash(shelf: Shelf) -> None:
    shelf.delete("b1/001")
    told = forget(shelf.state, ["b1/001"], overrides=shelf.said)
    assert "2 deleted files of theirs stay in .burst-trash" in told.as_text()
    assert len(shelf.lies()) == 2
    shelf.delete("b1/002")
    forget(shelf.state, ["b1/002"], remove_files=True, overrides=shelf.said)
    assert len(shelf.lies()) == 2, "those of the other one, which nobody knows any more"


def test_a_disk_that_refuses_leaves_record_and_file_as_they_were(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shelf.items()["b1/001"]
    shelf.path(FOLDER).write_text("a file is in the way")
    (kept, _) = shelf.delete("b1/001").kept
    assert "a file stands where a directory should be" in kept.reason
    assert shelf.items()["b1/001"] == before
    shelf.check()


def test_a_link_in_the_place_of_the_trash_or_of_the_folder_is_not_followed(shelf: Shelf, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shelf.path(FOLDER).symlink_to(elsewhere)
    assert all("is a link" in one.reason for one in shelf.delete("b1/001").kept)
    shelf.check()
    shelf.path(FOLDER).unlink()
    shelf.delete("b1")
    shelf.path("b1").symlink_to(elsewhere)
    assert {one.reason for one in shelf.restore().kept} == {"its place leads out of its output directory"}
    assert list(elsewhere.iterdir()) == []


def test_what_is_on_a_disk_that_is_away_stays_on_record(shelf: Shelf) -> None:
    before = shelf.items()["b1/001"]
    output = shelf.album.output
    output.rename(output.with_name("away"))
    for _ in range(2):
        kept = shelf.delete("b1/001").kept
        assert {one.reason.partition(":")[0] for one in kept} == {"cannot be found"}
        assert shelf.items()["b1/001"] == before
        output.mkdir(exist_ok=True)
    output.rmdir()
    output.with_name("away").rename(output)
    shelf.delete("b1/001")
    output.rename(output.with_name("away"))
    assert list_trash(shelf.state, overrides=shelf.said).files == ()
    output.with_name("away").rename(output)
    assert shelf.restore().kept == ()


def test_with_an_image_comes_what_was_deleted_with_it(shelf: Shelf) -> None:
    shelf.delete("b1/001")
    shelf.restore("b1/001.png")
    assert shelf.outputs("b1/001") == ["b1/001.png", "b1/001.txt"]


def test_what_another_process_has_done_is_known(shelf: Shelf) -> None:
    trash = shelf.trash()
    ids = [one.id for one in shelf.delete("b1/001").files]
    assert trash.restore(ids).kept == ()
    shelf.check()


def with_info(shelf: Shelf) -> Path:
    """A batch that has ended, with its batch_info.json."""
    shelf.album.add("b3", [{"seed": 1}, {"seed": 2}], layout="gallery", directory="batches/b3")
    for number in (1, 2):
        shelf.album.complete(f"b3/00{number}", f"batches/b3/image_00{number}.png", data=DATA)
    shelf.album.log.append(EndRecord(batch="b3", event="e", at=NOON, how="done", completed=2))
    info = shelf.path("batches/b3") / batch_info.NAME
    info.write_text("{}")
    return info


def test_a_batch_goes_and_comes_back_with_what_tells_of_it(shelf: Shelf) -> None:
    info = with_info(shelf)
    (batch,) = [batch for batch in shelf.album.log.read().values() if batch.id == "b3"]
    items = {item.key: item.outputs for item in shelf.items().values() if item.batch == "b3"}
    moved = shelf.trash().put(items, batches=[batch])
    assert moved.batches == ("b3",)
    assert shelf.album.log.read()["b3"].gone
    assert not info.parent.exists()
    back = shelf.trash().restore([one.id for one in moved.files])
    assert (back.kept, back.batches) == ((), ("b3",))
    assert not shelf.album.log.read()["b3"].gone
    assert [image["file"] for image in json.loads(info.read_text())["images"]] == [
        "batches/b3/image_001.png",
        "batches/b3/image_002.png",
    ]
    shelf.check()


def killed(shelf: Shelf, act: Any, steps: int) -> bool:
    """Whether this was killed after so many steps of the disk; the state is opened anew."""
    fuse = Fuse()
    disk = KillableDisk(fuse)
    store = open_store(shelf.state, disk=disk)
    placement = placement_of(store, load_settings(shelf.state, shelf.said))
    fuse.light(steps)
    try:
        act(Trash(store, placement, clock=At(NOON), disk=disk))
    except Killed:
        return True
    finally:
        store.close()
    return False


def everything(trash: Trash) -> Moved:
    return trash.put({item.key: item.outputs for item in trash._store.items()})


def back(trash: Trash) -> Moved:
    return trash.restore([one.id for one in trash.files()])


@pytest.mark.parametrize("what", ["put", "restore", "empty"])
def test_killed_at_every_step_nothing_is_missed_and_it_goes_on(shelf: Shelf, what: str) -> None:
    act = {"put": everything, "restore": back, "empty": lambda trash: trash.empty()}[what]
    steps = 0
    while True:
        if what != "put":
            everything(shelf.trash())
        was_killed = killed(shelf, act, steps)
        found = verify_outputs(shelf.state, repair=True, overrides=shelf.said)
        assert (found.problems, found.put_back) == ((), ()), f"after {steps} steps"
        act(shelf.trash())
        if what == "put":
            assert not list(shelf.path("b1").glob("*"))
            assert len(shelf.lies()) == 4
        elif what == "restore":
            assert shelf.lies() == []
            shelf.check()
            assert sorted(path.read_bytes() for path in shelf.path("b1").iterdir()) == [DATA] * 4
        else:
            assert not shelf.path(FOLDER).exists()
            break_down(shelf)
        if what == "put":
            back(shelf.trash())
        shelf.check()
        if not was_killed:
            break
        steps += 1
    assert steps > 5


def break_down(shelf: Shelf) -> None:
    """Make its images again, for the next round."""
    store = shelf.album.store
    store.refresh()
    for number in (1, 2):
        change_all(
            store, [store.get(f"b1/00{number}")], lambda now: msgspec.structs.replace(now.start_over(), trashed=())
        )
        shelf.album.complete(f"b1/00{number}", f"b1/00{number}.png", f"b1/00{number}.txt", data=DATA)


class SystemCalls:
    """The calls that change a disk count down the fuse, whoever makes them."""

    NAMES = ("unlink", "rmdir", "fsync", "rename", "replace")

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fuse = Fuse()
        for name in self.NAMES:
            patch.setattr(f"os.{name}", self._counted(getattr(os, name)))

    def _counted(self, call: Any) -> Any:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.fuse.step()
            return call(*arguments, **named)

        return counted


def test_killed_while_items_are_forgotten_with_their_files_no_record_misses_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no file is left that no record names; the same call does the rest, of items that the trash has too."""
    steps, in_between = 0, 0
    while True:
        shelf = Shelf(tmp_path / str(steps))
        shelf.album.add("b1", [{"seed": number} for number in range(4)])
        for number in (1, 2, 3, 4):
            shelf.album.complete(f"b1/00{number}", f"b1/00{number}.png", data=DATA)
        shelf.delete("b1/003")
        with contextlib.closing(shelf.album.store):
            names = ["b1/001", "b1/002", "b1/003"]
            with monkeypatch.context() as patch:
                calls = SystemCalls(patch)
                calls.fuse.light(steps)
                try:
                    forget(shelf.state, names, remove_files=True, overrides=shelf.said)
                    was_killed = False
                except Killed:
                    was_killed = True
            shelf.check()
            left, there = files_below(shelf), [key for key in names if key in shelf.items()]
            named = {one.path for item in shelf.items().values() for one in (*item.outputs, *item.trashed)}
            named |= {str(one.kept_as) for item in shelf.items().values() for one in item.trashed}
            assert left <= named, f"after {steps} calls"
            in_between += bool(there) and len(left) < 4
            if there:
                forget(shelf.state, there, remove_files=True, overrides=shelf.said)
            assert (list(shelf.items()), files_below(shelf)) == (["b1/004"], {"b1/004.png"}), f"after {steps} calls"
        if not was_killed:
            break
        steps += 1
    assert in_between >= 3


def files_below(shelf: Shelf) -> set[str]:
    return {path.relative_to(shelf.album.output).as_posix() for path in shelf.album.output.rglob("*") if path.is_file()}


def test_what_a_kill_left_of_forgetting_can_be_brought_back(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shelf.outputs("b1/002")
    with monkeypatch.context() as patch:
        calls = SystemCalls(patch)
        unlink = os.unlink

        def kill(*arguments: Any, **named: Any) -> None:
            calls.fuse.blow()
            unlink(*arguments, **named)

        patch.setattr("os.unlink", kill)
        with pytest.raises(Killed):
            forget(shelf.state, ["b1/002"], remove_files=True, overrides=shelf.said)
    assert shelf.outputs("b1/002") == []
    assert verify_outputs(shelf.state, repair=True, overrides=shelf.said).problems == ()
    assert len(shelf.restore("b1/002").files) == 2
    assert shelf.outputs("b1/002") == before
    shelf.check()
