"""Which servers a run uses where some are registered in its state: the rule, and what a registered one is.

What a caller names (`--server`, COMFYUI_URL) counts first; else the registered servers that this host reaches; else
those of the settings. Once any is registered, those of the settings are names and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.errors import SettingsError
from orchestrator.servers import Server, default_name, same_server, this_host
from orchestrator.wording import named
from state.server import RegisteredServer


def is_reached_here(registered: RegisteredServer) -> bool:
    """Whether its address means it on this host too."""
    return registered.host in (None, this_host())


def as_server(registered: RegisteredServer) -> Server:
    """As it is called and reached on a host that reaches it."""
    return Server(registered.name, registered.url)


def wherever(registered: RegisteredServer) -> Server:
    """Under an address that means it on every host: another host's own one carries that host's name."""
    if is_reached_here(registered):
        return as_server(registered)
    return Server(registered.name, f"{default_name(registered.url).partition('@')[0]}@{registered.host}")


def reached_here(registered: Iterable[RegisteredServer]) -> tuple[Server, ...]:
    """Those that a run on this host uses where nobody names any; what is draining too, for what it still has."""
    return tuple(as_server(one) for one in registered if is_reached_here(one))


def find_registered(server: Server, registered: Iterable[RegisteredServer]) -> RegisteredServer | None:
    """What is registered of a server that this host reaches, by its name or its address."""
    here = [one for one in registered if is_reached_here(one)]
    by_name = (one for one in here if same_server(one.name, server.name))
    by_address = (one for one in here if server.is_at(one.url))
    return next(by_name, None) or next(by_address, None)


def draining_names(
    servers: Iterable[Server], registered: Mapping[str, RegisteredServer], before: Mapping[str, RegisteredServer]
) -> frozenset[str]:
    """The names of those of these servers that get nothing new: they drain, or were taken out since `before`."""
    if registered is before and not any(one.draining for one in registered.values()):
        return frozenset()
    found = set()
    for server in servers:
        entry = find_registered(server, registered.values())
        if entry is None and find_registered(server, before.values()) is None:
            continue
        if entry is None or entry.draining:
            found.add(server.name)
    return frozenset(found)


def refuse_foreign(servers: Iterable[Server], registered: Sequence[RegisteredServer]) -> None:
    """Errors: SettingsError for a name that is registered for another host's own server."""
    for server in servers:
        for one in registered:
            if same_server(one.name, server.name) and not is_reached_here(one):
                raise SettingsError(
                    f"{one.name} is registered as {one.url} of host {one.host}, which is another machine than "
                    f"{server.url} here; choose another name"
                )


def refuse_unreached(registered: Sequence[RegisteredServer]) -> None:
    """Errors: SettingsError where this host reaches none of the registered servers, though there are some."""
    if registered and not reached_here(registered):
        listed = ", ".join(f"{one.name} is on host {one.host}" for one in registered)
        raise SettingsError(
            f"none of the registered servers can be reached from this host: {listed}. Register one with "
            f"`burst servers add`, or give one with {named('servers', 'URL')}"
        )
