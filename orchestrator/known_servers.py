"""Which addresses were a ComfyUI for a state before: one that was may show a page while it starts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.errors import NotComfyUI, TransientError
from orchestrator.servers import Server, find_server, same_server
from state.facts import FactLog, ServerHealth
from state.item import Status
from state.store import Store

_WELL = "well"


def was_comfyui(store: Store, server: Server) -> bool:
    """Whether `init` found a ComfyUI there, or an item was accepted or completed by it. Reads all items at worst."""
    if _found_well(store.facts, server):
        return True
    return any(
        (item.accepted or item.status is Status.COMPLETED)
        and item.server is not None
        and find_server(item.server, [server]) is not None
        for item in store.items()
    )


def note_comfyui(facts: FactLog, servers: Sequence[Server], *, at: datetime) -> None:
    """These answered as a ComfyUI does. Durable on return. Errors: DiskFull, LockHeld, StateError."""
    new = [server for server in servers if not _found_well(facts, server)]
    if new:
        facts.append(*(ServerHealth(server=server.name, health=_WELL, at=at) for server in new))


def judged(error: NotComfyUI, store: Store, server: Server) -> TransientError:
    """The error as it is, or for a server that was a ComfyUI before one that says so and needs no person."""
    if not was_comfyui(store, server):
        return error
    return TransientError(f"{error}. It was a ComfyUI before, so it is waited for")


def _found_well(facts: FactLog, server: Server) -> bool:
    health = facts.read().health.values()
    return any(fact.health == _WELL and same_server(fact.server, server.name) for fact in health)
