"""What a state holds beside items and batches: written by one process, read by another, before the state exists too."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Hashable
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from support.state_scenes import NOON, item
from support.stores import State
from support.waiting import GENEROUS_SECONDS

from orchestrator.errors import RecipeUnusable
from state.batch import BatchRecord
from state.burst_record import BurstRecord, SetAsideRecord
from state.facts import OLD_SPENDS_KEPT, ClientId, Facts, Pause, PromptFailure, ServerHealth, Spend
from state.location import Location
from state.recipe import Recipe, workflow_bytes, workflow_digest
from state.server import RegisteredServer
from state.store import StateParts, Store

GRAPH: dict[str, Any] = {
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "x": 0.1, "filename_prefix": "é\ud83d"}},
    "1": {"class_type": "EmptyImage", "inputs": {"seed": 2**64 - 1, "width": 64.0}},
}


def views(state: State) -> list[StateParts]:
    """How another process may have the parts of a state that exists."""
    return [state.parts(), state.open(), state.open(read_only=True)]


def test_a_state_has_an_address_and_is_there_once_it_was_created(state: State) -> None:
    parts = state.parts()
    assert parts.location == Location.of(state.address)
    assert not parts.exists()
    with state.open(create=True) as store:
        assert store.location == parts.location
        store.add([item("a")])
        assert store.exists()
    assert parts.exists()
    assert len(state.open(create=True)) == 1, "one that exists is left as it is"
    assert parts.can_lock()


# Facts.


def health(server: str, how: str, *, minutes: int = 0) -> ServerHealth:
    return ServerHealth(server=server, health=how, at=NOON + timedelta(minutes=minutes))


def test_the_last_fact_of_each_kind_and_server_counts(state: State) -> None:
    """Before there is a state, and after."""
    log = state.parts().facts
    assert (log.read(), log.stamp()) == (Facts(), None)
    log.append(Pause(paused=True, at=NOON, reason="night"), health("a", "sick"))
    first = log.stamp()
    log.append(health("b", "well"), ClientId(server="a", client_id="one", at=NOON))
    assert not state.parts().exists()
    store = state.open(create=True)
    store.facts.append(health("a", "well", minutes=1), Pause(paused=False, at=NOON))
    assert len({None, first, log.stamp()}) == 3
    for parts in views(state):
        assert parts.facts.read() == Facts(
            Pause(paused=False, at=NOON),
            {"a": health("a", "well", minutes=1), "b": health("b", "well")},
            {"a": ClientId(server="a", client_id="one", at=NOON)},
        )


def failure(item: str, *, kind: str = "RuntimeError", charged: int = 1) -> PromptFailure:
    return PromptFailure(item=item, prompt_id=f"id of {item}", kind=kind, recipe="r", charged=charged)


def test_a_server_s_failures_in_a_row_are_kept_for_the_next_run_and_host(state: State) -> None:
    """Each of its own server, across processes that have the state open; the row is that of one kind of error."""
    logs = [parts.facts for parts in (state.open(create=True), state.open(), state.parts())]
    for number, log in enumerate(logs):
        failed = partial(ServerHealth.with_failure, failure=failure(str(number)), at=NOON)
        kept = log.change_health("gpu", failed, at=NOON)
        assert [one.item for one in kept.failures] == [str(n) for n in range(number + 1)]
    again = logs[0].change_health("gpu", lambda now: now.with_failure(failure("1"), at=NOON), at=NOON)
    assert [(one.item, one.charged) for one in again.failures] == [("0", 1), ("1", 2), ("2", 1)]
    logs[1].change_health("other", lambda now: now.with_failure(failure("9"), at=NOON), at=NOON)
    assert logs[2].read().health["gpu"] == again
    later = NOON + timedelta(minutes=3)
    sick = logs[1].change_health("gpu", lambda now: now.advising_restart("sick", "no luck", at=later), at=later)
    assert (sick.health, sick.reason, sick.restart_at, sick.failures) == ("sick", "no luck", later, again.failures)
    other_kind = logs[2].change_health(
        "gpu", lambda now: now.with_failure(failure("3", kind="out_of_memory"), at=later), at=later
    )
    assert [one.item for one in other_kind.failures] == ["3"]
    well = logs[0].change_health("gpu", lambda now: now.without_failures(at=later), at=later)
    assert (well.health, well.failures, well.reason, well.restart_at) == ("well", (), None, later)
    stamp = logs[0].stamp()
    assert logs[1].change_health("gpu", lambda now: now, at=later) == well
    assert logs[0].stamp() == stamp, "nothing to write"
    assert [view.facts.read().health["gpu"] for view in views(state)] == [well] * 3


def spend(prompts: int, *, minutes: int = 0) -> Spend:
    return Spend(server="cloud", prompts=prompts, at=NOON + timedelta(minutes=minutes))


def test_what_is_spent_is_counted_for_every_run_and_host(state: State) -> None:
    """No more than allowed, whoever asks; what was refused counts no more, nor what is long ago."""
    logs = [parts.facts for parts in (state.open(create=True), state.open(), state.parts())]
    day = NOON - timedelta(minutes=1)
    assert [log.spend(spend(1), most=2, since=day) for log in logs] == [True, True, False]
    logs[0].append(spend(-1))
    assert logs[2].spend(spend(1), most=2, since=day)
    assert not logs[1].spend(spend(1), most=2, since=day)
    assert not logs[1].spend(spend(3, minutes=5), most=2, since=NOON)
    assert logs[1].spend(spend(2, minutes=5), most=2, since=NOON)
    assert [view.facts.read().spent(since=NOON) for view in views(state)] == [2] * 3
    assert [one.prompts for one in logs[0].read().spends] == [1, 1, -1, 1, 2]


def test_processes_that_spend_at_once_spend_no_more_than_allowed(state: State) -> None:
    state.open(create=True)
    allowed: list[bool] = []

    def send() -> None:
        facts = state.parts().facts
        allowed.extend(facts.spend(spend(1), most=10, since=NOON - timedelta(minutes=1)) for _ in range(5))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_SECONDS)
    assert (allowed.count(True), allowed.count(False)) == (10, 10)


def test_processes_that_count_failures_at_once_lose_none(state: State) -> None:
    state.open(create=True)

    def count(name: str) -> None:
        facts = state.parts().facts
        for number in range(5):
            failed = partial(ServerHealth.with_failure, failure=failure(f"{name}{number}"), at=NOON)
            facts.change_health("gpu", failed, at=NOON)

    threads = [threading.Thread(target=count, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_SECONDS)
    assert len(state.parts().facts.read().health["gpu"].failures) == 20


def test_a_pause_is_in_force_until_it_is_lifted_and_everybody_sees_it(state: State) -> None:
    """Whoever follows the state, before there is one and after."""
    early = state.parts()
    assert early.pause() is None
    store, other = state.open(create=True), state.open()
    everybody = (early, store, other, state.open(read_only=True))
    assert [one.pause() for one in everybody] == [None] * 4
    night = Pause(paused=True, at=NOON, reason="night", free=True)
    other.facts.append(health("a", "well"), night)
    assert [one.pause() for one in (*everybody, state.parts())] == [night] * 5
    store.facts.append(health("a", "sick"))
    assert [one.pause() for one in everybody] == [night] * 4
    state.parts().facts.append(Pause(paused=False, at=NOON))
    assert [one.pause() for one in (*everybody, state.parts())] == [None] * 5
    store.facts.append(night)
    assert [one.pause() for one in everybody] == [night] * 4


def test_a_pause_changes_no_item_and_hinders_no_writer(store: Store) -> None:
    store.add([item("a")])
    store.facts.append(Pause(paused=True, at=NOON))
    with store.lease() as lease:
        assert [one.key for one in lease.claim(5)] == ["a"]
    assert len(store.add([item("b")])) == 1
    assert store.pause() is not None


# Bursts.


def burst(name: str) -> BurstRecord:
    return BurstRecord(
        burst=name,
        started_at=NOON,
        ended_at=NOON + timedelta(seconds=9),
        ended="killed",
        size=15,
        completed=4,
        seconds_per_item=1.25,
        reason="SIGKILL\nor so",
        alive_seconds=41.5,
        signal="SIGTERM",
        set_aside=(SetAsideRecord(recipe="r1", name="flow.json", reason="no node"),),
    )


def test_bursts_are_read_oldest_first(state: State, store: Store) -> None:
    assert (store.bursts.read(), store.bursts.stamp()) == ([], None)
    records = [burst(f"b{number}") for number in range(5)]
    stamps: set[Hashable] = {None}
    for number, each in enumerate(records):
        (store if number % 2 else state.parts()).bursts.append(each)
        stamps.add(store.bursts.stamp())
    assert len(stamps) == 6
    for parts in views(state):
        assert parts.bursts.read() == records
        assert parts.bursts.read(last=2) == records[-2:]


# Recipes.


def recipe_of(graph: dict[str, Any] = GRAPH, **fields: Any) -> Recipe:
    digest = workflow_digest(workflow_bytes(graph))
    return Recipe(workflow=digest, workflow_name="a/flow.json", bindings={"seed": ("1.seed",)}, **fields)


def test_a_recipe_is_read_with_its_graph_in_the_graphs_own_order(state: State, store: Store) -> None:
    recipe, root = recipe_of(output="out", servers=("gpu1",)), Recipe(output="/mnt/renders")
    assert state.parts().recipes.all() == {}
    assert store.recipes.add(recipe, GRAPH) == recipe
    assert state.parts().recipes.add(recipe, GRAPH) == recipe
    assert store.recipes.add(root, None) == root
    for parts in views(state):
        assert parts.recipes.get(recipe.id) == recipe
        assert json.dumps(parts.recipes.workflow(recipe)) == json.dumps(GRAPH)
        assert list(parts.recipes.all().items()) == [(recipe.id, recipe), (root.id, root)]


def test_a_recipe_that_another_process_adds_is_found_by_those_who_read_before(state: State, store: Store) -> None:
    readers = views(state)
    for recipe in (recipe_of(), recipe_of(output="later")):
        for parts in readers:
            with pytest.raises(RecipeUnusable, match=recipe.id):
                parts.recipes.get(recipe.id)
        store.recipes.add(recipe, GRAPH)
        for parts in readers:
            assert parts.recipes.get(recipe.id) == recipe


# Settings.


def test_settings_are_one_text_that_is_replaced_whole(state: State) -> None:
    settings = state.parts().settings
    assert (settings.exists(), settings.read(), settings.stamp()) == (False, None, None)
    stamps: list[Hashable] = [None]
    for text in ("version = 2\n", "version = 2\noutput_dir = 'ä'\n", "version = 2\n", ""):
        settings.write(text)
        stamps.append(settings.stamp())
        assert stamps[-1] not in (None, stamps[-2])
        assert (settings.exists(), settings.read()) == (True, text)
        assert state.parts().settings.read() == text
    state.open(create=True).settings.write("of the store")
    assert [parts.settings.read() for parts in views(state)] == ["of the store"] * 3
    assert settings.stamp() == state.parts().settings.stamp()
    assert settings.shown() == state.parts().settings.shown() != ""


def test_settings_that_no_file_can_hold_replace_nothing(state: State) -> None:
    settings = state.parts().settings
    settings.write("version = 2\n")
    stamp = settings.stamp()
    with pytest.raises(UnicodeEncodeError):
        settings.write("output_dir = '\ud800'")
    assert (settings.read(), settings.stamp()) == ("version = 2\n", stamp)


# Several at once.


def test_several_processes_append_at_once_and_nothing_is_lost(state: State, store: Store) -> None:
    batch = BatchRecord(batch="a", created_at=NOON, total=1, layout="numbered", directory="a")
    store.add([item("a/1", batch="a")], batch=batch)
    with contextlib.ExitStack() as running:
        workers = [running.enter_context(state.worker("append", name=name, count=15)) for name in "xyz"]
        for worker in workers:
            worker.end()
    marks = sorted(mark for worker in workers for _, mark in worker.acknowledged)
    assert len(marks) == 3 * 15
    parts = state.parts()
    assert sorted(parts.facts.read().health) == marks
    calls = parts.batches.read()["a"].unanswered
    assert (calls[0], sorted(calls[1:])) == ("", marks)
    recipes = parts.recipes.all().values()
    assert sorted(recipe.output for recipe in recipes) == sorted([*marks, *(f"shared{n}" for n in range(15))])
    for recipe in recipes:
        assert recipe.workflow == workflow_digest(workflow_bytes(parts.recipes.workflow(recipe)))


def test_who_adds_a_batch_keeps_others_from_it(state: State) -> None:
    """Also before the state exists. Whoever waits goes on as soon as the other has ended, in whatever way."""
    first, second, order = state.parts(), state.parts(), []
    trying, entered = threading.Event(), threading.Event()

    def wait_and_enter() -> None:
        trying.set()
        with second.adding():
            order.append("second")
            entered.set()

    waiting = threading.Thread(target=wait_and_enter, daemon=True)
    with contextlib.suppress(LookupError), first.adding():
        waiting.start()
        assert trying.wait(GENEROUS_SECONDS)
        assert not entered.wait(0.05)
        order.append("first")
        raise LookupError
    waiting.join(GENEROUS_SECONDS)
    assert order == ["first", "second"]
    with first.adding():
        pass


PAUSE = Pause(paused=True, at=NOON)


def test_what_was_spent_long_ago_is_dropped_and_what_counts_is_not(state: State) -> None:
    first, other = state.open(create=True).facts, state.parts().facts
    first.append(*[spend(1, minutes=-60 * 24 * 9)] * OLD_SPENDS_KEPT, spend(1, minutes=-60), PAUSE)
    assert len(other.read().spends) == OLD_SPENDS_KEPT + 1
    day = NOON - timedelta(days=1)
    assert first.spend(spend(1), most=2, since=day)
    for facts in (first, state.parts().facts):
        assert [one.at for one in facts.read().spends] == [NOON - timedelta(hours=1), NOON]
        assert facts.read().pause == PAUSE
    assert other.read().spent(since=day) == 2, "one that had read them before"
    assert not other.spend(spend(1), most=2, since=day)
    assert other.spend(spend(1), most=3, since=day)
    assert [log.read().spent(since=day) for log in (first, other)] == [3, 3]


# Registered servers.


def registered(name: str, url: str = "http://10.0.0.7:8188", **fields: Any) -> RegisteredServer:
    return RegisteredServer(name=name, url=url, at=NOON, **fields)


def test_servers_are_registered_changed_and_removed_for_everybody(state: State) -> None:
    """Before there is a state and after; whoever follows it sees each change, in the order of registration."""
    early = state.parts()
    assert (early.servers(), early.facts.read().servers) == ({}, {})
    gpu1 = registered("gpu1", labels=("big",), window=2)
    at_home = registered("127.0.0.1:8188@here", "http://127.0.0.1:8188", host="here")
    assert early.facts.change_servers(lambda now: [gpu1]) == (gpu1,)
    store, other = state.open(create=True), state.open()
    other.facts.append(health("gpu1", "sick"))
    other.facts.change_servers(lambda now: [at_home])
    everybody = (early, store, other, *views(state))
    assert [list(one.servers().values()) for one in everybody] == [[gpu1, at_home]] * 6
    drained = msgspec.structs.replace(gpu1, draining=True)
    store.facts.change_servers(lambda now: [msgspec.structs.replace(now["gpu1"], draining=True)])
    assert [list(one.servers().values()) for one in everybody] == [[drained, at_home]] * 6
    stamp = store.facts.stamp()
    assert early.facts.change_servers(lambda now: []) == ()
    assert store.facts.stamp() == stamp, "nothing to write"
    other.facts.change_servers(lambda now: [msgspec.structs.replace(now["gpu1"], removed=True)])
    other.facts.append(health("gpu1", "well"))
    assert [list(one.servers()) for one in everybody] == [[at_home.name]] * 6
    other.facts.change_servers(lambda now: [gpu1])
    assert [list(one.servers().values()) for one in (*everybody, state.parts())] == [[at_home, gpu1]] * 7


def test_processes_that_register_servers_at_once_lose_none(state: State) -> None:
    state.open(create=True)

    def register(name: str) -> None:
        facts = state.parts().facts
        for number in range(5):
            facts.change_servers(lambda now, at=number: [registered(f"{len(now)}", window=at + 1)])

    threads = [threading.Thread(target=register, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_SECONDS)
    assert sorted(map(int, state.parts().servers())) == list(range(20)), "each saw what the others had registered"
