"""All records of a state, indexed for frequent questions: how many have each status, and which is due next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import takewhile

import msgspec

from state.item import PRIORITIES, Priority, Record, Status, decode_record
from state.json.batch_order import BatchOrder
from state.json.batch_tally import BatchTally, decode_counted
from state.json.places import PLAIN, Order, Pending, order_of
from state.stages import circle_of

Raw = msgspec.Raw | bytes


class Records:
    """Records by key, as JSON text, in the order in which the keys were added."""

    def __init__(self) -> None:
        self.raws: dict[str, Raw] = {}
        self.statuses: dict[str, Status] = {}
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        self.waiting: dict[str, None] = {}
        """Keys of pending items that wait for another item, which is not completed."""
        self.stages: dict[str, dict[str, None]] = {}
        """By key of an item, the keys of those that are made from its outputs, whatever their status."""
        self._orders: dict[str, Order] = {}
        """Only those other than `PLAIN`."""
        self._keys: list[str] = []
        """By place. The place of a removed key stays, unused."""
        self._places: dict[str, int] = {}
        """Index in `_keys` of each key."""
        self._pending = {priority: Pending() for priority in PRIORITIES}
        self.batches: dict[str, dict[str, None]] = {}
        """By batch, the keys of its items; a batch without items is not in it."""
        self._recipes: Counter[tuple[Status, str]] = Counter()
        """How many records of each status name each recipe."""
        self._kinds: dict[str, str] = {}
        """Of the items for which that was asked."""
        self._due_kinds: Counter[tuple[str | None, bool, str]] | None = None
        """How many due items of each batch are urgent or not, and of which kind; None until that is asked for."""
        self._batch_counts: dict[str, Counter[Status]] = {}
        self._tallies: dict[str, BatchTally] = {}
        self._batch_orders: dict[str, BatchOrder] = {}
        """These three only of the batches that were queried."""
        self._one_line_each = True
        """Whether every record is known to be on one line; records passed to `put` always are."""

    @classmethod
    def of(
        cls,
        raws: Mapping[str, Raw],
        statuses: dict[str, Status],
        orders: dict[str, Order],
        batches: dict[str, dict[str, None]],
        recipes: Counter[tuple[Status, str]],
    ) -> Records:
        """Build from whole dictionaries, which are taken over. `orders` holds only those other than `PLAIN`."""
        records = cls()
        records.batches, records._recipes = batches, recipes
        records.raws, records.statuses, records._orders = dict(raws), statuses, orders
        records._one_line_each = False
        records.counts.update(Counter(statuses.values()))
        records._keys = list(statuses)
        records._places = dict(zip(statuses, range(len(statuses)), strict=True))
        pending = Status.PENDING
        plain: dict[Priority, list[int]] = {priority: [] for priority in PRIORITIES}
        ranked: dict[Priority, list[tuple[float, int]]] = {priority: [] for priority in PRIORITIES}
        plain["normal"] = [place for place, status in enumerate(statuses.values()) if status is pending]
        if orders:
            places, plain["normal"] = plain["normal"], []
            for place in places:
                key = records._keys[place]
                priority, rank, sources = orders.get(key, PLAIN)
                if sources and records._is_any_missing(sources):
                    records.waiting[key] = None
                elif rank:
                    ranked[priority].append((rank, place))
                else:
                    plain[priority].append(place)
        records._pending = {priority: Pending(plain[priority], sorted(ranked[priority])) for priority in PRIORITIES}
        for key, order in orders.items():
            for source in order.sources:
                records.stages.setdefault(source, {})[key] = None
        return records

    def put(self, key: str, raw: Raw, record: Record) -> None:
        """Append a record of one line, or replace the record of this key in its place."""
        before = self.statuses.get(key)
        order = order_of(record)
        if before is None:
            self._places[key] = len(self._keys)
            self._keys.append(key)
        else:
            self._unindex(key, before, record)
        waits = record.status is Status.PENDING and self._is_any_missing(order.sources)
        if record.batch is not None:
            self._enter_batch(record.batch, key, order, record, waits=waits)
        if order is not PLAIN:
            self._orders[key] = order
            for source in order.sources:
                self.stages.setdefault(source, {})[key] = None
        self.raws[key] = raw
        self.statuses[key] = record.status
        if waits:
            self.waiting[key] = None
        elif record.status is Status.PENDING:
            self._pending[order.priority].add(self._places[key], order.rank)
            self._count_due(key, 1)
        self.counts[record.status] += 1
        if record.recipe is not None:
            self._recipes[record.status, record.recipe] += 1
        self._follow_source(key, before)

    def remove(self, key: str) -> None:
        """Remove a record, if it exists. If it is added again, it comes last."""
        status = self.statuses.get(key)
        if status is None:
            return
        self._unindex(key, status, None)
        del self._places[key], self.statuses[key], self.raws[key]
        self._follow_source(key, status)

    def stuck(self) -> list[str]:
        """The keys of waiting items that wait for what cannot be completed as it stands, or for themselves."""
        due = (Status.PENDING, Status.SUBMITTED, Status.COMPLETED)
        return [
            key
            for key in self.waiting
            if any(self.statuses.get(source) not in due for source in self._orders[key].sources)
            or circle_of(key, self.sources_of)
        ]

    def sources_of(self, key: str) -> tuple[str, ...]:
        """The keys of the items that one is made from; none for one that is not there."""
        return self._orders.get(key, PLAIN).sources

    def keys(self, statuses: Collection[Status], *, batch: str | None) -> Iterable[str]:
        """In order, those with these statuses (none: any), of one batch or of all. Do not put or remove meanwhile."""
        if batch is not None:
            own = self.batches.get(batch, ())
            return (key for key in own if self.statuses[key] in statuses) if statuses else own
        if not statuses:
            return self.statuses
        if not any(self.counts[status] for status in statuses):
            return ()
        return (key for key, status in self.statuses.items() if status in statuses)

    def pending(self, batch: str | None = None) -> Iterator[str]:
        """The keys of due items, by priority, then rank, then order; or the urgent ones and those of one batch.

        Do not put or remove a record while iterating.
        """
        return (self._keys[place] for group in self._pending_groups(batch) for place in group)

    def pending_count(self, batch: str) -> int:
        """How many `pending` yields for a batch."""
        return sum(map(len, self._pending_groups(batch)))

    def kind_of(self, key: str) -> str:
        """`Item.kind`."""
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = decode_record(self.raws[key]).kind
        return kind

    def pending_of(self, kinds: Collection[str], *, batch: str | None) -> int:
        """How many items of these kinds `pending` yields."""
        if self._due_kinds is None:
            self._due_kinds = Counter()
            for key in self.pending():
                self._count_due(key, 1)
        return sum(
            count
            for (whose, is_urgent, kind), count in self._due_kinds.items()
            if kind in kinds and (is_urgent or batch in (None, whose))
        )

    def _count_due(self, key: str, change: int) -> None:
        """An item that is due, or is not any more; with its record as it was then."""
        if self._due_kinds is not None:
            record = decode_record(self.raws[key])
            self._due_kinds[record.batch, record.priority == "urgent", record.kind] += change

    def _pending_groups(self, batch: str | None) -> list[Pending]:
        urgent, *others = PRIORITIES
        own = self._pending if batch is None else self.tally(batch).due
        return [self._pending[urgent], *(own[priority] for priority in others if priority in own)]

    def pending_up_to(self, batch: str, *, without: Iterable[str] = ()) -> int:
        """How many items are due up to the last due one of this batch, `without` some; 0 if none of it is due."""
        last = self.tally(batch).last_due()
        if last is None:
            return 0
        priority, rank, place = last
        before = takewhile(lambda other: other != priority, PRIORITIES)
        due = sum(len(self._pending[other]) for other in before) + self._pending[priority].count_up_to(rank, place)
        end = PRIORITIES.index(priority), rank, place
        left_out = (key for key in without if self.statuses.get(key) is Status.PENDING and key not in self.waiting)
        return due - sum(self._turn(key) <= end for key in left_out)

    def _turn(self, key: str) -> tuple[int, float, int]:
        """Sorts the due items in the order of `pending`."""
        order = self._orders.get(key, PLAIN)
        return PRIORITIES.index(order.priority), order.rank, self._places[key]

    def counts_of(self, batch: str) -> Mapping[Status, int]:
        """How many items of a batch have each status; one with count 0 may be missing."""
        counts = self._batch_counts.get(batch)
        if counts is None:
            counts = Counter(map(self.statuses.__getitem__, self.batches.get(batch, ())))
            if counts:
                self._batch_counts[batch] = counts
        return counts

    def batch_order(self, batch: str) -> BatchOrder:
        """The items of a batch in its order: sorted at the first call, then kept up to date."""
        order = self._batch_orders.get(batch)
        if order is None:
            order = BatchOrder(self.batches.get(batch, ()), self.raws, self.statuses)
            if batch in self.batches:
                self._batch_orders[batch] = order
        return order

    def recipe_counts(self, statuses: Collection[Status]) -> dict[str | None, int]:
        """See `state.store.Store`."""
        found: Counter[str | None] = Counter()
        for (status, recipe), count in self._recipes.items():
            if status in statuses and count:
                found[recipe] += count
        if others := sum(self.counts[status] for status in statuses) - found.total():
            found[None] = others
        return dict(found)

    def tally(self, batch: str) -> BatchTally:
        """The tally of a batch: computed from its records at the first call, then kept up to date."""
        tally = self._tallies.get(batch)
        if tally is None:
            tally = BatchTally()
            for key in self.batches.get(batch, ()):
                order, record = self._orders.get(key, PLAIN), decode_counted(self.raws[key])
                tally.add(self._places[key], order, record, waits=key in self.waiting)
            self._tallies[batch] = tally
        if not tally.is_latest_known:
            records = (decode_counted(self.raws[key]) for key in self.batches.get(batch, ()))
            tally.latest = max((one.completed_at for one in records if one.completed_at is not None), default=None)
            tally.is_latest_known = True
        return tally

    def _is_any_missing(self, sources: Iterable[str]) -> bool:
        """Whether any of these items is not completed, or not there."""
        return any(self.statuses.get(source) is not Status.COMPLETED for source in sources)

    def _follow_source(self, key: str, before: Status | None) -> None:
        """This item had another status `before`: what waits for it may be due now, or has to wait again."""
        if key not in self.stages or (before is Status.COMPLETED) == (self.statuses.get(key) is Status.COMPLETED):
            return
        for stage in self.stages[key]:
            if self.statuses.get(stage) is Status.PENDING:
                waits = self._is_any_missing(self._orders[stage].sources)
                if waits and stage not in self.waiting:
                    self._make_wait(stage)
                elif not waits and stage in self.waiting:
                    self._make_due(stage)

    def _make_due(self, key: str) -> None:
        place, order, tally = self._places[key], self._orders[key], self._known_tally_of(key)
        del self.waiting[key]
        self._pending[order.priority].add(place, order.rank)
        self._count_due(key, 1)
        if tally is not None:
            tally.make_due(place, order)

    def _make_wait(self, key: str) -> None:
        place, order, tally = self._places[key], self._orders[key], self._known_tally_of(key)
        self.waiting[key] = None
        self._pending[order.priority].remove(place, order.rank)
        self._count_due(key, -1)
        if tally is not None:
            tally.make_wait(place, order)

    def _known_tally_of(self, key: str) -> BatchTally | None:
        """Of the item's batch, if that was queried."""
        batch = decode_record(self.raws[key]).batch if self._tallies else None
        return self._tallies.get(batch) if batch is not None else None

    def _enter_batch(self, batch: str, key: str, order: Order, record: Record, *, waits: bool) -> None:
        """Take a new or changed record into what is known of its batch."""
        self.batches.setdefault(batch, {})[key] = None
        if (counts := self._batch_counts.get(batch)) is not None:
            counts[record.status] += 1
        if (tally := self._tallies.get(batch)) is not None:
            tally.add(self._places[key], order, record, waits=waits)
        if (batch_order := self._batch_orders.get(batch)) is not None:
            batch_order.put(record.index, key, record.status)

    def _leave_batch(self, key: str, record: Record, now: Record | None) -> None:
        """Prepare for a change of this record of a batch to `now`, or its removal; call it before the change."""
        assert record.batch is not None
        if (tally := self._tallies.get(record.batch)) is not None:
            tally.remove(self._places[key], self._orders.get(key, PLAIN), record, waits=key in self.waiting)
        if (counts := self._batch_counts.get(record.batch)) is not None:
            counts[record.status] -= 1
        batch, index = (now.batch, now.index) if now is not None else (None, None)
        order = self._batch_orders.get(record.batch)
        if order is not None and (batch, index) != (record.batch, record.index):
            order.remove(record.index, key)
        if batch != record.batch:
            keys = self.batches[record.batch]
            del keys[key]
            if not keys:
                del self.batches[record.batch]

    def _unindex(self, key: str, status: Status, now: Record | None) -> None:
        """Remove this record, which changes to `now` or is removed, from counts, batches and due items."""
        self.counts[status] -= 1
        self._kinds.pop(key, None)
        if self.batches or self._recipes:
            record = decode_record(self.raws[key])
            if record.batch is not None:
                self._leave_batch(key, record, now)
            if record.recipe is not None:
                self._recipes[status, record.recipe] -= 1
        order = self._orders.pop(key, PLAIN)
        for source in order.sources:
            del self.stages[source][key]
            if not self.stages[source]:
                del self.stages[source]
        if status is not Status.PENDING:
            return
        if key in self.waiting:
            del self.waiting[key]
        else:
            self._pending[order.priority].remove(self._places[key], order.rank)
            self._count_due(key, -1)

    def one_line_each(self) -> Mapping[str, Raw]:
        """`raws`, after reformatting records that span several lines to one line each."""
        if not self._one_line_each:
            for key, raw in self.raws.items():
                if b"\n" in (record := bytes(raw)):
                    self.raws[key] = msgspec.json.format(record, indent=0)
            self._one_line_each = True
        return self.raws

    def differences(self, other: Records) -> list[str]:
        """The keys whose records differ in more than formatting."""
        if not self.raws:
            return list(other.raws)
        keys = {**self.raws, **other.raws}
        return [key for key in keys if not _same(self.raws.get(key), other.raws.get(key))]


def _same(one: Raw | None, other: Raw | None) -> bool:
    if one is None or other is None:
        return False
    one, other = bytes(one), bytes(other)
    return one == other or msgspec.json.format(one, indent=-1) == msgspec.json.format(other, indent=-1)
