"""The application: routes, pages, files, and the guard around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import Response

from orchestrator.web import (
    batch_routes,
    chosen_routes,
    derivation_routes,
    error_responses,
    feed_routes,
    first_visit,
    gallery_routes,
    grid_routes,
    image_routes,
    mark_routes,
    metrics_routes,
    page_routes,
    queue_routes,
    state_routes,
    trash_routes,
    upload_routes,
    zip_routes,
)
from orchestrator.web.activity import Activity, Counted
from orchestrator.web.api_keys import ApiKeys
from orchestrator.web.body_limit import BodyLimit
from orchestrator.web.event_stream import EventStream
from orchestrator.web.feed import Feed
from orchestrator.web.field_names import SpeaksOfFields
from orchestrator.web.form_options import FormOptions
from orchestrator.web.library import Library
from orchestrator.web.queue_view import queue_of
from orchestrator.web.security import HEADERS, LOOPBACK, Guard
from orchestrator.web.states import WatchedStates
from orchestrator.web.static_files import PLACE, VersionedFiles
from orchestrator.web.supervisor import Supervisor
from orchestrator.web.webhooks import Webhooks

_ROUTERS = (
    batch_routes.router,
    upload_routes.router,
    grid_routes.router,
    image_routes.router,
    zip_routes.router,
    feed_routes.router,
    gallery_routes.router,
    mark_routes.router,
    chosen_routes.router,
    derivation_routes.router,
    state_routes.router,
    trash_routes.router,
    queue_routes.router,
    metrics_routes.router,
    page_routes.router,
)


def create_app(
    watched: WatchedStates,
    supervisor: Supervisor,
    *,
    hosts: Collection[str] = LOOPBACK,
    any_address: bool = False,
    token: str | None = None,
    keys: ApiKeys | None = None,
    webhooks: Webhooks | None = None,
) -> FastAPI:
    """`hosts`, `any_address`, `token`, `keys`: as of `Guard`. `webhooks`: which a call may name.

    Starts and ends the workers.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        supervisor.start()
        end_preparing = first_visit.prepare(app.state.static, give_way=activity.give_way)
        try:
            yield
        finally:
            end_preparing()
            supervisor.stop()
            app.state.library.index.close()
            watched.close()

    app = FastAPI(
        title="burst",
        description="Batches of ComfyUI images, over the same state files as the command line.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.watched, app.state.supervisor, app.state.options = watched, supervisor, FormOptions()
    app.state.webhooks = webhooks or Webhooks()
    app.state.servers = state_routes.ServerQueues()
    activity = Activity()
    app.state.library = Library(watched, give_way=activity.give_way)
    app.state.downloads = chosen_routes.Downloads()
    app.state.metrics = metrics_routes.MetricsText(watched)
    app.state.feed = Feed(app.state.library)
    app.state.events = EventStream("queue", lambda: queue_of(watched.states, supervisor).model_dump_json())
    error_responses.install(app)
    app.add_exception_handler(Exception, _broken)
    for router in _ROUTERS:
        # Not `include_router`, which makes each route once more, at the first call: 0.1 to 0.2 s.
        app.router.routes.extend(router.routes)
    app.state.static = VersionedFiles()
    app.mount(PLACE, app.state.static, name="static")
    app.add_middleware(SpeaksOfFields)
    app.add_middleware(BodyLimit, but_for=upload_routes.PATHS)
    app.add_middleware(Counted, activity=activity)
    app.add_middleware(Guard, hosts=hosts, any_address=any_address, token=token, keys=keys)
    return app


async def _broken(request: Request, error: Exception) -> Response:
    """A mistake of ours. What answers it is around the guard; the log gets the rest."""
    response = error_responses.answer_to(
        request.scope, 500, f"this call failed: {type(error).__name__}; the log of burst serve says where"
    )
    response.headers.update(HEADERS)
    return response
