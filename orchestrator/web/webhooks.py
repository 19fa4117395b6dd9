"""Which webhooks a call may name: those of origins that `burst serve` was started with.

Runs call them from this machine, which reaches addresses that a caller may not; so nobody but who starts the front end
says where to. Redirects are not followed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from orchestrator.errors import UsageError
from orchestrator.web.error_responses import Refused
from orchestrator.wording import named

_PLACE = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
"""Without a user, and without anything that two readers of addresses may understand differently."""
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Webhooks:
    """`secret_env`: names the environment variable with the key that signs them; a caller cannot choose it."""

    origins: frozenset[tuple[str, str, int]] = frozenset()
    secret_env: str | None = None

    @classmethod
    def of(cls, origins: Collection[str], *, secret_env: str | None = None) -> Self:
        """Errors: UsageError for what is no origin."""
        found = {text: _origin(text) for text in origins}
        for text, origin in found.items():
            if origin is None or urlsplit(text).path not in ("", "/") or "?" in text or "#" in text:
                what = named("allow_notify")
                raise UsageError(f"{what}: write an origin such as https://example.org, without a path")
        return cls(frozenset(origin for origin in found.values() if origin is not None), secret_env)

    def checked(self, urls: Sequence[str]) -> tuple[str, ...]:
        """The same, each once. Errors: Refused, which does not repeat an address: it may hold a key."""
        for url in urls:
            if (origin := _origin(url)) is None:
                raise Refused(400, "Write an address such as https://example.org/hook, without a user", "notify")
            if origin not in self.origins:
                place = f"{origin[0]}://{urlsplit(url).netloc}"
                allowing = named("allow_notify", place)
                raise Refused(400, f"No webhook at {place} may be named; start burst serve with {allowing}", "notify")
        return tuple(dict.fromkeys(urls))


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for what is no address of a webhook."""
    if re.search(r"[^!-~]|\\", url):
        return None
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme, parts.port
    except ValueError:
        return None
    if scheme not in _PORTS or not _PLACE.fullmatch(parts.netloc) or not parts.hostname:
        return None
    return scheme, parts.hostname, port if port is not None else _PORTS[scheme]
