"""What the API says of itself holds: schemathesis calls everything with whatever fits and does not fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from support.front_ends import ORIGIN, Front, front

from orchestrator.sandbox import Sandbox
from orchestrator.web.app import create_app
from orchestrator.web.states import WatchedStates
from orchestrator.web.supervisor import Supervisor


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with contextlib.ExitStack() as held:
        sandbox = held.enter_context(Sandbox())
        found = held.enter_context(front(tmp_path_factory.mktemp("openapi"), sandbox, template="smoke", works=False))
        found.start()
        yield found


def operations() -> list[Any]:
    """Every call that the application describes."""
    app = create_app(WatchedStates([]), Supervisor(WatchedStates([])))
    found = [found.ok() for found in schemathesis.openapi.from_dict(app.openapi()).get_all_operations()]
    # A stream has no end; tests/web/test_queue_api.py hears it.
    return [one for one in found if one.path != "/api/events"]


@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_every_call_answers_as_it_says(shown: Front, operation: Any) -> None:
    @settings(max_examples=settings.default.max_examples // 3, suppress_health_check=list(HealthCheck))
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
