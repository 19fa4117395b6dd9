"""`burst retry BATCH`: the failed items of a batch are due again, and nothing else of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.report_project import NOON
from support.state_scenes import bring

from orchestrator.cancellation import cancel
from orchestrator.errors import DiskFull, UsageError
from orchestrator.retries import Changed, reset, retry
from state.batch import BatchRecord
from state.item import Item, Status
from state.open_store import open_store

AAAA, BBBB, HERO = "20300101_120000_aaaa", "20300101_120000_bbbb", "hero"
NAMES = {AAAA: None, BBBB: HERO}


ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.PENDING)
"""Of the four items of each batch."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "re_render_state.json"
    with open_store(path, create=True) as store:
        for name, called in NAMES.items():
            items = [
                Item(key=f"{name}/{index:03d}", status=Status.PENDING, batch=name, index=index, prompt_text="a fox")
                for index in range(1, len(ENDS) + 1)
            ]
            store.add(
                items,
                batch=BatchRecord(
                    batch=name, name=called, created_at=NOON, total=len(ENDS), layout="numbered", directory=name
                ),
            )
            for item, status in zip(items, ENDS, strict=True):
                bring(store, item.key, status)
    return path


@pytest.mark.parametrize(
    ("names", "cancelled", "expected"),
    [
        ([AAAA], False, [f"{AAAA}/002"]),
        (["20300101_120000_b"], False, [f"{BBBB}/002"]),
        ([HERO], False, [f"{BBBB}/002"]),
        ([HERO], True, [f"{BBBB}/002", f"{BBBB}/003"]),
        ([HERO, HERO], False, [f"{BBBB}/002"]),
        ([f"{AAAA}/001", HERO], False, [f"{AAAA}/001", f"{BBBB}/002"]),
        ([f"{AAAA}/004"], False, []),
        ([], False, [f"{AAAA}/002", f"{BBBB}/002"]),
    ],
)
def test_what_failed_in_a_batch_is_due_again(
    state: Path, names: list[str], cancelled: bool, expected: list[str]
) -> None:
    assert list(retry(state, names, cancelled=cancelled).keys) == expected


def test_where_nothing_has_failed_it_says_so(state: Path) -> None:
    retry(state)
    assert retry(state).notes == ("no item has failed; name one to redo it",)


@pytest.mark.parametrize("change", [retry, reset, lambda state: cancel(state)], ids=["retry", "reset", "cancel"])
def test_a_disk_that_is_full_after_the_journal_has_it_undoes_nothing(
    state: Path, change: Callable[[Path], Changed], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DiskFull(f"{state}: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("state.json.store.JsonStore.settle", full)
        done = change(state)
    assert done.keys
    (note,) = (note for note in done.notes if "the disk is full" in note)
    assert "the journal has it" in note
    with open_store(state, read_only=True) as store:
        assert store.counts() == done.counts


def test_a_name_of_nothing_changes_nothing(state: Path) -> None:
    before = state.read_bytes()
    with pytest.raises(UsageError, match="no item and no batch 'heros'; similar: hero"):
        retry(state, [HERO, "heros"])
    assert state.read_bytes() == before
