"""`burst fleet up`: the tables that a fleet needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.fleet.engine import Applied, apply_schema, check_right, fleet_location
from orchestrator.formatting import counted
from orchestrator.migration import open_for_writing
from state.open_store import parts_of

if TYPE_CHECKING:
    from orchestrator.documents.fleet import FleetUpDocument

_TEXTS = {
    Applied.NOTHING: "The tables of state and engine are there.",
    Applied.MADE: "Made the tables of the engine.",
    Applied.MIGRATED: "Brought the tables of the engine to the version of this host.",
    Applied.PARTLY: "Added what is new to the tables of the engine. What workers of the version before still call is "
    "taken away by the next `burst fleet up` while no worker is alive.",
}


@dataclass(frozen=True)
class FleetUp:
    """What it did."""

    state: str
    is_new_state: bool
    engine: Applied
    servers: Sequence[str]
    """The names of those that are registered."""

    def as_json(self) -> FleetUpDocument:
        return {
            "schema": "burst.fleet-up/1",
            "state": self.state,
            "state_made": self.is_new_state,
            "engine": self.engine.value,
            "servers": list(self.servers),
        }

    def as_text(self) -> str:
        lines = [f"{self.state}: {'an empty state was made' if self.is_new_state else 'the state is there'}"]
        lines.append(_TEXTS[self.engine])
        if self.servers:
            lines.append(f"{counted(len(self.servers), 'server')}. Next, on each host: burst worker")
        else:
            lines.append("Next: burst servers add NAME=URL, and on each host burst worker")
        return "\n".join(lines)


def fleet_up(state: Path | str) -> FleetUp:
    """Make or update the tables of the state and those of the engine. Safe to repeat, and to call twice at once.

    Errors: UsageError for a state that is not in PostgreSQL; StateError, also for a missing right; StateVersionError;
    StateAway.
    """
    location = fleet_location(state)
    is_new = not _exists(location.path)
    if is_new:
        check_right(location)
    with open_for_writing(location.path, create=True) as store:
        store.upgrade()
        servers = list(store.servers())
    return FleetUp(location.shown(), is_new, apply_schema(location), servers)


def _exists(state: Path) -> bool:
    parts = parts_of(state)
    return parts.exists()
