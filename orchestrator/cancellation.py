"""Taking items and batches back: at once what is pending, as far as the servers still can what is submitted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.lookup import Fate, Finished, Queued, Unclear, withdraw
from orchestrator.errors import BurstError, LockHeld, StaleChange
from orchestrator.migration import open_for_writing
from orchestrator.retries import Changed, keys_of, settled
from orchestrator.selection import select
from orchestrator.settings import Overrides
from orchestrator.withdrawal import AskedServers, by_server, delete_waiting_of, prompt_id_of
from state.change import Change, change_all
from state.item import DUE, Item, Status
from state.store import Store

_Work = Callable[[ComfyUI, Sequence[str]], dict[str, Fate]]
_NAMED = 5
"""How many items a note names."""
_LATER = "The next burst settles what was to be cancelled there."
_CANCELLABLE: dict[Status, Callable[[Item], Item]] = {
    Status.PENDING: lambda item: item.cancel(),
    Status.SUBMITTED: lambda item: item.request_cancel(),
    Status.FAILED: lambda item: item.cancel(),
}


def cancel(
    state: Path,
    names: Collection[str] = (),
    *,
    queued_only: bool = False,
    due: bool = True,
    failed: bool = False,
    overrides: Overrides | None = None,
    patience_seconds: float = 20.0,
) -> Changed:
    """Take back items and batches: pending items at once; for submitted ones the wish is journalled and the server is
    told. Without names, everything. Pictures that are finished stay.

    `failed`: the failed ones too, which are given up for good; without `due` these alone. A failed item that is named
    itself is cancelled anyway.

    Whichever run holds it settles the wish; when none does, it is settled here as far as the server's answer goes,
    and the rest by the next burst. `queued_only` leaves alone what a server is rendering, and what may still be on its
    way to one. `patience_seconds`: how long a server that does not answer is asked again. Errors: UsageError for a name
    that is neither an item, a batch's name nor the beginning of one batch's id; StateError.
    """
    with open_for_writing(state) as store:
        statuses = [*(DUE if due else ()), *([Status.FAILED] if failed else [])]
        wanted = select(store, names, *statuses)
        servers = AskedServers(state, overrides or Overrides(), patience_seconds)
        if overrides is not None and overrides.servers:
            servers.check()
        if queued_only:
            # Pending ones first, so that a burst at work submits none of them meanwhile.
            changed = _cancel_or_wish(store, wanted, _is_pending)
            deleted = delete_waiting_of(servers, store.get_many(wanted))
            changed += _cancel_or_wish(
                store, list(deleted), lambda item: _is_pending(item) or item.prompt_id == deleted[item.key]
            )
        else:
            changed = _cancel_or_wish(store, wanted)
        for server, wished in by_server(changed):
            fates = servers.ask(server, wished, withdraw, otherwise=_LATER)
            try:
                _settle_unattended(store, [item for item in wished if prompt_id_of(item) in fates], fates)
            except BurstError as error:
                servers.note(server, wished, error, otherwise=_LATER)
        notes = (*servers.notes, *settled(store))
        now = store.get_many(keys_of(changed))
        what = "cancelled, or about to be" if any(item.status in DUE for item in now) else "cancelled"
        return Changed("cancel", what, keys_of(changed), store.counts(), notes)


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


def _settle_unattended(store: Store, items: Sequence[Item], fates: Mapping[str, Fate]) -> None:
    """Cancel what is known not to finish, when no burst is at work that would."""
    over = {item.key: item for item in items if _is_over(fates[prompt_id_of(item)])}
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
