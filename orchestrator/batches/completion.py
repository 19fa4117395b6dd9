"""Which batches have ended: noted once for each time, and written to batch_info.json."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime

import msgspec

from orchestrator.batches.batch_info import NAME, infos_of, write_batch_info
from orchestrator.batches.layouts import WITH_INFO
from orchestrator.batches.standing import standing_of
from orchestrator.clock import Clock
from orchestrator.errors import BurstError
from orchestrator.outputs.placement import Placement
from state.batch import Batch, BatchRecord, EndRecord
from state.counts import Counts
from state.disk import Disk
from state.item import Item
from state.store import Store

_INFO_SHARE = 0.05
"""Before its batch has ended, batch_info.json is written when that last took less than this share of the time since."""


class BatchCompletion:
    """Of the batches of one state, during one run. Used by one thread."""

    def __init__(self, store: Store, placement: Placement, *, clock: Clock, note: Callable[[str], None]) -> None:
        self._store = store
        self._placement = placement
        self._clock = clock
        self._note = note
        self._disk = Disk()
        self._log = store.batches
        self._read: tuple[Hashable, int] = (None, 0)
        """What the log and the number of items were when they were last read."""
        self._batches: dict[str, Batch] = {}
        """Those that are not gone."""
        self._looked_at: set[str] = set()
        self._open: dict[str, bool] = {}
        """Batches that are not known to have ended, and whether items of them were left to do in this run: when these
        have ended, that is a new end."""
        self._counts: Counts | None = None
        self._info_due_at = clock.monotonic()

    def look(self, *, again: bool = False) -> None:
        """Note what has ended. Safe to repeat.

        `again`: look at all batches again, since others may have made items of an ended one due again.
        What the disk refuses is said in the report and hinders nothing: the next look tries it again.
        """
        if again:
            self._looked_at, self._read = set(self._open), (None, 0)
        try:
            self._read_log()
            for name, was_left in list(self._open.items()):
                if self._store.counts(batch=name).remaining or not self._end(self._batches[name], was_left=was_left):
                    self._open[name] = True
                else:
                    del self._open[name]
            self._keep_infos()
            self._read_log()
        except (BurstError, OSError) as error:
            self._note(f"the end of batches could not be recorded: {error}")

    def _read_log(self) -> None:
        """Take in what was noted since, by whomever, and which batches are new."""
        stamp, item_count = self._log.stamp(), len(self._store)
        if (stamp, item_count) == self._read:
            return
        self._batches = {name: batch for name, batch in self._log.read().items() if not batch.gone}
        self._read = stamp, item_count
        self._open = {name: was_left for name, was_left in self._open.items() if name in self._batches}
        if new := self._batches.keys() - self._looked_at:
            new &= self._store.counts_by_batch().keys()
            self._open |= dict.fromkeys((name for name in self._batches if name in new), False)
            self._looked_at |= new

    def _end(self, batch: Batch, *, was_left: bool) -> bool:
        """Note this end, unless it is noted. The event's id is durable before a webhook is called.

        False if items are due again.
        """
        items = sorted(self._store.items(batch=batch.id), key=_index)
        mark, counts, at = mark_of(items), Counts.of(items), self._clock.now()
        if not items or (batch.ends and batch.ends[-1].mark == mark and not was_left):
            return True
        how = standing_of(counts).end
        if how is None:
            return False
        if batch.record.layout in WITH_INFO:
            self._write_info(batch.record, items, ended_at=at)
        end = EndRecord(
            batch=batch.id,
            event=str(uuid.uuid4()),
            at=at,
            how=how,
            completed=counts.completed,
            failed=counts.failed,
            cancelled=counts.cancelled,
            mark=mark,
        )
        self._log.append(end)
        return True

    def _keep_infos(self) -> None:
        """Keep batch_info.json of what is under way in step, as often as its size allows."""
        counts, began = self._store.counts(), self._clock.monotonic()
        if counts == self._counts or began < self._info_due_at:
            return
        for name in self._open:
            if (record := self._batches[name].record).layout in WITH_INFO:
                self._write_info(record, sorted(self._store.items(batch=name), key=_index), ended_at=None)
        self._counts, now = counts, self._clock.monotonic()
        self._info_due_at = now + (now - began) / _INFO_SHARE

    def _write_info(self, record: BatchRecord, items: Sequence[Item], *, ended_at: datetime | None) -> None:
        """What the output directory refuses keeps nobody from hearing of a batch's end."""
        try:
            for path, info in infos_of(self._placement, record, items, ended_at=ended_at):
                write_batch_info(path, info, disk=self._disk)
        except (BurstError, OSError) as error:
            self._note(f"the {NAME} of batch {record.batch} could not be written: {error}")


def _index(item: Item) -> int:
    return item.index or 0


def end_without(end: EndRecord, items: Sequence[Item]) -> EndRecord:
    """An end as it was noted, for the items that are left of its batch: the same event, so nobody is notified again."""
    counts = Counts.of(items)
    return msgspec.structs.replace(
        end,
        completed=counts.completed,
        failed=counts.failed,
        cancelled=counts.cancelled,
        mark=mark_of(items),
    )


def mark_of(items: Sequence[Item]) -> str:
    """Another one whenever an item was sent again, or ended otherwise."""
    digest = hashlib.sha256()
    for item in sorted(items, key=_index):
        prompt_id = item.prompt_id or (item.previous_prompt_ids or ("",))[-1]
        digest.update(f"{item.key}\0{item.status}\0{prompt_id}\n".encode("utf-8", "replace"))
    return digest.hexdigest()
