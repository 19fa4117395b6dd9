"""This host's own configuration: commands that no state, page or API can set or see, and where roots are mounted.

`$BURST_HOST_CONFIG`, else `burst/host.toml` in `$XDG_CONFIG_HOME` (`~/.config`). docs/host.md describes it.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from orchestrator.errors import SettingsError
from orchestrator.servers import Server, find_server, same_server
from orchestrator.shapes import WrongShape, shaped
from orchestrator.wording import named
from state import operating_system
from state.location import Location

VARIABLE = "BURST_HOST_CONFIG"
_T = TypeVar("_T")
_ROOT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
_Command = Annotated[str, msgspec.Meta(min_length=1)] | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class RestartRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one server is restarted."""

    restart: Annotated[str, msgspec.Meta(min_length=1)] | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """For a shell, or a program and its arguments."""
    start_seconds: _Seconds = 120.0
    """How long the server may take to answer then; no other restart before."""
    timeout_seconds: _Seconds = 60.0
    """How long the command may take."""
    restarts_an_hour: Annotated[int, msgspec.Meta(ge=1, le=60)] = 3


class _ServerTable(RestartRule, frozen=True, forbid_unknown_fields=True):
    """The table of one server."""

    restart: _Command | None = None  # type: ignore[assignment]
    output_folder: str | None = None
    """Where this host has the folder that the server saves in."""

    def rule(self) -> RestartRule | None:
        if self.restart is None:
            return None
        return RestartRule(self.restart, self.start_seconds, self.timeout_seconds, self.restarts_an_hour)


class ThenRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is run once a batch is done that names it."""

    command: Annotated[str, msgspec.Meta(min_length=1)] | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """For a shell, or a program and its arguments."""
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=30 * 86400)] = 21600.0
    tries: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3


class _HostFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    servers: dict[str, _ServerTable] = {}
    """By name or address."""
    roots: dict[str, str] = {}
    """By name, the directory where it is mounted on this host."""
    then: dict[str, ThenRule] = {}
    """By the name that batches have."""


@dataclass(frozen=True)
class HostConfig:
    """What this host's configuration says; empty where there is none."""

    rules: Mapping[str, RestartRule] = field(default_factory=dict, repr=False)
    roots: Mapping[str, Path] = field(default_factory=dict)
    then: Mapping[str, ThenRule] = field(default_factory=dict, repr=False)
    output_folders: Mapping[str, Path] = field(default_factory=dict)
    """By a server's name or address, the folder that it saves in, where this host has it."""

    def rule_of(self, server: Server, names: Iterable[str] = ()) -> RestartRule | None:
        """`names`: what else the server is called."""
        return _said_of(server, self.rules, names)

    def output_folder_of(self, server: Server) -> Path | None:
        return _said_of(server, self.output_folders, ())


def _said_of(server: Server, tables: Mapping[str, _T], names: Iterable[str]) -> _T | None:
    called = list(names)
    for text, table in tables.items():
        if find_server(text, [server]) is not None or any(same_server(text, name) for name in called):
            return table
    return None


def host_config_path() -> Path:
    """Where it is, or would be."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return config_home() / "burst" / "host.toml"


def config_home() -> Path:
    """Where programs keep the configuration of this user."""
    return _home("XDG_CONFIG_HOME", ".config")


def has_host_config() -> bool:
    """Whether there is one, or is said to be."""
    return bool(os.environ.get(VARIABLE)) or os.path.lexists(host_config_path())


def host_state_directory() -> Path:
    """What this host keeps about itself, whatever the state: when it restarted which server."""
    return _home("XDG_STATE_HOME", ".local/state") / "burst"


def host_state_file(folder: str, location: Location, suffix: str) -> Path:
    """Where this host keeps something about one state. Not created."""
    name = hashlib.sha256(location.shown().encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return host_state_directory() / folder / f"{name}{suffix}"


def load_host_config() -> HostConfig:
    """Errors: SettingsError, also for a file that others than its owner may write, or that belongs to somebody else."""
    path = host_config_path()
    try:
        found = path.stat()
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.environ.get(VARIABLE):
            raise SettingsError(f"{VARIABLE}: {path} is not there; write it, or unset the variable") from error
        return HostConfig()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise SettingsError(f"{path}: {reason}; make it a text file that this user may read") from error
    _refuse_foreign(path, found)
    try:
        file = shaped(tomllib.loads(text), _HostFile)
        return HostConfig(
            _rules(path, file.servers),
            {name: _root(path, name, text) for name, text in file.roots.items()},
            file.then,
            {
                name: _directory(path, f"[servers.{name}]: output_folder", one.output_folder)
                for name, one in file.servers.items()
                if one.output_folder is not None
            },
        )
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}; fix it, or move it away") from error
    except WrongShape as error:
        raise SettingsError(f"{path}: {error}; see docs/host.md") from error


def _rules(path: Path, tables: Mapping[str, _ServerTable]) -> dict[str, RestartRule]:
    """Errors: SettingsError for a table that sets nothing."""
    for name, table in tables.items():
        if table.restart is None and table.output_folder is None:
            raise SettingsError(f"{path}: servers.{name}: give restart or output_folder; see docs/host.md")
    return {name: rule for name, table in tables.items() if (rule := table.rule()) is not None}


def _root(path: Path, name: str, text: str) -> Path:
    """Errors: SettingsError."""
    if not _ROOT_NAME.match(name):
        raise SettingsError(f"{path}: [roots]: {name!r} is not a name; use letters, digits, - and _")
    return _directory(path, f"[roots]: {name}", text)


def _directory(path: Path, said: str, text: str) -> Path:
    """Errors: SettingsError for what is no absolute directory of this host."""
    found = Path(os.path.expanduser(text))
    if "://" in text or not found.is_absolute():
        advice = f" (s3:// has one name everywhere: {named('output_dir', text)})" if text.startswith("s3:") else ""
        raise SettingsError(f"{path}: {said} = {text!r}: name an absolute directory of this host{advice}")
    return Path(os.path.normpath(found))


def _refuse_foreign(path: Path, found: os.stat_result) -> None:
    """Errors: SettingsError. What runs as this user is nobody else's to say."""
    if not (operating_system.is_own(found.st_uid) or found.st_uid == operating_system.ROOT):
        raise SettingsError(f"{path}: belongs to another user; commands are only read from files of this user or root")
    if found.st_mode & operating_system.OTHERS & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingsError(f"{path}: other users can write it, and it holds commands; chmod go-w {path}")


def _home(variable: str, below_home: str) -> Path:
    named = os.environ.get(variable, "")
    return Path(named) if os.path.isabs(named) else Path.home() / below_home
