"""Server addresses, the credentials that may be sent to them, and hiding those credentials in messages."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from orchestrator.errors import SettingsError
from orchestrator.wording import named

SNIPPET_CHARACTERS = 80
DEFAULT_PORTS = {"http": 80, "https": 443}
COMFYUI_PORT = 8188
"""ComfyUI's own, which a host alone means."""
_SHORTEST_SECRET = 4
_SHORTEST_PART = 8


@dataclass(frozen=True)
class Address:
    """The address of a server. `url` is safe to show: without user, password and trailing slash."""

    url: str
    authorization: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    credentials: str | None = field(default=None, repr=False)
    """`user:password` as typed."""

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


def parse_address(text: str) -> Address:
    """Parse `host`, `host:8188`, `https://host/prefix/` or `http://user:password@host`. Errors: SettingsError.

    A host alone means ComfyUI's own port; after `http://` a port that is not there is 80.
    """
    text = text.strip()
    try:
        text.encode()  # command line arguments may not be valid text
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        # Its text may quote a password that was parsed as a port.
        raise SettingsError("the server's address cannot be read; write it like http://127.0.0.1:8188") from None
    # A host with this name means a missing slash: http:/host
    if parts.scheme not in DEFAULT_PORTS or not host or host in DEFAULT_PORTS or re.search(r"[\s\x00-\x1f]", text):
        raise SettingsError("the server's address must be http:// or https:// and a host, like http://127.0.0.1:8188")
    if port == 0 or "=" in host:
        what = "port 0" if port == 0 else "a = in its host"
        raise SettingsError(f"the server's address has {what}; write it like http://127.0.0.1:8188")
    if "@" in parts.path:
        raise SettingsError("the user or password in the server's address holds a / or #; write them as %2F and %23")
    if parts.query or parts.fragment:
        raise SettingsError(
            f"leave out what follows ? or # in the address of {host}; give a key with {named('headers')}"
        )
    if "://" not in text and port is None and parts.username is None and parts.path in ("", "/"):
        port = COMFYUI_PORT
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port is None else f":{port}"
    url = f"{parts.scheme}://{shown_host}{shown_port}{parts.path.rstrip('/')}"
    if parts.username is None:
        return Address(url)
    password = unquote(parts.password or "")
    pair = f"{unquote(parts.username)}:{password}".encode()
    return Address(
        url,
        authorization=f"Basic {base64.b64encode(pair).decode()}",
        password=password,
        credentials=parts.netloc.rpartition("@")[0],
    )


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; credentials are only sent to the same origin."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)


def url_to_try(url: str) -> str | None:
    """Where a ComfyUI probably is, if something else answers at this address; None if nothing is likelier than it."""
    parts = urlsplit(url)
    host = parts.netloc if parts.port is None else parts.netloc.rpartition(":")[0]
    other = f"http://{host}:{COMFYUI_PORT}"
    return other if url != other else None


def with_other_scheme(url: str) -> str:
    """`http://…` for `https://…`, and the other way round."""
    scheme, rest = url.split("://", 1)
    return f"{'http' if scheme == 'https' else 'https'}://{rest}"


def shown(url: str) -> str:
    """A URL for messages: without user, password and signed query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def shown_origin(url: str) -> str:
    """Only the origin of a URL, for other servers, where even the path may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class Secrets:
    """The secret header values of one server, to be removed from messages."""

    def __init__(self, headers: Mapping[str, str], password: str | None) -> None:
        words: set[str] = set()
        for value in headers.values():
            words |= {value} | {part for part in re.split(r"[\s;,=]+", value) if len(part) >= _SHORTEST_PART}
        words |= {password} if password else set()
        words = {word for word in words if len(word) >= _SHORTEST_SECRET}
        self._words = sorted(words | {quote(word, safe="") for word in words}, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"Secrets({len(self._words)})"

    def hidden(self, text: str) -> str:
        for word in self._words:
            text = text.replace(word, "***")
        return text

    def snippet(self, body: bytes) -> str:
        """The beginning of a body for messages: one printable line without secrets."""
        text = self.hidden(" ".join(_text_of(body[:4096].decode("utf-8", "replace")).split()))
        return "".join(c if c.isprintable() else "?" for c in text)[:SNIPPET_CHARACTERS]


def _text_of(body: str) -> str:
    """What a person would read of a page, such as a proxy's; anything else as it is."""
    if not body.lstrip().startswith("<"):
        return body
    from html import unescape

    for hidden in (r"<(head|script|style)\b.*?</\1>", r"<(script|style)\b.*?</\1>"):
        text = unescape(re.sub(r"<[^>]*>?", " ", re.sub(hidden, " ", body, flags=re.DOTALL | re.IGNORECASE)))
        if text.strip():
            return text
    return body


def is_header_name(text: str) -> bool:
    """Whether HTTP takes this as the name of a header."""
    return bool(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text))


def checked_headers(headers: Mapping[str, str], address: Address) -> dict[str, str]:
    for name, value in headers.items():
        if not is_header_name(name):
            raise SettingsError(
                f"a header needs a name of letters, digits and dashes: {named('headers', 'value', key='Name')}"
            )
        if value != value.strip() or not re.fullmatch(r"[\x20-\x7e\xa0-\xff\t]*", value):
            raise SettingsError(f"the value of header {name} holds a line break or a character that HTTP cannot carry")
    has_one = any(name.lower() == "authorization" for name in headers)
    own = {"Authorization": address.authorization} if address.authorization and not has_one else {}
    return {**own, **headers}
