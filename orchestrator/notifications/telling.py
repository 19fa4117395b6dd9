"""Who tells what of a state: the webhooks of its batches, and the receivers of the state."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.batches.notify import BatchesRead, BatchHooks
from orchestrator.clock import Clock
from orchestrator.notifications.notifier import Notifier
from orchestrator.notifications.post import ReceiverPost
from state.store import Store


def notifier_of(store: Store, *, clock: Clock, note: Callable[[str], None]) -> Notifier:
    """For one run."""
    batches = BatchesRead(store)
    return Notifier(
        [BatchHooks(batches, store.batches), ReceiverPost(store, batches)], store.notices, clock=clock, note=note
    )
