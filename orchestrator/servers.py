"""A server has a name: what records hold, what flags and settings call it, and whether two names are one server.

A name is given (`gpu1=http://10.0.0.7:8188`), or it is the address in one spelling. An address that means another
machine on every host (loopback, link-local) carries the host's name: `127.0.0.1:8188@HOST`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import urlsplit

from orchestrator.comfyui.address import DEFAULT_PORTS, Address, parse_address
from orchestrator.errors import SettingsError, located
from orchestrator.wording import named

DEFAULT_SERVER = "http://127.0.0.1:8188"
_LONGEST_NAME = 64
_GIVEN_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LONGEST_NAME - 1}}}")
_LOOPBACK = "127.0.0.1"
_LOOPBACK_NAMES = {"localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"}


@dataclass(frozen=True)
class Server:
    """One ComfyUI. `url` may be shown: it holds no user and no password."""

    name: str
    """As records hold it."""
    url: str
    credentials: str | None = field(default=None, repr=False)
    """`user:password` as it was typed."""

    @property
    def full(self) -> str:
        """The address with its credentials, as a client takes it. Never to be shown."""
        scheme, rest = self.url.split("://", 1)
        return f"{scheme}://{self.credentials}@{rest}" if self.credentials is not None else self.url

    @property
    def argument(self) -> str:
        """What `--server` takes to mean it."""
        return f"{self.name}={self.url}" if self.has_given_name else self.url

    @property
    def kept_name(self) -> str:
        """For settings and recipes: a loopback server of this host is each host's own there, so it has no host."""
        address, _, host = self.name.partition("@")
        if host == this_host() and _is_local(self.url):
            return address if "://" in address else f"http://{address}"
        return self.name

    @property
    def has_given_name(self) -> bool:
        """Whether somebody chose its name, so that it is not an address."""
        return is_given_name(self.name)

    @property
    def shown(self) -> str:
        """For a message: the name, and the address where the name does not tell it."""
        return self.url if self.name == default_name(self.url) else f"{self.name} ({self.url})"

    @property
    def is_local(self) -> bool:
        """Whether its address means another machine on every host: it runs on this one."""
        return _is_local(self.url)

    def is_at(self, text: str) -> bool:
        """Whether this is its address, in any spelling."""
        return _place(text, this_host()) == _place(self.url, this_host())


def this_host() -> str:
    """This host, as names are qualified with it."""
    return host_name(socket.gethostname())


def host_name(text: str) -> str:
    """A host's name, with what no server's name may hold replaced."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text) or "localhost"


def same_server(one: str, other: str) -> bool:
    """Whether two names, such as records hold them, are one server. Loopback without a host is this host's."""
    return canonical_name(one) == canonical_name(other)


def canonical_name(text: str) -> str:
    """The one spelling of a server's name: equal for two names that are the same server."""
    return _canonical(text, this_host())


def default_name(url: str) -> str:
    """The name of a server that nobody named. Errors: SettingsError for what is no address."""
    place = _place(url, this_host())
    return place if place is not None else parse_address(url).url


def is_name(text: str) -> bool:
    """Whether this is a name and no address: one that somebody chose, or one that carries a host."""
    return is_given_name(text) or _qualified(text) is not None


def is_given_name(text: str) -> bool:
    """Whether this can be a name that somebody chose; an IP address or `localhost` cannot."""
    return bool(_GIVEN_NAME.fullmatch(text)) and _ip(text) is None and not _is_loopback_name(text)


def other_host(name: str) -> str | None:
    """The host that this server can be reached from, where that is another one than this; None for every other name."""
    _, _, host = canonical_name(name).partition("@")
    return host if host and host != this_host() else None


def at_home(name: str) -> str:
    """The name of the server that has the same address here as this one has on its own host."""
    return f"{canonical_name(name).partition('@')[0]}@{this_host()}"


def parse_server(text: str) -> Server:
    """`http://10.0.0.7:8188`, or with a name `gpu1=http://10.0.0.7:8188`.

    Errors: SettingsError, which does not repeat the text: it may hold a password.
    """
    name, url = _parted(text.strip())
    if name is not None:
        _refuse_bad_name(name)
    elif (owner := _qualified(url)) is not None:
        if owner[1] != this_host():
            raise SettingsError(
                f"that is the name of a server of host {owner[1]}; give the address by which it is reached here"
            )
        url = owner[0]
    address = parse_address(url)
    return Server(name or default_name(address.url), address.url, address.credentials)


