"""What is known of completed items: the same as a walk over all records tells, after one walk for all questions."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.walks import counted_walks
from test_rescue import ALIKE, Scene


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return counted_walks(monkeypatch)


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
