"""What is being rendered of a batch at the moment, for the browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from orchestrator.clock import Clock
from orchestrator.servers import same_server
from orchestrator.web.batch_schemas import RunningImage
from orchestrator.web.states import WatchedState
from orchestrator.web.watched_batch import WatchedBatch
from state.item import PRIORITIES, Item, Status
from state.live import Live
from state.store import Store

_MOST_SUBMITTED = 500
"""More are not looked through to tell somebody how many are before theirs."""


def running_of(
    state: WatchedState, batch_id: str, live: Live | None, *, clock: Clock | None = None
) -> list[RunningImage]:
    """As the run at work sees it (`live`); empty where none is, or where its servers do not say or do not answer."""
    if live is None or not live.running or state.store is None:
        return []
    return _images(state.store, live, batch_id, at=(clock or Clock()).now())


def queued_behind(state: WatchedState, batch: WatchedBatch, live: Live | None) -> int | None:
    """How many images are rendered before the first that remains of a batch; None for none, and where it has none left.

    Those of others on the server are known only where a run at work has counted them.
    """
    store = state.store
    if store is None or not batch.counts.remaining:
        return None
    lines = live.lines if live is not None else ()
    if own := state.items_with(batch.keys(Status.SUBMITTED, limit=_MOST_SUBMITTED)):
        first = min(own, key=_order)
        before = sum(_order(one) < _order(first) for one in _out_of_others(state, store, batch.id))
        others = next((line.ahead for line in lines if same_server(line.server, first.server or "")), 0)
        return before + others or None
    figures = store.batch_figures(batch.id)
    if not figures.due:
        return None
    is_everywhere = len(lines) == len(state.settings.servers)
    others = min((line.ahead for line in lines), default=0) if is_everywhere else 0
    return store.counts().submitted + max(0, figures.due_up_to - figures.due) + others or None


def _out_of_others(state: WatchedState, store: Store, batch_id: str) -> Iterator[Item]:
    """What other batches have on servers."""
    for name, counts in store.counts_by_batch().items():
        if name != batch_id and counts.submitted:
            yield from state.items_with(store.batch_keys(name, Status.SUBMITTED, limit=_MOST_SUBMITTED))


def _order(item: Item) -> tuple[int, datetime]:
    """In which a server renders what it has."""
    return PRIORITIES.index(item.priority), item.submitted_at or datetime.max.replace(tzinfo=UTC)


def preview_of(state: WatchedState, batch_id: str) -> bytes | None:
    """The latest preview, if it is of this batch."""
    live = state.live()
    if live is None or live.preview_of is None or state.store is None:
        return None
    of_batch = any(item.batch == batch_id for item in state.store.get_many([live.preview_of]))
    return state.parts.live_preview() if of_batch else None


def _images(store: Store, live: Live, batch_id: str, *, at: datetime) -> list[RunningImage]:
    silent = {one.server for one in live.troubles if one.kind == "away"}
    keys = [one.item for one in live.running if one.server not in silent]
    items = {item.key: item for item in store.get_many(keys) if item.batch == batch_id}
    return [
        RunningImage(
            number=items[one.item].index or 0,
            server=one.server,
            node=one.node,
            loads=one.loads,
            step=one.step,
            steps=one.steps,
            percent=one.percent,
            seconds=max(0.0, round((at - one.since).total_seconds(), 1)),
            preview=preview_address(batch_id, live) if live.preview_of == one.item else None,
        )
        for one in live.running
        if one.item in items
    ]


def preview_address(batch_id: str, live: Live) -> str:
    """Another one for each state of the preview, so that no browser shows an older one."""
    return f"/api/batches/{batch_id}/preview?at={int(1000 * live.at.timestamp())}"
