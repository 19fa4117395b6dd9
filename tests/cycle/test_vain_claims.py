"""A worker whose server renders does not look again and again for items where nothing has moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

URL = "http://127.0.0.1:8188"


def test_it_looks_once_in_a_while_and_at_once_when_others_have_changed_something(tmp_path: Path) -> None:
    clock = HandClock()
    made = Simulation(tmp_path, clock, [FakeServer(URL, clock, lambda number: 1000.0)], items=1)
    made.work.begin(5)
    (worker,) = made.workers
    worker.turn()
    claim, looks = made.lease.claim, [0]

    def counted(*args: Any, **named: Any) -> Any:
        looks[0] += 1
        return claim(*args, **named)

    made.lease.claim = counted  # type: ignore[method-assign]
    for _ in range(12):
        clock.seconds += 5.0
        worker.turn()
    assert 1 <= looks[0] <= 4
    looks[0] = 0
    worker.turn()
    made.work.changed_by_others("new")
    worker.turn()
    assert looks[0] >= 1
    made.close()
