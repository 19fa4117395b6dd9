"""Following states: what is seen of what others write, and what a look costs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from support.front_ends import front

from orchestrator.errors import BurstError, StateError
from orchestrator.sandbox import Sandbox
from orchestrator.web import states
from orchestrator.web.states import WatchedState, WatchedStates
from state.batch import BatchRecord, GoneRecord
from state.burst_record import BurstRecord
from state.change import Change
from state.item import Item, Status
from state.json.batch_log import JsonBatchLog
from state.json.store import JsonStore
from state.open_store import open_store, parts_of
from state.store import Store

EACH = 20
AT = datetime(2026, 11, 21, 5, tzinfo=UTC)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def add_batch(store: Store, name: str, *, total: int = EACH) -> None:
    # Backwards: the order of the state is not the batch's.
    store.add(
        [
            Item(key=f"{name}/{index}", status=Status.PENDING, batch=name, index=index, prompt_text="a fox")
            for index in range(total, 0, -1)
        ],
        batch=BatchRecord(batch=name, created_at=AT, total=total, layout="gallery", directory=f"batches/{name}"),
    )


def fail(store: Store, key: str) -> None:
    store.apply([Change(key, Status.PENDING, lambda item: msgspec.structs.replace(item, status=Status.FAILED))])


def statuses(watched: WatchedStates, name: str) -> list[str]:
    found = watched.find(name)
    assert found is not None
    return [str(item.status) for item in found[1].items()]


def test_what_others_write_is_seen_at_the_next_look(tmp_path: Path) -> None:
    watched = WatchedStates([tmp_path / "state.json"])
    assert watched.find("b1") is None, "there is no file yet"
    store = open_store(tmp_path / "state.json", create=True)
    add_batch(store, "b1", total=3)
    assert statuses(watched, "b1") == ["pending"] * 3
    fail(store, "b1/1")
    assert statuses(watched, "b1") == ["failed", "pending", "pending"], "in the batch's order"
    store.settle(at_end=True)
    add_batch(store, "b2", total=1)
    assert statuses(watched, "b2") == ["pending"]
    assert statuses(watched, "b1") == ["failed", "pending", "pending"]
    store.batches.append(GoneRecord(batch="b1", at=datetime.now(UTC)))
    assert watched.find("b1") is None
    watched.close()


def edited_while_followed(path: Path) -> tuple[Store, WatchedStates]:
    """Three items in b1 and one in b2 were seen; since then one of b1 was taken out by hand, another put into b2."""
    store = open_store(path, create=True)
    add_batch(store, "b1", total=3)
    add_batch(store, "b2", total=1)
    store.settle(at_end=True)
    watched = WatchedStates([path])
    assert len(statuses(watched, "b1")) == 3
    records = msgspec.json.decode(path.read_bytes())
    del records["b1/1"]
    records["b1/2"]["batch"] = "b2"
    path.write_bytes(msgspec.json.encode(records))
    return store, watched


def test_items_that_are_taken_out_by_hand_are_gone_and_those_that_change_their_batch_too(tmp_path: Path) -> None:
    _, watched = edited_while_followed(tmp_path / "state.json")
    assert len(statuses(watched, "b1")) == 1
    assert len(statuses(watched, "b2")) == 2
    watched.close()


def test_so_are_those_whose_edit_a_writer_took_in_before_we_looked(tmp_path: Path) -> None:
    store, watched = edited_while_followed(tmp_path / "state.json")
    fail(store, "b1/3")
    store.settle(at_end=True)
    assert statuses(watched, "b1") == ["failed"]
    assert len(statuses(watched, "b2")) == 2
    watched.close()


def test_while_an_edit_is_taken_in_nobody_sees_half_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    store = open_store(path, create=True)
    add_batch(store, "b1", total=5)
    store.settle(at_end=True)
    watched = WatchedStates([path])
    found = watched.find("b1")
    assert found is not None
    records = msgspec.json.decode(path.read_bytes())
    del records["b1/1"]
    path.write_bytes(msgspec.json.encode(records))
    read, close, seen = states.open_store, JsonStore.close, []

    def look() -> None:
        seen.append(len(list(found[1].items())))

    def reading(path: Path, *, read_only: bool) -> Store:
        look()
        opened = read(path, read_only=read_only)
        look()
        return opened

    def closing(store: JsonStore) -> None:
        look()
        close(store)
        look()

    monkeypatch.setattr(states, "open_store", reading)
    monkeypatch.setattr(JsonStore, "close", closing)
    assert len(statuses(watched, "b1")) == 4
    assert seen == [5, 5, 4, 4], "what another thread finds in its hands meanwhile"
    watched.close()


def test_a_state_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    for path in paths:
        store = open_store(path, create=True)
        add_batch(store, path.stem, total=1)
        store.settle(at_end=True)
        store.close()
    watched = WatchedStates(paths)
    whole = paths[0].read_bytes()
    paths[0].write_text("{broken")
    assert statuses(watched, "two") == ["pending"]
    with pytest.raises(StateError, match=r"one\.json: not JSON at line 1"):
        watched.find("one")
    with pytest.raises(StateError):
        watched.find("nowhere")  # who knows
    paths[0].unlink()
    paths[0].mkdir()
    assert statuses(watched, "two") == ["pending"]
    with pytest.raises(BurstError, match=r"one\.json"):
        watched.find("one")
    paths[0].rmdir()
    paths[0].write_bytes(whole)
    assert statuses(watched, "one") == ["pending"]
    watched.close()


def test_a_state_that_is_taken_away_is_none(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    store = open_store(path, create=True)
    add_batch(store, "b1", total=1)
    store.settle(at_end=True)
    store.close()
    watched = WatchedStates([path])
    assert statuses(watched, "b1") == ["pending"]
    path.unlink()
    with pytest.raises(StateError, match="the file is missing, but its journal"):
        watched.find("b1")
    for left in ("journal.jsonl", "batches.jsonl"):
        (store.checkpoint_directory / left).unlink()
        assert watched.find("b1") is None
        assert watched.states[0].store is None
    again = open_store(path, create=True)
    add_batch(again, "b2", total=1)
    assert watched.find("b1") is None
    assert statuses(watched, "b2") == ["pending"]
    watched.close()


def test_a_batch_all_of_whose_items_were_removed_is_not_listed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "state.json", create=True)
    add_batch(store, "b1", total=2)
    watched = WatchedStates([tmp_path / "state.json"])
    assert statuses(watched, "b1") == ["pending"] * 2
    store.apply([Change(item.key, item.status, lambda item: None) for item in store.items()])
    assert watched.find("b1") is None
    watched.close()


def test_settings_and_pace_are_those_of_now_and_read_again_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path / "state.json", create=True).close()
    (state,) = WatchedStates([tmp_path / "state.json"]).states
    folder, reads = parts_of(state.path).checkpoint_directory, []
    log = parts_of(state.path).bursts
    assert (state.settings.template, state.pace) == (None, None)
    for number, template in enumerate(("one", "two"), 1):
        (folder / "settings.toml").write_text(f'version = 1\ntemplate = "{template}"\n')
        ended = {"ended_at": AT, "ended": "done", "size": 1}
        log.append(BurstRecord(burst=template, started_at=AT, completed=1, seconds=3.0 * number, **ended))
        assert state.settings.template == template
        assert state.pace == pytest.approx((3.0, 4.5)[number - 1])
    monkeypatch.setattr(type(log), "read", lambda _log: reads.append("bursts"))
    monkeypatch.setattr("orchestrator.web.states.load_settings", lambda *_said: reads.append("settings"))
    assert (state.settings.template, state.pace) == ("two", pytest.approx(4.5))
    assert reads == []


def test_an_id_is_meant_as_it_stands(tmp_path: Path) -> None:
    store = open_store(tmp_path / "state.json", create=True)
    add_batch(store, "b10", total=1)
    watched = WatchedStates([tmp_path / "state.json"])
    assert watched.find("b1") is None
    assert watched.find("b10") is not None
    watched.close()


def test_one_state_that_is_named_twice_is_one(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "state.json")
    assert len(WatchedStates([tmp_path / "state.json", tmp_path / "link.json"]).states) == 1


class Costs:
    """What is done from now on: items read out of their records, syncs, files opened to be written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.items = self.syncs = self.written = 0
        decode, sync, opened = Item.from_record.__func__, os.fsync, os.open  # type: ignore[attr-defined]

        def decoding(kind: type[Item], key: str, raw: bytes) -> Item:
            self.items += 1
            return decode(kind, key, raw)  # type: ignore[no-any-return]

        def syncing(number: int) -> None:
            self.syncs += 1
            sync(number)

        def opening(path: str, flags: int, *more: int, **named: int) -> int:
            self.written += bool(flags & (os.O_WRONLY | os.O_RDWR))
            return opened(path, flags, *more, **named)

        monkeypatch.setattr(Item, "from_record", classmethod(decoding))
        monkeypatch.setattr(os, "fsync", syncing)
        monkeypatch.setattr(os, "open", opening)