def parse_servers(texts: Iterable[str], *, source: str, known: Sequence[Server] = ()) -> tuple[Server, ...]:
    """Each server once, in their order; a text may hold several. `known` ones may be meant by name.

    Errors: SettingsError that counts to the wrong one and does not repeat it, for it may hold a password.
    """
    words = [word for text in texts for word in re.split(r"[,\s]+", text) if word]
    if not words:
        raise SettingsError(f"{source}: no address; write one like {DEFAULT_SERVER} or gpu1={DEFAULT_SERVER}")
    found: list[Server] = []
    for number, word in enumerate(words, 1):
        with located(f"{source}, address {number} of {len(words)}" if len(words) > 1 else source, SettingsError):
            add_server(found, _known_as(word, known) or parse_server(word))
    return tuple(found)


def read_servers(kept: Mapping[str, str] | Iterable[str], *, source: str) -> tuple[Server, ...]:
    """What settings.toml says: a table of names and addresses, or a list of addresses as version 1 wrote it.

    A loopback address as a name is this host's, whichever that is; a loopback server of another host is left out.
    Errors: SettingsError.
    """
    if not isinstance(kept, Mapping):
        return parse_servers(kept, source=source)
    found: list[Server] = []
    for text, address in kept.items():
        with located(f"{source}, {text if is_given_name(text) else 'a name'}", SettingsError):
            server = _read_server(text, parse_address(address))
            if other_host(server.name) is None or not _is_local(server.url):
                add_server(found, server)
    if not found:
        raise SettingsError(f"{source}: all of them are other hosts' loopback servers; add one that this host reaches")
    return tuple(found)


def servers_table(servers: Iterable[Server]) -> dict[str, str]:
    """For settings.toml, as `read_servers` reads it on any host."""
    return {server.kept_name: server.url for server in servers}


def add_server(servers: list[Server], server: Server) -> None:
    """One more, or the same once more. Errors: SettingsError where a name or an address would be there twice."""
    for at, there in enumerate(servers):
        is_namesake, is_neighbour = same_server(there.name, server.name), there.is_at(server.url)
        if is_namesake and not is_neighbour:
            raise SettingsError(f"{server.name} is both {there.url} and {server.url}; give one of them another name")
        if is_neighbour and not is_namesake and there.has_given_name and server.has_given_name:
            raise SettingsError(f"{there.name} and {server.name} are both {server.url}; name it once")
        if is_namesake or is_neighbour:
            if server.has_given_name and not there.has_given_name:
                servers[at] = replace(there, name=server.name)
            return
    servers.append(server)


def find_server(text: str, servers: Iterable[Server]) -> Server | None:
    """The server that a record or a person means: by its name, else by its address."""
    candidates = list(servers)
    by_name = (server for server in candidates if same_server(text, server.name))
    by_address = (server for server in candidates if server.is_at(text))
    return next(by_name, None) or next(by_address, None)


def reachable_server(name: str) -> Server:
    """A server that no settings know: its name tells where it is. Errors: SettingsError where it does not."""
    if is_given_name(name):
        raise SettingsError(
            f"no address is known of the server {name}; give it with {named('servers', f'{name}=URL')}."
        )
    if (host := other_host(name)) is not None:
        raise SettingsError(f"{name} can only be reached from host {host}.")
    return parse_server(name)


def _read_server(text: str, address: Address) -> Server:
    if not is_name(text):
        text = default_name(text)
    return Server(canonical_name(text), address.url, address.credentials)


def _is_local(url: str) -> bool:
    """Whether this address is another machine on every host."""
    return "@" in default_name(url)


