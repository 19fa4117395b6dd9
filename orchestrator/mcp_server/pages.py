"""Lists by pages, so that no answer grows with the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from orchestrator.batches.batch_status import view_of
from orchestrator.errors import UsageError
from state.item import Item, OutputRecord, Status
from state.open_store import open_store
from state.store import Store

MOST_SHOWN = 50
"""Entries of one page."""
_MOST_TEXT = 200
"""Characters of an item's prompt in a list."""


def page_of(name: str, entries: Sequence[object], offset: int, total: int) -> Mapping[str, object]:
    """Entries from `offset` on, and where the next page begins: null behind the last one."""
    after = offset + len(entries)
    return {name: list(entries), "total": total, "next_offset": after if entries and after < total else None}


def items_page(state: Path, status: str | None, batch: str | None, offset: int, limit: int) -> Mapping[str, object]:
    """Items in their order. Errors: UsageError for a batch that is none; StateError."""
    with open_store(state, read_only=True) as store:
        statuses = () if status is None else (Status(status),)
        of_batch = None if batch is None else view_of(store, batch).id
        found = store.items(*statuses, batch=of_batch, limit=offset + limit + 1)
        entries = list(islice(found, offset, None))
        following = offset + limit if len(entries) > limit else None
        return {"items": [_described(one) for one in entries[:limit]], "next_offset": following}


def item_called(store: Store, key: str) -> Item:
    """Errors: UsageError."""
    for found in store.get_many([key]):
        return found
    raise UsageError(f"there is no item {key!r}; list_items has their keys")


def images_of(item: Item) -> list[OutputRecord]:
    """Its outputs without the file that tells how they were made."""
    return [output for output in item.outputs if output.path != item.sidecar]


def _described(item: Item) -> Mapping[str, object]:
    text = item.own_text
    parts: dict[str, object] = {
        "item": item.key,
        "status": item.status.value,
        "batch": item.batch,
        "index": item.index,
        "prompt": text if text is None or len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…",
        "images": [output.path for output in images_of(item)],
        "error": {"kind": item.error.kind, "message": item.error.message} if item.error is not None else None,
    }
    return {name: value for name, value in parts.items() if value not in (None, [])}
