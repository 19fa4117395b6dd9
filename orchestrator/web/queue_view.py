"""What the runs of all states render at the moment and what comes next, for the queue that every page shows.

Reads what runs have written; asks ComfyUI nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

from orchestrator.errors import BurstError, StateAway
from orchestrator.web.queue_schemas import Queue, QueuedWork, QueueState, RenderingItem
from orchestrator.web.running import preview_address
from orchestrator.web.state_routes import StateSummary, seconds_left_of, summary_of
from orchestrator.web.states import WatchedState
from orchestrator.web.supervisor import Supervisor
from orchestrator.web.watched_batch import WatchedBatch
from state.counts import Counts
from state.item import DUE, PRIORITIES, Priority
from state.store import Store

_DUE_LOOKED_AT = 200
"""Items, to see which batch comes first; the others follow in the order in which they were added."""
_LISTED = 100
"""Batches of each state."""
_FREE_BYTES_UNIT = 1 << 26
"""What changes less is no news."""


def queue_of(states: Sequence[WatchedState], supervisor: Supervisor) -> Queue:
    """Of all states; one that cannot be read says why in its message."""
    queue = Queue(rendering=[], next=[], nextTotal=0, states=[])
    for state in states:
        try:
            found = _queue_of(state, supervisor)
        except StateAway as away:
            found = Queue(rendering=[], next=[], nextTotal=0, states=[_away(state, away)])
        queue.rendering += found.rendering
        queue.next += found.next
        queue.nextTotal += found.nextTotal
        queue.states += found.states
    return queue


def _queue_of(state: WatchedState, supervisor: Supervisor) -> Queue:
    summary = summary_of(state, supervisor)
    standing = _standing(state, summary)
    if state.store is None:
        return Queue(rendering=[], next=[], nextTotal=0, states=[standing])
    rendering = list(_rendering(state, state.store))
    left = _remaining(state.store)
    return Queue(rendering=rendering, next=_next(state, left[:_LISTED]), nextTotal=len(left), states=[standing])


def _away(state: WatchedState, away: StateAway) -> QueueState:
    return QueueState(
        state=state.number,
        path=str(state.path),
        working=False,
        paused=None,
        remaining=0,
        ahead=0,
        completed=0,
        failed=0,
        secondsLeft=None,
        message=str(away),
        away=True,
        freeBytes=None,
    )


def _standing(state: WatchedState, summary: StateSummary) -> QueueState:
    counts = state.store.counts() if state.store is not None else Counts()
    live = state.parts.live() if counts.remaining else None
    return QueueState(
        state=state.number,
        path=summary.path,
        working=summary.working,
        paused=summary.paused,
        remaining=counts.remaining,
        ahead=min((line.ahead for line in live.lines), default=0) if live is not None else 0,
        completed=counts.completed,
        failed=counts.failed,
        secondsLeft=seconds_left_of(state),
        message=summary.message,
        away=False,
        freeBytes=_free_bytes(state),
    )


def _rendering(state: WatchedState, store: Store) -> Iterator[RenderingItem]:
    live = state.parts.live()
    if live is None:
        return
    away = {one.server for one in live.troubles if one.kind == "away"}
    items = {item.key: item for item in store.get_many([one.item for one in live.running])}
    for one in live.running:
        if one.server in away or (item := items.get(one.item)) is None:
            continue
        batch = state.batch(item.batch) if item.batch is not None else None
        shows = batch is not None and live.preview_of == one.item
        yield RenderingItem(
            state=state.number,
            item=item.key,
            batchId=item.batch,
            batchName=state.name_of(item.batch) if item.batch is not None else None,
            prompt=item.prompt_text
            or (batch.record.prompts[0] if batch is not None and batch.record.prompts else None),
            number=item.index if item.batch is not None else None,
            server=one.server,
            since=one.since,
            node=one.node,
            loads=one.loads,
            step=one.step,
            steps=one.steps,
            percent=one.percent,
            preview=preview_address(item.batch, live) if shows and item.batch is not None else None,
        )


def _remaining(store: Store) -> list[tuple[str | None, Counts]]:
    """The batches of which items remain, and the items without one: what servers have, then by what is due first."""
    every, of_batches = store.counts(), store.counts_by_batch()
    others = Counts({status: every[status] - sum(one[status] for one in of_batches.values()) for status in every})
    sent = [name for name, counts in of_batches.items() if counts.submitted]
    due = [item.batch for item in store.due(_DUE_LOOKED_AT)]
    names: dict[str | None, None] = dict.fromkeys([*sent, *due, *of_batches, None])
    found = ((name, others if name is None else of_batches.get(name, Counts())) for name in names)
    return [(name, counts) for name, counts in found if counts.remaining]


def _next(state: WatchedState, left: Sequence[tuple[str | None, Counts]]) -> list[QueuedWork]:
    """These by priority; those of one priority in their order."""
    found = [_work(state, name, counts) for name, counts in left]
    return sorted(found, key=lambda one: PRIORITIES.index(one.priority or "normal"))


def _work(state: WatchedState, name: str | None, counts: Counts) -> QueuedWork:
    batch = state.batch(name) if name is not None else None
    return QueuedWork(
        state=state.number,
        batchId=name,
        name=batch.record.name if batch is not None else None,
        prompt=batch.record.prompts[0] if batch is not None and batch.record.prompts else None,
        total=counts.total,
        completed=counts.completed,
        failed=counts.failed,
        submitted=counts.submitted,
        pending=counts.pending,
        priority=_priority_of(state, batch) if batch is not None else None,
    )


def _priority_of(state: WatchedState, batch: WatchedBatch) -> Priority | None:
    """Of the first item that remains."""
    return next((item.priority for item in state.items_with(batch.keys(*DUE, limit=1))), None)


def _free_bytes(state: WatchedState) -> int | None:
    try:
        root = state.settings.output_dir
        free = shutil.disk_usage(str(root)).free
    except (BurstError, OSError):
        return None
    return free // _FREE_BYTES_UNIT * _FREE_BYTES_UNIT
