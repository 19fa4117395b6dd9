"""A `requests.Session` for one server that is thread-safe and cheap per request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from orchestrator.comfyui.address import origin

USER_AGENT = "comfyui-burst"


class Session(requests.Session):
    """Thread-safe as long as no attribute is set. Redirects are left to the caller.

    Proxies and certificates come from the environment as in requests, read once at the first request to a server.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.auth = _as_given
        self.headers["User-Agent"] = USER_AGENT
        self.headers.update(headers)
        self._environment: dict[tuple[str, str, int | None], Mapping[str, Any]] = {}

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        # requests merges a dozen settings with the session's and copies its cookies without their lock. Here only
        # headers are set, and the cookies are read under their lock.
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method=request.method,
            url=request.url,
            headers={**self.headers, **request.headers},
            files=request.files,
            data=request.data,
            params=request.params,
            auth=self.auth,
            cookies=self.cookies,
        )
        return prepared

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: requests prepares the next request even if redirects are off, and fails on an invalid Location."""

    def merge_environment_settings(  # type: ignore[override]
        self, url: Any, proxies: Any, stream: bool | None, verify: Any, cert: Any
    ) -> dict[str, Any]:
        # Not for each request: requests reads every environment variable, a third of the total cost of a request.
        server = origin(url)
        found = self._environment.get(server)
        if found is None:
            found = self._environment[server] = dict(super().merge_environment_settings(url, {}, None, verify, cert))
        return {**found, "stream": stream}


def _as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An auth that changes nothing; otherwise requests would replace the user's header with ~/.netrc."""
    return request
