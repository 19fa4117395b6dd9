"""An agent over a real server: its MCP server killed with -9 in the middle of a burst, then the ComfyUI behind it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from support.real_graphs import new_seeds, slow
from support.real_scene import Scene, check_each_was_rendered_once
from support.real_server import RealServer
from support.stdio_client import StdioClient
from support.waiting import wait_until

from state.item import Status

pytestmark = pytest.mark.timeout(600)

ITEMS = 12
CALL_SECONDS = 60.0
BURST = {"name": "run_burst", "arguments": {"items": ITEMS, "max_seconds": 50}}


def completed(scene: Scene) -> int:
    return scene.counts()[Status.COMPLETED]


def test_kills_of_both_sides_cost_an_agent_nothing(
    scene: Scene, mortal_server: RealServer, request: pytest.FixtureRequest
) -> None:
    scene.write(slow(blurs=2), new_seeds(ITEMS))

    def agent() -> StdioClient:
        options = ("--server", mortal_server.url, "--output", str(scene.output), "--template", str(scene.template))
        client = StdioClient(scene.state, *options, "--call-seconds", str(CALL_SECONDS))
        request.addfinalizer(client.kill)
        return client

    first = agent()
    first.begin("tools/call", BURST)
    wait_until(lambda: completed(scene) >= 2, what="two are collected", seconds=120)
    first.kill()

    second = agent()
    before = completed(scene)
    second.begin("tools/call", BURST)
    wait_until(lambda: completed(scene) > before, what="the next burst collects one", seconds=120)
    mortal_server.kill()
    began = time.monotonic()
    told: dict[str, Any] = json.loads(second.answer()["content"][0]["text"])
    longest = time.monotonic() - began
    assert told.get("remaining") or "running" in told, told
    mortal_server.start()

    reports = []
    while not reports or reports[-1].get("remaining") != 0:
        began = time.monotonic()
        reports.append(second.call("run_burst", items=ITEMS, max_seconds=50))
        longest = max(longest, time.monotonic() - began)
        assert len(reports) < 12, reports
    assert longest <= CALL_SECONDS
    assert second.call("status")["counts"]["completed"] == ITEMS
    assert second.leave() == 0
    check_each_was_rendered_once(scene, mortal_server)
