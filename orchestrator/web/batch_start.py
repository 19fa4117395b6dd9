"""From what the browser asks for to a batch in the state; bursts do the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import templates
from orchestrator.batches.generate_report import Generated, Planned
from orchestrator.batches.rows import UPLOADED
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.errors import UsageError
from orchestrator.generation import generate
from orchestrator.kept_paths import kept_path
from orchestrator.outputs.inputs_folder import kept_place
from orchestrator.settings import Overrides
from orchestrator.web.batch_schemas import Asking, BatchRequest
from orchestrator.web.composing import Composed, composed, in_page_words, with_files
from orchestrator.web.create_schemas import CreateRequest
from orchestrator.web.error_responses import Refused
from orchestrator.web.states import WatchedState
from orchestrator.web.watched_batch import WatchedBatch
from state.batch import BatchRecord, Idempotency
from state.item import Item

LEAST_COUNT, LARGEST_COUNT = 2, 20
LONGEST_PROMPT = 500
PATIENCE_SECONDS = 2.0
"""Of somebody who looks at a page: a server that is away is not waited for as a burst waits."""


def start(
    state: WatchedState,
    request: BatchRequest,
    *,
    idempotency: Idempotency | None = None,
    notify: Sequence[str] = (),
    secret_env: str | None = None,
) -> Generated:
    """Add the batch that the form asks for, or find the one that was added under the caller's key.

    `notify`: webhooks that are known to be allowed, signed with the key in `secret_env`.

    Errors: Refused; RequestConflict for a key of another request; ConfigurationError for what the template or its
    server does not take; TransientError, ServerDown.
    """
    _check(request)
    try:
        asked = composed(state, request)
        asked = replace(asked, spec=replace(asked.spec, notify=tuple(notify)))
        template = with_template(state, request.baseParameters.template)
        return queue(asked, state, template, idempotency, secret_env=secret_env if notify else None)
    except UsageError as error:
        raise in_page_words(error, request) from error


def again(state: WatchedState, batch: WatchedBatch, *, idempotency: Idempotency | None = None) -> Generated:
    """Add a batch of the same prompt and parameters with other seeds. Errors: as `start`."""
    record, items = batch.record, list(batch.items())
    seeds = [item.inputs.get("seed") for item in items]
    uploads = items[0].uploads if items else {}
    if not is_repeatable(record) or any(item.uploads != uploads for item in items):
        raise Refused(
            400, "this batch has several prompts, several images or a sweep; make it again with burst generate"
        )
    if any(not isinstance(source, str) for source in uploads.values()):
        raise Refused(400, "this batch was made from images of another one; make it again with burst generate")
    spec = BatchSpec(
        count=len(seeds),
        seed_mode="increment" if _count_up(seeds) else "random",
        batch_size=record.parameters.get("batch_size"),
        sets={name: value for name, value in record.parameters.items() if name not in ("batch_size", "seed")},
        priority=record.priority,
        layout="gallery",
        on_error="continue",
        literal=True,
    )
    # A name that is on record was checked when it came from outside, or came from the command line.
    template = None if record.recipe is not None else record.template or state.overrides.template
    files = {name: file_of(state, items[0], str(source)) for name, source in uploads.items()}
    return queue(
        with_files(spec, record.prompts[0], files),
        state,
        replace(state.overrides, template=template),
        idempotency,
        recipe=record.recipe,
    )


def file_of(state: WatchedState, item: Item, source: str) -> str:
    """An image of an item: its file, or where that is not there any more, the copy that the state took in."""
    path = state.path.parent / source
    copy = None if path.is_file() else kept_place(item.taken_in.get(source, ""), state.path.parent)
    return str(path if copy is None else copy[0] / copy[1])


def is_repeatable(record: BatchRecord) -> bool:
    """Whether `again` can make it, as far as its record tells."""
    return len(record.prompts) == 1 and not record.axes


def idempotency_of(key: str | None, body: Asking | dict[str, str], *, notify: Sequence[str] = ()) -> Idempotency | None:
    """The caller's key, with a digest of what it was sent with."""
    if key is None:
        return None
    said = body.model_dump(mode="json") if isinstance(body, Asking) else body
    said = {**said, "notify": list(notify)} if notify else said
    text = json.dumps(said, sort_keys=True, ensure_ascii=True)
    return Idempotency(key=key, body=hashlib.sha256(text.encode()).hexdigest())


def _check(request: BatchRequest) -> None:
    """What the contract of the seed bounds, in the words of the form. Errors: Refused."""
    if isinstance(request, CreateRequest):
        return
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
    """What a request may choose from, the state's own first. Errors: SettingsError."""
    own = state.settings.template
    return list(dict.fromkeys([*([own] if own else []), *templates.shipped_workflows()]))


def is_fillable(bindings: Mapping[str, Sequence[object]]) -> bool:
    """Whether a request can bring all that a template with these bindings is made from: a prompt, at most an image."""
    return bool(bindings.get("prompt")) and not any(bindings.get(name) for name in UPLOADED - {"image"})


def queue(
    asked: Composed,
    state: WatchedState,
    overrides: Overrides,
    idempotency: Idempotency | None,
    *,
    recipe: str | None = None,
    secret_env: str | None = None,
) -> Generated:
    """Each press, and each call without a key, makes a batch of its own. Errors: as `start`."""
    made = _generate(
        asked,
        state,
        overrides,
        recipe,
        queue_only=True,
        always_new=True,
        idempotency=idempotency,
        secret_env=secret_env,
    )
    assert isinstance(made, Generated)
    return made


def try_out(asked: Composed, state: WatchedState, overrides: Overrides, *, recipe: str | None = None) -> None:
    """Add nothing, but see whether it could be, and whether the servers have what it takes. Errors: as `start`."""
    _generate(asked, state, overrides, recipe, dry_run=True)


def _generate(
    asked: Composed, state: WatchedState, overrides: Overrides, recipe: str | None, **how: Any
) -> Generated | Planned:
    return generate(
        asked.spec,
        stdin=asked.stdin,
        request=Request(state=state.path, overrides=overrides),
        takes_paths=asked.takes_paths,
        recipe=recipe,
        pin_servers=False,
        ask_servers=True,
        patience_seconds=PATIENCE_SECONDS,
        **how,
    )


def _count_up(seeds: Sequence[object]) -> bool:
    return all(isinstance(one, int) and other == one + 1 for one, other in pairwise(seeds))
