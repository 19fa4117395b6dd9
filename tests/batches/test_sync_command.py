"""`burst sync` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.sync_scene import SyncScene

from burst import cli
from state.open_store import open_store


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyncScene:
    monkeypatch.chdir(tmp_path)
    return SyncScene(tmp_path)


def sync(*arguments: str) -> Result:
    line = ["sync", "list.csv", "--name", "cast", "--state", "state.json", *arguments]
    result = CliRunner().invoke(cli, line, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_a_plan_the_batch_and_nothing_more_to_do(scene: SyncScene) -> None:
    scene.write("id,prompt,note", "x,a,1", "y,b,2")
    said = ("--template", "txt2img-sd15", "--ignore-columns", "--seed", "0", "--json")
    plan = json.loads(sync(*said, "--dry-run").stdout)
    assert (plan["schema"], plan["dry_run"], plan["added_total"], plan["next"]) == ("burst.sync/1", True, 2, None)
    assert not scene.state.exists()
    made = json.loads(sync(*said).stdout)
    assert (made["created"], made["added_total"], made["next"]) == (True, 2, "burst run")
    assert made["notes"] == ["list.csv: columns ignored, because nothing uses them: 'note'"]
    assert [item.inputs["seed"] for item in scene.items()] == [0, 0]
    scene.write("id,prompt", "x,a")
    gone = sync("--prune")
    assert "0 added, 0 changed, 1 gone (1 pruned), 1 unchanged" in gone.stdout
    assert scene.said() == [(1, "a", "pending"), (2, "b", "cancelled")]


def test_every_option_that_is_given_counts(scene: SyncScene) -> None:
    scene.write("prompt", "a {red|blue} fox")
    sync("--template", "txt2img-sd15", "--dynamic", "--combinatorial", "--size", "64x128", "--sweep", "cfg=5,7")
    assert [(item.prompt_text, item.inputs["cfg"], item.inputs["width"]) for item in scene.items()] == [
        ("a red fox", 5, 64),
        ("a red fox", 7, 64),
        ("a blue fox", 5, 64),
        ("a blue fox", 7, 64),
    ]
    assert "0 added, 0 changed, 0 gone, 4 unchanged" in sync().stdout


def needs(scene: SyncScene) -> list[tuple[str, tuple[str, ...]]]:
    """Text and labels of each item."""
    with open_store(scene.state, read_only=True) as store:
        recipes = {key: recipe.needs for key, recipe in store.recipes.all().items()}
    return [(item.prompt_text or "", recipes[item.recipe or ""]) for item in scene.items()]


def test_needs_are_those_of_the_batch_until_others_are_given(scene: SyncScene) -> None:
    scene.write("id,prompt", "x,a")
    sync("--template", "txt2img-sd15", "--needs", "big", "--needs", "fast")
    assert needs(scene) == [("a", ("big", "fast"))]
    scene.write("id,prompt", "x,a", "y,b")
    sync()
    assert needs(scene) == [("a", ("big", "fast")), ("b", ("big", "fast"))]
    scene.write("id,prompt", "x,a", "y,c", "z,d")
    sync("--needs", "tiny")
    assert needs(scene) == [("a", ("big", "fast")), ("c", ("tiny",)), ("d", ("tiny",))]
    assert "0 added, 0 changed, 0 gone, 3 unchanged" in sync("--needs", "tiny").stdout
    scene.write("id,prompt", "x,a", "y,c", "z,d", "w,e")
    sync("--needs", "")
    assert needs(scene)[3] == ("e", ()), "an empty label lifts what the batch was made with"


def test_a_row_with_a_workflow_of_its_own_needs_what_its_batch_needs(scene: SyncScene) -> None:
    """Also once the batch is there, and its servers are those of the batch too."""
    scene.write("prompt,template", "a,", "b,smoke")
    sync("--template", "txt2img-sd15", "--needs", "big", "--server", "gpu1=http://127.0.0.1:1")
    scene.write("prompt,template", "a,", "b,smoke", "c,smoke")
    sync()
    assert needs(scene) == [(text, ("big",)) for text in "abc"]
    with open_store(scene.state, read_only=True) as store:
        assert {recipe.servers for recipe in store.recipes.all().values()} == {("gpu1",)}
