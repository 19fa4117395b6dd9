"""Items that are made from another item's output: when they are due, and what becomes of them with their source."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from support.plain_walk import check_queries, keys_of
from support.state_scenes import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PENDING,
    SUBMITTED,
    bring,
    cancel,
    change,
    complete,
    dump,
    fail,
    item,
    put_back,
    remove,
    start_over,
    statuses,
    submit,
)
from support.stores import State

from orchestrator.errors import UsageError
from state.change import Change, change_all
from state.item import Item, ItemOutput
from state.store import Store


def made_from(*sources: str) -> dict[str, str | ItemOutput]:
    return {f"image{number}": ItemOutput(item=source, output=1) for number, source in enumerate(sources)}


def stage(key: str, *sources: str, **fields: object) -> Item:
    return item(key, uploads=made_from(*sources), **fields)


@pytest.fixture
def chain(store: Store) -> Store:
    """`b` is made from `a`, `c` from `b`; `d` stands alone."""
    store.add([item("a"), stage("b", "a"), stage("c", "b"), item("d")])
    return store


def finish(store: Store, *keys: str) -> None:
    for key in keys:
        bring(store, key, COMPLETED)


def test_a_stage_is_due_once_its_source_is_completed(state: State, chain: Store, other: Store) -> None:
    assert (keys_of(chain.due(9)), chain.due_count(), chain.waiting()) == (["a", "d"], 2, ["b", "c"])
    change(chain, "a", submit())
    assert keys_of(chain.due(9)) == ["d"]
    change(chain, "a", complete)
    other.refresh()
    chain.settle(at_end=True)
    for each in (chain, other, state.open(read_only=True)):
        assert (keys_of(each.due(9)), each.due_count(), each.waiting()) == (["b", "d"], 2, ["c"])
        assert (each.stages_of("a"), each.stages_of("b"), each.stages_of("d")) == (["b"], ["c"], [])
        check_queries(each)
    assert chain.counts()[PENDING] == 3


def test_a_stage_of_several_sources_waits_for_the_last(store: Store) -> None:
    store.add([stage("c", "a", "b"), item("a"), item("b")])
    finish(store, "b")
    assert store.waiting() == ["c"]
    finish(store, "a")
    assert keys_of(store.due(9)) == ["c"]


def test_priority_rank_and_batch_count_for_stages_as_for_all(store: Store) -> None:
    store.add([item("a", batch="one"), item("z", batch="two")])
    store.add([stage("late", "a", batch="two", rank=1.0), stage("urgent", "a", batch="one", priority="urgent")])
    assert [store.due_count(batch=batch) for batch in ("one", "two")] == [1, 1]
    assert store.batch_figures("two").due_up_to == 2
    finish(store, "a")
    assert keys_of(store.due(9)) == ["urgent", "z", "late"]
    assert [store.due_count(batch=batch) for batch in ("one", "two")] == [1, 3]
    assert store.batch_figures("two").due_up_to == 3
    change(store, "a", start_over)
    assert keys_of(store.due(9)) == ["a", "z"]
    assert [store.due_count(batch=batch) for batch in ("one", "two")] == [1, 1]
    check_queries(store)


@pytest.mark.parametrize(
    ("end", "status", "kind", "said"),
    [
        (fail, FAILED, "source", "failed: out of luck"),
        (cancel, CANCELLED, "source_cancelled", "was cancelled"),
        (None, FAILED, "source", "was removed"),
    ],
    ids=["failed", "cancelled", "removed"],
)
def test_a_chain_ends_with_its_source(
    chain: Store, end: Callable[[Item], Item] | None, status: str, kind: str, said: str
) -> None:
    changed = chain.apply([Change("a", PENDING, end or (lambda found: None))])
    assert keys_of(changed) == ["a", "b", "c"] if end else ["b", "c"]
    assert [chain.get(key).status for key in "bcd"] == [status, status, PENDING]
    error = chain.get("b").error
    assert error is not None
    assert (error.kind, error.message) == (kind, f"it is made from an output of a, which {said}")
    assert chain.get("b").attempts == 0
    assert (chain.waiting(), chain.stuck(), keys_of(chain.due(9))) == ([], [], ["d"])
    check_queries(chain)


def test_what_a_source_did_in_one_change_set_is_one_for_its_stages(chain: Store, state: State) -> None:
    """Whoever reads the state meanwhile never sees a stage that waits for what failed."""
    reader = state.open(read_only=True)
    mark = reader.changes().mark
    chain.apply([Change("a", PENDING, fail)])
    assert list(reader.changes(mark).keys) == ["a", "b", "c"]
    assert dump(reader) == dump(chain)


def test_a_chain_is_redone_with_its_source(chain: Store) -> None:
    finish(chain, "a", "b", "c")
    assert keys_of(chain.apply([Change("a", COMPLETED, start_over)])) == ["a", "b", "c"]
    assert (keys_of(chain.due(9)), chain.waiting()) == (["a", "d"], ["b", "c"])
    assert chain.get("b").outputs == chain.get("a").outputs, "until they are replaced"
    finish(chain, "a", "b", "c")
    assert statuses(chain) == {"a": "completed", "b": "completed", "c": "completed", "d": "pending"}


@pytest.mark.parametrize("end", [fail, cancel], ids=["failed", "cancelled"])
def test_what_ended_with_its_source_is_due_again_with_it(chain: Store, end: Callable[[Item], Item]) -> None:
    change(chain, "a", end)
    change(chain, "a", start_over)
    assert [chain.get(key).error for key in "abc"] == [None] * 3
    assert sorted(chain.waiting()) == ["b", "c"]


def test_stages_of_a_failed_source_are_given_up_with_it(chain: Store) -> None:
    change(chain, "a", fail)
    change(chain, "a", cancel)
    assert [chain.get(key).status for key in "abc"] == [CANCELLED] * 3
    change(chain, "a", start_over)
    assert sorted(chain.waiting()) == ["b", "c"]


def test_a_stage_that_was_cancelled_by_itself_stays_so(chain: Store) -> None:
    finish(chain, "a")
    change(chain, "b", cancel)
    assert chain.get("c").status is CANCELLED
    change(chain, "a", start_over)
    assert statuses(chain) == {"a": "pending", "b": "cancelled", "c": "cancelled", "d": "pending"}


def test_a_stage_alone_is_no_more_due_than_its_source(chain: Store) -> None:
    """Made due again while its source has failed, it fails again and says why; with its source, it is due again."""
    change(chain, "a", fail)
    (again,) = chain.apply([Change("c", FAILED, start_over)])
    assert (again.status, again.error) == (FAILED, again.error)
    assert again.error is not None
    assert "made from an output of b, which failed" in again.error.message
    done = change_all(chain, chain.get_many("cba"), start_over)
    assert [one.status for one in done] == [PENDING] * 3
    assert sorted(chain.waiting()) == ["b", "c"]


def test_a_submitted_stage_ends_as_it_does_and_is_due_again_after_its_source(chain: Store, other: Store) -> None:
    finish(chain, "a")
    change(chain, "b", submit())
    other.refresh()
    change(other, "a", start_over)
    chain.refresh()
    now = chain.get("b")
    assert (now.status, now.source_redone, now.prompt_id) == (SUBMITTED, True, "id-b")
    change(chain, "b", complete)
    assert (chain.get("b").status, chain.get("b").source_redone) == (PENDING, False)
    assert sorted(chain.waiting()) == ["b", "c"]
    finish(chain, "a", "b", "c")
    assert [chain.get(key).status for key in "abc"] == [COMPLETED] * 3


@pytest.mark.parametrize(
    ("end", "status"), [(fail, PENDING), (cancel, CANCELLED), (put_back, PENDING)], ids=["failed", "cancelled", "gone"]
)
def test_a_submitted_stage_whose_source_is_redone_may_end_otherwise(
    chain: Store, end: Callable[[Item], Item], status: str
) -> None:
    finish(chain, "a")
    change(chain, "b", submit())
    change(chain, "a", start_over)
    change(chain, "b", end)
    assert (chain.get("b").status, chain.get("b").source_redone) == (status, False)
    assert "b" not in keys_of(chain.due(9))


def test_a_submitted_stage_whose_source_fails_meanwhile_fails_when_it_has_ended(chain: Store) -> None:
    finish(chain, "a")
    change(chain, "b", submit())
    change(chain, "a", start_over)
    change(chain, "a", fail)
    assert chain.get("b").status is SUBMITTED
    change(chain, "b", complete)
    assert [chain.get(key).status for key in "abc"] == [FAILED] * 3


def test_source_and_stage_may_be_removed_together(chain: Store) -> None:
    remove(chain, "a", "b", "c")
    assert keys_of(chain.items()) == ["d"]
    check_queries(chain)


def test_a_completed_stage_outlives_its_source(chain: Store) -> None:
    finish(chain, "a", "b")
    remove(chain, "a")
    assert [chain.get(key).status for key in "bc"] == [COMPLETED, PENDING]
    assert keys_of(chain.due(9)) == ["c", "d"]


def test_other_changes_of_a_source_concern_nobody(chain: Store) -> None:
    finish(chain, "a", "b")
    before = dump(chain)
    assert keys_of(
        chain.apply([Change("a", COMPLETED, lambda found: msgspec.structs.replace(found, tags=("x",)))])
    ) == ["a"]
    assert [row for row in dump(chain) if row[0] != "a"] == [row for row in before if row[0] != "a"]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([stage("x", "x")], "x waits for itself: x → x"),
        ([stage("x", "y"), stage("y", "z"), stage("z", "x")], "x waits for itself: x → y → z → x"),
        ([stage("x", "nobody")], "x waits for an output of nobody, which is not an item of this state"),
        ([item("x", uploads={"image": ItemOutput(item="a", output=0)})], "outputs are numbered from 1"),
        ([stage("x", "failed")], "x waits for an output of failed, which failed; `burst retry` it first"),
        ([stage("x", "cancelled")], "x waits for an output of cancelled, which was cancelled"),
    ],
    ids=["itself", "circle", "unknown", "number", "failed", "cancelled"],
)
def test_an_item_that_could_never_be_due_is_refused_with_all_that_came_with_it(
    store: Store, items: list[Item], said: str
) -> None:
    store.add([item("a"), item("failed"), item("cancelled")])
    bring(store, "failed", FAILED)
    bring(store, "cancelled", CANCELLED)
    with pytest.raises(UsageError) as refused:
        store.add([item("good"), *items])
    assert said in str(refused.value)
    assert keys_of(store.items()) == ["a", "failed", "cancelled"]


def test_a_stage_may_be_added_with_its_source_or_after_it_has_ended(store: Store) -> None:
    store.add([stage("b", "a"), item("a")])
    finish(store, "a")
    store.add([stage("c", "a"), stage("b", "nobody")])
    assert keys_of(store.due(9)) == ["b", "c"]


def test_an_item_that_comes_to_wait_for_itself_fails(store: Store) -> None:
    store.add([item("a"), stage("b", "a")])
    now = change(store, "a", lambda found: msgspec.structs.replace(found, uploads=made_from("b")))
    assert (now.status, now.error and now.error.message) == (FAILED, "it waits for itself: a → b → a")
    assert store.get("b").status is FAILED
    check_queries(store)


def test_an_item_that_gets_a_file_in_place_of_its_source_is_due(chain: Store) -> None:
    change(chain, "b", lambda found: msgspec.structs.replace(found, uploads={"image": "b.png"}))
    assert (keys_of(chain.due(9)), chain.waiting(), chain.stages_of("a")) == (["a", "b", "d"], ["c"], [])
