"""`burst mcp` as others start it: over standard input and output, killed in the middle; over HTTP with its guard."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient
from support.stdio_client import INITIALIZE, StdioClient
from support.waiting import wait_until

from burst import cli
from orchestrator.mcp_server.server import Listening, application
from orchestrator.mcp_server.tools import Served
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides
from state.item import Status
from state.open_store import open_store, parts_of

ROOT = Path(__file__).parents[2]
TOKEN = "the-token"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


def test_killed_while_a_burst_runs_the_next_server_goes_on_and_nothing_is_rendered_twice(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    state = tmp_path / "re_render_state.json"
    options = ("--server", sandbox.url, "--template", "smoke", "--output", str(tmp_path / "out"))
    sandbox.hold()
    first = StdioClient(state, *options)
    first.call("add_prompts", name="zoo", prompts=["a fox", "a dog", "an owl", "a newt"])
    first.begin("tools/call", {"name": "run_burst", "arguments": {"items": 4}})
    wait_until(lambda: sandbox.counts()["posts"] >= 2, what="prompts on the server")
    first.kill()
    wait_until(lambda: not parts_of(state).is_leased(), what="the end of its burst")
    sandbox.release()
    second = StdioClient(state, *options)
    report = second.call("run_burst", items=4)
    assert (report["remaining"], report["failed"], report["rendered_twice"]) == (0, 0, 0)
    assert report["recovered"] >= 1
    assert second.leave() == 0
    assert sorted(sandbox.counts()["rendered_by_item"].values()) == [1, 1, 1, 1]
    with open_store(state, read_only=True) as store:
        assert {item.status for item in store.items()} == {Status.COMPLETED}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[TestClient]:
    served = Served(tmp_path / "re_render_state.json", Overrides(template="smoke"), (tmp_path,))
    guarded = application(served, Listening(), token=TOKEN)
    with TestClient(guarded, base_url="http://127.0.0.1:8190") as client:
        yield client


def post(web: TestClient, **headers: str) -> Any:
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
    accept = {"Accept": "application/json, text/event-stream"}
    return web.post(
        "/mcp", json=message, headers={**accept, **{name.replace("_", "-"): said for name, said in headers.items()}}
    )


def test_over_http_only_who_has_the_token_is_answered(web: TestClient) -> None:
    bearer = f"Bearer {TOKEN}"
    assert post(web, Authorization=bearer).json()["result"]["serverInfo"]["name"] == "burst"
    assert post(web).status_code in (401, 403)
    assert post(web, Authorization="Bearer wrong").status_code in (401, 403)
    assert post(web, Origin="http://127.0.0.1:8190").status_code == 401
    assert post(web, Authorization=bearer, Origin="http://evil.example").status_code == 403
    assert post(web, Authorization=bearer, Host="evil.example").status_code == 403


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    result = CliRunner().invoke(cli, ["mcp", "--json"])
    assert result.exit_code == 2
    assert "pip install 'comfyui-burst[mcp]'" in json.loads(result.stdout)["error"]["message"]


def test_a_root_that_is_no_directory_and_a_token_that_is_not_set_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for options, said in ((["--root", "nowhere"], "--root nowhere"), (["--http", "--token-env", "NOPE"], "NOPE")):
        result = CliRunner().invoke(cli, ["mcp", *options])
        assert result.exit_code == 2
        assert said in result.stderr
