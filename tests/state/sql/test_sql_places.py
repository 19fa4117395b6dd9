"""No two items have one place among the outputs, whichever runs submit them at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, select
from support.background import Threads
from support.leases import begin
from support.state_scenes import (
    PENDING,
    SUBMITTED,
    cancel,
    change,
    complete,
    fail,
    put_back,
    remove,
    start_over,
    statuses,
    submit,
)
from support.stores import KINDS, State

from orchestrator.errors import PlaceTaken
from state.change import Change
from state.contents import Contents
from state.item import Item
from state.open_store import create_from, open_store
from state.recipe import Recipe
from state.sql.schema import items, places
from state.store import Store

SQL = [kind for kind in KINDS if not kind.one_run]


@pytest.fixture(params=SQL, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with State(request.param, tmp_path) as state:
        yield state


@pytest.fixture
def store(state: State) -> Store:
    return state.open(create=True)


def named(key: str, filename: str = "fox.txt", **fields: Any) -> Item:
    return Item(key=key, status=PENDING, filename=filename, **{"subfolder": "EP01", **fields})


def recipe(store: Store, output: str) -> str:
    return store.recipes.add(Recipe(output=output), None).id


def rows(store: Store) -> dict[str, str]:
    with store._database.connect() as connection:  # type: ignore[attr-defined]
        return {row.place: row.item for row in connection.execute(select(places))}


def send(store: Store, *keys: str) -> None:
    store.apply([Change(key, PENDING, submit()) for key in keys])


def test_one_of_two_gets_the_place_and_the_other_says_who_has_it(state: State, store: Store) -> None:
    store.add([named("x"), named("y"), named("z", "other.txt")])
    send(store, "x")
    before = statuses(store)
    with state.open() as other, other.lease() as lease:
        begin(lease, "b")
        with pytest.raises(PlaceTaken, match="y: x is saved under the same name; give one of the two another") as taken:
            lease.apply([Change("z", PENDING, submit()), Change("y", PENDING, submit())])
        assert taken.value.others == {"y": "x"}
        assert statuses(store) == before
        lease.apply([Change("z", PENDING, submit())])
    change(store, "x", complete)
    with pytest.raises(PlaceTaken):
        send(store, "y")


def test_of_two_runs_that_want_it_at_once_one_gets_it(state: State, store: Store) -> None:
    rounds = range(8)
    store.add([named(f"{name}{number}", f"{number}.txt") for number in rounds for name in "xy"])
    meet = threading.Barrier(2, timeout=60)

    def run(name: str) -> dict[str, str]:
        refused: dict[str, str] = {}
        with state.open() as own:
            for number in rounds:
                meet.wait()
                try:
                    send(own, f"{name}{number}")
                except PlaceTaken as error:
                    refused |= error.others
        return refused

    with Threads(2) as threads:
        xs, ys = threads.map(run, "xy")
    refused = xs | ys
    assert {key[1:] for key in refused} == {str(number) for number in rounds}
    assert all({key[0], other[0]} == {"x", "y"} for key, other in refused.items())
    sent = {key for key, status in statuses(store).items() if status == SUBMITTED}
    assert sent == set(refused.values())


def test_two_of_one_change_set(store: Store) -> None:
    store.add([named("x"), named("y")])
    with pytest.raises(PlaceTaken) as taken:
        send(store, "x", "y")
    assert taken.value.others == {"y": "x"}
    assert statuses(store) == {"x": PENDING, "y": PENDING}
    assert rows(store) == {}


def trashed(now: Item) -> Item:
    return msgspec.structs.replace(now, outputs=())


def renamed(now: Item) -> Item:
    return msgspec.structs.replace(now, filename="another.txt")


@pytest.mark.parametrize(
    "steps",
    [
        *([fail], [put_back], [cancel], [complete, trashed], [complete, start_over], [renamed], [complete, renamed]),
        [complete, lambda now: None],
        [fail, lambda now: None],
    ],
    ids=["failed", "put back", "cancelled", "trashed", "reset", "renamed", "edited", "forgotten", "failed, forgotten"],
)
def test_a_place_that_is_given_up_is_free(store: Store, steps: list[Callable[[Item], Item | None]]) -> None:
    store.add([named("x"), named("y")])
    send(store, "x")
    for edit in steps:
        store.apply([Change("x", store.get("x").status, edit)])
    send(store, "y")
    change(store, "y", complete)
    if "x" in store and store.get("x").status is PENDING and store.get("x").filename == "fox.txt":
        with pytest.raises(PlaceTaken, match="x: y is saved under the same name"):
            send(store, "x")


def test_who_gave_it_up_gets_it_again(store: Store) -> None:
    store.add([named("x")])
    for _ in range(3):
        send(store, "x")
        change(store, "x", put_back)
    assert list(rows(store).values()) == ["x"]


def test_a_removed_item_leaves_no_row(store: Store) -> None:
    store.add([named(f"{number}", f"{number}.txt") for number in range(3)])
    send(store, "0", "1")
    change(store, "0", fail)
    remove(store, "0", "2")
    assert list(rows(store).values()) == ["1"]


def test_what_a_release_without_places_did_is_seen(store: Store) -> None:
    """It removes items, and submits some, and knows nothing of rows."""
    store.add([named("x"), named("y")])
    send(store, "x")
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(delete(items).where(items.c.key == "x"))
    send(store, "y")
    assert list(rows(store).values()) == ["y"]
    with store._database.transaction() as connection:  # type: ignore[attr-defined]
        connection.execute(delete(places))
    change(store, "y", complete)
    assert store.get("y").outputs


def test_a_killed_run_keeps_the_place_of_what_it_submitted(state: State, store: Store) -> None:
    """Until that is settled: its server may have it."""
    store.add([named("x"), named("y")])
    killed = store.lease()
    begin(killed, "killed")
    killed.apply([Change("x", PENDING, submit())])
    state.lose_lease(store)
    with state.open().lease() as lease:
        begin(lease, "next")
        assert [item.key for item in lease.take_over(["x"])] == ["x"]
        with pytest.raises(PlaceTaken):
            lease.apply([Change("y", PENDING, submit())])
        lease.apply([Change("x", SUBMITTED, put_back)])
        lease.apply([Change("y", PENDING, submit())])


def test_roots_are_compared_as_recipes_name_them(store: Store) -> None:
    here, below, there = recipe(store, "renders"), recipe(store, "renders/EP01"), recipe(store, "root://films/a")
    store.add(
        [
            named("a", recipe=here),
            named("same", "fox.png", recipe=here, subfolder="./EP01/"),
            named("from below", recipe=below, subfolder=""),
            named("there", recipe=there),
            named("there too", recipe=there),
            named("elsewhere", recipe=there, subfolder="EP02"),
            named("of the default"),
        ]
    )
    send(store, "a", "there", "elsewhere", "of the default")
    for key, other in {"same": "a", "from below": "a", "there too": "there"}.items():
        with pytest.raises(PlaceTaken) as taken:
            send(store, key)
        assert taken.value.others == {key: other}


def test_places_of_any_length_and_letters(store: Store) -> None:
    long = "/".join(["ü" * 120] * 15)
    store.add([named("x", subfolder=long), named("y", subfolder=long), named("z", subfolder=f"{long}/z")])
    send(store, "x", "z")
    with pytest.raises(PlaceTaken):
        send(store, "y")


def test_an_item_whose_recipe_is_gone_is_no_ones_hindrance(store: Store) -> None:
    store.add([named("x", recipe="0" * 16), named("y", recipe="0" * 16)])
    send(store, "x", "y")
    remove_all = [Change(key, SUBMITTED, cancel) for key in "xy"]
    store.apply(remove_all)
    remove(store, "x", "y")


def test_a_copied_state_has_the_places_of_what_is_there(state: State, tmp_path: Path) -> None:
    with open_store(tmp_path / "state.json", create=True) as store:
        store.add([named("x"), named("y"), named("z"), named("free", "free.txt"), named("free too", "free.txt")])
        for key in ("x", "z", "free"):
            send(store, key)
        change(store, "x", complete)
        change(store, "free", put_back)
        create_from(store.location.of(state.address), Contents.of(store))
    copy = state.open()
    with pytest.raises(PlaceTaken, match="y: x is"):
        send(copy, "y")
    send(copy, "free too")
    assert copy.get("z").status is SUBMITTED
