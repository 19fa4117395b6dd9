"""What a run works with: flags > environment > settings.toml > defaults."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.comfyui.address import is_header_name, parse_address
from orchestrator.cycle.pacing import ABANDON_AFTER_SECONDS
from orchestrator.errors import SettingsError, UsageError, located
from orchestrator.kept_paths import kept_path
from orchestrator.places import Place, absolute_root, root_at_home
from orchestrator.registered_servers import find_registered, reached_here, refuse_foreign, refuse_unreached
from orchestrator.server_options import ServerOptions
from orchestrator.servers import (
    DEFAULT_SERVER,
    Server,
    find_server,
    is_name,
    parse_server,
    parse_servers,
    reachable_server,
    read_servers,
    same_server,
    servers_table,
)
from orchestrator.settings_file import EXPECTED, SettingsFile, read_settings_file
from orchestrator.shapes import WrongShape, shaped
from orchestrator.wording import named
from state.store import FORMAT_VERSION

if TYPE_CHECKING:
    from state.server import RegisteredServer
    from state.store import SettingsDocument, StateParts

DEFAULT_STATE = "re_render_state.json"
SERVER_VARIABLE = "COMFYUI_URL"
"""One address or NAME=URL, or several between commas or white space."""
HEADERS_VARIABLE = "COMFYUI_HEADERS"
"""One `Name: value` a line."""
_FROM_ENVIRONMENT = "env:"
_NO_OPTIONS = ServerOptions()


@dataclass(frozen=True)
class Settings:
    """What `init` remembers beside the state, and what flags and environment override for one run.

    Paths are absolute here; in settings.toml they are relative to the state file's directory where they lie below it.
    A header's value that starts with `env:` names the environment variable that holds it.
    """

    output_dir: Place
    template: str | None = None
    servers: tuple[Server, ...] = field(default_factory=lambda: (parse_server(DEFAULT_SERVER),))
    """Those that a run uses, each once."""
    bindings: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    """The nodes whose outputs are fetched, as `templates.output_nodes` takes them; empty: those that save."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent to every server."""
    own_headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Name or address -> headers that go to this server alone, and win over those for every server."""
    abandon_after_seconds: float = ABANDON_AFTER_SECONDS
    """After how long without a sign of life of another host what only that one can reach is due again."""
    server_options: Mapping[str, ServerOptions] = field(default_factory=dict)
    """By name or address."""
    allow_spend: int | None = None
    """How many prompts servers that cost money may get in 24 hours; None: nobody has allowed any."""
    known_servers: tuple[Server, ...] = field(default=(), compare=False)
    """Those that are remembered and that a run does not use by itself: what their names mean."""
    registered: tuple[RegisteredServer, ...] = field(default=(), compare=False)
    """Those of the state, also what another host alone reaches."""
    replaced_servers: tuple[Server, ...] = field(default=(), compare=False)
    """Those of settings.toml, where a run uses registered ones instead."""
    needs: tuple[str, ...] | None = field(default=None, compare=False)
    """Labels that a server must have for what is requested now; None: what it is based on decides."""
    names_servers: bool = field(default=False, compare=False)
    """Whether the caller or the environment says which servers a run uses."""

    @property
    def server_urls(self) -> tuple[str, ...]:
        """The servers' addresses, fit to be shown."""
        return tuple(server.url for server in self.servers)

    def the_one_server(self) -> Server:
        """For what asks a single server. Errors: UsageError where several are set."""
        if len(self.servers) > 1:
            listed = ", ".join(server.shown for server in self.servers)
            raise UsageError(
                f"this command uses one server, and {len(self.servers)} are set ({listed}); "
                f"choose one with {named('servers', 'URL')}"
            )
        return self.servers[0]

    @property
    def all_servers(self) -> tuple[Server, ...]:
        """Those that a run uses, and those that are remembered."""
        return (*self.servers, *self.known_servers)

    def find_server(self, text: str) -> Server | None:
        """The server that a record or a person means, by name or address; None where neither is known."""
        found = find_server(text, self.all_servers)
        if found is None or found in self.servers:
            return found
        return next((server for server in self.servers if server.is_at(found.url)), found)

    def server_named(self, name: str) -> Server:
        """A server that is remembered, or whose name is its address. Errors: SettingsError for any other."""
        if (found := self.find_server(name)) is not None:
            return found
        for one in self.registered:
            if same_server(one.name, name):
                raise SettingsError(f"{name} can only be reached from host {one.host}.")
        return reachable_server(name)

    def check_servers(self) -> None:
        """Call before a run. Errors: SettingsError where it is to use registered servers and this host reaches none."""
        if not self.names_servers:
            refuse_unreached(self.registered)

    def options_of(self, server: Server) -> ServerOptions:
        """What is said of this server; nothing for most."""
        found = (one for text, one in self.server_options.items() if find_server(text, [server]) is not None)
        options = next(found, _NO_OPTIONS)
        entry = find_registered(server, self.registered)
        if entry is None or entry.window is None:
            return options
        return msgspec.structs.replace(options, at_once=entry.window)

    def partner_key_of(self, server: Server) -> str | None:
        """The key for partner nodes on this server. Errors: SettingsError that names the variable."""
        key = self.options_of(server).partner_key
        return None if key is None else _resolved("partner_key", key)

    def with_servers(self, names: Iterable[str]) -> Settings:
        """The same with these servers too. One that is not remembered, and whose name is no address, is left out."""
        servers = list(self.servers)
        for name in names:
            with contextlib.suppress(SettingsError):
                server = self.server_named(name)
                if server not in servers:
                    servers.append(server)
        return replace(self, servers=tuple(servers)) if len(servers) > len(self.servers) else self

    def resolved_headers(self, server: Server | None = None) -> dict[str, str]:
        """The headers for every server and, with `server`, its own; `env:` values are looked up.

        Errors: SettingsError that names the variable.
        """
        own: dict[str, str] = {}
        if server is not None:
            for text, headers in self.own_headers.items():
                own |= headers if find_server(text, [server]) else {}
        replaced = {name.lower() for name in own}
        common = {name: value for name, value in self.headers.items() if name.lower() not in replaced}
        return {name: _resolved(f"header {name}", value) for name, value in (common | own).items()}


