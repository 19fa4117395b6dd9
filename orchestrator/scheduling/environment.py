"""Variables that a scheduled run needs and a scheduler does not pass on: in a file that only its owner can read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from orchestrator.errors import UsageError, located
from orchestrator.host_config import VARIABLE as HOST_CONFIG
from orchestrator.replacing import replace_text
from orchestrator.settings import HEADERS_VARIABLE, SERVER_VARIABLE, Settings

STATE_VARIABLE = "BURST_STATE"
_ANYWHERE = (SERVER_VARIABLE, HEADERS_VARIABLE)
_OF_THIS_HOST = (
    *(HOST_CONFIG, "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
"""Where they are set, a run here uses them, and the scheduled one is to do the same."""
_REFERENCE = "env:"
_ESCAPED = re.compile(r'(["\\`$])')


def needed(
    settings: Settings,
    *,
    secrets: Iterable[str],
    is_here: bool,
    is_on_server: bool,
    uses_objects: bool,
    here: Mapping[str, str],
) -> tuple[dict[str, str], list[str]]:
    """The variables that a run needs with their values here, and the names of those that it needs and are not set.

    `secrets`: names that batches give for the keys of their webhooks. `is_here`: it runs on this host. `is_on_server`:
    the state is in a PostgreSQL. `uses_objects`: images go to object storage.
    """
    named = list(dict.fromkeys([*_references(settings), *secrets]))
    prefixes = ("PG",) * is_on_server + ("AWS_",) * uses_objects
    by_prefix = [name for name in sorted(here) if prefixes and name.startswith(prefixes)]
    wanted = dict.fromkeys([*_ANYWHERE, *(_OF_THIS_HOST if is_here else ()), *named, *by_prefix])
    return {name: here[name] for name in wanted if here.get(name)}, [name for name in named if not here.get(name)]


def _references(settings: Settings) -> Iterator[str]:
    values = [*settings.headers.values()]
    values += [value for own in settings.own_headers.values() for value in own.values()]
    values += [one.partner_key for one in settings.server_options.values() if one.partner_key is not None]
    return (value.removeprefix(_REFERENCE) for value in values if value.startswith(_REFERENCE))


def written(variables: Mapping[str, str]) -> str:
    """As a shell and systemd both read it."""
    lines = ["# What `burst schedule` found set when it was installed. Only you may read this."]
    for name, value in variables.items():
        escaped = _ESCAPED.sub(r"\\\1", value)
        lines.append(f'{name}="{escaped}"')
    return "\n".join(lines) + "\n"


def write_private(path: Path, text: str) -> bool:
    """Replace the file; mode 600 from the beginning. Whether it was not so before. Errors: UsageError."""
    with located(path, OSError, into=UsageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_text() == text and path.stat().st_mode & 0o077 == 0:
            return False
        replace_text(path, text)
    return True
