"""How batches stand, and what `batches clean` takes away."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.report_project import NOON, Album

from orchestrator.batches.batch_status import list_batches, read_batch
from orchestrator.batches.cleaning import Cleaned, clean_batches, parse_duration
from orchestrator.clock import Clock
from orchestrator.errors import UsageError
from orchestrator.status import read_status
from orchestrator.verify import verify_outputs
from state.batch import EndRecord, GoneRecord
from state.item import Item, Status
from state.open_store import open_store


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(tmp_path)


class Later(Clock):
    """So long after noon."""

    def __init__(self, **after: float) -> None:
        self._at = NOON + timedelta(**after)

    def now(self) -> datetime:
        return self._at


def clean(album: Album, *, days: float = 31, dry_run: bool = False) -> Cleaned:
    clock = Later(days=days)
    return clean_batches(album.state, older_than=timedelta(days=30), dry_run=dry_run, clock=clock)


def items(album: Album) -> list[Item]:
    store = open_store(album.state, read_only=True)
    try:
        return list(store.items())
    finally:
        store.close()


def test_a_batch_is_counted_from_its_own_items(album: Album) -> None:
    album.add("a", [{}] * 6)
    album.add("b", [{}] * 2)
    album.complete("a/001")
    album.complete("a/002")
    album.fail("a/003", "no <luck>")
    album.cancel("a/004")
    album.submit("a/005")
    album.fail("b/001", "of the other")
    said = read_batch(album.state, "a").as_json()
    assert (said["percent"], said["remaining"], said["total"], said["standing"]) == (66, 2, 6, "active")
    assert said["counts"] == {"pending": 1, "submitted": 1, "completed": 2, "failed": 1, "cancelled": 1}
    assert [failed["item"] for failed in said["failures"]] == ["a/003"]
    text = read_batch(album.state, "a").as_text()
    assert "66 % of 6: 2 done, 1 failed, 1 cancelled, 2 left" in text
    assert "no <luck>" in text
    assert "of the other" not in text


def test_a_hundred_percent_only_when_nothing_is_left(album: Album) -> None:
    album.add("a", [{}] * 300)
    for index in range(1, 300):
        album.cancel(f"a/{index:03d}")
    assert read_batch(album.state, "a").percent == 99
    album.cancel("a/300")
    view = read_batch(album.state, "a")
    assert (view.percent, view.standing, view.check_code) == (100, "cancelled", 0)


def test_what_is_due_before_a_batch_counts_into_its_time(album: Album) -> None:
    album.add("first", [{}] * 2)
    album.add("later", [{}] * 3, priority="low")
    album.add("soon", [{}] * 4, priority="urgent")
    assert read_batch(album.state, "soon").seconds_left is None
    album.pace(2.0)
    album.submit("later/001")
    left = {view.id: view.seconds_left for view in list_batches(album.state).batches}
    assert left == {"soon": 10.0, "first": 14.0, "later": 18.0}
    assert "about 18.0 s" in read_batch(album.state, "later").as_text()


def test_before_any_burst_has_ended_the_pace_is_that_of_what_is_completed(album: Album) -> None:
    album.add("b1", [{}] * 5)
    for number, seconds in ((1, 2.0), (2, 4.0)):
        album.complete(f"b1/{number:03d}", seconds=seconds)
    assert read_batch(album.state, "b1").seconds_left == 9.0
    assert read_status(album.state).seconds_left == 9.0
    album.pace(1.0)
    assert read_batch(album.state, "b1").seconds_left == 9.0, "what its own items took tells more"


def test_a_few_of_many_failures_are_shown(album: Album) -> None:
    album.add("a", [{}] * 12)
    for index in range(1, 13):
        album.fail(f"a/{index:03d}")
    view = read_batch(album.state, "a")
    assert [item.key for item in view.failed] == [f"a/{index:03d}" for index in range(1, 11)]
    assert view.counts[Status.FAILED] == 12


def test_it_was_last_heard_of_when_the_last_of_its_items_was_completed(album: Album) -> None:
    album.add("a", [{}] * 3)
    for index, hours in ((1, 2), (2, 5), (3, 3)):
        album.complete(f"a/{index:03d}", at=NOON + timedelta(hours=hours))
    assert read_batch(album.state, "a").last_at == NOON + timedelta(hours=5)


def test_one_that_waits_for_its_server_alone_waits_for_nothing_that_is_due(album: Album) -> None:
    album.add("other", [{}] * 5)
    album.add("out", [{}])
    for key in ("out/001", "other/001"):
        album.submit(key)
    album.pace(2.0)
    assert read_batch(album.state, "out").seconds_left == 2.0


def test_however_many_items_hardly_any_is_read_whole(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    album.add("a", [{}] * 40)
    album.complete("a/001")
    album.fail("a/002")
    album.pace(2.0)
    whole, looked = Item.from_record, []

    def counting(key: str, raw: bytes) -> Item:
        looked.append(key)
        return whole(key, raw)

    monkeypatch.setattr(Item, "from_record", counting)
    read_status(album.state)
    assert set(looked) <= {"a/002", *(f"a/{index:03d}" for index in range(3, 19))}, "what failed, and what is next"
    monkeypatch.undo()


def test_a_record_by_hand_that_names_no_batch(album: Album) -> None:
    album.add("a", [{}])
    album.store.settle(at_end=True)
    by_hand = {"mine": {"status": "pending", "batch": None}, **json.loads(album.state.read_text())}
    album.state.write_text(json.dumps(by_hand))
    assert read_batch(album.state, "a").total == 1


def test_the_beginning_of_an_id_is_enough(album: Album) -> None:
    for name in ("20300101_120000_abcd", "20300101_120000_efgh", "20300102_090000_abcd", "20300102_090000_abcdef"):
        album.add(name, [{}])
    assert read_batch(album.state, "20300101_120000_a").id == "20300101_120000_abcd"
    assert read_batch(album.state, "20300102_090000_abcd").id == "20300102_090000_abcd"
    with pytest.raises(UsageError, match="2 batches: 20300101_120000_abcd, 20300101_120000_efgh"):
        read_batch(album.state, "20300101")
    with pytest.raises(UsageError, match="did you mean '20300101_120000_efgh'"):
        read_batch(album.state, "20300101_120000_efhg")
    with pytest.raises(UsageError, match="no batch ''"):
        read_batch(album.state, "")
    album.log.append(GoneRecord(batch="20300101_120000_efgh", at=NOON))
    assert read_batch(album.state, "20300101").id == "20300101_120000_abcd"
    with pytest.raises(UsageError, match="cleaned away"):
        read_batch(album.state, "20300101_120000_efgh")
    assert "20300101_120000_efgh" not in {view.id for view in list_batches(album.state).batches}


def test_clean_removes_what_the_records_name_and_nothing_else(album: Album) -> None:
    album.add("old", [{}] * 3)
    album.complete("old/001", "old/image_001.png", "old/prompt_001.txt")
    album.complete("old/002", "old/image_002.png", "old/prompt_002.txt")
    album.fail("old/003")
    album.add("mine", [{}])
    album.complete("mine/001", "mine/image.png")
    (album.output / "mine" / "notes.md").write_text("the user's own")
    found = clean(album)
    assert sorted(found.batches) == ["mine", "old"]
    assert found.bytes == 25
    assert album.files() == ["mine", "mine/notes.md"]
    assert list_batches(album.state).batches == ()


def test_what_was_cleaned_stays_completed_and_verify_misses_nothing(album: Album) -> None:
    album.add("old", [{}] * 2)
    album.complete("old/001")
    album.cancel("old/002")
    clean(album)
    assert [(item.status, item.outputs) for item in items(album)] == [(Status.COMPLETED, ()), (Status.CANCELLED, ())]
    assert verify_outputs(album.state).problems == ()


def test_what_is_young_or_goes_on_stays(album: Album) -> None:
    album.add("active", [{}] * 2)
    album.complete("active/001")
    album.add("young", [{}])
    album.complete("young/001", at=NOON + timedelta(days=2))
    album.add("noted", [{}])
    album.cancel("noted/001")
    album.log.append(EndRecord(batch="noted", event="e", at=NOON + timedelta(days=2), how="cancelled"))
    before = album.files()
    assert clean(album) == Cleaned((), (), 0, (), False)
    assert album.files() == before
    assert sorted(clean(album, days=33).batches) == ["noted", "young"]


def test_files_go_in_the_order_of_their_batches(album: Album) -> None:
    names = [f"old{number}" for number in range(12)]
    for name in names:
        album.add(name, [{}])
        album.complete(f"{name}/001")
    expected = tuple(f"{name}/001.png" for name in names)
    assert clean(album, dry_run=True).removed == clean(album).removed == expected


def test_a_dry_run_changes_nothing(album: Album) -> None:
    album.add("old", [{}])
    album.complete("old/001")
    before = album.files(), items(album), album.log.stamp()
    found = clean(album, dry_run=True)
    assert (found.removed, found.dry_run) == (("old/001.png",), True)
    assert "Would remove 1 file (5 bytes) of 1 batch" in found.as_text()
    assert (album.files(), items(album), album.log.stamp()) == before


def test_a_file_that_is_not_as_recorded_stays(album: Album) -> None:
    album.add("old", [{}] * 2)
    album.complete("old/001")
    album.complete("old/002")
    (album.output / "old" / "001.png").write_bytes(b"BYTES")
    assert clean(album).kept == ("old/001.png",)
    assert album.files() == ["old", "old/001.png"]


def test_a_file_that_another_items_record_names_stays(album: Album) -> None:
    album.add("old", [{}], layout="mirror", directory="")
    album.complete("old/001", "EP01/fox.png")
    album.add("new", [{}], layout="mirror", directory="")
    album.complete("new/001", "EP01/fox.png", at=NOON + timedelta(days=20))
    assert clean(album).batches == ("old",)
    assert album.files() == ["EP01", "EP01/fox.png"]
    assert verify_outputs(album.state).problems == ()


def test_emptied_directories_go_and_the_output_directory_stays(album: Album) -> None:
    album.add("old", [{}], layout="mirror", directory="")
    album.complete("old/001", "EP01/a/fox.png", "fox.txt")
    (album.output / "empty").mkdir()
    clean(album)
    assert album.files() == ["empty"]
    album.add("all", [{}], layout="batch", directory="batch_x")
    album.complete("all/001", "batch_x/images/fox.png")
    album.file("batch_x/batch_info.json")
    (album.output / "empty").rmdir()
    clean(album)
    assert album.files() == []
    assert album.output.is_dir()


def test_a_record_that_points_outside_is_not_followed(album: Album) -> None:
    secret = album.home / "secret.txt"
    album.add("old", [{}], layout="batch", directory="..")
    album.complete("old/001", "../secret.txt")
    (album.home / "batch_info.json").write_text("{}")
    clean(album)
    assert secret.exists()
    assert (album.home / "batch_info.json").exists()


@pytest.mark.parametrize(("step", "calls"), [("unlink", 0), ("unlink", 2), ("rmdir", 0)])
def test_killed_in_between_it_goes_on(album: Album, monkeypatch: pytest.MonkeyPatch, step: str, calls: int) -> None:
    album.add("old", [{}] * 3)
    for key in ("old/001", "old/002", "old/003"):
        album.complete(key)
    original, left = getattr(Path, step), [calls]

    def killed(path: Path, **named: bool) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        original(path, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Path, step, killed)
        with pytest.raises(KeyboardInterrupt):
            clean(album)
    assert "old" in album.files()
    assert clean(album).batches == ("old",)
    assert album.files() == []
    assert verify_outputs(album.state).problems == ()


@pytest.mark.parametrize(("text", "hours"), [("12h", 12), ("30d", 720), ("2w", 336), (" 0h ", 0)])
def test_durations(text: str, hours: int) -> None:
    assert parse_duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 d", "30days", "30m", "9999999d", "\u0663d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="12h, 30d or 2w"):
        parse_duration(text)
