"""What is known of completed items: the same as a walk over all records tells, after one walk for all questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_rescue import ALIKE, Scene

from state.json.store import JsonStore


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """One entry for each walk over all records."""
    found: list[str] = []
    walk = JsonStore.parts

    def counted(store: JsonStore, kind: type[Any]) -> Any:
        found.append(kind.__name__)
        return walk(store, kind)

    monkeypatch.setattr(JsonStore, "parts", counted)
    return found


def test_items_behind_a_node_of_unknown_count_are_rescued_with_one_walk(tmp_path: Path, walks: list[str]) -> None:
    """Each of them asks how many files its kind makes, and whether the server stayed up."""
    scene = Scene(tmp_path, [*ALIKE, {"prompt_text": "a fox", "inputs": {"seed": 3}}])
    scene.run(1)
    scene.leave()
    scene.server.restart()
    walks.clear()
    assert scene.run().rescued == 2
    assert walks.count("Made") == 1


def test_what_a_run_completes_is_known_to_it(tmp_path: Path) -> None:
    simulation = Scene(tmp_path, ALIKE).open()
    try:
        assert simulation.work.completed.servers() == []
        simulation.burst(2)
        (server,) = simulation.work.completed.servers()
        assert len(simulation.work.completed.latest(server, 5)) == 2
    finally:
        simulation.close()
