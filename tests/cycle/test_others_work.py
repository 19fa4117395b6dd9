"""`run --until-done` where several runs share a state: it goes on while others hold what may be due here again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from support.state_scenes import complete, put_back, submit
from support.statements import statements_of
from support.stepped_runs import Stage, SteppedRun
from support.stores import KINDS, State

from orchestrator.cycle.others_work import LOOK_SECONDS
from orchestrator.recipes import Recipes
from orchestrator.settings import Settings
from state.change import Change
from state.item import Item, Status
from state.lease import Lease
from state.open_store import open_store
from state.server import RegisteredServer
from state.sql.leases import LEASE_SECONDS
from state.sql.schema import leases

(SQLITE,) = [kind for kind in KINDS if kind.name == "sqlite"]
COMPLETED, PENDING, SUBMITTED = Status.COMPLETED, Status.PENDING, Status.SUBMITTED


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with State(SQLITE, tmp_path) as state:
        made = Stage(str(state.address), tmp_path, monkeypatch)
        state.open(create=True, clock=made.clock).close()
        yield made
        made.close()


def add(stage: Stage, count: int, *, needs: tuple[str, ...] = (), servers: tuple[str, ...] = ()) -> list[str]:
    """Items, as another process adds them: of a recipe that needs labels or names servers, where any are given."""
    with open_store(stage.address, clock=stage.clock) as store:
        recipes = Recipes(store.recipes, stage.folder)
        settings = Settings(
            output_dir=stage.folder / "output",
            template=str(stage.template),
            bindings={"prompt": "1.string_a"},
            needs=needs,
        )
        recipe = recipes.keep(recipes.from_settings(settings, servers=servers)).id if needs or servers else None
        names = [f"{number:04}" for number in range(len(store), len(store) + count)]
        store.add([Item(key=name, status=PENDING, prompt_text="a fox", recipe=recipe) for name in names])
    return names


class Other:
    """Another run, as far as this one sees it: it holds what it has claimed."""

    def __init__(self, stage: Stage, count: int, *, lives: bool = True) -> None:
        self.store = open_store(stage.address, clock=stage.clock)
        self.lease: Lease = self.store.lease()
        self.lease.renew_no_more()  # type: ignore[attr-defined]
        if lives:
            with self.store._database.transaction() as connection:  # type: ignore[attr-defined]
                mine = leases.c.id == self.lease.id  # type: ignore[attr-defined]
                connection.execute(update(leases).where(mine).values(expires_at=leases.c.expires_at + 1e9))
        self.keys = [item.key for item in self.lease.claim(count)]

    def close(self) -> None:
        self.lease.end()
        self.store.close()


@pytest.fixture
def others(stage: Stage) -> Iterator[list[Other]]:
    made: list[Other] = []
    yield made
    for one in made:
        one.close()


def statuses(run: SteppedRun) -> list[Status]:
    return [item.status for item in run.store.items()]


def is_waiting(run: SteppedRun) -> bool:
    mine = [holder for holder in run.store.holders() if holder.burst == run.name]
    return any(holder.waits_for is not None and "other runs hold" in holder.waits_for for holder in mine)


def test_two_runs_side_by_side_end_when_all_is_done(stage: Stage) -> None:
    """The quick one looks on while the slow one renders its last item."""
    add(stage, 12)
    quick, slow = stage.run("quick", item_seconds=1.0), stage.run("slow", item_seconds=20.0)
    stage.play(until=lambda: is_waiting(quick))
    assert SUBMITTED in statuses(quick)
    stage.play()
    assert (quick.ended, slow.ended) == ("done", "done")
    assert statuses(quick) == [COMPLETED] * 12
    assert quick.server.begun > slow.server.begun > 0


def test_what_a_run_that_died_had_claimed_is_done_here(stage: Stage, others: list[Other]) -> None:
    add(stage, 5)
    others.append(Other(stage, 3, lives=False))
    run = stage.run("gpu1")
    stage.play(until=lambda: is_waiting(run))
    assert statuses(run).count(PENDING) == 3
    assert stage.play() < LEASE_SECONDS + 30.0
    assert (run.ended, statuses(run)) == ("done", [COMPLETED] * 5)


def test_what_a_run_that_died_has_left_on_its_own_server_is_not_waited_for(stage: Stage) -> None:
    add(stage, 8)
    quick, slow = stage.run("quick", item_seconds=1.0), stage.run("slow", item_seconds=500.0)
    stage.play(until=lambda: is_waiting(quick))
    slow.kill()
    assert stage.play() < LEASE_SECONDS + 30.0
    assert quick.ended == "done"
    assert set(statuses(quick)) == {COMPLETED, SUBMITTED}


def test_what_another_run_gives_up_is_taken_at_once(stage: Stage, others: list[Other]) -> None:
    add(stage, 2)
    other = Other(stage, 1)
    others.append(other)
    run = stage.run("gpu1")
    stage.play(until=lambda: is_waiting(run))
    other.lease.apply([Change(other.keys[0], PENDING, submit(server="gpu9"))])
    stage.play(seconds=5.0)
    assert run.ended is None
    other.lease.apply([Change(other.keys[0], SUBMITTED, put_back)])
    other.lease.release(other.keys)
    assert stage.play() < 10.0
    assert (run.ended, statuses(run)) == ("done", [COMPLETED] * 2)


def test_what_is_released_without_a_word_is_taken_soon(stage: Stage, others: list[Other]) -> None:
    """By a run that ends well."""
    add(stage, 4)
    other = Other(stage, 3)
    run = stage.run("gpu1")
    stage.play(until=lambda: is_waiting(run))
    stage.play(seconds=100.0)
    other.close()
    assert stage.play() < LOOK_SECONDS + 15.0
    assert (run.ended, statuses(run)) == ("done", [COMPLETED] * 4)


def test_what_is_released_in_the_last_moment_is_not_left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the workers have looked, and before it is asked what others hold, in a burst that has done nothing."""
    add(stage, 3)
    other = Other(stage, 3)
    run = stage.run("gpu1")
    ask, asked = run.lease.held_by_others, [0]

    def after_the_end() -> object:
        if not asked[0]:
            other.close()
        asked[0] += 1
        return ask()

    run.lease.held_by_others = after_the_end
    stage.play()
    assert (run.ended, statuses(run)) == ("done", [COMPLETED] * 3)


