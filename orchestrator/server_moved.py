"""A server whose address changed: what is out on it is looked for at the new address, and the settings follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.comfyui.address import Address, parse_address
from orchestrator.errors import SettingsError, UsageError, located
from orchestrator.formatting import counted
from orchestrator.settings import DEFAULT_SERVER, Settings, kept_settings, save_settings
from state.item import Item, Status
from state.store import Store, change_all


@dataclass(frozen=True)
class ServerMove:
    """Two addresses of one server."""

    old: Address
    new: Address

    @classmethod
    def between(cls, old: str, new: str) -> ServerMove:
        """Errors: UsageError."""
        with located("--server-moved", SettingsError, into=UsageError):
            move = cls(parse_address(old), parse_address(new))
        if move.old.place == move.new.place:
            raise UsageError(f"--server-moved: {move.old.url} is both the old address and the new one")
        if move.old.credentials or move.new.credentials:
            raise UsageError("--server-moved takes addresses without a password; give it with --server or COMFYUI_URL")
        return move

    def concerns(self, server: str | None) -> bool:
        """Whether this names the server at its old address."""
        return server is not None and _is_at(server, self.old)

    def apply(self, settings: Settings) -> Settings:
        """The same settings with the new address, and with the headers of the old one's own."""
        servers = [self.new.url if self.concerns(server) else server for server in settings.servers]
        own = dict(settings.own_headers)
        for address in filter(self.concerns, settings.own_headers):
            own.setdefault(self.new.url, own.pop(address))
        return replace(settings, servers=tuple(dict.fromkeys(servers)), own_headers=own)


def move_server(
    state: Path, store: Store, settings: Settings, move: ServerMove, *, note: Callable[[str], None]
) -> Settings:
    """Change the address in the records of what is out and in settings.toml; the settings to run with.

    The run uses the new address, also where it had not used the old one. Safe to repeat.
    Errors: UsageError where nothing ever knew of the old address; nothing was changed then.
    """
    kept = kept_settings(state)
    out = [item for item in store.items(Status.SUBMITTED, Status.PENDING) if item.may_be_on_a_server]
    known = any(move.concerns(server) for server in (*kept.servers, *settings.servers, *_servers(store.items())))
    if not known:
        _refuse_unknown(move, kept, store, out)
    moved = change_all(
        store, [item for item in out if move.concerns(item.server)], lambda now: now.move(server=move.new.url)
    )
    if moved:
        note(f"{counted(len(moved))} out on {move.old.url} looked for on {move.new.url}, its new address.")
    if store.settings.exists() and (followed := move.apply(kept)) != kept:
        save_settings(state, followed)
    run_with = move.apply(settings)
    if run_with.server_at(move.new.url) is None:
        others = () if run_with.servers == (DEFAULT_SERVER,) else run_with.servers
        run_with = replace(run_with, servers=(*others, move.new.url))
    return run_with


def _refuse_unknown(move: ServerMove, kept: Settings, store: Store, out: Iterable[Item]) -> None:
    """Done before, it is fine to say again, as long as nothing waits for a move that this one may have meant."""
    elsewhere = Counter(item.server for item in out if item.server and not _is_at(item.server, move.new))
    was_done = any(_is_at(server, move.new) for server in (*kept.servers, *_servers(store.items())))
    if was_done and not elsewhere:
        return
    listed = ", ".join(f"{server} ({counted(count)})" for server, count in elsewhere.items())
    raise UsageError(
        f"--server-moved: nothing is known of {move.old.url}; no item was sent to it, and the settings do not name it. "
        + (f"Items are out on: {listed}" if listed else "No item is out on any server")
    )


def _servers(items: Iterable[Item]) -> set[str]:
    return {item.server for item in items if item.server}


def _is_at(server: str, address: Address) -> bool:
    """Records are edited by hand, so a server may be anything."""
    try:
        return parse_address(server).place == address.place
    except SettingsError:
        return False