@dataclass(frozen=True)
class Overrides:
    """What the caller said for this run; None and empty mean nothing was said.

    A binding with an empty address is forgotten: what the workflow's links tell of it counts again.
    `outputs`: the only nodes whose outputs are fetched; without any, those of all that save.
    """

    template: str | None = None
    output_dir: Place | None = None
    servers: tuple[str, ...] = field(default=(), repr=False)
    bindings: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    outputs: tuple[str, ...] | None = None
    needs: tuple[str, ...] | None = None
    """Labels that a server must have to be sent the items of this request."""


def load_settings(state_file: Path, overrides: Overrides | None = None) -> Settings:
    """What a run of the state works with. Errors: SettingsError with the path, StateVersionError, OSError."""
    registered = tuple(_parts(state_file).servers().values())
    return _overridden(kept_settings(state_file), overrides or Overrides(), registered)


def kept_settings(state_file: Path) -> Settings:
    """What is remembered beside the state alone. Errors: as `load_settings`."""
    return settings_in(_document(state_file), state_file.resolve().parent)


def settings_in(document: SettingsDocument, home: Path) -> Settings:
    """What a document says. `home`: where its relative paths start. Errors: as `load_settings`."""
    path, kept = document.shown(), read_settings_file(document)
    return Settings(
        output_dir=root_at_home(kept.output_dir, home),
        template=_template(home, kept.template),
        servers=read_servers(kept.servers, source=f"{path}: servers"),
        known_servers=read_servers(kept.known_servers, source=f"{path}: known_servers") if kept.known_servers else (),
        bindings=kept.bindings,
        outputs=kept.outputs,
        headers={name: value for name, value in kept.headers.items() if isinstance(value, str)},
        own_headers=_own_headers(path, kept),
        abandon_after_seconds=kept.abandon_after_seconds,
        server_options=kept.server_options,
        allow_spend=kept.allow_spend,
    )


