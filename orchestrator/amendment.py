"""Changing items that may be on a server: what waits there is taken back first, what it renders is left."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from orchestrator.errors import StaleChange
from orchestrator.withdrawal import AskedServers, delete_waiting_of
from state.change import Change
from state.item import Item, Status
from state.store import Store

_TRIES = 5
"""A burst at work may send an item again between its prompt's deletion and the change."""


@dataclass(frozen=True)
class Amended:
    """Which items were changed, and which are left as they are, because a server renders them or may have them."""

    changed: tuple[Item, ...]
    left: tuple[Item, ...]


def amend(store: Store, keys: Collection[str], edit: Callable[[Item], Item], *, servers: AskedServers) -> Amended:
    """Change these items; `edit` gets them without a prompt, pending or ended.

    Works while a burst runs, which lets go of what is taken back and sends it as it is then. What cannot be taken back
    is as it was. Errors: StateError, DiskFull.
    """
    changed: dict[str, Item] = {}
    wanted = list(keys)
    for _ in range(_TRIES):
        items = store.get_many(wanted)
        gone = delete_waiting_of(servers, items)
        ready = [item for item in items if item.key in gone or not item.may_be_on_a_server]

        def edited(now: Item, gone: dict[str, str] = gone) -> Item:
            if now.status is Status.SUBMITTED:
                if now.prompt_id != gone.get(now.key) or now.cancel_requested:
                    return now
                now = now.unsend(now)
            return edit(now)

        try:
            done = store.apply([Change(item.key, item.status, edited) for item in ready])
        except StaleChange:
            store.refresh()
            continue
        # What else changed by it, such as stages of these items, was not asked for.
        asked = {item.key for item in ready}
        changed |= {item.key: item for item in done if item.key in asked and item.status is not Status.SUBMITTED}
        wanted = [item.key for item in ready if item.key not in changed]
        if not wanted:
            break
    left = [item for item in store.get_many(keys) if item.key not in changed]
    return Amended(tuple(changed.values()), tuple(left))
