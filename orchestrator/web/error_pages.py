"""Errors as pages, for somebody who opened an address and not for a script: what is wrong, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.templating import Jinja2Templates
from starlette.types import Scope

from orchestrator.web.static_files import PLACE

PAGES = Jinja2Templates(directory=Path(__file__).parent / "pages")
"""The HTML of every page."""
PAGES.env.globals["static"] = PLACE  # of pages that say what is wrong, which nobody looks at twice
_FOR_SCRIPTS = ("/api/", "/openapi.json")
_TITLES = {403: "This address is not open to you", 404: "Page not found", 500: "Something went wrong"}


def wants_page(scope: Scope) -> bool:
    """Whether a person opened this address in a browser: scripts and images of a page accept no HTML."""
    if scope["method"] not in ("GET", "HEAD") or scope["path"].startswith(_FOR_SCRIPTS):
        return False
    return any("text/html" in line.casefold() for line in Headers(scope=scope).getlist("accept"))


def error_page(path: str, status: int, message: str) -> HTMLResponse:
    """What is wrong with the address that was opened."""
    title = _TITLES.get(status, "This did not work")
    text = f"There is nothing at {path}." if status == 404 and message == "Not Found" else message
    return HTMLResponse(_rendered("error.html", title=title, message=text), status_code=status)


def token_page(path: str, query: Sequence[tuple[str, str]], *, tried: bool) -> HTMLResponse:
    """Asks for the token, and leads to the address that was opened. `tried`: what was sent is not the token."""
    # Two slashes would begin the name of a host.
    page = _rendered("token.html", action="/" + path.lstrip("/"), query=query, tried=tried)
    return HTMLResponse(page, status_code=401)


def _rendered(name: str, **context: object) -> str:
    return PAGES.get_template(name).render(**context)