def refuse_secrets(settings: Settings) -> None:
    """What is remembered holds no secret. Errors: UsageError for a header that is not `env:…`, or a password."""
    for headers in (settings.headers, *settings.own_headers.values()):
        for name, value in headers.items():
            if not value.startswith(_FROM_ENVIRONMENT):
                raise UsageError(
                    f"the value of header {name} would be written to disk; "
                    f"put it into an environment variable and use {named('headers', 'env:VARIABLE', key=name)}"
                )
    for server in settings.servers:
        if server.credentials is not None:
            raise UsageError(
                f"the password in the address of {server.url} would be written to disk; "
                f"use {named('servers', server.url)} here, and give the whole address in {SERVER_VARIABLE} when it runs"
            )


def save_settings(state_file: Path, settings: Settings) -> None:
    """Write settings.toml. Errors: UsageError as `refuse_secrets`, or for a path that is no text; DiskFull."""
    import tomli_w

    refuse_secrets(settings)
    home = state_file.resolve().parent
    kept_servers = settings.replaced_servers or settings.servers
    kept: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "output_dir": kept_path(settings.output_dir, home),
        "servers": servers_table(kept_servers),
    }
    if settings.template is not None:
        path = Path(settings.template)
        kept["template"] = kept_path(path, home) if path.is_absolute() else settings.template
    if settings.outputs:
        kept["outputs"] = list(settings.outputs)
    if settings.abandon_after_seconds != ABANDON_AFTER_SECONDS:
        kept["abandon_after_seconds"] = settings.abandon_after_seconds
    if settings.allow_spend is not None:
        kept["allow_spend"] = settings.allow_spend
    if settings.server_options:
        kept["server_options"] = msgspec.to_builtins(dict(settings.server_options))
    headers = dict(settings.headers) | {address: dict(own) for address, own in settings.own_headers.items()}
    kept |= {name: table for name, table in (("bindings", dict(settings.bindings)), ("headers", headers)) if table}
    if known := [
        server
        for server in settings.known_servers
        if server.has_given_name
        and not _is_used(server, kept_servers)
        and find_registered(server, settings.registered) is None
    ]:
        kept["known_servers"] = servers_table(known)
    document = _document(state_file)
    try:
        document.write(tomli_w.dumps(kept).rstrip() + "\n")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{error.object[:300]!r} cannot be kept in {document.shown()}: not UTF-8; use another name"
        ) from error


def remember_servers(state_file: Path, servers: Iterable[Server]) -> None:
    """Keep the addresses of servers that a request named, so that every run can reach them; never a password.

    Errors: as `load_settings`, DiskFull.
    """
    kept, registered = kept_settings(state_file), _parts(state_file).servers()
    known = list(kept.known_servers)
    for server in servers:
        names = [*registered, *(one.name for one in (*kept.servers, *known))]
        if server.has_given_name and not any(same_server(server.name, name) for name in names):
            known.append(Server(server.name, server.url))
    if len(known) > len(kept.known_servers):
        save_settings(state_file, replace(kept, known_servers=tuple(known)))


def _is_used(server: Server, servers: Iterable[Server]) -> bool:
    return any(same_server(server.name, used.name) for used in servers)


def _document(state_file: Path) -> SettingsDocument:
    return _parts(state_file).settings


def _parts(state_file: Path) -> StateParts:
    from state.open_store import parts_of

    return parts_of(state_file)


