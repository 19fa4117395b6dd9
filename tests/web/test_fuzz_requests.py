"""Whatever is sent: never a 500, nothing added by what is refused, and no stranger's page let in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from support.front_ends import Front, front

from orchestrator.sandbox import Sandbox
from orchestrator.web.app import create_app
from orchestrator.web.states import WatchedStates
from orchestrator.web.supervisor import Supervisor

_MANY = settings(max_examples=settings.default.max_examples, suppress_health_check=list(HealthCheck), deadline=None)
_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?", re.IGNORECASE)

_words = st.text(max_size=12) | st.sampled_from(
    ["euler", "karras", "speed", "smoke", "../x", "\0", "\ud800", "{a}", "x" * 600]
)
_numbers = st.integers() | st.integers(-2, 25) | st.floats() | st.sampled_from([2**64 - 1, 2**64, 1e400, True])
_anything = st.recursive(
    st.none() | st.booleans() | _numbers | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=6,
)
_parameters = st.dictionaries(
    st.sampled_from(["steps", "cfg", "width", "height", "sampler", "scheduler", "negative", "template", "profile"])
    | _words,
    st.integers(16, 64) | _anything,
    max_size=4,
)
_asked = st.fixed_dictionaries(
    {"prompt": st.just("a fox") | _words, "batchCount": st.integers(2, 4) | _anything},
    optional={
        "seedMode": st.sampled_from(["random", "incremental"]) | _anything,
        "baseSeed": st.integers(0, 2**64 - 1) | _anything,
        "model": _anything,
        "baseParameters": _parameters | _anything,
        "more": _anything,
    },
)
_bodies = (
    st.fixed_dictionaries({"batchRequest": _asked | _anything}, optional={"state": st.just(0) | _anything}) | _anything
)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with Sandbox() as sandbox, front(tmp_path_factory.mktemp("fuzz"), sandbox, template="smoke", works=False) as found:
        found.start()
        yield found


@_MANY
@given(body=_bodies)
@example(body={"batchRequest": {"prompt": "a fox", "batchCount": 2, "seedMode": "incremental", "baseSeed": 2**64 - 2}})
@example(body={"batchRequest": {"prompt": "\ud800", "batchCount": 2}})
def test_a_batch_is_added_whole_or_not_at_all(shown: Front, body: Any) -> None:
    before = {item.key for item in shown.items()}
    answer = shown.http.post("/api/batches", content=_json(body), headers={"Content-Type": "application/json"})
    added = [item for item in shown.items() if item.key not in before]
    if answer.status_code == 200:
        count = body["batchRequest"]["batchCount"]
        assert answer.json()["queuedImages"] == len(added) == count
        seeds = [item.inputs["seed"] for item in added]
        assert len(set(seeds)) == count
        assert all(isinstance(seed, int) and 0 <= seed < 2**64 for seed in seeds)
        assert {item.batch for item in added} == {answer.json()["batchId"]}
    else:
        assert answer.status_code in (400, 404), answer.text
        assert answer.json()["error"]["message"]
        assert added == []


def _json(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    with TestClient(
        create_app(WatchedStates([]), Supervisor(WatchedStates([]))), base_url="http://127.0.0.1:8189"
    ) as http:
        yield http


_parts = st.sampled_from(
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "::1",
        "LOCALHOST",
        "evil",
        ".",
        ":",
        "8189",
        "80",
        "@",
        "/",
        "#",
        "?",
        "%00",
        "0x7f",
        "²",
    ]
)
_hosts = st.lists(_parts, max_size=5).map("".join)


@_MANY
@given(host=_hosts)
def test_a_host_is_ours_or_refused(guarded: TestClient, host: str) -> None:
    answer = guarded.get("/api/states", headers={"Host": host.encode("latin-1")})
    assert answer.status_code == (200 if _OWN_HOST.fullmatch(host) else 403)


@_MANY
@given(
    host=st.sampled_from(["127.0.0.1:8189", "localhost", "[::1]:80"]),
    origin=st.none()
    | st.builds("".join, st.tuples(st.sampled_from(["http://", "https://", "//", "", "null"]), _hosts)),
    site=st.sampled_from([None, "same-origin", "none", "same-site", "cross-site", "", "SAME-ORIGIN,none"]),
    method=st.sampled_from(["POST", "PUT", "DELETE", "PATCH"]),
)
@example(host="localhost", origin="http://LocalHost", site=None, method="POST")
@example(host="localhost", origin="http://[::1", site="same-origin", method="POST")
def test_a_page_is_ours_or_refused(
    guarded: TestClient, host: str, origin: str | None, site: str | None, method: str
) -> None:
    assume(origin is not None or site is not None)
    headers = {"Host": host.encode()}
    headers |= {} if origin is None else {"Origin": origin.encode("latin-1")}
    headers |= {} if site is None else {"Sec-Fetch-Site": site.encode()}
    is_own = origin is None or origin.lower() in (f"http://{host}", f"https://{host}")
    ours = is_own and site in (None, "same-origin", "none")
    # There is no such path: who gets that far was let in.
    assert guarded.request(method, "/nowhere", headers=headers).status_code == (404 if ours else 403)
