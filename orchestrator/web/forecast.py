"""What a request of the form would make, and how long that takes. Nothing is added, and no server is asked."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.batches.generate_report import Planned
from orchestrator.batches.planning import Plan
from orchestrator.cycle.request import Request
from orchestrator.errors import UsageError
from orchestrator.generation import generate
from orchestrator.time_left import added_seconds_left
from orchestrator.web.batch_start import with_template
from orchestrator.web.composing import Composed, composed, in_page_words
from orchestrator.web.create_schemas import CreateRequest, Forecast
from orchestrator.web.states import WatchedState

_EXAMPLES = 3
"""Of what dynamic prompts become."""


def forecast(state: WatchedState, request: CreateRequest) -> Forecast:
    """Errors: as `start`, but for those of servers."""
    try:
        asked = composed(state, request)
        few = min(asked.spec.count, _EXAMPLES if request.dynamic else 1)
        plan = _planned(state, asked, request, count=few)
    except UsageError as error:
        raise in_page_words(error, request) from error
    prompts, items = _totals(plan, few=few, count=asked.spec.count)
    each = _images_an_item(plan)
    state.refresh()
    return Forecast(
        prompts=prompts,
        cells=asked.spec.cells,
        images=items * each,
        expansions=[one.prompt for one in plan.variations[:_EXAMPLES]] if request.dynamic else [],
        seconds=_seconds(state, items),
        secondsPerImage=None if state.pace is None else state.pace / each,
        notes=list(plan.notes),
    )


def _planned(state: WatchedState, asked: Composed, request: CreateRequest, *, count: int) -> Plan:
    """With fewer variations: what they are is not looked at."""
    planned = generate(
        replace(asked.spec, count=count),
        stdin=asked.stdin,
        request=Request(state=state.path, overrides=with_template(state, request.baseParameters.template)),
        takes_paths=asked.takes_paths,
        pin_servers=False,
        ask_servers=False,
        dry_run=True,
        always_new=True,
    )
    assert isinstance(planned, Planned)
    return planned.plan


def _totals(plan: Plan, *, few: int, count: int) -> tuple[int, int]:
    """How many prompts and items there are with `count` variations, where the plan has `few`.

    A row may say its own number.
    """
    firsts = [one for one in plan.variations if one.number == 1]
    own = [one.of if one.entry is not None and one.entry.count else one.of // few * count for one in firsts]
    return len(firsts), sum(own)


def _images_an_item(plan: Plan) -> int:
    """As its workflow has it, or its profile."""
    for target in plan.recipes[0].bindings.get("batch_size", ())[:1]:
        size = plan.first_graph[target.node_id]["inputs"].get(target.input_name)
        return size if isinstance(size, int) and size > 1 else 1
    return 1


def _seconds(state: WatchedState, items: int) -> float | None:
    if state.store is None:
        return None
    return added_seconds_left(state.store, items, pace=state.pace, waiting=len(state.waiting.batches))
