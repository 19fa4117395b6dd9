"""The sandbox's own endpoints under /sandbox: settings, counts, hold, stall and restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from orchestrator.errors import SettingsError
from orchestrator.sandbox.machine import Machine
from orchestrator.sandbox.worker import hold_point

_RESTART: dict[str, tuple[type, ...]] = {
    "keep_outputs": (bool,),
    "leave_cut_file": (bool,),
    "down_seconds": (int, float),
}


def routes(machine: Machine) -> list[web.RouteDef]:
    """GET counts and settings; POST settings, hold, release, stall and restart."""
    controls = Controls(machine)
    return [
        web.get("/sandbox/counts", controls.counts),
        web.get("/sandbox/settings", controls.settings),
        web.post("/sandbox/settings", controls.answering(controls.change)),
        web.post("/sandbox/hold", controls.answering(controls.hold)),
        web.post("/sandbox/release", controls.answering(controls.release)),
        web.post("/sandbox/stall", controls.answering(controls.stall)),
        web.post("/sandbox/restart", controls.answering(controls.restart)),
    ]


class Controls:
    """One method per endpoint; invalid requests get a 400 with a message."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def counts(self, _: web.Request) -> web.Response:
        return web.json_response(self._machine.counts.as_dict())

    async def settings(self, _: web.Request) -> web.Response:
        return web.json_response(self._machine.faults.settings.as_dict())

    async def change(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /sandbox/settings: change the given settings, all or none; responds with all settings."""
        return self._machine.faults.change(body).as_dict()

    async def hold(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /sandbox/hold {"at": "next" | "render" | "finish"}."""
        point = hold_point(body.get("at", "next"))
        self._machine.hold(point)
        return {"held_at": point}

    async def release(self, _: dict[str, Any]) -> dict[str, Any]:
        self._machine.release()
        return {"held_at": None}

    async def stall(self, _: dict[str, Any]) -> dict[str, Any]:
        self._machine.stall()
        return {"stalled": True}

    async def restart(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /sandbox/restart {"keep_outputs": bool, "leave_cut_file": bool, "down_seconds": float}; all optional."""
        for name, value in body.items():
            if name not in _RESTART or not isinstance(value, _RESTART[name]):
                raise SettingsError(f"restart: {name}={value!r} does not fit; known: {', '.join(_RESTART)}")
        await asyncio.to_thread(
            self._machine.restart,
            keep_outputs=body.get("keep_outputs", True),
            leave_cut_file=body.get("leave_cut_file", False),
            down_seconds=float(body.get("down_seconds", 0.0)),
        )
        return {"lost_by_restart": self._machine.counts.as_dict()["lost_by_restart"]}

    def answering(
        self, action: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A handler that reads an optional JSON object and responds with the result of `action`."""

        async def handler(request: web.Request) -> web.Response:
            try:
                text = await request.text()
                body = json.loads(text) if text.strip() else {}
                if not isinstance(body, dict):
                    raise SettingsError("a JSON object is wanted")
                return web.json_response(await action(body))
            except (json.JSONDecodeError, SettingsError) as error:
                return web.json_response({"error": str(error)}, status=400)

        return handler


async def wait(seconds: float) -> None:
    """Delay a response."""
    await asyncio.sleep(seconds)
