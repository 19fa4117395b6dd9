"""Asking servers about submitted items outside of a run, and taking back what waits in their queues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from orchestrator.clients import client_for
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.lookup import Absent, Fate, delete_waiting, look_up
from orchestrator.errors import BurstError
from orchestrator.servers import at_home, canonical_name, other_host, reachable_server
from orchestrator.settings import Overrides, load_settings
from state.item import Item, Status

_Work = Callable[[ComfyUI, Sequence[str]], dict[str, Fate]]
_NAMED = 5
"""How many items a note names."""


class AskedServers:
    """The servers of submitted items, as the settings say to reach them. What fails with one becomes a note."""

    def __init__(self, state: Path, overrides: Overrides, patience_seconds: float) -> None:
        self.notes: list[str] = []
        self._patience_seconds = patience_seconds
        self._load = cache(lambda: load_settings(state, overrides))

    def check(self) -> None:
        """Errors: SettingsError for servers that were named wrongly, before anything is cancelled."""
        self._load()

    def note(self, name: str, items: Sequence[Item], why: object, *, otherwise: str) -> None:
        """Which items are left as they are, and why."""
        keys = ", ".join(item.key for item in items[:_NAMED])
        more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
        self.notes.append(f"{keys}{more} on {name}: {str(why).rstrip('.')}. {otherwise}")

    def ask(self, name: str, items: Sequence[Item], work: _Work, *, otherwise: str) -> dict[str, Fate]:
        """What `work` finds out of these prompts; what is unknown is left out. `otherwise`: what becomes of those then.

        A loopback server of another host may be ours under the name that this host had before; what ours does not know
        may be on the other one all the same.
        """
        settings, wanted = self._load(), [item.prompt_id or "" for item in items]
        try:
            known = settings.find_server(name)
            twin = settings.find_server(at_home(name)) if known is None and other_host(name) is not None else None
            server = known or twin or reachable_server(name)
            # What no settings know gets no headers of theirs.
            reached = settings if known or twin else replace(settings, headers={}, own_headers={})
            with client_for(server, reached, retry_seconds=self._patience_seconds) as client:
                here = self._known_here(client, name, items, otherwise) if twin else wanted
                return work(client, here)
        except BurstError as error:
            self.note(name, items, error, otherwise=otherwise)
            return {}

    def _known_here(self, client: ComfyUI, name: str, items: Sequence[Item], otherwise: str) -> list[str]:
        fates = look_up(client, map(prompt_id_of, items))
        if missing := [item for item in items if isinstance(fates[prompt_id_of(item)], Absent)]:
            self.note(name, missing, "can only be reached from that host", otherwise=otherwise)
        return [prompt_id for prompt_id, fate in fates.items() if not isinstance(fate, Absent)]


def by_server(items: Iterable[Item]) -> list[tuple[str, list[Item]]]:
    """The submitted ones among these, by the name of the server that has them."""
    found: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.status is Status.SUBMITTED and item.server:
            found[canonical_name(item.server)].append(item)
    return sorted(found.items())


def prompt_id_of(item: Item) -> str:
    return item.prompt_id or ""


def delete_waiting_of(servers: AskedServers, items: Iterable[Item]) -> dict[str, str]:
    """Delete from the servers' queues what waits there; by key, the prompts that are surely gone then."""
    gone: dict[str, str] = {}
    for server, theirs in by_server(items):
        deleted = servers.ask(server, theirs, delete_waiting, otherwise="What waits there stays.")
        gone |= {item.key: prompt_id_of(item) for item in theirs if isinstance(deleted.get(prompt_id_of(item)), Absent)}
    return gone
