"""The `client_id` of a state on each server: kept, so that a run hears of what a killed one before it sent."""

from __future__ import annotations

import contextlib
import uuid
from datetime import datetime

from orchestrator.errors import DiskFull, LockHeld
from state.facts import ClientId, FactLog


def client_id_for(facts: FactLog, server: str, *, at: datetime) -> str:
    """The one of this state, made and kept where there is none yet. `server`: its name. Only who holds a lease asks.

    One that cannot be kept is used all the same: nothing but a hint depends on it.
    """
    known = facts.read().client_ids.get(server)
    if known is None:
        known = ClientId(server=server, client_id=uuid.uuid4().hex, at=at)
        with contextlib.suppress(DiskFull, LockHeld):
            facts.append(known)
    return known.client_id
