"""`burst state upgrade`: a state of an older release gets the form of this one, before anything else is changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.migration import open_for_writing
from state.location import Location

if TYPE_CHECKING:
    from orchestrator.documents.states import StateUpgradeDocument


@dataclass(frozen=True)
class StateUpgrade:
    """A state that has the tables, or the files, of this release."""

    state: str

    def as_json(self) -> StateUpgradeDocument:
        """As the command prints it with `--json`."""
        return {"schema": "burst.state-upgrade/1", "state": self.state}

    def as_text(self) -> str:
        """One line for a person."""
        return f"{self.state} has the tables of this release"


def upgrade_state(state: Path | str) -> StateUpgrade:
    """Upgrade its tables, or its format version. Safe to repeat, and beside runs; all or nothing.

    Errors: StateError, StateVersionError, NotAllowed where this role may not change tables, LockHeld where runs of an
    older format are at work.
    """
    with open_for_writing(Location.of(state).path) as store:
        store.upgrade()
        return StateUpgrade(store.location.shown())
