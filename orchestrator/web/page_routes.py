"""The pages as HTML. What they show they fetch from the JSON API themselves."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.web.error_pages import PAGES
from orchestrator.web.page_files import FOLDER

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/")
def batch_page(request: Request) -> HTMLResponse:
    """The form, and with `?batch=ID` the progress and the pictures of a batch."""
    first = None if "batch" in request.query_params else request.app.state.feed.at_hand()
    if first is None:
        return _page(request, "index.html")
    # Nothing in it may end the element that it stands in.
    return _page(request, "index.html", first=first.json.replace("<", "\\u003c"), near=first.thumbnails)


@router.get("/gallery")
def gallery_page(request: Request) -> HTMLResponse:
    """All batches and their pictures."""
    return _page(request, "gallery.html")


@router.get("/grid")
def sweep_page(request: Request) -> HTMLResponse:
    """A sweep as a grid: `?batch=ID`, with `rows`, `columns` and `at` as of the API."""
    return _page(request, "grid.html")


@router.get("/states")
def states_page(request: Request) -> HTMLResponse:
    """Every state that the server was started with."""
    return _page(request, "state.html")


def _page(request: Request, name: str, **data: object) -> HTMLResponse:
    states = [(state.number, str(state.path)) for state in request.app.state.watched.states]
    about = {
        **data,
        "here": request.url.path,
        "states": states,
        "static": (static := request.app.state.static.address()),
        "files": f"{static}/{FOLDER}/{name.removesuffix('.html')}",
    }
    return PAGES.TemplateResponse(request, name, about)
