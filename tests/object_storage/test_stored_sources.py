"""Items that are made from outputs in object storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.image_project import INVERT
from support.object_storage import Scene
from support.simulated import Simulation

from state.item import Item, ItemOutput, Status

DRAFT, FINAL = "draft.png", "final.png"


@pytest.fixture
def server() -> FakeServer:
    return FakeServer("http://one.test", HandClock(), lambda number: 3.0)


@pytest.fixture
def begin(scene: Scene, tmp_path: Path, server: FakeServer) -> Iterator[Callable[..., Simulation]]:
    """A draft of `cat.png`, and what is made from it."""
    Image.new("RGB", (8, 8), "red").save(tmp_path / "cat.png")
    template = tmp_path / "invert.json"
    template.write_text(json.dumps(INVERT))
    made: list[Simulation] = []

    def begin(**asked: Any) -> Simulation:
        is_first = not (tmp_path / "state.json").exists()
        made.append(
            Simulation(tmp_path, server.clock, [server], items=0, template=template, output=scene.root, **asked)
        )
        if is_first:
            of_draft = ItemOutput(item=DRAFT, output=1)
            chain = [(DRAFT, "cat.png"), (FINAL, of_draft)]
            pending = [
                Item(key=key, status=Status.PENDING, filename=key, uploads={"image": source}) for key, source in chain
            ]
            made[-1].store.add(pending)
        return made[-1]

    yield begin
    for simulation in made:
        simulation.close()


def test_a_stage_is_made_from_the_object_of_its_source(
    begin: Callable[..., Simulation], server: FakeServer, scene: Scene
) -> None:
    simulation = begin()
    simulation.burst(9)
    assert simulation.statuses() == [Status.COMPLETED] * 2
    draft = scene.objects.read(f"shots/2030/{DRAFT}")
    digest = hashlib.sha256(draft).hexdigest()
    assert server.files[f"burst/{digest[:2]}/{digest}.png"] == draft


@pytest.mark.parametrize("code", ["AccessDenied", "SlowDown"])
def test_a_source_that_the_storage_does_not_give_fails_no_stage(
    begin: Callable[..., Simulation], server: FakeServer, scene: Scene, code: str
) -> None:
    simulation = begin()
    simulation.burst(1)
    scene.front.status, scene.front.code = 503 if code == "SlowDown" else 403, code
    simulation.burst(9)
    assert simulation.statuses() == [Status.COMPLETED, Status.PENDING]
    assert simulation.work.set_aside.passes == (code == "SlowDown")
    simulation.close()
    scene.front.status = None
    again = begin()
    again.burst(9)
    assert again.statuses() == [Status.COMPLETED] * 2


def test_a_source_is_waited_for_while_the_storage_is_away(
    begin: Callable[..., Simulation], server: FakeServer, scene: Scene
) -> None:
    first = begin()
    first.burst(1)
    first.close()

    class Twice:
        def __init__(self) -> None:
            self.left = 2

        def begin(self, reason: str) -> Callable[[], bool]:
            return self.pause

        def pause(self) -> bool:
            self.left -= 1
            scene.front.is_away = self.left > 0
            return True

    scene.front.is_away = True
    patience = Twice()
    again = begin(patience=patience)
    again.burst(9)
    assert again.statuses() == [Status.COMPLETED] * 2
    assert patience.left == 0
