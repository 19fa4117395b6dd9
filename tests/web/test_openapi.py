"""What the API says of itself holds: schemathesis calls everything with whatever fits and does not fit."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from support.front_ends import ORIGIN, Front, front

import orchestrator.errors
from orchestrator.sandbox import Sandbox
from orchestrator.web.app import _ROUTERS


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with contextlib.ExitStack() as held:
        sandbox = held.enter_context(Sandbox())
        found = held.enter_context(front(tmp_path_factory.mktemp("openapi"), sandbox, template="smoke", works=False))
        found.start()
        yield found


CALLS = sorted(
    f"{method} {route.path}"
    for router in _ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.include_in_schema
    for method in route.methods
)
"""Without what schemathesis makes of them, which takes a second in each process that only collects."""
ENDLESS = "GET /api/events"
"""tests/web/test_queue_api.py hears it."""


@pytest.fixture(scope="module")
def operations(shown: Front) -> dict[str, Any]:
    """Every call that the application describes."""
    import schemathesis

    described = schemathesis.openapi.from_dict(shown.http.get("/openapi.json").json())
    return {one.label: one for one in (found.ok() for found in described.get_all_operations())}


def test_all_calls_are_described(operations: dict[str, Any]) -> None:
    assert sorted(operations) == CALLS


@pytest.mark.parametrize("call", [one for one in CALLS if one != ENDLESS])
def test_every_call_answers_as_it_says(shown: Front, operations: dict[str, Any], call: str) -> None:
    import schemathesis
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    operation = operations[call]

    @settings(max_examples=settings.default.max_examples // 6, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def answers_as_it_says(case: schemathesis.Case) -> None:
        sent = case.as_transport_kwargs(base_url=ORIGIN)
        answer = shown.http.request(
            sent["method"],
            sent["url"],
            params=sent["params"],
            json=sent.get("json"),
            headers={**sent["headers"], "Origin": ORIGIN},
        )
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        # What fits the types may still be refused: no schema knows which models and templates there are.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    answers_as_it_says()


def test_the_three_calls_of_the_contract_are_there(shown: Front) -> None:
    paths = shown.http.get("/openapi.json").json()["paths"]
    named = {call["operationId"]: (method, path) for path, calls in paths.items() for method, call in calls.items()}
    assert named["startBatchGeneration"] == ("post", "/api/batches")
    assert named["getBatchProgress"] == ("get", "/api/batches/{batchId}/progress")
    assert named["cancelBatch"] == ("post", "/api/batches/{batchId}/cancel")
    start = paths["/api/batches"]["post"]["responses"]
    assert {"200", "400", "503"} <= start.keys()
    keyed = {
        call["operationId"]: call["responses"]["422"]["content"]["application/json"]["schema"]["$ref"]
        for calls in paths.values()
        for call in calls.values()
        if "422" in call["responses"]
    }
    mistaken = "#/components/schemas/ErrorAnswer"
    making = ("startBatchGeneration", "createBatch", "regenerateBatch", "makeVariations", "addStage")
    assert keyed == dict.fromkeys(making, mistaken), "an Idempotency-Key sent twice"


def test_every_route_says_what_it_takes_and_answers(shown: Front) -> None:
    """In models of ours: a script's client is made from this document."""
    document = shown.http.get("/openapi.json").json()
    found = [call for calls in document["paths"].values() for call in calls.values()]
    names = [call["operationId"] for call in found]
    assert [name for name in names if not re.fullmatch("[a-z]+([A-Z][a-z]+)*", name)] == [], "made up by FastAPI"
    assert len(set(names)) == len(names)
    assert {
        name: faults for name, call in zip(names, found, strict=True) if (faults := faults_of(call, document))
    } == {}


HOSTS_OWN = {"then", "restart", "command"}
"""What stands in a host's own configuration, and a name that makes it run."""


def test_no_call_can_have_a_command_run(shown: Front) -> None:
    """Nor do pages, which send nothing but these calls: every field that a body may have is named, and none is that."""
    document = shown.http.get("/openapi.json").json()
    calls = [call for of_path in document["paths"].values() for call in of_path.values()]
    sent = [call["requestBody"] for call in calls if "requestBody" in call]
    bodies = [body["content"]["application/json"]["schema"] for body in sent if "application/json" in body["content"]]
    waiting, seen = set().union(*map(names_of, bodies)), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        schema = document["components"]["schemas"][name]
        if schema["type"] == "object":
            assert schema["additionalProperties"] is False, name
            assert schema["properties"].keys() & HOSTS_OWN == set(), name
            waiting |= set().union(*map(names_of, schema["properties"].values())) - seen
    assert {"StartBatch", "BatchRequest", "CreateBatch"} <= seen
    hidden = [route for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert {method for route in hidden if not route.include_in_schema for method in route.methods} <= {"GET", "HEAD"}
    for field in sorted(HOSTS_OWN):
        refused = shown.http.post("/api/batches", json={"batchRequest": {}, field: "train"}, headers={"Origin": ORIGIN})
        assert refused.status_code == 400


def faults_of(call: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """What a reader of the document is not told about this call."""
    schemas, answers = document["components"]["schemas"], call["responses"]
    faults = [] if call.get("summary") and call.get("description") else ["no text"]
    for kind, content in answers["200"].get("content", {"nothing": {}}).items():
        if kind == "nothing" or (kind == "application/json" and not names_of(content["schema"]) & schemas.keys()):
            faults.append(f"200 is {content}")
    if "requestBody" in call:
        (kind, body), *_ = call["requestBody"]["content"].items()
        if kind == "application/json" and not names_of(body["schema"]) & schemas.keys():
            faults.append(f"takes {body}")
    for status in ("401", "403", "500", *(status for status in answers if status >= "400")):
        if names_of(answers[status]["content"]["application/json"]["schema"]) != {"ErrorAnswer"}:
            faults.append(f"{status} is {answers[status]}")
    return faults


def names_of(schema: dict[str, Any]) -> set[str]:
    """The models that it refers to itself."""
    parts = [schema, schema.get("items", {}), *schema.get("anyOf", [])]
    return {part["$ref"].rpartition("/")[2] for part in parts if "$ref" in part}


def test_a_program_is_told_the_kind_of_an_error(shown: Front) -> None:
    kinds = {"kind", "message", "field"}
    missing = shown.http.get("/api/batches/nope").json()["error"]
    assert (missing.keys(), missing["kind"]) == (kinds, "NotFound")
    mistaken = shown.ask(batchCount="two").json()["error"]
    assert (mistaken["kind"], mistaken["field"]) == ("BadRequest", "batchCount")
    unknown = shown.ask(model="nobodys.safetensors").json()["error"]
    assert unknown["kind"] not in ("BadRequest", "Broken")
    assert issubclass(getattr(orchestrator.errors, unknown["kind"]), orchestrator.errors.BurstError)
