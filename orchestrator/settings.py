"""What a run works with: flags > environment > settings.toml > defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.errors import SettingsError, StateVersionError, UsageError

FORMAT_VERSION = 1
DEFAULT_STATE = "re_render_state.json"
DEFAULT_SERVER = "http://127.0.0.1:8188"
SERVER_VARIABLE = "COMFYUI_URL"
HEADERS_VARIABLE = "COMFYUI_HEADERS"
"""One `Name: value` a line."""
_FROM_ENVIRONMENT = "env:"
_KNOWN = {"version", "template", "output_dir", "servers", "bindings", "headers"}


@dataclass(frozen=True)
class Settings:
    """What `init` remembers beside the state, and what flags and environment override for one run.

    Paths are absolute here; in settings.toml they are relative to the state file's directory where they lie below it.
    A header's value that starts with `env:` names the environment variable that holds it.
    """

    output_dir: Path
    template: str | None = None
    servers: tuple[str, ...] = (DEFAULT_SERVER,)
    bindings: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def resolved_headers(self) -> dict[str, str]:
        """The headers with their values from the environment. Errors: SettingsError that names the variable."""
        found = {}
        for name, value in self.headers.items():
            if value.startswith(_FROM_ENVIRONMENT):
                variable = value.removeprefix(_FROM_ENVIRONMENT)
                if variable not in os.environ:
                    raise SettingsError(f"header {name}: the environment variable {variable} is not set; set it")
                value = os.environ[variable]
            found[name] = value
        return found


@dataclass(frozen=True)
class Overrides:
    """What the caller said for this run; None and empty mean nothing was said."""

    template: str | None = None
    output_dir: Path | None = None
    servers: tuple[str, ...] = ()
    bindings: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def load_settings(state_file: Path, overrides: Overrides | None = None) -> Settings:
    """Errors: SettingsError with the path, StateVersionError."""
    said = overrides or Overrides()
    home = state_file.resolve().parent
    path = settings_path(state_file)
    kept = _read(path)
    settings = Settings(
        output_dir=home / _text(path, kept, "output_dir", "output"),
        template=_template(home, kept.get("template")),
        servers=tuple(kept.get("servers", (DEFAULT_SERVER,))),
        bindings=kept.get("bindings", {}),
        headers=kept.get("headers", {}),
    )
    return _overridden(settings, said)


def refuse_literal_headers(settings: Settings) -> None:
    """What is remembered holds no secret. Errors: UsageError for a header whose value is not `env:…`."""
    for name, value in settings.headers.items():
        if not value.startswith(_FROM_ENVIRONMENT):
            raise UsageError(
                f"the value of header {name} would be written to disk; "
                f"put it into an environment variable and say --header '{name}: env:VARIABLE'"
            )


def save_settings(state_file: Path, settings: Settings) -> None:
    """Write settings.toml. Errors: UsageError for a header whose value is not `env:…`; DiskFull."""
    import tomli_w

    from state.disk import Disk

    refuse_literal_headers(settings)
    home = state_file.resolve().parent
    kept: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "output_dir": _relative(home, settings.output_dir),
        "servers": list(settings.servers),
    }
    if settings.template is not None:
        path = Path(settings.template)
        kept["template"] = _relative(home, path) if path.is_absolute() else settings.template
    kept |= {name: dict(table) for name in ("bindings", "headers") if (table := getattr(settings, name))}
    target = settings_path(state_file)
    disk = Disk()
    disk.make_directory(target.parent)
    temporary = target.with_name("settings.toml.tmp")
    with disk.create(temporary) as handle:
        handle.write(tomli_w.dumps(kept).rstrip().encode() + b"\n")
        handle.sync()
    disk.replace(temporary, target)


def settings_path(state_file: Path) -> Path:
    from state.json_store import burst_folder

    return burst_folder(state_file.resolve()) / "settings.toml"


def parse_header(text: str) -> tuple[str, str]:
    """`Name: value`. Errors: UsageError, which does not repeat the value."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not value.strip():
        raise UsageError("a header is written as 'Name: value', or 'Name: env:VARIABLE' to keep the value out of sight")
    return name.strip(), value.strip()


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path}: {error}; mend it, or run `burst init` again") from error
    version = kept.get("version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise StateVersionError(
            path,
            f"written in format version {version}; this burst knows version {FORMAT_VERSION}. "
            "Use the burst that wrote it, or a newer one.",
        )
    unknown = sorted(set(kept) - _KNOWN)
    if unknown:
        raise SettingsError(f"{path}: unknown name {unknown[0]!r}; known: {', '.join(sorted(_KNOWN))}")
    _check_shapes(path, kept)
    return kept


def _check_shapes(path: Path, kept: Mapping[str, Any]) -> None:
    servers = kept.get("servers", [DEFAULT_SERVER])
    if not isinstance(servers, list) or not servers or not all(isinstance(server, str) for server in servers):
        raise SettingsError(f'{path}: servers: expected a list of addresses, such as ["{DEFAULT_SERVER}"]')
    for name in ("bindings", "headers"):
        table = kept.get(name, {})
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise SettingsError(f'{path}: [{name}]: expected NAME = "text" pairs')
    if not isinstance(kept.get("template", ""), str):
        raise SettingsError(f"{path}: template: expected a name or a path")


def _text(path: Path, kept: Mapping[str, Any], name: str, default: str) -> str:
    value = kept.get(name, default)
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{path}: {name}: expected text")
    return value


def _template(home: Path, kept: str | None) -> str | None:
    """A shipped name stays a name; a path becomes absolute."""
    if kept is None or not (kept.endswith(".json") or "/" in kept):
        return kept
    return str(home / kept)


def _overridden(settings: Settings, said: Overrides) -> Settings:
    servers = said.servers or tuple(filter(None, [os.environ.get(SERVER_VARIABLE)])) or settings.servers
    lines = os.environ.get(HEADERS_VARIABLE, "").splitlines()
    from_environment = dict(parse_header(line) for line in lines if line.strip())
    return replace(
        settings,
        template=_absolute_template(said.template) or settings.template,
        output_dir=said.output_dir.absolute() if said.output_dir else settings.output_dir,
        servers=servers,
        bindings={**settings.bindings, **said.bindings},
        headers={**settings.headers, **from_environment, **said.headers},
    )


def _absolute_template(said: str | None) -> str | None:
    """A file that is there wins over a shipped name of the same spelling."""
    if said is None:
        return None
    path = Path(said)
    return str(path.absolute()) if path.exists() or said.endswith(".json") or "/" in said else said


def _relative(home: Path, path: Path) -> str:
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)
