"""Registering servers in a state, and taking them out: what `burst servers` changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from orchestrator.abandonment import give_up_server
from orchestrator.clock import Clock
from orchestrator.errors import SettingsError, UsageError, located
from orchestrator.formatting import counted
from orchestrator.migration import open_for_writing
from orchestrator.registered_servers import wherever
from orchestrator.server_list import ServerList, list_of, submitted_to
from orchestrator.server_moved import ServerMove, move_server
from orchestrator.servers import (
    DEFAULT_SERVER,
    Server,
    add_server,
    canonical_name,
    default_name,
    find_server,
    parse_server,
    same_server,
    this_host,
)
from orchestrator.settings import Settings, kept_settings, load_settings
from orchestrator.wording import named
from state.server import RegisteredServer
from state.store import Store

Registered = Mapping[str, RegisteredServer]
_MOST_LABEL_LETTERS = 64


@dataclass(frozen=True)
class _Options:
    """What is said of the servers that are registered; None: as before, or nothing."""

    labels: Sequence[str] | None = None
    window: int | None = None
    """0: no limit of its own."""
    abandon_after_seconds: float | None = None
    """0: never by itself."""

    def __post_init__(self) -> None:
        """Errors: UsageError."""
        for label in self.labels or ():
            if not label or len(label) > _MOST_LABEL_LETTERS or not label.isprintable() or set(label) & set(" ,"):
                raise UsageError(
                    f"a label has 1 to {_MOST_LABEL_LETTERS} characters, no blank and no comma; {label!r} is not one"
                )

    def applied(self, server: RegisteredServer) -> RegisteredServer:
        said: dict[str, object] = {}
        if self.labels is not None:
            said["labels"] = tuple(dict.fromkeys(self.labels))
        if self.window is not None:
            said["window"] = self.window or None
        if self.abandon_after_seconds is not None:
            said["abandon_after_seconds"] = self.abandon_after_seconds or None
        return msgspec.structs.replace(server, **said)


def add_servers(
    state: Path,
    servers: Sequence[str],
    *,
    labels: Sequence[str] | None = None,
    window: int | None = None,
    abandon_after_seconds: float | None = None,
    clock: Clock | None = None,
) -> ServerList:
    """Register servers (`NAME=URL`, `URL`, or a name that the settings know). Safe to repeat.

    `labels`, what items may ask for; `window`, how many prompts each gets at a time (0: no limit);
    `abandon_after_seconds`, after how long without a sign of life what is submitted to one is due again (0: never by
    itself). What is None stays as it was.

    One that is registered at another address has moved: `move_server` says so, and items that are out are looked for at
    its new address. Errors: UsageError, SettingsError, StateError, DiskFull; none is registered where one is refused.
    """
    clock, lines, options = clock or Clock(), _Lines(), _Options(labels, window, abandon_after_seconds)
    with open_for_writing(state, clock=clock) as store:
        was_empty = not store.servers()
        for server in _checked([_parsed(text, load_settings(state)) for text in servers], store.servers()):
            _move(state, store, server, note=lines.append)
            _register(store, server, options, at=clock.now(), note=lines.append)
        if was_empty:
            lines += _replaced(kept_settings(state), store.servers())
        return list_of(store, action="add", lines=lines)


def remove_servers(state: Path, names: Sequence[str], *, clock: Clock | None = None) -> ServerList:
    """Register them no more; runs at work send them nothing new. Refused while items are submitted to one.

    Errors: UsageError, StateError, DiskFull; nothing was changed then.
    """
    clock, lines = clock or Clock(), _Lines()
    with open_for_writing(state, clock=clock) as store:
        found = _named(names, store.servers())
        out = submitted_to(store, found)
        for one in found:
            if count := out[one.name]:
                raise UsageError(
                    f"{counted(count)} submitted to {one.name}; `burst servers drain {one.name}` and let a run collect "
                    f"them, or give them up with `burst servers abandon {one.name}`; then remove it"
                )
        _change(store, found, at=clock.now(), removed=True)
        lines += [f"{one.name} ({one.url}) is no longer registered" for one in found]
        return list_of(store, action="remove", lines=lines)


def drain_servers(state: Path, names: Sequence[str], *, clock: Clock | None = None) -> ServerList:
    """Nothing new is sent to them, by runs at work within 2 s; what they have is collected. Safe to repeat.

    Errors: as `remove_servers`.
    """
    clock, lines = clock or Clock(), _Lines()
    with open_for_writing(state, clock=clock) as store:
        found = _named(names, store.servers())
        _change(store, [one for one in found if not one.draining], at=clock.now(), draining=True)
        out = submitted_to(store, found)
        lines += [f"{one.name} is draining: {_what_is_out(out[one.name])}" for one in found]
        return list_of(store, action="drain", lines=lines)


def enable_servers(state: Path, names: Sequence[str], *, clock: Clock | None = None) -> ServerList:
    """They get new items again. Safe to repeat. Errors: as `remove_servers`."""
    clock, lines = clock or Clock(), _Lines()
    with open_for_writing(state, clock=clock) as store:
        found = _named(names, store.servers())
        _change(store, [one for one in found if one.draining], at=clock.now(), draining=False)
        lines += [f"{one.name} is enabled" for one in found]
        return list_of(store, action="enable", lines=lines)


def abandon_server(state: Path, name: str, *, clock: Clock | None = None) -> ServerList:
    """Nobody will look at this server again: what is submitted to it is due, and may be rendered twice. Safe to repeat.

    It need not be registered; where it is, it gets nothing new until it is enabled. Errors: UsageError, StateError,
    DiskFull; LockHeld while a run uses it.
    """
    clock, lines = clock or Clock(), _Lines()
    with open_for_writing(state, clock=clock) as store:
        settings = load_settings(state)
        with located("SERVER", UsageError), store.lease() as lease:
            given_up = give_up_server(store, lease, settings, name)
        store.settle(at_end=True)
        lines.append(
            f"{counted(given_up.due)} submitted to {given_up.server} due again; what it still renders of them is "
            "rendered twice"
            if given_up.due
            else f"no item is submitted to {given_up.server} any more"
        )
        if given_up.cancelled:
            lines.append(f"{counted(given_up.cancelled)} cancelled, as was requested before")
        found = find_server(name, [wherever(one) for one in store.servers().values()])
        if found is not None and not store.servers()[found.name].draining:
            _change(store, [store.servers()[found.name]], at=clock.now(), draining=True)
            lines.append(f"{found.name} is draining; once it is back: `burst servers enable {found.name}`")
        return list_of(store, action="abandon", lines=lines, given_up=given_up.due)


class _Lines(list[str]):
    """What a command did, for a person."""


def _parsed(text: str, settings: Settings) -> Server:
    """Errors: UsageError, which does not repeat the text: it may hold a password."""
    known = next((one for one in settings.all_servers if same_server(one.name, text)), None)
    if known is not None:
        return Server(known.name, known.url)
    with located("SERVER", SettingsError, into=UsageError):
        server = parse_server(text)
    if server.credentials is not None:
        raise UsageError(
            f"the password in the address of {server.url} would be written into the state; register the address alone, "
            f'and have each host send it: a header Authorization = "env:VARIABLE" in [headers.{server.name}] of '
            "settings.toml"
        )
    return server


def _checked(servers: Iterable[Server], now: Registered) -> list[Server]:
    """Each once. Errors: UsageError where a name or an address would be there twice."""
    chosen: list[Server] = []
    for server in servers:
        with located("SERVER", SettingsError, into=UsageError):
            add_server(chosen, server)
        before = now.get(canonical_name(server.name))
        if before is not None and before.host is not None and server.is_local and not _is_at(before, server):
            raise UsageError(
                f"{before.name} is registered as {before.url} of host {before.host}, and {server.url} is on this host "
                f"({this_host()}); choose another name, or remove {before.name} first"
            )
        if server.has_given_name:
            _refuse_taken(server, now)
    return chosen


def _move(state: Path, store: Store, server: Server, *, note: Callable[[str], None]) -> None:
    """Follow a server that is registered at another address."""
    before = store.servers().get(canonical_name(server.name))
    if before is None or _is_at(before, server):
        return
    note(f"{server.name} has moved from {before.url} to {server.url}")
    move_server(state, store, load_settings(state), ServerMove.between(server.name, server.url), note=note)


def _register(store: Store, server: Server, options: _Options, *, at: datetime, note: Callable[[str], None]) -> None:
    """Errors: UsageError where its address belongs to another name."""
    said: list[str] = []

    def edit(now: Registered) -> list[RegisteredServer]:
        said.clear()
        name = canonical_name(server.name)
        there = next((one for one in now.values() if _is_at(one, server)), None)
        before = now.get(name) or there
        if there is not None and not server.has_given_name:
            name = there.name
        elif there is not None and there.name != name:
            _refuse_taken(server, now)
        fresh = RegisteredServer(name=name, url=server.url, at=at, host=this_host() if server.is_local else None)
        after = options.applied(fresh if before is None else msgspec.structs.replace(before, name=name))
        if after == before:
            said.append(f"{name} is registered already, as {server.url}{_draining(before)}")
            return []
        said.append(f"{name} ({server.url}) {'is registered' if before is None else 'was changed'}{_draining(after)}")
        renamed = [before] if before is not None and before.name != name else []
        gone = [msgspec.structs.replace(one, removed=True) for one in renamed]
        return [*gone, msgspec.structs.replace(after, at=at)]

    store.facts.change_servers(edit)
    for line in said:
        note(line)


def _draining(server: RegisteredServer) -> str:
    return f"; it is still draining: `burst servers enable {server.name}`" if server.draining else ""


def _refuse_taken(server: Server, now: Registered) -> None:
    """Errors: UsageError where another server is registered at this address under a name that somebody chose."""
    for one in now.values():
        if _is_at(one, server) and not same_server(one.name, server.name) and Server(one.name, one.url).has_given_name:
            raise UsageError(f"{one.name} and {server.name} are both {server.url}; name it once")


def _is_at(registered: RegisteredServer, server: Server) -> bool:
    return wherever(registered).is_at(server.url)


def _replaced(kept: Settings, registered: Registered) -> list[str]:
    """What the first registration means for the servers of the settings."""
    others = [
        one
        for one in kept.servers
        if one.url != DEFAULT_SERVER and not any(_is_at(entry, one) for entry in registered.values())
    ]
    if not others:
        return []
    listed, arguments = ", ".join(one.shown for one in others), " ".join(one.argument for one in others)
    return [
        f"runs without {named('servers')} use registered servers alone from now on, not those of the settings: "
        f"{listed}. Register them too with `burst servers add {arguments}`"
    ]


def _named(names: Iterable[str], now: Registered) -> list[RegisteredServer]:
    """Each once. Errors: UsageError for one that is not registered."""
    found: dict[str, RegisteredServer] = {}
    for text in names:
        server = find_server(text, [wherever(one) for one in now.values()])
        if server is None:
            listed = f"there are {', '.join(now)}" if now else "none is"
            with located("SERVER", SettingsError, into=UsageError):
                name = text if "@" not in text else default_name(text)
            raise UsageError(f"{name}: no server of this name or address is registered; {listed}")
        found[server.name] = now[server.name]
    return list(found.values())


def _change(store: Store, servers: Iterable[RegisteredServer], *, at: datetime, **fields: object) -> None:
    names = [one.name for one in servers]

    def edit(now: Registered) -> list[RegisteredServer]:
        return [msgspec.structs.replace(now[name], at=at, **fields) for name in names if name in now]

    store.facts.change_servers(edit)


def _what_is_out(count: int) -> str:
    return f"runs collect what it has ({counted(count)})" if count else "nothing is submitted to it"
