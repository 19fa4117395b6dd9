"""/metrics of `burst serve`: under the same rule as every page, and of all its states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from support.front_ends import ORIGIN, Idle

from orchestrator.web.app import create_app
from orchestrator.web.states import WatchedStates


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedStates]:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"x.txt": {"status": "pending"}}')
    found = WatchedStates([tmp_path / name for name in ("a.json", "b.json", "missing.json")])
    yield found
    found.close()


def test_the_token_is_wanted_as_for_every_page(watched: WatchedStates) -> None:
    http = TestClient(create_app(watched, Idle(watched), token="open-sesame"), base_url=ORIGIN)
    assert http.get("/metrics").status_code == 401
    assert http.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    answer = http.get("/metrics", headers={"Authorization": "Bearer open-sesame"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "Set-Cookie" not in answer.headers


def test_all_states_are_there_and_one_that_is_missing_hides_none(watched: WatchedStates, tmp_path: Path) -> None:
    http = TestClient(create_app(watched, Idle(watched)), base_url=ORIGIN)
    lines = http.get("/metrics").text.splitlines()
    for name, readable in (("a.json", 1), ("b.json", 1), ("missing.json", 0)):
        assert f'burst_state_readable{{state="{tmp_path / name}"}} {readable}.0' in lines
    assert f'burst_items{{state="{tmp_path / "b.json"}",status="pending"}} 1.0' in lines
    assert http.get("/metrics", headers={"Host": "evil.example"}).status_code == 403
