"""ComfyUI's own frontend in headless Chromium: what it would queue of a UI file.

The frontend is that of a pip package, served on loopback with an `/object_info` that was saved before; no ComfyUI runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.chromium import chromium_path, running_chromium

READY = """() => window.app && window.app.graph && window.app.extensionManager && window.LiteGraph
    && Object.keys(window.LiteGraph.registered_node_types).length > 300"""
EXPORT = """async (workflow) => {
    try {
        await window.app.loadGraphData(workflow, true, false, null);
        return {graph: (await window.app.graphToPrompt()).output};
    } catch (error) { return {error: String(error && error.message || error).slice(0, 300)}; }
}"""


def _answers(object_info: dict[str, Any], extensions: Iterable[Path]) -> dict[str, Any]:
    system = {"os": "posix", "python_version": "3", "embedded_python": False, "comfyui_version": "", "argv": []}
    return {
        "object_info": object_info,
        "system_stats": {"system": {**system, "pytorch_version": "", "ram_total": 1, "ram_free": 1}, "devices": []},
        "settings": {"Comfy.TutorialCompleted": True},
        "users": {"storage": "server", "migrated": True},
        "extensions": [f"/extensions/{path.name}" for path in extensions],
        "queue": {"queue_running": [], "queue_pending": []},
        "jobs": {"jobs": [], "pagination": {"offset": 0, "limit": 200, "total": 0, "has_more": False}},
        **{name: {} for name in ("history", "features", "i18n", "workflow_templates", "global_subgraphs")},
        **{name: [] for name in ("embeddings", "models", "experiment/models", "userdata", "internal/files/output")},
    }


def _app(static: Path, object_info: dict[str, Any], extensions: list[Path]) -> web.Application:
    app = web.Application()

    async def socket(request: web.Request) -> web.WebSocketResponse:
        found = web.WebSocketResponse()
        await found.prepare(request)
        status = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "oracle"}
        await found.send_json({"type": "status", "data": status})
        async for _ in found:
            pass
        return found

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(static / "index.html")

    app.router.add_get("/ws", socket)
    app.router.add_get("/", index)
    for name, answer in _answers(object_info, extensions).items():

        async def respond(_: web.Request, answer: Any = answer) -> web.Response:
            return web.json_response(answer)

        app.router.add_get(f"/api/{name}", respond)
    for path in extensions:

        async def script(_: web.Request, path: Path = path) -> web.FileResponse:
            return web.FileResponse(path)

        app.router.add_get(f"/extensions/{path.name}", script)
    app.router.add_static("/", static)
    return app


@contextlib.contextmanager
def served(static: Path, object_info: dict[str, Any], extensions: list[Path]) -> Iterator[str]:
    """The URL of a frontend's `static` directory with these answers, while the block lasts."""
    loop, started, port = asyncio.new_event_loop(), threading.Event(), 0

    async def start() -> None:
        nonlocal port
        runner = web.AppRunner(_app(static, object_info, extensions))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        started.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    if not started.wait(30):
        raise RuntimeError("the frontend was not served within 30 s")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def exported(
    files: dict[str, dict[str, Any]], *, static: Path, object_info: dict[str, Any], extensions: Iterable[Path] = ()
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """For each UI file its graph, or the error of the frontend. About half a second a file."""
    chromium = chromium_path() or "chromium"
    with served(static, object_info, list(extensions)) as url, running_chromium(chromium) as browser:
        page = browser.new_page()

        def only_here(route: Any) -> None:
            own = route.request.url.startswith((url, "data:", "blob:"))
            route.continue_() if own else route.abort()

        page.route("**/*", only_here)
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_function(READY, timeout=120_000)
        page.wait_for_timeout(1_500)
        for name, file in files.items():
            result = page.evaluate(EXPORT, json.loads(json.dumps(file)))
            yield name, result.get("graph", result.get("error"))


def frontend_of(package: Path) -> Path:
    """The `static` directory in an unpacked or installed comfyui-frontend-package."""
    return next(package.rglob("comfyui_frontend_package/static"))
