"""Image transfers: GET /view and POST /upload/image."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from aiohttp import hdrs, web

from orchestrator.sandbox import drawing
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.files import KINDS, NameRefused
from orchestrator.sandbox.machine import Machine

_HARMFUL = ("text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css")


def routes(machine: Machine, prefix: str) -> list[web.RouteDef]:
    transfers = Transfers(machine)
    return [
        web.get(f"{prefix}/view", transfers.view),
        web.post(f"{prefix}/upload/image", transfers.upload),
        web.post(f"{prefix}/upload/mask", transfers.upload),
    ]


class Transfers:
    """Downloads from and uploads to the three folders."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def view(self, request: web.Request) -> web.StreamResponse:
        """GET /view: the file, a range of it, a thumbnail, or one channel."""
        query = request.query
        if "filename" not in query:
            return web.Response(status=404)
        try:
            path = self._machine.files.find(
                query["filename"], kind=query.get("type", "output"), subfolder=query.get("subfolder")
            )
        except NameRefused as refused:
            return web.Response(status=refused.status)
        named: dict[str, str] = {hdrs.CONTENT_DISPOSITION: f'filename="{path.name}"'}
        if "preview" in query:
            form, *rest = query["preview"].split(";")
            form = form if form in ("webp", "jpeg") else "webp"
            quality = int(rest[-1]) if rest and rest[-1].isdigit() else 90
            small = drawing.preview(path, form=form, quality=quality)
            return web.Response(body=small, content_type=f"image/{form}", headers=named)
        if query.get("channel") in ("rgb", "a"):
            picture = drawing.channel_png(path, channel=query["channel"])
            return web.Response(body=picture, content_type="image/png", headers=named)
        headers: dict[str, str] = {**named, hdrs.CONTENT_TYPE: _content_type(path)}
        if self._machine.faults.settings.is_newer:
            headers["X-Content-Type-Options"] = "nosniff"
        if request.method == "GET" and self._machine.faults.strikes(Fault.TRUNCATE_DOWNLOAD):
            return await _truncated(request, path, headers)
        return web.FileResponse(path, headers=headers)

    async def upload(self, request: web.Request) -> web.Response:
        """POST /upload/image; a mask is stored as it is instead of being merged into its original."""
        form = await request.post()
        image = form.get("image")
        kind = str(form.get("type", "input"))
        if not isinstance(image, web.FileField) or not image.filename or kind not in KINDS:
            return web.Response(status=400)
        subfolder = str(form.get("subfolder", ""))
        overwrite = form.get("overwrite") in ("true", "1")
        try:
            name = self._machine.files.upload(
                image.filename, image.file.read(), kind=kind, subfolder=subfolder, overwrite=overwrite
            )
        except NameRefused as refused:
            return web.Response(status=refused.status)
        return web.json_response({"name": name, "subfolder": subfolder, "type": kind})


async def _truncated(request: web.Request, path: Path, headers: dict[str, str]) -> web.StreamResponse:
    """Announce the whole file, send half of it, and close the connection."""
    data = path.read_bytes()
    response = web.StreamResponse(headers=headers)
    response.content_length = len(data)
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _content_type(path: Path) -> str:
    guessed = "image/webp" if path.suffix.lower() == ".webp" else mimetypes.guess_type(path.name)[0]
    return "application/octet-stream" if guessed is None or guessed in _HARMFUL else guessed