def parse_header(text: str) -> tuple[str, str]:
    """`Name: value`. Errors: UsageError, which does not repeat the value."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not value.strip():
        raise UsageError("a header is written as 'Name: value', or 'Name: env:VARIABLE' to keep the value out of sight")
    if not is_header_name(name.strip()):
        raise UsageError("the name of a header holds letters, digits and dashes only: 'Name: value'")
    if value.strip() == _FROM_ENVIRONMENT:
        raise UsageError(f"{name.strip()}: no variable after env:, such as '{name.strip()}: env:COMFYUI_TOKEN'")
    return name.strip(), value.strip()


def _resolved(name: str, value: str) -> str:
    if not value.startswith(_FROM_ENVIRONMENT):
        return value
    variable = value.removeprefix(_FROM_ENVIRONMENT)
    if variable not in os.environ:
        raise SettingsError(f"{name}: the environment variable {variable} is not set; set it")
    return os.environ[variable]


def _own_headers(path: str, kept: SettingsFile) -> dict[str, dict[str, str]]:
    """The headers of one server by its name or address: `[headers."http://host:8188"]`. Errors: SettingsError."""
    own = {}
    for text, table in kept.headers.items():
        if isinstance(table, str):
            continue
        with located(f"{path}: a table in [headers] is named neither like a server nor like an address", SettingsError):
            heading = text if is_name(text) else parse_address(text).url
        try:
            own[heading] = shaped(table, dict[str, str])
        except WrongShape as error:
            raise SettingsError(f'{path}: [headers."{heading}"]: {EXPECTED["headers"]}') from error
    return own


def _template(home: Path, kept: str | None) -> str | None:
    """A shipped name stays a name; a path becomes absolute."""
    if kept is None or not (kept.endswith(".json") or "/" in kept):
        return kept
    return str(root_at_home(kept, home))


def _overridden(settings: Settings, said: Overrides, registered: tuple[RegisteredServer, ...]) -> Settings:
    here, environment = reached_here(registered), os.environ.get(SERVER_VARIABLE, "").strip()
    known = (*here, *settings.all_servers)
    servers, names_servers = here or settings.servers, bool(said.servers or environment)
    if said.servers:
        servers = parse_servers(said.servers, source=named("servers"), known=known)
    elif environment:
        servers = parse_servers([environment], source=SERVER_VARIABLE, known=known)
    if names_servers:
        refuse_foreign(servers, registered)
    lines = os.environ.get(HEADERS_VARIABLE, "").splitlines()
    with located(HEADERS_VARIABLE, UsageError):
        from_environment = dict(parse_header(line) for line in lines if line.strip())
    return replace(
        settings,
        template=_absolute_template(said.template) or settings.template,
        output_dir=absolute_root(said.output_dir) if said.output_dir else settings.output_dir,
        servers=servers,
        known_servers=known,
        registered=registered,
        replaced_servers=settings.servers if here and not names_servers else (),
        needs=said.needs,
        names_servers=names_servers,
        bindings=_bound(settings.bindings, said.bindings),
        outputs=_outputs(settings, said),
        headers={**settings.headers, **from_environment, **said.headers},
    )


def _bound(kept: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Errors: UsageError for a name that is probably a misspelt one."""
    if unknown := [name for name in given if name not in kept]:
        from templates.bindings import probably_meant

        for name in unknown:
            if (meant := probably_meant(name)) is not None:
                raise UsageError(f"{named('bindings', key=name)}: no binding has this name; did you mean {meant!r}?")
    return {name: address for name, address in {**kept, **given}.items() if address}


def _outputs(kept: Settings, said: Overrides) -> tuple[str, ...]:
    """Those that are kept are nodes of the kept template, and of no other."""
    if said.outputs is not None:
        return said.outputs
    return kept.outputs if _absolute_template(said.template) in (None, kept.template) else ()


def _absolute_template(said: str | None) -> str | None:
    """A file that is there wins over a shipped name of the same spelling."""
    if said is None:
        return None
    path = Path(said)
    return str(path.absolute()) if path.exists() or said.endswith(".json") or "/" in said else said
