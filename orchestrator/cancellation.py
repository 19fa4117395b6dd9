"""Taking items and batches back: at once what is pending, as far as the servers still can what is submitted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.lookup import Absent, Fate, Finished, Queued, Unclear, look_up, withdraw
from orchestrator.errors import BurstError, LockHeld, StaleChange
from orchestrator.migration import open_for_writing
from orchestrator.retries import Changed, keys_of
from orchestrator.selection import select
from orchestrator.servers import at_home, canonical_name, other_host, reachable_server
from orchestrator.settings import Overrides, load_settings
from state.change import Change, change_all
from state.item import Item, Status
from state.store import Store

_Work = Callable[[ComfyUI, Sequence[str]], dict[str, Fate]]
_NAMED = 5
"""How many items a note names."""
_LATER = "The next burst settles what was to be cancelled there."
_CANCELLABLE: dict[Status, Callable[[Item], Item]] = {
    Status.PENDING: lambda item: item.cancel(),
    Status.SUBMITTED: lambda item: item.request_cancel(),
}


def cancel(
    state: Path,
    names: Collection[str] = (),
    *,
    queued_only: bool = False,
    overrides: Overrides | None = None,
    patience_seconds: float = 20.0,
) -> Changed:
    """Take back items and batches: pending items at once; for submitted ones the wish is journalled and the server is
    told. Without names, everything. Pictures that are finished stay.

    Whichever run holds it settles the wish; when none does, it is settled here as far as the server's answer goes,
    and the rest by the next burst. `queued_only` leaves alone what a server is rendering, and what may still be on its
    way to one. `patience_seconds`: how long a server that does not answer is asked again. Errors: UsageError for a name
    that is neither an item, a batch's name nor the beginning of one batch's id; StateError.
    """
    with open_for_writing(state) as store:
        wanted = select(store, names, *_CANCELLABLE)
        servers = _Servers(state, overrides or Overrides(), patience_seconds)
        if overrides is not None and overrides.servers:
            servers.check()
        if queued_only:
            # Pending ones first, so that a burst at work submits none of them meanwhile.
            changed = _cancel_or_wish(store, wanted, _is_pending)
            deleted = _delete_waiting(servers, store.get_many(wanted))
            changed += _cancel_or_wish(
                store, list(deleted), lambda item: _is_pending(item) or item.prompt_id == deleted[item.key]
            )
        else:
            changed = _cancel_or_wish(store, wanted)
        for server, wished in _by_server(changed):
            fates = servers.ask(server, wished, withdraw, otherwise=_LATER)
            try:
                _settle_unattended(store, [item for item in wished if _prompt_id(item) in fates], fates)
            except BurstError as error:
                servers.note(server, wished, error, otherwise=_LATER)
        store.settle(at_end=True)
        what, notes = "cancelled, or about to be", tuple(servers.notes)
        return Changed("cancel", what, keys_of(changed), store.counts(), notes)


class _Servers:
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
            headers = settings.resolved_headers(server) if known or twin else {}
            with ComfyUI(server.full, headers=headers, retry_seconds=self._patience_seconds) as client:
                here = self._known_here(client, name, items, otherwise) if twin else wanted
                return work(client, here)
        except BurstError as error:
            self.note(name, items, error, otherwise=otherwise)
            return {}

    def _known_here(self, client: ComfyUI, name: str, items: Sequence[Item], otherwise: str) -> list[str]:
        fates = look_up(client, map(_prompt_id, items))
        if missing := [item for item in items if isinstance(fates[_prompt_id(item)], Absent)]:
            self.note(name, missing, "can only be reached from that host", otherwise=otherwise)
        return [prompt_id for prompt_id, fate in fates.items() if not isinstance(fate, Absent)]


def _is_pending(item: Item) -> bool:
    return item.status is Status.PENDING


def _cancel_or_wish(
    store: Store, keys: Sequence[str], accept: Callable[[Item], bool] = lambda item: True
) -> list[Item]:
    """All in one change set, decided anew where a burst has just submitted or ended one of them, or sent it again."""

    def taken_back(now: Item) -> Item:
        return _CANCELLABLE[now.status](now) if accept(now) else now

    while True:
        items = [item for item in store.get_many(keys) if item.status in _CANCELLABLE and accept(item)]
        try:
            changed = store.apply([Change(item.key, item.status, taken_back) for item in items])
        except StaleChange:
            store.refresh()
        else:
            return [item for item in changed if item.status is Status.CANCELLED or accept(item)]


def _by_server(items: Iterable[Item]) -> list[tuple[str, list[Item]]]:
    """The submitted ones among these, by the name of the server that has them."""
    found: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.status is Status.SUBMITTED and item.server:
            found[canonical_name(item.server)].append(item)
    return sorted(found.items())


def _prompt_id(item: Item) -> str:
    return item.prompt_id or ""


def _delete_waiting(servers: _Servers, items: Iterable[Item]) -> dict[str, str]:
    """Delete from the servers' queues what waits there; by key, the prompts that are surely gone then."""
    gone: dict[str, str] = {}
    for server, theirs in _by_server(items):
        deleted = servers.ask(server, theirs, _deleted, otherwise="What waits there stays.")
        gone |= {item.key: _prompt_id(item) for item in theirs if isinstance(deleted.get(_prompt_id(item)), Absent)}
    return gone


def _deleted(client: ComfyUI, prompt_ids: Sequence[str]) -> dict[str, Fate]:
    """What became of those that waited."""
    fates = look_up(client, prompt_ids)
    waiting = {asked: fate for asked, fate in fates.items() if isinstance(fate, Queued) and not fate.running}
    client.delete_from_queue(fate.prompt_id for fate in waiting.values())
    return look_up(client, waiting)


def _settle_unattended(store: Store, items: Sequence[Item], fates: Mapping[str, Fate]) -> None:
    """Cancel what is known not to finish, when no burst is at work that would."""
    over = {item.key: item for item in items if _is_over(fates[_prompt_id(item)])}
    if not over:
        return
    try:
        lease = store.lease()
    except LockHeld:
        return
    with lease:
        same = (item for item in lease.take_over(over) if item.prompt_id == over[item.key].prompt_id)
        change_all(lease, same, lambda now: now.cancel())


def _is_over(fate: Fate) -> bool:
    """Whether the prompt will surely not finish with outputs."""
    return not isinstance(fate, Queued | Unclear) and not (isinstance(fate, Finished) and fate.entry.succeeded)