def test_pages_that_look_on_cost_neither_requests_nor_syncs_nor_a_pass_over_the_items(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with front(tmp_path, sandbox, works=False) as shown:
        store = open_store(shown.states[0], create=True)
        for number in range(50):
            add_batch(store, f"b{number}")
        shown.progress("b7")
        before, costs = sandbox.counts()["requests"], Costs(monkeypatch)
        logs: list[object] = []
        read = JsonBatchLog.read
        monkeypatch.setattr(JsonBatchLog, "read", lambda log: logs.append(log) or read(log))
        for _ in range(20):
            shown.progress("b7")
        assert (costs.items, costs.syncs, costs.written, logs) == (0, 0, 0, [])
        fail(store, "b7/3")
        mine = Costs(monkeypatch)
        for _ in range(20):
            found = shown.progress("b7")
        assert found["progress"]["failedImages"] == [3]
        assert mine.items <= 2, "what has changed, and nothing else"
        assert (mine.syncs, mine.written) == (0, 0)
        assert sandbox.counts()["requests"] == before


def test_the_form_asks_comfyui_once_for_all_pages(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, works=False) as shown:
        first = shown.http.get("/api/options").json()
        before = sandbox.counts()["requests"]
        assert [shown.http.get("/api/options").json() for _ in range(20)] == [first] * 20
        assert sandbox.counts()["requests"] == before


def pending(state: WatchedState) -> dict[str, int]:
    assert state.store is not None
    return {name: counts.pending for name, counts in state.store.counts_by_batch().items() if counts.pending}


def test_what_is_pending_is_known_without_a_look_at_all_others(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    store = open_store(path, create=True)
    add_batch(store, "b1", total=3)
    add_batch(store, "b2", total=2)
    watched = WatchedStates([path])
    (state,) = watched.states
    state.refresh()
    assert pending(state) == {"b1": 3, "b2": 2}
    fail(store, "b1/2")
    [fail(store, f"b2/{index}") for index in (1, 2)]
    state.refresh()
    assert pending(state) == {"b1": 2}
    store.settle(at_end=True)
    records = msgspec.json.decode(path.read_bytes())
    del records["b1/1"]
    records["b1/3"]["batch"] = "b2"
    records["b2/1"]["status"] = "pending"
    path.write_bytes(msgspec.json.encode(records))
    state.refresh()
    assert pending(state) == {"b2": 2}
    watched.close()
