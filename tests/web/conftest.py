"""What the browser's tests share: a sandbox, `burst serve` as a real process, and pages of a headless Chromium.

Sandbox and server live for a module, the browser as long as the tests; every test gets a page of its own and makes
batches of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from support.chromium import chromium_path, running_chromium
from support.gallery_scene import Gallery, Listening, gallery_over, listening
from support.report_project import Album
from support.serving import Served

from orchestrator.sandbox import Sandbox, SandboxSettings

Serve = Callable[..., Served]
"""The fixture `serve`."""

_DEADLINE_MILLISECONDS = 30_000
expect.set_options(timeout=_DEADLINE_MILLISECONDS)
_PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(directory=tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Iterator[Sandbox]:
    """As it is when it starts, whatever the test before did to it."""
    _sandbox.change(**SandboxSettings().as_dict())
    yield _sandbox
    _sandbox.release()


@pytest.fixture(scope="module")
def _served(_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), servers=[_sandbox.url]) as running:
        yield running


@pytest.fixture
def served(_served: Served, sandbox: Sandbox) -> Iterator[Served]:
    """One server for a module's tests. What a test leaves undone is cancelled after it."""
    yield _served
    sandbox.release()
    _served.cancel_all()


@pytest.fixture
def serve(tmp_path: Path, sandbox: Sandbox) -> Iterator[Serve]:
    """Servers of the test's own, that may be killed: `serve(states=2)`."""
    running: list[Served] = []

    def start(**parts: Any) -> Served:
        home = tmp_path / f"served-{len(running)}"
        home.mkdir()
        running.append(Served(home, **{"servers": [sandbox.url]} | parts))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def album(tmp_path: Path) -> Album:
    """A state of the test's own, with batches that are added as if they had been rendered."""
    return Album(tmp_path)


@pytest.fixture
def gallery(album: Album) -> Iterator[Gallery]:
    """The browser's front end over that state, asked without a socket."""
    with gallery_over(album) as found:
        yield found


@pytest.fixture
def server(gallery: Gallery) -> Iterator[Listening]:
    """The same, for pages: tests take it before the page, so that it is stopped after that."""
    with listening(gallery) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium. Tests of pages are skipped where there is none, and say so."""
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium is installed here, so no page was opened in a browser")
    with running_chromium(path) as running:
        yield running


@pytest.fixture(scope="module")
def _context(browser: Any, _served: Served) -> Iterator[Any]:
    """For a module's pages that need nothing else. One stays open: another one then needs no process of its own, which
    is most of what a page costs. Nothing moves on them, which costs too: transitions have tests of their own."""
    context = browser.new_context(reduced_motion="reduce")
    context.new_page().goto(f"{_served.url}/static/page.css")
    yield context
    context.close()


@pytest.fixture
def open_page(browser: Any, _context: Any, served: Served, serve: Serve) -> Iterator[Callable[..., Any]]:
    """`open_page("/", server=…, phone=True, away=True, …)`: a page; further words are Playwright's for a context.

    A clock is a context's: a page that is to have one opens at `about:blank`, in a context of its own. After the test
    no page may have asked another host for anything, broken the content security policy, thrown, or, but for
    `away=True`, complained on its console.
    """
    kept = list(_context.pages)
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_one(path: str = "/", *, server: Served | None = None, away: bool = False, **parts: Any) -> Any:
        url = (server or served).url
        if parts.pop("phone", False):
            parts |= {"viewport": _PHONE, "has_touch": True}
        context = _context
        if parts or path == "about:blank":
            context = browser.new_context(base_url=url, **{"reduced_motion": "reduce"} | parts)
            contexts.append(context)
        context.set_default_timeout(_DEADLINE_MILLISECONDS)
        page = _watched(context.new_page(), url, complaints, away=away)
        page.goto(path if path == "about:blank" else url + path)
        return page

    yield open_one
    for page in _context.pages:
        if page not in kept:
            page.close()
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def kept_page(_context: Any, _served: Served) -> Iterator[Any]:
    """One page for all tests of a module that leave it as they found it. It may complain no more than others."""
    complaints: list[str] = []
    page = _watched(_context.new_page(), _served.url, complaints, away=False)
    page.set_default_timeout(_DEADLINE_MILLISECONDS)
    yield page
    page.close()
    assert complaints == []


def _watched(page: Any, url: str, complaints: list[str], *, away: bool) -> Any:
    page.on("pageerror", lambda error: complaints.append(f"thrown: {error}"))
    page.on("console", lambda said: _hear(said, complaints, away=away))
    page.on("request", lambda asked: None if asked.url.startswith((url, "blob:")) else complaints.append(asked.url))
    return page


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    """The page `/`."""
    return open_page("/")


def _hear(said: Any, complaints: list[str], *, away: bool) -> None:
    policy = "Content Security Policy" in said.text
    # A page that is still open when its server ends asks for the queue by itself, and the browser notes it.
    is_lost = "net::ERR_" in said.text and said.location["url"].endswith(("/api/events", "/api/queue"))
    if said.type in ("error", "warning") and (policy or not (away or is_lost)):
        complaints.append(f"console: {said.text} ({said.location})")
