"""A server that gives no sign of life for as long as is registered of it: what it has is due for others."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.abandonment import GivenUp, text_of_giving_up
from orchestrator.cycle.context import WorkerContext
from orchestrator.cycle.in_flight import InFlight
from orchestrator.cycle.recovery import Recovery
from orchestrator.cycle.watch import Watch


def give_up_if_silent(
    context: WorkerContext, in_flight: InFlight, recovery: Recovery, watch: Watch, answered_at: float | None
) -> None:
    """Call when the server does not answer. `answered_at`: when it last did, by the monotonic clock; None: not yet."""
    items = in_flight.items()
    if context.silence is None or not items:
        return
    now, answered = context.lease.now(), None
    if answered_at is not None:
        answered = now - timedelta(seconds=context.clock.monotonic() - answered_at)
    silent = context.silence.too_long(context.server.name, items, now=now, answered_at=answered)
    if silent is None:
        return
    due = 0
    for item in items:
        due += recovery.abandon(item)
        watch.drop(item.key)
    context.tally.note(text_of_giving_up(GivenUp(context.server.name, due), silent))
    context.dispatch.stir()
