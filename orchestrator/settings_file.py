"""settings.toml beside a state: what it may hold, in which format version, and the messages about faults in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from orchestrator.cycle.pacing import ABANDON_AFTER_SECONDS
from orchestrator.errors import SettingsError, StateMoved, StateVersionError
from orchestrator.server_options import ServerOptions
from orchestrator.servers import DEFAULT_SERVER
from orchestrator.shapes import WrongShape, shaped
from orchestrator.wording import named
from state.store import FORMAT_VERSION, READABLE_VERSIONS

if TYPE_CHECKING:
    from state.store import SettingsDocument, StateParts

_VERSION_LINE = re.compile(r"^(\s*version\s*=\s*)\d+(?=\s*(#.*)?$)", re.MULTILINE)


class SettingsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """settings.toml as it is written."""

    version: int = FORMAT_VERSION
    template: str | None = None
    output_dir: Annotated[str, msgspec.Meta(min_length=1)] = "output"
    servers: (
        Annotated[dict[str, str], msgspec.Meta(min_length=1)] | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    ) = (DEFAULT_SERVER,)
    """Addresses by name; a list of addresses as version 1 wrote it."""
    known_servers: dict[str, str] = {}
    """The same for those that a run does not use by itself."""
    bindings: dict[str, str] = {}
    outputs: tuple[str, ...] = ()
    headers: dict[str, str | dict[str, Any]] = {}
    """For every server; a table holds those of one, headed by its name or address."""
    abandon_after_seconds: Annotated[float, msgspec.Meta(ge=0)] = ABANDON_AFTER_SECONDS
    server_options: dict[str, ServerOptions] = {}
    """By name or address."""
    allow_spend: Annotated[int, msgspec.Meta(ge=0)] | None = None
    moved_to: str | None = None
    """Where the state is now; this one is used no more."""


EXPECTED = {
    "version": f"expected a whole number, such as {FORMAT_VERSION}",
    "template": "expected a name or a path",
    "output_dir": "expected text",
    "servers": f'expected NAME = "address" pairs, or a list such as ["{DEFAULT_SERVER}"]',
    "known_servers": 'expected NAME = "address" pairs',
    "bindings": 'expected NAME = "text" pairs',
    "outputs": 'expected a list of nodes, such as ["9", "title=Final"]',
    "headers": 'expected NAME = "text" pairs',
    "abandon_after_seconds": "expected seconds, such as 3600, or inf for never",
    "server_options": 'expected tables such as [server_options.NAME] with api = "v2", paid = true, at_once = 5 or '
    'partner_key = "env:VARIABLE"',
    "allow_spend": "expected a number of prompts in 24 hours, such as 100",
    "moved_to": "expected the address of a state",
}


_TABLES = ("bindings", "headers", "server_options")


def read_settings_file(document: SettingsDocument) -> SettingsFile:
    """What a state's settings.toml says; the defaults where there is none.

    Errors: SettingsError that names the place in the file, StateVersionError.
    """
    try:
        return shaped(_table(document), SettingsFile)
    except WrongShape as error:
        raise SettingsError(f"{document.shown()}: {_described(error)}") from error


def settings_version(store: StateParts) -> int | None:
    """The format version of what is remembered for a state; None where nothing is. Errors: as `read_settings_file`."""
    return read_settings_file(store.settings).version if store.settings.exists() else None


def update_version(store: StateParts) -> None:
    """Write the version of today into the settings, where there are any, and leave all else as a person left it.

    Safe to repeat. Errors: as `read_settings_file`, DiskFull.
    """
    if settings_version(store) in (None, FORMAT_VERSION):
        return
    wanted = _table(store.settings) | {"version": FORMAT_VERSION}
    text = _VERSION_LINE.sub(rf"\g<1>{FORMAT_VERSION}", store.settings.read() or "", count=1)
    if _parsed(text) != wanted:
        import tomli_w

        text = tomli_w.dumps(wanted)
    store.settings.write(text)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _table(document: SettingsDocument) -> dict[str, Any]:
    """What the file holds, in a format version that this burst knows. Errors: SettingsError, StateVersionError."""
    path = document.shown()
    try:
        table = tomllib.loads(document.read() or "")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; make it readable for this user") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}; fix it, or run `burst init` again") from error
    version = table.get("version", FORMAT_VERSION)
    if version not in list(READABLE_VERSIONS):
        raise StateVersionError(
            Path(path),
            f"written in format version {version}; this burst knows version {FORMAT_VERSION}. "
            "Use the burst that wrote it, or a newer one.",
        )
    if (moved := table.get("moved_to")) is not None:
        raise StateMoved(path, f"the state was moved to {moved}; use {named('state', moved)}")
    return table


def _described(error: WrongShape) -> str:
    if error.is_unknown:
        return f"unknown name {error.place!r}; known: {', '.join(sorted(SettingsFile.__struct_fields__))}"
    name = re.split(r"[.\[]", error.place)[0]
    return f"{f'[{name}]' if name in _TABLES else name}: {EXPECTED.get(name, error.reason)}"
