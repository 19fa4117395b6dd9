"""The application: routes, pages, files, and the guard around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.staticfiles import StaticFiles

from orchestrator.web import answers, batches_api, downloads, gallery, pages, pictures, state_page
from orchestrator.web.albums import Albums
from orchestrator.web.desk import Desk
from orchestrator.web.options import OptionsDesk
from orchestrator.web.security import HEADERS, LOOPBACK, Guard
from orchestrator.web.workers import Workers

_ROUTERS = (batches_api.router, pictures.router, downloads.router, gallery.router, state_page.router, pages.router)


def create_app(desk: Desk, workers: Workers, *, hosts: Collection[str] = LOOPBACK, token: str | None = None) -> FastAPI:
    """`hosts`: the names that it is reached by. `token`: asked of every call, if any. Starts and ends the workers."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        workers.start()
        try:
            yield
        finally:
            workers.stop()
            desk.close()

    app = FastAPI(
        title="burst",
        description="Batches of ComfyUI pictures, over the same state files as the command line.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.desk, app.state.workers, app.state.options = desk, workers, OptionsDesk()
    app.state.servers = state_page.ServerDesk()
    app.state.albums = Albums(desk)
    answers.install(app)
    app.add_exception_handler(Exception, _broken)
    for router in _ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")
    app.add_middleware(Guard, hosts=hosts, token=token)
    return app


async def _broken(_request: Request, error: Exception) -> JSONResponse:
    """A mistake of ours. What answers it is around the guard; the log gets the rest."""
    response = answers.answer(500, f"this call failed: {type(error).__name__}; the log of burst serve says where")
    response.headers.update(HEADERS)
    return response
