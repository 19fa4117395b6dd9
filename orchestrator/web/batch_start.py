"""From what the browser asks for to a batch in the state; bursts do the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import templates
from orchestrator.batches.generate_report import Generated
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.generation import generate
from orchestrator.kept_paths import kept_path
from orchestrator.settings import Overrides
from orchestrator.web.batch_schemas import Asking, BatchRequest
from orchestrator.web.error_responses import Refused
from orchestrator.web.states import WatchedState
from orchestrator.web.watched_batch import WatchedBatch
from state.batch import Idempotency

LEAST_COUNT, LARGEST_COUNT = 2, 20
LONGEST_PROMPT = 500
PATIENCE_SECONDS = 2.0
"""Of somebody who looks at a page: a server that is away is not waited for as a burst waits."""
_SETS = ("steps", "cfg", "width", "height", "sampler", "scheduler", "negative")


def start(state: WatchedState, request: BatchRequest, *, idempotency: Idempotency | None = None) -> Generated:
    """Add the batch that the form asks for, or find the one that was added under the caller's key.

    Errors: Refused; RequestConflict for a key of another request; ConfigurationError for what the template or its
    server does not take; TransientError, ServerDown.
    """
    _check(request)
    base, is_random = request.baseParameters, request.seedMode == "random"
    spec = BatchSpec(
        prompt=request.prompt,
        count=request.batchCount,
        seed=None if is_random else request.baseSeed,
        seed_mode="random" if is_random else "increment",
        model=request.model,
        sets={name: value for name in _SETS if (value := getattr(base, name)) is not None},
        profile=base.profile,
        layout="gallery",
        on_error="continue",
        literal=True,
    )
    return _add(state, spec, with_template(state, base.template), idempotency)


def again(state: WatchedState, batch: WatchedBatch, *, idempotency: Idempotency | None = None) -> Generated:
    """Add a batch of the same prompt and parameters with other seeds. Errors: as `start`."""
    record = batch.record
    if len(record.prompts) != 1 or record.axes:
        raise Refused(400, "this batch has several prompts or a sweep; make it again with burst generate")
    seeds = [item.inputs.get("seed") for item in batch.items()]
    spec = BatchSpec(
        prompt=record.prompts[0],
        count=len(seeds),
        seed_mode="increment" if _count_up(seeds) else "random",
        batch_size=record.parameters.get("batch_size"),
        sets={name: value for name, value in record.parameters.items() if name not in ("batch_size", "seed")},
        priority=record.priority,
        layout="gallery",
        on_error="continue",
        literal=True,
    )
    if record.recipe is not None:
        return _add(state, spec, replace(state.overrides, template=None), idempotency, recipe=record.recipe)
    # A name that is on record was checked when it came from outside, or came from the command line.
    return _add(
        state, spec, replace(state.overrides, template=record.template or state.overrides.template), idempotency
    )


def idempotency_of(key: str | None, body: Asking | dict[str, str]) -> Idempotency | None:
    """The caller's key, with a digest of what it was sent with."""
    if key is None:
        return None
    said = body.model_dump(mode="json") if isinstance(body, Asking) else body
    text = json.dumps(said, sort_keys=True, ensure_ascii=True)
    return Idempotency(key=key, body=hashlib.sha256(text.encode()).hexdigest())


def _check(request: BatchRequest) -> None:
    """The messages are those of the form. Errors: Refused."""
    if request.batchCount < LEAST_COUNT:
        raise Refused(400, "Minimum 2 images required for batch", "batchCount")
    if request.batchCount > LARGEST_COUNT:
        raise Refused(400, "Maximum 20 images allowed per batch", "batchCount")
    if not request.prompt.strip():
        raise Refused(400, "Prompt cannot be empty", "prompt")
    if len(request.prompt) > LONGEST_PROMPT:
        raise Refused(400, f"Prompt cannot be longer than {LONGEST_PROMPT} characters", "prompt")


def with_template(state: WatchedState, name: str | None) -> Overrides:
    """A template that comes from outside is a shipped one or the state's own, never a path of the caller's choice."""
    own = state.settings.template
    if name is None or (own is not None and name in (own, kept_path(Path(own), state.path.parent))):
        return state.overrides
    if name not in templates.shipped_workflows():
        raise Refused(400, f"no template {name!r}; there are {', '.join(templates_of(state))}", "template")
    return replace(state.overrides, template=name)


def templates_of(state: WatchedState) -> list[str]:
    """What the form may choose from, the state's own first. Errors: SettingsError."""
    own = state.settings.template
    return list(dict.fromkeys([*([own] if own else []), *templates.shipped_workflows()]))


def _add(
    state: WatchedState,
    spec: BatchSpec,
    overrides: Overrides,
    idempotency: Idempotency | None,
    *,
    recipe: str | None = None,
) -> Generated:
    """Each press, and each call without a key, makes a batch of its own."""
    made = generate(
        spec,
        request=Request(state=state.path, overrides=overrides),
        recipe=recipe,
        pin_servers=False,
        queue_only=True,
        ask_servers=True,
        patience_seconds=PATIENCE_SECONDS,
        always_new=True,
        idempotency=idempotency,
    )
    assert isinstance(made, Generated)
    return made


def _count_up(seeds: Sequence[object]) -> bool:
    return all(isinstance(one, int) and other == one + 1 for one, other in pairwise(seeds))
