"""ComfyUI's HTTP endpoints over a `Machine`, each with and without the prefix /api."""

from __future__ import annotations

import json
import socket
import struct
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from orchestrator.sandbox import control, jobs, responses, transfers
from orchestrator.sandbox.events import status_data
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.jobs import is_job_id
from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.queue import SECRETS, ServerGone
from orchestrator.sandbox.settings import SandboxSettings


def application(machine: Machine) -> web.Application:
    """All endpoints of the sandbox."""
    app = web.Application(client_max_size=responses.LARGEST_UPLOAD_BYTES, middlewares=[_gatekeeper(machine)])
    endpoints = Endpoints(machine)
    for prefix in ("", "/api"):
        app.add_routes([*endpoints.routes(prefix), *transfers.routes(machine, prefix)])
    app.add_routes(jobs.routes(machine))
    app.add_routes(control.routes(machine))
    return app


class Endpoints:
    """One method per endpoint that all versions of ComfyUI have."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def _settings(self) -> SandboxSettings:
        return self._machine.faults.settings

    def routes(self, prefix: str) -> list[web.RouteDef]:
        get = {
            "/": self.root,
            "/ws": self.ws,
            "/prompt": self.prompt_info,
            "/queue": self.queue,
            "/history": self.history,
            "/history/{prompt_id}": self.history_of,
            "/object_info": self.object_info,
            "/object_info/{node_class}": self.object_info_of,
            "/models": self.models,
            "/models/{folder}": self.models_in,
            "/experiment/models": self.model_directories,
            "/experiment/models/{folder}": self.model_files,
            "/embeddings": self.embeddings,
            "/system_stats": self.system_stats,
            "/features": self.features,
        }
        post = {
            "/prompt": self.submit,
            "/queue": self.change_queue,
            "/interrupt": self.interrupt,
            "/history": self.change_history,
            "/free": self.free,
        }
        return [
            *(web.get(prefix + path, handler) for path, handler in get.items()),
            *(web.post(prefix + path, handler) for path, handler in post.items()),
        ]

    async def root(self, _: web.Request) -> web.Response:
        return web.Response(text="burst sandbox: answers like a ComfyUI, draws placeholders\n")

    async def ws(self, request: web.Request) -> web.StreamResponse:
        if self._settings.refuse_websocket:
            return web.Response(status=404)
        return await self._machine.events.listen(
            request,
            queue_remaining=self._machine.life.queue.remaining(),
            server_features=responses.features(self._settings),
        )

    async def prompt_info(self, _: web.Request) -> web.Response:
        return web.json_response(status_data(self._machine.life.queue.remaining()))

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """POST /prompt. A rejected prompt consumes a number too."""
        life, faults = self._machine.life, self._machine.faults
        body = await json_body(request)
        if faults.strikes(Fault.DROP_BEFORE_QUEUE):
            return reset(request)
        if "number" in body:
            number = float(body["number"])
        else:
            number = -life.number if body.get("front") else life.number
            life.number += 1
        if "prompt" not in body:
            return _refusal("no_prompt", "No prompt provided", "No prompt provided")
        given = body.get("prompt_id")
        if self._settings.is_newer and given is not None and not is_job_id(given):
            details = (
                "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server "
                "generate one"
            )
            return _refusal("invalid_prompt_id", "prompt_id must be a valid UUID", details)
        prompt_id = str(uuid.uuid4()) if faults.settings.rename_prompts else str(given or uuid.uuid4())
        verdict = self._machine.validation().verdict(body["prompt"], targets=body.get("partial_execution_targets"))
        if verdict.error is not None:
            return web.json_response({"error": verdict.error, "node_errors": verdict.node_errors}, status=400)
        extra_data = dict(body.get("extra_data") or {})
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        if self._settings.is_newer:
            extra_data = {name: value for name, value in extra_data.items() if name not in SECRETS}
            extra_data["create_time"] = int(self._machine.clock.now().timestamp() * 1000)
        try:
            life.queue.put(number, prompt_id, graph=body["prompt"], extra_data=extra_data, outputs=verdict.outputs)
        except ServerGone:
            return reset(request)
        self._machine.counts.queued(prompt_id, extra_data)
        if faults.strikes(Fault.DROP_AFTER_QUEUE):
            return reset(request)
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors})

    async def queue(self, _: web.Request) -> web.Response:
        running, waiting = self._machine.life.queue.current()
        return web.json_response(
            {
                "queue_running": [] if running is None else [running.as_list()],
                "queue_pending": [entry.as_list() for entry in waiting],
            }
        )

    async def change_queue(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        queue = self._machine.life.queue
        if body.get("clear"):
            queue.clear_waiting()
        for prompt_id in body.get("delete", ()):
            queue.delete_waiting(prompt_id)
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.Response:
        """POST /interrupt: stop the running prompt; with a prompt_id only if it is that one."""
        body = await json_body(request, may_be_empty=True)
        running, _ = self._machine.life.queue.current()
        wanted = body.get("prompt_id")
        if running is not None and wanted in (None, "", running.prompt_id):
            self._machine.life.worker.interrupt()
        return web.Response()

    async def history(self, request: web.Request) -> web.Response:
        asked = {name: int(request.query[name]) for name in ("max_items", "offset") if name in request.query}
        return web.json_response(
            self._machine.life.queue.history(max_items=asked.get("max_items"), offset=asked.get("offset", -1))
        )

    async def history_of(self, request: web.Request) -> web.Response:
        if self._settings.unreadable_history:
            return web.Response(status=403, text=responses.FILTERED_PAGE, content_type="text/html")
        return web.json_response(self._machine.life.queue.history_of(request.match_info["prompt_id"]))

    async def change_history(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        queue = self._machine.life.queue
        if body.get("clear"):
            queue.clear_history()
        for prompt_id in body.get("delete", ()):
            queue.delete_history(prompt_id)
        return web.Response()

    async def object_info(self, _: web.Request) -> web.Response:
        catalogue = self._machine.catalogue
        return web.json_response({name: catalogue.object_info(name) for name in catalogue.names()})

    async def object_info_of(self, request: web.Request) -> web.Response:
        name = request.match_info["node_class"]
        info = self._machine.catalogue.object_info(name)
        return web.json_response({} if info is None else {name: info})

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response(responses.model_folders(self._settings))

    async def models_in(self, request: web.Request) -> web.Response:
        folder = request.match_info["folder"]
        if folder not in responses.model_folders(self._settings):
            return web.Response(status=404)
        return web.json_response(self._machine.choices(folder))

    async def model_directories(self, _: web.Request) -> web.Response:
        folders = responses.model_folders(self._settings)
        return web.json_response(responses.model_directories(folders, self._machine.files.folder("models")))

    async def model_files(self, request: web.Request) -> web.Response:
        folder = request.match_info["folder"]
        if folder not in responses.model_folders(self._settings) or not self._settings.model_bytes:
            return web.Response(status=404)
        return web.json_response(responses.model_files(self._machine.choices(folder), self._settings.model_bytes))

    async def embeddings(self, _: web.Request) -> web.Response:
        return web.json_response([Path(name).stem for name in self._machine.choices("embeddings")])

    async def system_stats(self, _: web.Request) -> web.Response:
        return web.json_response(responses.system_stats(self._settings, self._machine.files.folder("output")))

    async def features(self, _: web.Request) -> web.Response:
        return web.json_response(responses.features(self._settings))

    async def free(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        if body.get("free_memory"):
            self._machine.life.worker.free()
        return web.Response()


async def json_body(request: web.Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """The body as an object. A body that is not JSON gives a 500, as in ComfyUI."""
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        if may_be_empty:
            return {}
        raise web.HTTPInternalServerError(text=responses.TROUBLE) from error
    return body if isinstance(body, dict) else {}


def reset(request: web.Request) -> web.Response:
    """Break the connection with a TCP reset; the returned response is never sent."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


def _gatekeeper(machine: Machine) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
            return web.Response(status=403)
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else request.path
        if route.startswith("/sandbox"):
            return await handler(request)
        machine.counts.request(f"{request.method} {route.removeprefix('/api') or '/'}")
        if machine.is_down:
            return reset(request)
        if delay_seconds := machine.faults.settings.answer_delay_seconds:
            await control.wait(delay_seconds)
        if machine.faults.strikes(Fault.UNAVAILABLE):
            return web.Response(status=503, text=responses.UNAVAILABLE_PAGE, content_type="text/html")
        try:
            return await handler(request)
        except ConnectionError:
            # The client disconnected during its request or the response: there is nobody to respond to.
            return reset(request)

    return middleware


def _refusal(kind: str, message: str, details: str) -> web.Response:
    error = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return web.json_response({"error": error, "node_errors": {}}, status=400)
