"""Directories of videos and audio become items, as those of images do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.graphs_by_kind import CASES

from orchestrator.errors import TemplateError, UsageError
from orchestrator.init_state import InitReport, init_state
from orchestrator.preparation import Preparation
from orchestrator.recipes import Recipes
from orchestrator.settings import Overrides, load_settings
from state.open_store import open_store

VIDEO = CASES["files: a video as frames"].graph
TEXT = {"class_type": "PrimitiveString", "inputs": {"value": "a cat"}}
TALKING = CASES["files: a face and what it says"].graph


def init(home: Path, graph: dict[str, Any], *names: str, **how: Any) -> InitReport:
    (home / "flow.json").write_text(json.dumps(graph))
    for name in names:
        (home / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "clips" / name).write_bytes(name.encode())
    given = Overrides(template=str(home / "flow.json"))
    return init_state(home / "state.json", [home / "clips"], overrides=given, **{"files": True, **how})


def uploads(home: Path) -> dict[str, Any]:
    with open_store(home / "state.json", read_only=True) as store:
        return {item.key: item.uploads for item in store.items()}


def test_each_file_binds_the_name_of_its_kind(tmp_path: Path) -> None:
    report = init(tmp_path, TALKING, "a.PNG", "deep/b.mp3", "note.md")
    assert uploads(tmp_path) == {
        "clips/a.PNG": {"image": "clips/a.PNG"},
        "clips/deep/b.mp3": {"audio": "clips/deep/b.mp3"},
    }
    assert "2 files found" in report.as_text()


def test_a_pattern_chooses(tmp_path: Path) -> None:
    init(tmp_path, VIDEO, "a.mp4", "a.png", "b.webm", "c.mp4", patterns=["*.mp4"])
    assert uploads(tmp_path) == {f"clips/{name}.mp4": {"video": f"clips/{name}.mp4"} for name in "ac"}


def test_a_file_that_the_workflow_has_no_place_for_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"no binding 'audio'.*bindings={'audio': 'NODE.INPUT'}"):
        init(tmp_path, VIDEO, "a.mp4", "b.wav")
    assert not (tmp_path / "state.json").exists()


def test_what_may_be_the_place_for_it_is_listed(tmp_path: Path) -> None:
    choice = r"not certain what 'video' sets.*bindings={'video': 'one\.video'} or bindings={'video': 'two\.video'}"
    with pytest.raises(TemplateError, match=choice):
        init(tmp_path, CASES["files: two videos"].graph, "a.mp4")


def test_a_file_of_no_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"b\.xyz: by its name neither an image, a video nor audio"):
        init(tmp_path, VIDEO, "a.mp4", "b.xyz", patterns=["*"])


def test_with_images_alone_any_file_is_one(tmp_path: Path) -> None:
    init(tmp_path, TALKING, "a.xyz", files=False, images=True, patterns=["*.xyz"])
    assert uploads(tmp_path) == {"clips/a.xyz": {"image": "clips/a.xyz"}}


def test_a_video_is_sent_under_the_name_of_its_contents_with_its_text(tmp_path: Path) -> None:
    init(
        tmp_path,
        VIDEO | {"note": {"class_type": "PreviewAny", "inputs": {"source": ["text", 0]}}, "text": TEXT},
        "a.mp4",
    )
    (tmp_path / "clips" / "a.txt").write_text("a dog")
    with open_store(tmp_path / "state.json", read_only=True) as store:
        (item,) = store.items()
        recipes = Recipes(store.recipes, tmp_path)
        preparation = Preparation(recipes, load_settings(tmp_path / "state.json", Overrides()), tmp_path)
        (file,) = preparation.pictures(item).values()
        graph = preparation.prepare(item).graph
    assert file.filename.endswith(".mp4")
    assert graph["file"]["inputs"]["video"] == file.as_input
    assert graph["text"]["inputs"]["value"] == "a dog"
