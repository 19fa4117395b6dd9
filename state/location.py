"""The address of a state."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

import msgspec

from orchestrator.errors import UsageError
from state.json.folder import burst_folder

_URL = re.compile(r"([a-zA-Z][\w+.-]*)://")
_SERVERS = ("postgresql", "postgres", "postgresql+psycopg")
_SHOWN_OPTIONS = (
    *("host", "hostaddr", "port", "user", "dbname", "service", "application_name", "connect_timeout"),
    *("sslmode", "sslrootcert", "target_session_attrs", "channel_binding", "gssencmode", "options"),
)
"""What is no secret; an option that is spelled wrong may be one."""
_PlainPath = type(Path())
_addresses: set[str] = set()
"""All that this process was given, for `hidden`."""


class DatabaseHome(_PlainPath):  # type: ignore[misc, valid-type]
    """Where relative paths of a state in a database start: beside the file of SQLite."""


class PassingHome(DatabaseHome):
    """The same of a database on a server: the working directory, which the next command may have another one of. No
    path is kept relative to it."""


class DatabaseAddress(_PlainPath):  # type: ignore[misc, valid-type]
    """A state in a database, wherever a state is named by the path of its file.

    As text it is the address, without the password. What is done with files happens beside the file of SQLite, or for
    a database on a server, in the working directory; `cached` is where this host may keep files about it.
    """

    url: str
    """`sqlite:///FILE`, absolute, or `postgresql://…` with the password, if there was one."""

    def __new__(cls, url: str) -> DatabaseAddress:
        """Errors: UsageError where it is none."""
        made: DatabaseAddress = super().__new__(cls, _file_of(url))
        try:
            urlsplit(url).port  # noqa: B018 — it is read where it is asked for
        except ValueError as error:
            kind = url.partition(":")[0]
            raise UsageError(f"{kind}://…: not an address; expected {kind}://HOST:PORT/DATABASE") from error
        return made

    def __init__(self, url: str) -> None:
        _addresses.add(url)
        if sys.version_info >= (3, 12):
            super().__init__(_file_of(url))
        self.url = f"sqlite:///{_file_of(url)}" if url.startswith("sqlite") else url

    @property
    def cached(self) -> Path:
        return Path(os.fspath(self))

    @property
    def parent(self) -> Path:
        return DatabaseHome(self.cached.parent) if self.url.startswith("sqlite") else PassingHome(Path.cwd())

    def exists(self, **options: bool) -> bool:
        """Of a database on a server nobody knows it without asking: True."""
        return not self.url.startswith("sqlite") or super().exists(**options)

    def resolve(self, strict: bool = False) -> DatabaseAddress:
        return self

    def absolute(self) -> DatabaseAddress:
        return self

    def __str__(self) -> str:
        address, _, options = self.url.partition("?")
        without = re.sub(r"^([^:]+://)([^:/@]*):.*@", r"\1\2@", address)
        shown = [option for option in options.split("&") if option.partition("=")[0] in _SHOWN_OPTIONS]
        return without + ("?" + "&".join(shown) if shown else "")

    def __fspath__(self) -> str:
        return str(_file_of(self.url))

    def __reduce__(self) -> tuple[Any, ...]:
        return DatabaseAddress, (self.url,)

    @classmethod
    def _from_parsed_parts(cls, *parts: Any) -> Path:
        """Paths that are made from this one are paths of files (Python 3.11)."""
        made: Path = _PlainPath._from_parsed_parts(*parts)  # type: ignore[attr-defined]
        return made

    def with_segments(self, *segments: str | os.PathLike[str]) -> Path:
        """The same (from Python 3.12 on)."""
        return Path(*segments)


def state_path(given: Path | str) -> Path:
    """The path of a state file, or the address of a database. Errors: UsageError for other addresses."""
    if isinstance(given, Path):
        return given
    return DatabaseAddress(given) if _URL.match(given) else Path(given)


def without_secrets(text: str, url: str) -> str:
    """The text without the password and other secrets of this address, as written there and as decoded."""
    address, _, options = url.partition("?")
    found = re.match(r"^[^:]+://[^:/@]*:(.*)@", address)
    secrets = {found[1]} if found is not None else set()
    for option in options.split("&"):
        name, _, value = option.partition("=")
        if name not in _SHOWN_OPTIONS:
            secrets.add(value)
    secrets |= {unquote_plus(secret) for secret in secrets} | {unquote(secret) for secret in secrets}
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)" if len(secret) < 4 else re.escape(secret), "***", text)
    return text


def hidden(text: str) -> str:
    """The text without the secrets of any address that this process was given, and without PGPASSWORD."""
    for url in _addresses:
        text = without_secrets(text, url)
    password = os.environ.get("PGPASSWORD", "")
    return text.replace(password, "***") if len(password) > 3 else text


def _file_of(url: str) -> Path:
    """The file of SQLite; of a database on a server, the place where this host keeps what it knows about it."""
    found = _URL.match(url)
    kind = found[1] if found is not None else ""
    if kind == "sqlite":
        name = url.removeprefix("sqlite:///").partition("?")[0]
        if name == url.partition("?")[0] or not name or name == ":memory:":
            raise UsageError(f"{url}: expected sqlite:///FILE, such as sqlite:///burst.db")
        return Path(os.path.realpath(name))
    if kind not in _SERVERS:
        raise UsageError(f"{kind}://…: expected a file, sqlite:///FILE or postgresql://HOST/DATABASE as a state")
    return _cache_of(url) / "state"


def _cache_of(address: str) -> Path:
    digest = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "burst" / digest


class Location(msgspec.Struct, frozen=True):
    """The address of a state, which may not exist yet."""

    path: Path
    """The state file: absolute, with links resolved; or the address of a database."""

    @classmethod
    def of(cls, location: Location | Path | str) -> Location:
        """Errors: UsageError for an address of a kind that is not known."""
        if isinstance(location, Location):
            return location
        path = state_path(location)
        return cls(path if isinstance(path, DatabaseAddress) else Path(os.path.realpath(path)))

    @property
    def url(self) -> str | None:
        """Of a state in a SQL database, with its password."""
        return self.path.url if isinstance(self.path, DatabaseAddress) else None

    @property
    def takes_in(self) -> bool:
        """Whether the state holds what items are made of; otherwise that stays in the files that they name."""
        return self.url is not None

    @property
    def home(self) -> Path:
        """The directory to which the paths of the state are relative; `DatabaseHome` for one in a database."""
        return self.path.parent

    def shown(self) -> str:
        """The address for messages; never contains a password."""
        return str(self.path)

    def without_secrets(self, text: str) -> str:
        """The text, with the password and other secrets of the address replaced wherever it repeats them."""
        return without_secrets(text, self.url) if self.url is not None else text

    def cache(self, name: str) -> Path:
        """The path of what this user on this host may throw away at any time. Not created."""
        return _cache_of(self.url or str(self.path)) / name

    def auxiliary(self, name: str) -> Path:
        """The path of a cache, log or other file that is not part of the state. Not created."""
        return burst_folder(Path(os.fspath(self.path))) / name
