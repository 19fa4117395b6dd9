"""`burst doctor` on a state that is not there yet, of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.stores import KINDS, Kind, State

from orchestrator.doctor.host import check_state
from orchestrator.doctor.survey import survey
from state.location import Location


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_state_that_is_not_there_is_to_be_made(kind: Kind, tmp_path: Path) -> None:
    """Of a database on a server too, whose address says nothing of it."""
    with State(kind, tmp_path) as state:
        path = Location.of(state.address).path
        check = check_state(path, survey(path))
        assert (check.verdict, "is not there" in check.message) == ("problem", True)
        assert "burst init" in (check.next or "")
        state.open(create=True)
        assert check_state(path, survey(path)).verdict == "ok"