def test_it_ends_at_its_deadline_all_the_same(stage: Stage, others: list[Other]) -> None:
    add(stage, 2)
    others.append(Other(stage, 1))
    run = stage.run("gpu1", seconds=100.0)
    assert stage.play() == pytest.approx(100.0, abs=1.0)
    assert run.ended == "deadline"


@pytest.mark.parametrize("only", [{"needs": ("big",)}, {"servers": ("gpu9",)}], ids=["label", "server"])
def test_what_its_server_may_not_have_is_not_waited_for(
    stage: Stage, others: list[Other], only: dict[str, tuple[str, ...]]
) -> None:
    add(stage, 2, **only)
    others.append(Other(stage, 2))
    add(stage, 1)
    run = stage.run("gpu1")
    assert stage.play() < 10.0
    assert (run.ended, statuses(run)) == ("done", [PENDING, PENDING, COMPLETED])


def test_one_with_the_label_waits_for_it(stage: Stage, others: list[Other]) -> None:
    add(stage, 2, needs=("big",))
    others.append(Other(stage, 2))
    run = stage.run("gpu1", labels=("big",))
    stage.play(seconds=100.0)
    assert is_waiting(run)


def test_a_draining_server_waits_for_nothing(stage: Stage, others: list[Other]) -> None:
    add(stage, 2)
    others.append(Other(stage, 1))
    run = stage.run("gpu1")
    stage.play(until=lambda: is_waiting(run))
    drained = RegisteredServer(name="gpu1", url=run.server.url, at=stage.clock.now(), draining=True)
    others[0].store.facts.change_servers(lambda known: [drained])
    assert stage.play(seconds=100.0) < 10.0
    assert run.ended == "done"


def records_read(stage: Stage, other: Other, monkeypatch: pytest.MonkeyPatch) -> int:
    """By a run whose server renders, after another run has completed all that it holds."""
    for key in other.keys:
        other.lease.apply([Change(key, PENDING, submit(server="gpu9"))])
        other.lease.apply([Change(key, SUBMITTED, complete)])
    read, decode = [0], Item.from_record

    def counted(key: str, raw: bytes) -> Item:
        read[0] += 1
        return decode(key, raw)

    with monkeypatch.context() as counting:
        counting.setattr(Item, "from_record", counted)
        stage.play(seconds=10.0)
    return read[0]


def test_what_a_run_reads_does_not_grow_with_what_other_runs_complete(
    stage: Stage, others: list[Other], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows that something moved, and looks for work as often as before."""
    add(stage, 60)
    run = stage.run("gpu1", item_seconds=1e6)
    stage.play(seconds=60.0)
    counts = []
    for many in (1, 20):
        others.append(Other(stage, many))
        counts.append(records_read(stage, others[-1], monkeypatch))
    assert statuses(run).count(COMPLETED) == 21
    assert counts[0] == counts[1]


def test_while_it_waits_it_asks_next_to_nothing(stage: Stage, others: list[Other]) -> None:
    """At most 0.6 questions a second."""
    add(stage, 3)
    others.append(Other(stage, 2))
    run = stage.run("gpu1")
    stage.play(until=lambda: is_waiting(run))
    stage.play(seconds=2 * LOOK_SECONDS)
    with statements_of(run.store._database) as made:  # type: ignore[attr-defined]
        seconds = stage.play(seconds=200.0)
    assert run.ended is None
    assert len(made) <= 0.6 * seconds
    kinds = {re.sub(r"[\d.]+", "N", statement) for statement in made}  # SQLite tells its values with them
    assert len(kinds) <= 3, kinds
