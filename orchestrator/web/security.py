"""Who may call: this machine's own browser pages, and whoever has the token or an API key.

A page of any site may send requests to an address on this machine. So a request must name a host that is ours (a
foreign name may have been made to lead here), and one that changes something must come from a page of this very origin,
or from a script that sends the token or a key in a header, which no page of another site can make a browser do.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import parse_qs, quote, unquote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.web.api_keys import ApiKeys
from orchestrator.web.error_pages import token_page
from orchestrator.web.error_responses import answer_to

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_COOKIE = "burst-token"
"""With the port behind it: a browser keeps the cookies of a host's ports together."""
_OF_THE_TOKEN_PAGE = frozenset({"/static/tokens.css", "/static/style.css", "/static/theme.js", "/static/icon.svg"})
"""Needed by the page that asks for the token."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        token: str | None,
        keys: ApiKeys | None = None,
        any_address: bool = False,
    ) -> None:
        """`hosts`: names that this server is reached by, without ports. `token`: asked of every request, if any.

        `keys`: of scripts, each as good as the token.

        `any_address`: also by an IP address, whichever it is: nobody can make one lead elsewhere, as a name can, and
        behind a forwarded port this machine does not know its own.
        """
        self._app = app
        self._hosts = {name.casefold() for name in hosts}
        self._any_address = any_address
        self._token, self._keys = token, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    added.setdefault(name, value)
                is_file = scope["path"].startswith("/static/")
                added.setdefault("Cache-Control", "no-cache" if is_file else "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await answer_to(scope, 403, refusal)(scope, receive, guarded)
        elif self._is_unknown_key(headers):
            await _refused_key(scope)(scope, receive, guarded)
        elif self._token is None or scope["path"] in _OF_THE_TOKEN_PAGE:
            await self._app(scope, receive, guarded)
        elif scope["method"] == "GET" and self._is_token((query := _query(scope)).pop("token", [""])[0]):
            await self._kept_as_cookie(scope["path"], query, headers)(scope, receive, guarded)
        elif self._has_key(headers) or self._is_token(_cookie(headers)):
            await self._app(scope, receive, guarded)
        else:
            await _token_wanted(scope)(scope, receive, guarded)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if not self._is_ours(_name_of(host)):
            return f"this server is not called {host!r}; start it with `burst serve --allow-host NAME` if it is"
        if method in _SAFE:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is None and site is None:
            if self._has_key(headers) or self._is_unknown_key(headers):
                return None
            key = ", or an API key as `Authorization: Bearer KEY`"
            return f"a call that changes something must send its Origin, such as http://{host}{key}"
        if site not in (None, "same-origin", "none"):
            return "this call comes from a page of another site"
        if origin is not None and origin.casefold() not in (f"http://{host}".casefold(), f"https://{host}".casefold()):
            return f"this call comes from a page of {origin}"
        return None

    def _is_ours(self, name: str) -> bool:
        return name in self._hosts or (self._any_address and _is_address(name))

    def _has_key(self, headers: Headers) -> bool:
        sent = _bearer(headers)
        return sent is not None and (self._is_token(sent) or (self._keys is not None and self._keys.knows(sent)))

    def _is_unknown_key(self, headers: Headers) -> bool:
        """Of a script: what a proxy adds to the calls of a page is nobody's mistake."""
        is_script = headers.get("origin") is None and headers.get("sec-fetch-site") is None
        has_keys = self._keys is not None or self._token is not None
        return is_script and has_keys and _bearer(headers) is not None and not self._has_key(headers)

    def _is_token(self, said: str) -> bool:
        return self._token is not None and hmac.compare_digest(said.encode(), self._token.encode())

    def _kept_as_cookie(self, path: str, query: Mapping[str, Sequence[str]], headers: Headers) -> RedirectResponse:
        """The address that `burst serve` prints has the token in it; the browser keeps it as a cookie instead."""
        assert self._token is not None
        rest = urlencode(query, doseq=True)
        # Two slashes would begin the name of a host.
        response = RedirectResponse("/" + path.lstrip("/") + (f"?{rest}" if rest else ""), status_code=303)
        response.set_cookie(
            _cookie_name(headers), quote(self._token, safe=""), httponly=True, samesite="strict", path="/"
        )
        return response


def _query(scope: Scope) -> dict[str, list[str]]:
    try:
        return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    except ValueError:  # more fields than anybody has
        return {}


def _token_wanted(scope: Scope) -> Response:
    query = _query(scope)
    tried = bool(query.pop("token", None))
    page = token_page(scope["path"], [(name, value) for name, values in query.items() for value in values], tried=tried)
    refused = answer_to(scope, 401, "open the address that burst serve printed: it has the token", page=page)
    refused.headers["WWW-Authenticate"] = "Bearer"
    return refused


def _refused_key(scope: Scope) -> Response:
    refused = answer_to(scope, 401, "this API key is not known (any more)")
    refused.headers["WWW-Authenticate"] = "Bearer"
    return refused


def _bearer(headers: Headers) -> str | None:
    kind, _, sent = headers.get("authorization", "").partition(" ")
    return sent.strip() if kind.casefold() == "bearer" else None


def _cookie(headers: Headers) -> str:
    """Ours among those of every server on this host, whatever they look like."""
    kept, sent = _cookie_name(headers), (one for line in headers.getlist("cookie") for one in line.split(";"))
    pairs = (one.strip().partition("=") for one in sent)
    return next((unquote(value) for name, _, value in pairs if name == kept), "")


def _cookie_name(headers: Headers) -> str:
    host = headers.get("host", "")
    port = host[len(_name_of(host)) :].removeprefix(":")
    return f"{_COOKIE}-{port}" if port else _COOKIE


def _is_address(name: str) -> bool:
    is_bracketed = name.startswith("[") and name.endswith("]")
    try:
        return (
            isinstance(ipaddress.ip_address(name[1:-1] if is_bracketed else name), ipaddress.IPv6Address)
            == is_bracketed
        )
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """Without its port."""
    name, colon, port = host.casefold().rpartition(":")
    return name if colon and port.isdecimal() else host.casefold()
