"""`burst generate` killed again and again: the batch goes on in its directory, with its numbers and seeds."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from support.projects import Process
from support.waiting import wait_until

from orchestrator.outputs import verify
from orchestrator.sandbox import Sandbox
from state.item import Status
from state.open_store import open_store

ROOT = Path(__file__).parents[2]
COUNT, KILLS, FIRST_SEED = 60, 5, 1000


def burst(home: Path, *arguments: str) -> Process:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Process([sys.executable, "-m", "burst", *arguments], cwd=home, env=environment)


@pytest.mark.parametrize("rest", [("run", "--until-done"), None], ids=["the rest by run", "one command, repeated"])
def test_60_pictures_under_five_kills(tmp_path: Path, sandbox: Sandbox, rest: tuple[str, ...] | None) -> None:
    sandbox.change(seconds_per_prompt=0.04)
    asked = ("--prompt", "a lighthouse", "--count", str(COUNT), "--seed", str(FIRST_SEED), "--template", "smoke")
    command = ("generate", *asked, "--server", sandbox.url, "--output", "renders")
    renders = tmp_path / "renders"
    for kill in range(1, KILLS + 1):
        with burst(tmp_path, *command) as run:
            # Long before the end, which a busy machine may see first.
            wait_until(lambda most=kill * COUNT // (KILLS + 3): len(list(renders.rglob("*.png"))) >= most)
            assert run.stop(signal.SIGKILL).code == 137
        command = rest or command
    with burst(tmp_path, *command) as run:
        assert run.end().code == 0

    (directory,) = renders.iterdir()
    numbers = [f"{number:03}" for number in range(1, COUNT + 1)]
    assert sorted(path.name for path in directory.glob("*.png")) == [f"image_{number}.png" for number in numbers]
    for number in numbers:
        said = (directory / f"prompt_{number}.txt").read_text().splitlines()
        assert f"seed: {FIRST_SEED - 1 + int(number)}" in said
    store = open_store(tmp_path / "re_render_state.json", read_only=True)
    assert store.counts()[Status.COMPLETED] == COUNT
    assert not [problem for item in store.items() for problem in verify(renders, item.outputs, full=True)]
    store.close()
    rendered = sandbox.counts()["rendered"]
    assert (len(rendered), set(rendered.values())) == (COUNT, {1})
