"""A `requests.Session` for one server that is thread-safe and cheap per request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import extract_cookies_to_jar

from orchestrator.comfyui.address import origin

if TYPE_CHECKING:
    from urllib3.connectionpool import ConnectionPool

USER_AGENT = "comfyui-burst"


class Session(requests.Session):
    """Thread-safe as long as no attribute is set. Redirects are left to the caller, authorization to the headers.

    Proxies and certificates come from the environment as in requests, read once at the first request to a server.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.headers["User-Agent"] = USER_AGENT
        self.headers.update(headers)
        self._common_headers = dict(self.headers)
        self._environment: dict[tuple[str, str, int | None], Mapping[str, Any]] = {}
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter())

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        # requests merges a dozen settings with the session's and copies its cookies without their lock. Here only
        # headers are set, and the cookies are read under their lock. No `prepare_auth`: it would replace the user's
        # header with ~/.netrc.
        prepared = requests.PreparedRequest()
        prepared.prepare_method(request.method)
        prepared.prepare_url(request.url, request.params)
        prepared.prepare_headers({**self._common_headers, **request.headers})
        prepared.prepare_cookies(self.cookies)
        prepared.prepare_body(request.data, request.files)
        return prepared

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        # Without what requests does for redirects and hooks, and looking for cookies only where a server sets some.
        options.pop("allow_redirects")
        response = self.get_adapter(request.url or "").send(request, **options)
        if "Set-Cookie" in response.headers:
            extract_cookies_to_jar(self.cookies, request, response.raw)  # type: ignore[no-untyped-call]
        if not options["stream"]:
            _ = response.content
        return response

    def merge_environment_settings(  # type: ignore[override]
        self, url: Any, proxies: Any, stream: bool | None, verify: Any, cert: Any
    ) -> dict[str, Any]:
        # Not for each request: requests reads every environment variable, a third of the total cost of a request.
        server = origin(url)
        found = self._environment.get(server)
        if found is None:
            found = self._environment[server] = dict(super().merge_environment_settings(url, {}, None, verify, cert))
        return {**found, "stream": stream}


class _Adapter(HTTPAdapter):
    """Remembers the connections of the server that was asked last: requests works out which they are each time."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[tuple[str, str, int | None], ConnectionPool] | None = None

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> ConnectionPool:
        server, last = origin(request.url or ""), self._last
        if last is not None and last[0] == server:
            return last[1]
        found = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        self._last = server, found
        return found

    def close(self) -> None:
        # urllib3 closes connections that nobody refers to.
        self._last = None
        super().close()
