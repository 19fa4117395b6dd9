"""The `requests.Session` of one server, made to be shared by threads and to cost little for each request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from orchestrator.comfyui.address import origin


class Session(requests.Session):
    """Threads may share it as long as they set nothing on it. Redirects are left to the caller.

    Proxies and certificates come from the environment as requests takes them, read at the first request to a server.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.auth = _as_given
        self.headers["User-Agent"] = "comfyui-burst"
        self.headers.update(headers)
        self._environment: dict[tuple[str, str, int | None], Mapping[str, Any]] = {}

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        # requests merges each of a dozen settings with the session's and copies its cookies, without their lock. Of
        # these settings there are only headers, and the cookies are read under the lock where they are not a copy.
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
        """None: requests prepares the next request even where it is not to follow, and fails on a bad Location."""

    def merge_environment_settings(  # type: ignore[override]
        self, url: Any, proxies: Any, stream: bool | None, verify: Any, cert: Any
    ) -> dict[str, Any]:
        # Not for each request: requests goes through every environment variable, a third of a request's whole cost.
        server = origin(url)
        found = self._environment.get(server)
        if found is None:
            found = self._environment[server] = dict(super().merge_environment_settings(url, {}, None, verify, cert))
        return {**found, "stream": stream}


def _as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An auth that adds nothing: otherwise requests would put ~/.netrc in the place of the user's header."""
    return request
