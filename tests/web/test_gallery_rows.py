"""The rows that the gallery is searched in, and the file that they are in."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.report_project import NOON

from orchestrator.results.search_text import parsed
from orchestrator.web import gallery_file
from orchestrator.web.gallery_file import IndexFile
from orchestrator.web.gallery_filter import Filter
from orchestrator.web.gallery_rows import ImageRow, Rows, ShelfRow
from orchestrator.web.gallery_search import Search

SHELF = ShelfRow(state=0, batch="b", orphan=False, at=NOON, model=None, words="", id=1)
NAMES = ("cfg", "KSampler.denoise", "LoraLoader.lora_name")


class Table:
    """An index with one shelf."""

    def __init__(self, path: Path) -> None:
        self.file = IndexFile(path)
        self.rows = Rows(self.file.writer, has_words=self.file.has_words)
        self.search = Search(self.file.reader, has_words=self.file.has_words)
        self.rows.begin()
        if self.rows.shelf_of(0, "b") is None:
            self.rows.add_shelf(SHELF)
        self.rows.commit()

    def put(self, key: str, *, tags: tuple[str, ...] = (), **parts: object) -> None:
        row = ImageRow(1, 1, NOON, "f.png", "image", "a fox\n", {"model": "m"})
        self.rows.begin()
        self.rows.put(SHELF, key, b"mark", [row._replace(**parts)], tags=tags)
        self.rows.commit()

    def remove(self, key: str) -> None:
        self.rows.begin()
        self.rows.remove_item(0, key)
        self.rows.commit()

    def found(self, text: str = "", **wanted: object) -> list[str | None]:
        query = parsed(text, names=lambda: NAMES)
        by = Filter(query=query, states=("sea.json", "sky.json"), **wanted)  # type: ignore[arg-type]
        total, some = self.search.images(by, order="oldest", offset=0, limit=100)
        assert total == len(some)
        return [one.item for one in some]

    def count(self, table: str) -> int:
        ((count,),) = self.file.reader.execute(f"SELECT count(*) FROM {table}")
        return int(count)


@pytest.fixture(params=["fts5", "without"])
def table(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """With an index of words, and as where SQLite has none."""
    if request.param == "without":
        monkeypatch.setattr(gallery_file, "_WORDS", "CREATE VIRTUAL TABLE words USING none (prompt)")
    found = Table(tmp_path / "index")
    assert found.file.has_words == (request.param == "fts5")
    yield found
    found.file.close()


def test_models_are_those_of_images_that_are_there(table: Table) -> None:
    for key, model in (("1", "m"), ("2", "n"), ("3", None), ("4", "B")):
        table.put(key, settings={"model": model} if model else {})
    assert table.search.models() == ["B", "m", "n"]
    table.remove("2")
    assert table.search.models() == ["B", "m"]
    table.rows.begin()
    table.rows.remove_shelf(1)
    table.rows.commit()
    assert table.search.models() == []
    assert [table.count(name) for name in ("items", "images", "texts", "settings", "facts", "tags")] == [0] * 6


def test_an_item_that_changes_again_and_again_leaves_nothing_behind(table: Table) -> None:
    for number in range(30):
        table.put(str(number), words=f"fox {number}", settings={"steps": number})
    for round_ in range(10):
        table.put("7", words=f"fox 7, round {round_}", settings={"steps": round_}, tags=("sea", str(round_)))
    assert [table.count(name) for name in ("items", "images", "texts", "tags", "files")] == [30, 30, 30, 2, 30]
    assert table.found('"7, round 9"') == ["7"]
    assert table.found('"7, round 8"') == []
    assert table.found("tag:8") == []


@pytest.mark.parametrize("odd", ["half \ud800 a pair", "nul \0 inside", "%_'*?[x]", "ß straße", "狐と雪", "q"])
def test_odd_texts_are_found_as_they_are(table: Table, odd: str) -> None:
    table.put("odd \udcff", words=f"x {odd} y", settings={})
    table.put("plain", settings={"model": odd})
    assert table.found(f'"{odd}"') == ["odd \udcff"]
    assert table.found(model=odd) == ["plain"]
    assert table.found("absent") == []


def test_numbers_and_times_at_the_ends_of_their_ranges(table: Table) -> None:
    late, early = NOON.replace(year=9999), NOON.replace(year=1)
    table.put("late", place=10**30, at=late, seed=2**64 - 1, bytes=2**70, settings={"steps": 10**400})
    table.put("early", at=early, seed=9)
    assert table.found() == ["early", "late"]
    assert table.found(since=late, until=late + timedelta(microseconds=1)) == ["late"]
    assert table.found(until=late) == ["early"]
    assert table.found(f"seed:{2**64 - 1}") == ["late"]
    assert table.found("seed>10") == ["late"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fox", ["1", "2"]),
        ("FOX snow", ["1"]),
        ('"fox in"', ["1"]),
        ("fox -snow", ["2"]),
        ('-"fox in the" fox', ["2"]),
        ("shot_0", ["3"]),
        ("model:SDXL", ["1"]),
        ("model=sdxl", []),
        ("-model:sdxl", ["2", "3"]),
        ("steps>20", ["2"]),
        ("steps>=20 steps<30", ["1"]),
        ("steps:20", ["1"]),
        ("-steps>20", ["1", "3"]),
        ("cfg:7.5", ["1"]),
        ("denoise<0.6", ["3"]),
        ("KSampler.denoise:0.5", ["3"]),
        ("lora:detail", ["2", "3"]),
        ("seed:42", ["1"]),
        ("seed<100", ["1", "2"]),
        ("tag:sea", ["1"]),
        ('tag:"night sky"', ["2"]),
        ("tag:night", []),
        ("-tag:sea fox", ["2"]),
        ("is:favorite", ["2"]),
        ("is:tagged", ["1", "2"]),
        ("is:video", ["3"]),
        ("is:image -is:favorite", ["1"]),
        ("before:2030-01-02", ["1"]),
        ("after:2030-01-02", ["2", "3"]),
        ("after:2030-01-02T12:30Z", ["3"]),
        ("batch:b fox", ["1", "2"]),
        ("batch:zzz", []),
        ("state:0 fox", ["1", "2"]),
        ("state:sky", []),
        ("-state:sky fox", ["1", "2"]),
        ("(fox:1.2)", []),
        ("-", []),
        ('""', ["1", "2", "3"]),
    ],
)
def test_what_a_term_finds(table: Table, text: str, found: list[str]) -> None:
    day = timedelta(days=1)
    told = {"model": "SDXL.safetensors", "steps": 20, "cfg": 7.5, "template": "t"}
    table.put("1", words="a fox in the snow", seed=42, settings=told, tags=("Sea",))
    lora = {"model": "flux", "steps": 30, "lora": ["detail.safetensors", "other"]}
    table.put("2", words="Fox", at=NOON + day, seed=43, favorite=True, settings=lora, tags=("night sky",))
    late = {"KSampler.denoise": 0.5}
    table.put(
        "3", words="owl <lora:Detail:0.8>", at=NOON + day + day / 24, file="a/shot_001.mp4", kind="video", settings=late
    )
    assert table.found(text) == found


def test_each_order(table: Table) -> None:
    table.put("1", words="b", seed=2, bytes=10)
    table.put("2", words="a", at=NOON + timedelta(hours=1), seed=10, bytes=5)
    orders = {}
    for order in ("newest", "oldest", "seed", "prompt", "largest", "smallest"):
        _, some = table.search.images(Filter(), order=order, offset=0, limit=10)  # type: ignore[arg-type]
        orders[order] = "".join(one.item or "" for one in some)
    assert orders == {
        "newest": "21",
        "oldest": "12",
        "seed": "12",
        "prompt": "21",
        "largest": "12",
        "smallest": "21",
    }


def test_values_that_there_are(table: Table) -> None:
    table.put("1", settings={"model": "sdxl", "KSampler.sampler_name": "euler"}, tags=("sea", "sky"))
    table.put("2", settings={"model": "flux", "KSampler.sampler_name": "euler"}, tags=("sea",))
    assert [one.value for one in table.search.values("tag", "s", limit=9)] == ["sea", "sky"]
    assert [one.value for one in table.search.values("model", "", limit=9)] == ["flux", "sdxl"]
    assert [one.value for one in table.search.values("sampler", "EU", limit=9)] == ["euler"]
    assert table.search.names() == ["KSampler.sampler_name", "model"]


# The file


def test_a_second_process_finds_what_the_first_one_wrote(tmp_path: Path) -> None:
    first, second = Table(tmp_path / "index"), Table(tmp_path / "index")
    first.put("1")
    second.put("2")
    assert first.found() == second.found() == ["1", "2"]
    first.file.close()
    second.put("3")
    second.file.close()
    assert Table(tmp_path / "index").found() == ["1", "2", "3"]


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_index_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index").write_bytes(content)
    table = Table(tmp_path / "index")
    table.put("1")
    assert (table.found(), table.file.refusal) == (["1"], None)


def test_an_older_layout_is_made_anew_and_a_newer_one_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Table(tmp_path / "index").put("1")
    monkeypatch.setattr(gallery_file, "LAYOUT", gallery_file.LAYOUT + 1)
    newer = Table(tmp_path / "index")
    assert newer.found() == []
    newer.put("2")
    newer.file.close()
    monkeypatch.undo()
    older = Table(tmp_path / "index")
    assert older.file.refusal is not None
    assert "newer burst" in older.file.refusal
    private = older.file.path
    older.put("3")
    older.file.close()
    assert not private.exists()
    monkeypatch.setattr(gallery_file, "LAYOUT", gallery_file.LAYOUT + 1)
    assert Table(tmp_path / "index").found() == ["2"]


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    table = Table(tmp_path / "file" / "index")
    table.put("1")
    assert table.found() == ["1"]
    assert table.file.refusal is not None


def test_a_file_that_is_gone_or_another_is_noticed(tmp_path: Path) -> None:
    table = Table(tmp_path / "index")
    assert table.file.is_there()
    (tmp_path / "index").unlink()
    assert not table.file.is_there()
    Table(tmp_path / "index")
    assert not table.file.is_there()


def test_a_torn_transaction_leaves_what_was_there(tmp_path: Path) -> None:
    table = Table(tmp_path / "index")
    table.put("1")
    table.rows.begin()
    table.rows.remove_item(0, "1")
    table.rows.roll_back()
    assert table.found() == ["1"]
    with pytest.raises(sqlite3.OperationalError):
        table.file.writer.execute("COMMIT")


def test_files_that_nobody_opened_for_long_go(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in ("gallery-1.sqlite3", "gallery-2.sqlite3", "other.sqlite3"))
    for path in (old, young, other):
        path.write_bytes(b"")
    for path in (old, other):
        os.utime(path, (1, 1))
    IndexFile(tmp_path / "gallery-3.sqlite3").close()
    assert sorted(path.name for path in tmp_path.glob("*.sqlite3")) == [
        "gallery-2.sqlite3",
        "gallery-3.sqlite3",
        "other.sqlite3",
    ]
