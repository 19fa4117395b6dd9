"""Whole bursts against a server whose answers are spoiled for a few requests, and sound after that."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.comfyui_loopback import Loopback
from support.damaged_responses import Spoiler

from orchestrator.clock import Clock
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from orchestrator.verify import verify_outputs
from state.item import Status

ITEMS = 4
HURRY = 50.0


class HurriedClock(Clock):
    """Waits are so much shorter. Nothing is under way any more when a spoiled answer comes, so none is too short."""

    def monotonic(self) -> float:
        return super().monotonic() * HURRY

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return super().wait(event, seconds / HURRY)


class Scene:
    """A sandbox, and the spoiler before it."""

    def __init__(self, sandbox: Sandbox, spoiler: Spoiler, url: str) -> None:
        self.sandbox = sandbox
        self.spoiler = spoiler
        self.url = url
        self._examples = 0

    def state(self, home: Path) -> list[str]:
        """A state with keys that the sandbox never heard of."""
        self._examples += 1
        keys = [f"{self._examples}-{number}.txt" for number in range(ITEMS)]
        records = {key: {"status": "pending", "prompt_text": key, "filename": key} for key in keys}
        (home / "state.json").write_text(json.dumps(records))
        return keys

    def run(self, home: Path) -> BurstReport:
        overrides = Overrides(template="smoke", output_dir=home / "output", servers=(self.url,))
        request = Request(state=home / "state.json", max_attempts=50, poll_seconds=0.5, overrides=overrides)
        return Run(request, clock=HurriedClock()).execute()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Sandbox() as sandbox:
        spoiler = Spoiler(sandbox.url)
        with Loopback(spoiler.answer) as loopback:
            yield Scene(sandbox, spoiler, loopback.url)
        spoiler.close()


@settings(max_examples=settings.default.max_examples // 10)
@given(seed=st.integers(0, 2**32), spoiled=st.sets(st.integers(0, 25), min_size=1, max_size=8))
@example(seed=0, spoiled=set(range(12)))
def test_a_sound_server_ends_what_a_spoiled_one_began(scene: Scene, seed: int, spoiled: set[int]) -> None:
    home = Path(tempfile.mkdtemp())
    try:
        keys = scene.state(home)
        scene.spoiler.begin(random.Random(seed), spoiled)
        scene.run(home)
        lies = scene.spoiler.lies
        scene.spoiler.begin(random.Random(0), set())
        sound = scene.run(home)
        assert sound.counts[Status.COMPLETED] == ITEMS, sound
        rendered = scene.sandbox.counts()["rendered_by_item"]
        assert sum(rendered[key] for key in keys) <= ITEMS + lies
        assert verify_outputs(home / "state.json", overrides=Overrides(output_dir=home / "output")).problems == ()
    finally:
        shutil.rmtree(home)
