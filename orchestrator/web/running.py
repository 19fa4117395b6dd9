"""What is being rendered of a batch at the moment, for the browser."""

from __future__ import annotations

from datetime import datetime

from orchestrator.clock import Clock
from orchestrator.web.batch_schemas import RunningImage
from orchestrator.web.states import WatchedState
from state.live import Live
from state.store import Store


def running_of(state: WatchedState, batch_id: str, *, clock: Clock | None = None) -> list[RunningImage]:
    """As the run at work sees it; empty where none is, or where its servers do not say. Reads two small files."""
    live = state.parts.live() if state.store is not None else None
    if live is None or not live.running or state.store is None:
        return []
    return _images(state.store, live, batch_id, at=(clock or Clock()).now())


def preview_of(state: WatchedState, batch_id: str) -> bytes | None:
    """The latest preview, if it is of this batch."""
    live = state.parts.live()
    if live is None or live.preview_of is None or state.store is None:
        return None
    of_batch = any(item.batch == batch_id for item in state.store.get_many([live.preview_of]))
    return state.parts.live_preview() if of_batch else None


def _images(store: Store, live: Live, batch_id: str, *, at: datetime) -> list[RunningImage]:
    items = {item.key: item for item in store.get_many([one.item for one in live.running]) if item.batch == batch_id}
    return [
        RunningImage(
            number=items[one.item].index or 0,
            server=one.server,
            node=one.node,
            step=one.step,
            steps=one.steps,
            percent=one.percent,
            seconds=max(0.0, round((at - one.since).total_seconds(), 1)),
            preview=_address(batch_id, live) if live.preview_of == one.item else None,
        )
        for one in live.running
        if one.item in items
    ]


def _address(batch_id: str, live: Live) -> str:
    """Another one for each state of the preview, so that no browser shows an older one."""
    return f"/api/batches/{batch_id}/preview?at={int(1000 * live.at.timestamp())}"
