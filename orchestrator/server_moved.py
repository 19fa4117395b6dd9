"""A server whose address changed: it keeps its name; settings and registered servers say where it is now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from orchestrator.comfyui.address import parse_address
from orchestrator.errors import SettingsError, UsageError, located
from orchestrator.formatting import counted
from orchestrator.registered_servers import wherever
from orchestrator.servers import (
    DEFAULT_SERVER,
    Server,
    canonical_name,
    default_name,
    find_server,
    is_name,
    same_server,
    this_host,
)
from orchestrator.settings import Settings, kept_settings, save_settings
from orchestrator.wording import named
from state.change import change_all
from state.item import Item, Status
from state.server import RegisteredServer
from state.store import Store

_T = TypeVar("_T")


@dataclass(frozen=True)
class ServerMove:
    """From `old`, a server's name or the address that it had, to the address `new`."""

    old: str
    new: str

    @classmethod
    def between(cls, old: str, new: str) -> ServerMove:
        """Errors: UsageError."""
        with located(named("server_moved"), SettingsError, into=UsageError):
            addresses = [parse_address(new)] if is_name(old) else [parse_address(old), parse_address(new)]
        if any(address.credentials is not None for address in addresses):
            raise UsageError(
                f"{named('server_moved')} takes addresses without a password; give it with {named('servers')} or "
                "COMFYUI_URL"
            )
        if same_server(old, new):
            raise UsageError(f"{named('server_moved')}: {addresses[-1].url} is both the old address and the new one")
        return cls(canonical_name(old), addresses[-1].url)


@dataclass(frozen=True)
class _Moved:
    """`server`: as it is to be called and reached from now on. `known`: every server that had a name before."""

    move: ServerMove
    old: Server | None
    server: Server
    known: Sequence[Server]

    @classmethod
    def of(cls, move: ServerMove, settings: Settings, kept: Sequence[Server]) -> _Moved:
        """A server that is `kept`, or that somebody named, keeps its name, so that records go on meaning it. Any other
        is called by its new address. Where another one is known to be there, it was that one all the time.
        """
        known = (*kept, *settings.all_servers)
        old = find_server(move.old, known)
        there = next((server for server in known if server.is_at(move.new)), None)
        if there is not None:
            return cls(move, old, replace(there, credentials=None), known)
        keeps_name = old is not None and (old.has_given_name or any(one.name == old.name for one in kept))
        name = old.name if old is not None and keeps_name else default_name(move.new)
        return cls(move, old, Server(name, move.new), known)

    def concerns(self, text: str | None) -> bool:
        """Whether this, of a record or a table of headers, means the server that moved. Texts are edited by hand."""
        if text is None:
            return False
        found = find_server(text, self.known)
        if self.old is None or found is None:
            return same_server(text, self.move.old)
        return found.name == self.old.name

    def apply(self, settings: Settings) -> Settings:
        """The same settings with the new address, and with the headers and options of the old one's own."""
        return replace(
            settings,
            servers=self._with_new_address(settings.servers),
            known_servers=self._with_new_address(settings.known_servers),
            own_headers=self._with_new_heading(settings.own_headers),
            server_options=self._with_new_heading(settings.server_options),
            registered=tuple(one for one in self.registered(settings.registered) if not one.removed),
        )

    def registered(self, before: Iterable[RegisteredServer]) -> list[RegisteredServer]:
        """These with the new address; one that was another registered one all the time is no longer registered."""
        servers = list(before)
        return [self._registered(one, servers) if self.concerns(one.name) else one for one in servers]

    def reregistered(self, now: Mapping[str, RegisteredServer]) -> list[RegisteredServer]:
        """Those of them that change."""
        return [after for after in self.registered(now.values()) if after != now[after.name]]

    def _registered(self, one: RegisteredServer, servers: Iterable[RegisteredServer]) -> RegisteredServer:
        if one.name != self.server.name and any(other.name == self.server.name for other in servers):
            return msgspec.structs.replace(one, removed=True)
        host = this_host() if Server(one.name, self.move.new).is_local else None
        return msgspec.structs.replace(one, url=self.move.new, host=host)

    def _with_new_heading(self, tables: Mapping[str, _T]) -> dict[str, _T]:
        own = dict(tables)
        for text in filter(self.concerns, tables):
            if not same_server(text, self.server.name):
                own.setdefault(self.server.name if self.server.has_given_name else self.server.url, own.pop(text))
        return own

    def _with_new_address(self, servers: Sequence[Server]) -> tuple[Server, ...]:
        """A password stays with the address that it was given for."""
        there = next((server for server in servers if server.is_at(self.move.new)), self.server)
        moved = (there if self.concerns(server.name) else server for server in servers)
        return tuple({server.name: server for server in moved}.values())


def move_server(
    state: Path, store: Store, settings: Settings, move: ServerMove, *, note: Callable[[str], None]
) -> Settings:
    """Change the address in settings.toml and among the registered servers, and where it is no more than an address in
    the records of what is out; the settings to run with.

    The run uses the new address, also where it had not used the old one. Safe to repeat.
    Errors: UsageError where nothing ever knew of the old address; nothing was changed then.
    """
    kept = kept_settings(state)
    is_kept = store.settings.exists()
    registered = settings.registered
    known = (*map(wherever, registered), *(kept.all_servers if is_kept else ()))
    moved = _Moved.of(move, settings, known)
    out = [item for item in store.items(Status.SUBMITTED, Status.PENDING) if item.may_be_on_a_server]
    if moved.old is None and not any(moved.concerns(item.server) for item in store.items()):
        _refuse_unknown(moved, store, out)
    concerned = [item for item in out if moved.concerns(item.server)]
    renamed = [item for item in concerned if item.server != moved.server.name]
    change_all(store, renamed, lambda now: now.move(server=moved.server.name))
    if concerned:
        note(f"{counted(len(concerned))} out on {move.old} looked for at {move.new}, its new address.")
    if moved.registered(registered) != list(registered):
        store.facts.change_servers(moved.reregistered)
    followed = moved.apply(kept)
    if is_kept and (followed, followed.known_servers) != (kept, kept.known_servers):
        save_settings(state, followed)
    run_with = moved.apply(settings)
    if moved.server.name not in {server.name for server in run_with.servers}:
        others = () if run_with.server_urls == (DEFAULT_SERVER,) else run_with.servers
        run_with = replace(run_with, servers=(*others, moved.server))
    return run_with


def _refuse_unknown(moved: _Moved, store: Store, out: Iterable[Item]) -> None:
    """Done before, it is fine to say again, as long as nothing waits for a move that this one may have meant."""
    new = moved.server.name
    elsewhere = Counter(item.server for item in out if item.server and not same_server(item.server, new))
    there = (item.server for item in store.items() if item.server and same_server(item.server, new))
    was_done = moved.server in moved.known or any(there)
    if was_done and not elsewhere:
        return
    listed = ", ".join(f"{server} ({counted(count)})" for server, count in elsewhere.items())
    raise UsageError(
        f"{named('server_moved')}: nothing is known of {moved.move.old}; no item was sent to it, and the settings do "
        f"not name it. {f'Items are out on: {listed}' if listed else 'No item is out on any server'}"
    )