def _known_as(word: str, known: Sequence[Server]) -> Server | None:
    """A known server that is meant; one at a known address has the known name.

    Errors: SettingsError for a known name with another address.
    """
    name, url = _parted(word)
    if name is not None:
        namesake = next((server for server in known if same_server(server.name, name)), None)
        if namesake is not None and not namesake.is_at(url):
            raise SettingsError(
                f"{namesake.name} is {namesake.url} in the settings; where its address changed, say so once with "
                f"{named('server_moved', 'URL', key=namesake.name)}, else choose another name"
            )
        return None
    there = next((server for server in known if server.is_at(word)), None)
    if there is not None and not is_given_name(word):
        return replace(parse_server(word), name=there.name)
    return next((server for server in known if same_server(server.name, word)), None)


def _parted(text: str) -> tuple[str | None, str]:
    """Name and address; no name where what stands before `=` belongs to an address."""
    before, equals, after = text.partition("=")
    could_be_name = after.startswith(("http://", "https://")) or not re.search("[:/@]", before)
    return (before, after) if equals and "://" not in before and could_be_name else (None, text)


def _refuse_bad_name(name: str) -> None:
    if not name:
        raise SettingsError("no name before =; write NAME=URL, such as gpu1=http://10.0.0.7:8188")
    if not _GIVEN_NAME.fullmatch(name):
        raise SettingsError(
            f"a server's name has at most {_LONGEST_NAME} letters, digits, '.', '_' and '-', a letter or digit first: "
            "NAME=URL, such as gpu1=http://10.0.0.7:8188"
        )
    if not is_given_name(name):
        raise SettingsError(f"{name} is an address, not a name; write NAME=URL, such as gpu1=http://10.0.0.7:8188")


@lru_cache(maxsize=4096)
def _canonical(text: str, host: str) -> str:
    if is_given_name(text):
        return text
    if (owner := _qualified(text)) is not None:
        return f"{_spelled(owner[0])[0]}@{owner[1]}"
    return _place(text, host) or text


@lru_cache(maxsize=4096)
def _place(text: str, host: str) -> str | None:
    """An address in one spelling, qualified where it is another one on every host; None for what is no address."""
    if (owner := _qualified(text)) is not None:
        return f"{_spelled(owner[0])[0]}@{owner[1]}"
    with contextlib.suppress(SettingsError):
        spelled, is_local = _spelled(text)
        return f"{spelled}@{host}" if is_local else spelled
    return None


def _qualified(text: str) -> tuple[str, str] | None:
    """The address and the host of `127.0.0.1:8188@HOST`; None for anything else."""
    address, at, owner = text.rpartition("@")
    if not at or not owner or host_name(owner) != owner:
        return None
    with contextlib.suppress(SettingsError):
        if "@" not in address and _spelled(address)[1]:
            return address, owner
    return None


def _spelled(text: str) -> tuple[str, bool]:
    """An address in one spelling, and whether it means another machine on every host. Errors: SettingsError."""
    parts = urlsplit(parse_address(text).url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or DEFAULT_PORTS[parts.scheme]
    ip = _ip(host)
    shown = f"[{ip}]" if isinstance(ip, ipaddress.IPv6Address) else str(ip or host)
    if (is_loopback := _is_loopback_name(host)) or (ip is not None and (ip.is_loopback or ip.is_unspecified)):
        shown = _LOOPBACK if is_loopback or not str(ip).startswith("127.") else str(ip)
    elif ip is None or not ip.is_link_local:
        shown_port = "" if port == DEFAULT_PORTS[parts.scheme] else f":{port}"
        return f"{parts.scheme}://{shown}{shown_port}{parts.path}", False
    scheme = "" if parts.scheme == "http" else f"{parts.scheme}://"
    return f"{scheme}{shown}:{port}{parts.path}", True


def _is_loopback_name(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name in _LOOPBACK_NAMES or name.endswith(".localhost")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Also as `inet_aton` reads it (127.1); an IPv4 address within an IPv6 one is the IPv4 address."""
    with contextlib.suppress(ValueError):
        ip = ipaddress.ip_address(host.replace("%25", "%"))
        return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip
    if re.fullmatch(r"(0x)?[0-9a-f]+(\.(0x)?[0-9a-f]+){0,3}", host, re.IGNORECASE) and host[0].isdigit():
        with contextlib.suppress(OSError, UnicodeError):
            return ipaddress.IPv4Address(socket.inet_aton(host))
    return None
