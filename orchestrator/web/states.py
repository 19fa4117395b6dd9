"""The states that the front end was started with, each followed as others write it.

Nothing is written here but in `writing`. Items stay in their store, which is queried for what a call needs: of a state
of any size little is kept besides.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.cycle.pacing import measured_pace
from orchestrator.cycle.set_aside import SetAside, due_items, waiting_for
from orchestrator.errors import BurstError, RequestConflict
from orchestrator.migration import open_for_writing, writer_of
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from orchestrator.settings import Overrides, Settings, load_settings
from orchestrator.statistics import pictures_of
from orchestrator.time_left import bursts_at_work, pace_of
from orchestrator.web.item_cache import ItemCache
from orchestrator.web.watched_batch import WatchedBatch
from state.burst_record import BurstRecord, SetAsideRecord, recent_records
from state.counts import Counts
from state.item import DUE, Item, Status
from state.live import Live
from state.open_store import open_store, parts_of
from state.store import Follower, Store


@dataclass(frozen=True)
class WaitingItems:
    """Pending items whose recipe the last burst set aside."""

    recipes: tuple[SetAside, ...] = ()
    batches: Mapping[str, str | None] = field(default_factory=dict)
    """Their keys, and the ids of their batches."""

    @property
    def count(self) -> int:
        return sum(one.items for one in self.recipes)


class WatchedState:
    """One state file, followed. Any thread may use it; `refresh` first.

    That costs a few looks at the disk when nothing has changed, and what was changed otherwise.
    """

    def __init__(self, number: int, path: Path, overrides: Overrides) -> None:
        self.number = number
        """Its place among those the front end was started with, from 0."""
        self.path = path.resolve()
        self._overrides = overrides
        self._mutex = threading.RLock()
        self._store: Store | None = None
        self._others: Follower
        """Of `_store`, where there is one."""
        self.parts = parts_of(self.path)
        """What belongs to it beside its items."""
        self._log_stamp: Hashable = None
        self._batches: dict[str, WatchedBatch] = {}
        self._listed: tuple[int, Mapping[str, WatchedBatch]] = (-1, {})
        """What `batches` returns, as of a version."""
        self._counts: tuple[int, Mapping[str, Counts]] = (-1, {})
        """By batch, as of a version."""
        self._shown = ItemCache()
        self._settings: tuple[Hashable, Settings] | None = None
        self._placement: Placement | None = None
        self._bursts_stamp: Hashable = None
        self._bursts: list[BurstRecord] = []
        self._pace: float | None = None
        """Of the last bursts."""
        self._first_pace: tuple[int, float | None] = (-1, None)
        """Before any burst has ended: that of the first items, as of a version."""
        self._waiting: tuple[Hashable, WaitingItems] = (None, WaitingItems())
        self._waiting_in: tuple[Hashable, dict[str, tuple[SetAside, ...]]] = (None, {})
        """By batch, as of the same."""
        self._made: dict[str, tuple[int, int]] = {}
        """By batch: how many images it has, as of a version."""
        self.version = 0
        """Another number after every refresh that brought something."""

    @property
    def store(self) -> Store | None:
        """For reading; None while the file is not there."""
        return self._store

    @property
    def overrides(self) -> Overrides:
        """What the command line of the front end said."""
        return self._overrides

    @property
    def settings(self) -> Settings:
        """As the file has them now. Errors: SettingsError."""
        with self._mutex:
            stamp = self.parts.settings.stamp()
            if self._settings is None or self._settings[0] != stamp:
                self._settings = stamp, load_settings(self.path, self._overrides)
            return self._settings[1]

    @property
    def placement(self) -> Placement:
        """Where its files are. Errors: SettingsError."""
        with self._mutex:
            settings = self.settings
            if self._placement is None or self._placement.default != settings.output_dir:
                self._placement = Placement(Recipes(self.parts.recipes, self.path.parent), settings.output_dir)
            return self._placement

    @property
    def bursts(self) -> list[BurstRecord]:
        """The records of the last bursts, oldest first."""
        with self._mutex:
            self._read_bursts()
            return self._bursts

    @property
    def pace(self) -> float | None:
        """See `pace_of`, with the runs at work."""
        at_work = self.parts.holders()
        with self._mutex:
            self._read_bursts()
            pace = self._pace
            if pace is None and self._store is not None:
                if self._first_pace[0] != self.version:
                    self._first_pace = self.version, pace_of(self._store, self._bursts)
                pace = self._first_pace[1]
            return None if pace is None else pace / bursts_at_work(self._bursts, at_work, pace)

    def live(self) -> Live | None:
        """What the runs at work show, who show more while somebody looks."""
        self.parts.watch()
        return self.parts.live()

    @property
    def set_aside(self) -> tuple[SetAsideRecord, ...]:
        """The recipes and output roots that the burst at work could not use so far, or else the last one."""
        if (live := self.parts.live()) is not None:
            return live.set_aside
        bursts = self.bursts
        return bursts[-1].set_aside if bursts else ()

    @property
    def waiting(self) -> WaitingItems:
        """The items that wait for these recipes, as of the last refresh. Counted again only after a change."""
        with self._mutex:
            records = self.set_aside
            seen = self.version, records
            if self._waiting[0] != seen:
                found = WaitingItems()
                if records and self._store is not None:
                    batches = {item.key: item.batch for item in due_items(records, self._store)}
                    found = WaitingItems(waiting_for(records, self._store.items(*DUE)), batches)
                self._waiting = seen, found
            return self._waiting[1]

    def waiting_in(self, batch_id: str) -> tuple[SetAside, ...]:
        """The same of one batch."""
        with self._mutex:
            records = self.set_aside
            if not records or self._store is None:
                return ()
            seen = self.version, records
            if self._waiting_in[0] != seen:
                self._waiting_in = seen, {}
            found = self._waiting_in[1]
            if batch_id not in found:
                found[batch_id] = waiting_for(records, self._store.items(*DUE, batch=batch_id))
            return found[batch_id]

    def made_in(self, batch: WatchedBatch) -> int | None:
        """How many images a batch that has ended has. Counted once; None while anything is left of it."""
        if batch.counts.remaining:
            return None
        with self._mutex:
            if self._made.get(batch.id, (-1, 0))[0] != self.version:
                count = sum(len(pictures_of(item)) for item in batch.items(Status.COMPLETED))
                self._made[batch.id] = self.version, count
            return self._made[batch.id][1]

    def items_with(self, keys: Sequence[str]) -> list[Item]:
        """The items with these keys, for a page: the last few hundred stay decoded until they are changed."""
        with self._mutex:
            return self._shown.get_many(self._store, keys) if self._store is not None else []

    @contextlib.contextmanager
    def writing(self) -> Iterator[Store]:
        """The state to be changed, without reading it again where it is open; then what was changed is known here.

        Errors: as `open_for_writing`.
        """
        with self._mutex:
            self.refresh()
            writer = writer_of(self._store) if self._store is not None else None
            if writer is not None:
                yield writer
            else:
                with open_for_writing(self.path) as opened:
                    yield opened
            self.refresh()

    def refresh(self) -> None:
        """Take in what others wrote. Errors: StateError."""
        with self._mutex:
            if self._store is None or not self.path.exists():
                self._open()
            elif keys := self._others.news():
                self.version += 1
                self._shown.forget(keys)
            elif self._store.is_edited():
                self._open()
            log = (self._store if self._store is not None else self.parts).batches
            if (stamp := log.stamp()) != self._log_stamp:
                self._log_stamp, self.version = stamp, self.version + 1
                self._batches = {name: WatchedBatch(batch, lambda: self._store) for name, batch in log.read().items()}

    def batches(self) -> Mapping[str, WatchedBatch]:
        """Those that are not gone, oldest first; without those whose items were all removed."""
        with self._mutex:
            if self._listed[0] != self.version:
                filled = self.counts_by_batch()
                listed = {
                    name: batch for name, batch in self._batches.items() if name in filled and not batch.batch.gone
                }
                self._listed = self.version, listed
            return self._listed[1]

    def counts_by_batch(self) -> Mapping[str, Counts]:
        """As of the last refresh; counted once until the next one that brings something."""
        with self._mutex:
            if self._counts[0] != self.version:
                self._counts = self.version, self._store.counts_by_batch() if self._store is not None else {}
            return self._counts[1]

    def batch(self, batch_id: str) -> WatchedBatch | None:
        """The one of `batches` with this id."""
        with self._mutex:
            found = self._batches.get(batch_id)
            return found if found is not None and found.is_listed else None

    def batch_named(self, name: str) -> WatchedBatch | None:
        """Of several of one name the last: those before it are gone, or empty."""
        with self._mutex:
            named = (batch for batch in reversed(self._batches.values()) if batch.record.name == name)
            return next((batch for batch in named if batch.is_listed), None)

    def batch_of_key(self, key: str) -> str | None:
        """The batch that was made with this Idempotency-Key, also one that is gone."""
        with self._mutex:
            sent = ((batch, batch.record.idempotency) for batch in self._batches.values())
            found = (batch for batch, one in sent if one is not None and one.key == key)
            return next((batch.id for batch in found if batch.is_listed or batch.batch.gone), None)

    def name_of(self, batch_id: str) -> str | None:
        """What a batch is called, also one that is gone."""
        with self._mutex:
            return self._batches[batch_id].record.name if batch_id in self._batches else None

    def knows(self, batch_id: str) -> bool:
        """Also one that is gone."""
        with self._mutex:
            return batch_id in self._batches

    def close(self) -> None:
        with self._mutex:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _read_bursts(self) -> None:
        if (stamp := self.parts.bursts.stamp()) != self._bursts_stamp:
            self._bursts = recent_records(self.parts.bursts)
            self._bursts_stamp, self._pace = stamp, measured_pace(self._bursts)

    def _open(self) -> None:
        """Read everything, anew after an edit by hand. No file is no state, unless its journal is there."""
        opened = open_store(self.path, read_only=True) if self.parts.exists() else None
        if opened is None and self._store is None:
            return
        if opened is not None:
            self._others = Follower(opened)
        # Whole before it is shown: other threads query the one that they find without waiting for us.
        before, self._store = self._store, opened
        self.version += 1
        self._shown.clear()
        if before is not None:
            before.close()


class WatchedStates:
    """Every state that the front end was started with."""

    def __init__(self, states: Sequence[Path], overrides: Overrides | None = None) -> None:
        """`overrides` hold for all of them. The files may come later: the first batch makes them."""
        unique = dict.fromkeys(path.resolve() for path in states)
        self.states = tuple(WatchedState(number, path, overrides or Overrides()) for number, path in enumerate(unique))

    def find(self, batch_id: str) -> tuple[WatchedState, WatchedBatch] | None:
        """The batch of exactly this id or name, refreshed, and where it is. Of equal names the first state's.

        Errors: StateError or DiskFull of a state that cannot be read, where no other has the batch.
        """
        unreadable = None
        named: tuple[WatchedState, WatchedBatch] | None = None
        for state in self.states:
            try:
                state.refresh()
            except BurstError as error:
                unreadable = unreadable or error
                continue
            if (batch := state.batch(batch_id)) is not None:
                return state, batch
            if named is None and (batch := state.batch_named(batch_id)) is not None:
                named = state, batch
        if named is not None:
            return named
        if unreadable is not None:
            raise unreadable
        return None

    def refuse_key_elsewhere(self, key: str | None, state: WatchedState) -> None:
        """Errors: RequestConflict where a batch of another state was made with this Idempotency-Key."""
        for other in self.states:
            if key is None or other is state:
                continue
            with contextlib.suppress(BurstError):
                other.refresh()
            if (batch_id := other.batch_of_key(key)) is not None:
                raise RequestConflict(
                    f"Idempotency-Key {key!r}: batch {batch_id} was started with it in another state; "
                    "send a new key with a new request"
                )

    def close(self) -> None:
        with contextlib.ExitStack() as held:
            for state in self.states:
                held.callback(state.close)
