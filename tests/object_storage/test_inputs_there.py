"""What a state in a database takes in, where its outputs go to object storage."""

from __future__ import annotations

import json
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from support.image_project import INVERT, draw, wanted_name
from support.object_storage import Scene

from orchestrator.batches.cleaning import clean_batches
from orchestrator.clock import Clock
from orchestrator.forgetting import forget
from orchestrator.init_state import init_state
from orchestrator.preparation import Preparation
from orchestrator.recipes import Recipes
from orchestrator.settings import Overrides, kept_settings
from state.item import Item
from state.location import DatabaseAddress
from state.open_store import open_store


@pytest.fixture(autouse=True)
def _staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def begin(state: DatabaseAddress, scene: Scene, *numbers: int) -> list[Item]:
    Path("template.json").write_text(json.dumps(INVERT))
    for number in numbers:
        draw(Path(f"photos/{number}.png"), number)
    init_state(
        state, [Path("photos")], images=True, overrides=Overrides(template="template.json", output_dir=scene.root)
    )
    with open_store(state, read_only=True) as store:
        return list(store.items())


class Tomorrow(Clock):
    def now(self):  # type: ignore[no-untyped-def]
        return super().now() + timedelta(days=2)


def test_copies_are_put_once_read_by_every_host_and_removed_when_nothing_needs_them(
    scene: Scene, tmp_path: Path
) -> None:
    state = DatabaseAddress(f"sqlite:///{tmp_path}/burst.db")
    first, last = begin(state, scene, 1, 2)
    names = [wanted_name(Path(f"photos/{number}.png")) for number in (1, 2)]
    before = scene.objects.keys()
    assert [key.rpartition("/")[2] for key in before] == sorted(name.rpartition("/")[2] for name in names)
    assert [item.taken_in for item in begin(state, scene, 1, 2)] == [first.taken_in, last.taken_in]
    assert scene.objects.keys() == before
    for number in (1, 2):
        Path(f"photos/{number}.png").unlink()
    with open_store(state, read_only=True) as store:
        preparation = Preparation(Recipes(store.recipes, tmp_path), kept_settings(state), tmp_path)
        assert [preparation.pictures(item)["image"].as_input for item in (first, last)] == names
    forget(state, [first.key])
    assert clean_batches(state, older_than=timedelta(0)).removed == (), "not before a day"
    assert len(clean_batches(state, older_than=timedelta(0), clock=Tomorrow()).removed) == 1
    (left,) = scene.objects.keys()
    assert list(last.taken_in.values()) == [f"s3://{scene.bucket}/{left}"]
