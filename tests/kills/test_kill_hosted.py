"""A burst on a hosted server, killed at every request and every write: what costs money is rendered once."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from support.fake_api_v2 import HOSTED, FakeApiV2
from support.hand_clock import HandClock
from support.killable_disk import Fuse
from support.simulated_run import SimulatedRun

from orchestrator.cycle.context import Options
from state.item import Item, Status
from state.open_store import open_store

ITEMS = 2
_MOST_RUNS = 12


class Scene:
    """A state of two items or fewer, and a server that is paid for."""

    def __init__(self, home: Path, *, lists: bool, items: int = ITEMS) -> None:
        self.home = home
        home.mkdir(parents=True)
        self.keys = [f"{number}.txt" for number in range(items)]
        records = {key: {"status": "pending", "filename": key, "prompt_text": key} for key in self.keys}
        (home / "state.json").write_text(json.dumps(records))
        self.clock = HandClock()
        terms = msgspec.structs.replace(HOSTED, is_paid=True)
        self.server = FakeApiV2("http://cloud:8188", self.clock, lambda _: 1.0, terms=terms, lists=lists)

    def run(self, *, steps: int | None = None) -> int:
        """One burst, killed after so many steps; how many steps it made otherwise."""
        run = SimulatedRun(self.home, self.clock, [self.server], size=ITEMS, options=Options(allow_spend=100))
        if steps is not None:
            run.fuse.light(steps)
        counting = _Counting.instead_of(run.fuse)
        while not run.is_over:
            run.turn()
        assert run.error is None
        return counting.steps

    def items(self) -> list[Item]:
        with open_store(self.home / "state.json", read_only=True) as store:
            return list(store.items())

    def finish(self) -> None:
        for _ in range(_MOST_RUNS):
            if all(item.status in (Status.COMPLETED, Status.FAILED) for item in self.items()):
                return
            self.run()
        raise AssertionError([item.status for item in self.items()])

    def check(self) -> None:
        """Each was rendered once. Without a list, what was lost is said to be in doubt, and was made at most once."""
        assert max(self.server.made().values()) == 1
        for item in self.items():
            if item.status is Status.COMPLETED:
                assert self.server.made()[item.key] == 1
                assert (self.home / "output" / item.outputs[0].path).exists()
            else:
                assert not self.server.lists
                assert item.error is not None
                assert item.error.kind == "in_doubt"


class _Counting:
    def __init__(self) -> None:
        self.steps = 0

    @classmethod
    def instead_of(cls, fuse: Fuse) -> _Counting:
        found, step = cls(), fuse.step

        def counted() -> None:
            found.steps += 1
            step()

        fuse.step = counted  # type: ignore[method-assign]
        return found


@pytest.mark.parametrize("lists", [True, False], ids=["lists jobs", "lists none"])
def test_killed_at_every_step(tmp_path: Path, lists: bool) -> None:
    """Of one item; with two, whose steps mix, at random ones below."""
    most = Scene(tmp_path / "whole", lists=lists, items=1).run()
    in_doubt: Counter[bool] = Counter()
    for steps in range(most):
        scene = Scene(tmp_path / str(steps), lists=lists, items=1)
        scene.run(steps=steps)
        scene.finish()
        scene.check()
        in_doubt[any(item.status is Status.FAILED for item in scene.items())] += 1
    # Between a request and the line that its answer is noted in, and nowhere else.
    assert in_doubt[True] <= (0 if lists else 6)


def test_killed_again_and_again(tmp_path: Path) -> None:
    draw = random.Random(4)
    for number, lists in itertools.product(range(10), (True, False)):
        scene = Scene(tmp_path / f"{number}-{lists}", lists=lists)
        for _ in range(4):
            scene.run(steps=draw.randrange(120))
        scene.finish()
        scene.check()
