"""Giving up what is submitted to a server that nobody will look at again: it is due, and may be rendered twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.errors import LockHeld, UsageError
from orchestrator.formatting import counted, spoken_seconds
from orchestrator.registered_servers import wherever
from orchestrator.servers import Server, canonical_name, find_server, host_name, same_server
from orchestrator.settings import Settings
from state.burst_record import BurstRecord
from state.change import change_all
from state.holder import Holder
from state.item import Item, Status
from state.lease import Lease
from state.server import RegisteredServer
from state.store import Store


@dataclass(frozen=True)
class GivenUp:
    """What was given up."""

    server: str
    """For a message."""
    due: int
    """How many items are due again."""
    cancelled: int = 0


def give_up_server(store: Store, lease: Lease, settings: Settings, text: str) -> GivenUp:
    """Give up what is submitted to a server, meant by name or address, and that no run looks after. Safe to repeat.

    Errors: UsageError for a server that neither the settings, nor what is registered, nor any item know (it does not
    repeat what was written: that may hold a password); LockHeld while a run uses the server, which looks after it.
    """
    known = (*map(wherever, settings.registered), *settings.all_servers)
    meant = find_server(text, known)
    items = [item for item in lease.left_behind() if _is_on(item, text, meant, known)]
    if not items and meant is None:
        _refuse_unknown(store, known, text)
    name = canonical_name(meant.name if meant is not None else text)
    _refuse_used(name, store.holders())
    shown = meant.shown if meant is not None else name
    return give_up_items(lease, items, shown)


def give_up_items(lease: Lease, items: Sequence[Item], shown: str) -> GivenUp:
    """These submitted items, as far as they still are and no other run holds them."""
    changed = change_all(lease, items, lambda now: now.cancel() if now.cancel_requested else now.put_back(charge=False))
    due = sum(item.status is Status.PENDING for item in changed)
    return GivenUp(shown, due, len(changed) - due)


def text_of_giving_up(given_up: GivenUp, silent_seconds: float) -> str:
    """For a report: what became due because its server was silent for too long."""
    since = "" if math.isinf(silent_seconds) else f" for {spoken_seconds(silent_seconds)}"
    return (
        f"{counted(given_up.due)} submitted to {given_up.server} due again: it has given no sign of life{since}; what "
        "it rendered of them is rendered twice."
    )


@dataclass(frozen=True)
class Silence:
    """For how long servers have shown no sign of life, and whether that is too long, by what is registered of them."""

    registered: Sequence[RegisteredServer]
    records: Sequence[BurstRecord]
    """Of earlier bursts."""

    def too_long(
        self,
        name: str,
        items: Iterable[Item],
        *,
        now: datetime,
        holders: Iterable[Holder] = (),
        answered_at: datetime | None = None,
    ) -> float | None:
        """The seconds, where they are more than what is registered of this server; None otherwise.

        Signs of life: a submission, a burst in which it completed something, a run at work that uses it (`holders`);
        of another host's own server, any run of that host; `answered_at`. Without any, it is as silent as can be.
        """
        entry = next((one for one in self.registered if same_server(one.name, name)), None)
        if entry is None or entry.abandon_after_seconds is None:
            return None
        signs = [item.submitted_at for item in items if item.submitted_at is not None]
        signs += [answered_at] if answered_at is not None else []
        signs += [one.ended_at for one in self.records if _shows(one.servers, one.host, entry)]
        signs += [now for one in holders if _shows(one.servers, one.host, entry)]
        silent = (now - max(signs)).total_seconds() if signs else math.inf
        return silent if silent > entry.abandon_after_seconds else None


def _shows(servers: Iterable[str], host: str | None, entry: RegisteredServer) -> bool:
    """Whether a run that used these servers on this host is a sign of life of one."""
    if any(same_server(name, entry.name) for name in servers):
        return True
    return entry.host is not None and host is not None and host_name(host) == host_name(entry.host)


def uses(holder: Holder, name: str) -> bool:
    """Whether this run at work uses the server of this name."""
    return any(same_server(name, one) for one in holder.servers)


def _is_on(item: Item, text: str, meant: Server | None, known: Sequence[Server]) -> bool:
    if item.server is None:
        return False
    if same_server(item.server, text):
        return True
    found = find_server(item.server, known)
    return meant is not None and found is not None and (found == meant or found.is_at(meant.url))


def _refuse_used(name: str, holders: Iterable[Holder]) -> None:
    """Errors: LockHeld. A run looks after what is out on its servers."""
    for holder in holders:
        if uses(holder, name):
            raise LockHeld(
                f"{name} is used by {holder.describe()}, which collects what is submitted there; stop it first"
            )


def _refuse_unknown(store: Store, known: Iterable[Server], text: str) -> None:
    """Errors: UsageError."""
    of_records = {canonical_name(item.server) for item in store.items() if item.server is not None}
    if canonical_name(text) in of_records:
        return
    of_settings = {server.name: server.shown for server in known}
    listed = [*of_settings.values(), *sorted(of_records - of_settings.keys())]
    raise UsageError(f"this state knows no such server; it knows {', '.join(listed)}")
