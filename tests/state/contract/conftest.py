"""What every store promises in `state/store.py`, for each kind of store. Nothing here knows how a state is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stores import KINDS, State

from state.store import Store


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """One that does not exist until `store` is used."""
    with State(request.param, tmp_path) as state:
        yield state


@pytest.fixture
def store(state: State) -> Store:
    """Of a new, empty state."""
    return state.open(create=True)


@pytest.fixture
def other(state: State, store: Store) -> Store:
    """Of the same state, as another process has it."""
    return state.open()
