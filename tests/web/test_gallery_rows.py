"""The rows that the gallery is searched in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.report_project import NOON

from orchestrator.web.gallery_filter import Filter
from orchestrator.web.gallery_rows import ImageRow, Rows, ShelfRow

SHELF = ShelfRow(state=0, batch="b", orphan=False, at=NOON, model=None, words="")


@pytest.fixture
def rows() -> Rows:
    return Rows()


def image(item: str, **parts: object) -> ImageRow:
    return ImageRow(item, 1, 1, NOON, "m", "a fox\n")._replace(**parts)


def text_count(rows: Rows) -> int:
    ((count,),) = rows._database.execute("SELECT count(*) FROM texts")
    return int(count)


def found(rows: Rows, **wanted: object) -> list[str | None]:
    total, some = rows.images(Filter(**wanted), offset=0, limit=100)  # type: ignore[arg-type]
    assert total == len(some)
    return [one.item for one in some]


def test_models_are_those_of_images_that_are_there(rows: Rows) -> None:
    shelf = rows.add_shelf(SHELF)
    rows.add(SHELF, shelf, [image("1"), image("2", model="n"), image("3", model=None), image("4", model="B")])
    assert rows.models() == ["B", "m", "n"]
    rows.remove_item(0, "2")
    rows.remove_item(1, "4")
    assert rows.models() == ["B", "m"]
    rows.remove_shelf(shelf)
    assert rows.models() == []


def test_an_item_that_changes_again_and_again_leaves_no_texts(rows: Rows) -> None:
    shelf = rows.add_shelf(SHELF)
    for number in range(300):
        rows.add(SHELF, shelf, [image(str(number), words=f"fox {number}")])
    for _ in range(50):
        rows.remove_item(0, "7")
        rows.add(SHELF, shelf, [image("7", words="fox 7")])
    assert text_count(rows) == 300
    assert found(rows, words=("fox 7",)).count("7") == 1
    rows.remove_all(state=0)
    assert text_count(rows) == 0


@pytest.mark.parametrize("odd", ["half \ud800 a pair", "nul \0 inside", "%_'\"", "ß straße"])
def test_odd_texts_are_found_as_they_are(rows: Rows, odd: str) -> None:
    rows.add(SHELF, rows.add_shelf(SHELF), [image("odd", words=f"x {odd} y"), image("plain", model=odd)])
    assert found(rows, words=(odd,)) == ["odd"]
    assert found(rows, model=odd) == ["plain"]
    assert found(rows, words=("absent",)) == []


def test_numbers_and_times_at_the_ends_of_their_ranges(rows: Rows) -> None:
    late, early = NOON.replace(year=9999), NOON.replace(year=1)
    rows.add(SHELF, rows.add_shelf(SHELF), [image("late", place=10**30, at=late), image("early", at=early)])
    assert found(rows) == ["late", "early"]
    assert found(rows, since=late, until=late + timedelta(microseconds=1)) == ["late"]
    assert found(rows, until=late) == ["early"]
