"""What was asked for is what is made, whatever is asked for, changed or moved before it is sent; killed or not."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
from support.recipe_project import RecipeProject
from support.waiting import wait_until

from orchestrator.batches.sidecars import read_sidecar
from orchestrator.sandbox import Sandbox
from state.item import Item, Status

KILLED = pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])


@pytest.fixture(autouse=True)
def pace(sandbox: Sandbox) -> None:
    """So that a run can be met in the middle."""
    sandbox.change(seconds_per_prompt=0.05)


def of(project: RecipeProject, directory: str) -> list[Item]:
    return [item for item in project.items() if item.key.startswith(f"{directory}/")]


def rendered_once(sandbox: Sandbox, project: RecipeProject) -> bool:
    return bool(sandbox.counts()["rendered_by_item"] == {item.key: 1 for item in project.items()})


@KILLED
def test_a_batch_that_waits_is_made_with_its_own_workflow_after_another_init(
    project: RecipeProject, sandbox: Sandbox, killed: bool
) -> None:
    project.workflow("a.json", steps=2)
    project.workflow("b.json", steps=3)
    project.prompts("A", 4)
    project.prompts("B", 4)
    project.call("init", "A", "--template", "a.json")
    batch = project.call("generate", "--prompt", "a fox", "--count", "8", "--layout", "batch", "--queue-only").report
    project.call("init", "B", "--template", "b.json")
    project.run_to_the_end(killed=killed)
    steps = {name: {project.steps_of(item) for item in of(project, name)} for name in ("A", "B", batch["batch"])}
    assert steps == {"A": {2}, "B": {3}, batch["batch"]: {2}}
    info = json.loads((Path(batch["directory"]) / "batch_info.json").read_text())
    (record,) = (one.record for one in project.batches())
    assert (info["template"], info["recipe"]) == ("a.json", record.recipe)
    assert info["recipes"] == {record.recipe: {"template": "a.json", "items": 8}}
    assert rendered_once(sandbox, project)


@KILLED
def test_batch_info_tells_what_each_image_is_made_with_after_an_update(
    project: RecipeProject, sandbox: Sandbox, killed: bool
) -> None:
    """The request is told of as it was made, the images as they are."""
    project.workflow("a.json", steps=2)
    project.workflow("b.json", steps=3)
    words = ["--prompt", "a fox", "--count", "8", "--layout", "batch", "--name", "foxes", "--template", "a.json"]
    batch = project.call("generate", *words, "--queue-only").report
    project.call("run", "-n", "2")
    path = Path(batch["directory"]) / "batch_info.json"
    (record,) = (one.record for one in project.batches())
    assert json.loads(path.read_text())["recipes"] == {record.recipe: {"template": "a.json", "items": 8}}
    project.call("update", "foxes", "--template", "b.json")
    project.run_to_the_end(killed=killed)
    info = json.loads(path.read_text())
    assert (info["name"], info["template"], info["recipe"]) == ("foxes", "a.json", record.recipe)
    (other,) = (recipe for recipe in info["recipes"] if recipe != record.recipe)
    assert info["recipes"] == {
        record.recipe: {"template": "a.json", "items": 2},
        other: {"template": "b.json", "items": 6},
    }
    told = {image["index"]: info["recipes"][image["recipe"]]["template"] for image in info["images"]}
    steps = {item.index: project.steps_of(item) for item in project.items()}
    assert {index: {2: "a.json", 3: "b.json"}[made] for index, made in steps.items()} == told


@KILLED
def test_bindings_of_a_request_hold_for_all_of_it(project: RecipeProject, sandbox: Sandbox, killed: bool) -> None:
    """The text goes into node 7 instead of 6: also what a later plain run makes, and what its sidecar tells."""
    project.workflow("a.json", steps=2)
    project.prompts("A", 1)
    project.call("init", "A", "--template", "a.json")
    asked = ("generate", "--prompt", "a fox", "--count", "24", "--bind", "prompt=7.text")
    if killed:
        with project.start(*asked) as run:
            wait_until(lambda: project.count(Status.COMPLETED) >= 2, what="two images of the request")
            assert run.stop(signal.SIGKILL).code == 137
    else:
        project.call(*asked, "--queue-only")
    project.run_to_the_end()
    batch = [item for item in project.items() if item.batch is not None]
    assert len(batch) == 24
    graphs = [project.graph_of(item) for item in batch]
    assert [(graph["7"]["inputs"]["text"], graph["6"]["inputs"]["text"]) for graph in graphs] == [("a fox", "")] * 24
    for item in batch:
        inputs, facts = read_sidecar(project.output / str(item.sidecar))
        assert (inputs["prompt"], facts["template"], facts["recipe"]) == ("a fox", "a.json", item.recipe)
        assert "template_fingerprint" in facts
    (other,) = of(project, "A")
    assert project.graph_of(other)["6"]["inputs"]["text"] == "A, view 1"
    assert rendered_once(sandbox, project)


@pytest.mark.parametrize("command", ["init", "generate"])
@KILLED
def test_a_workflow_that_is_saved_over_in_mid_batch_does_not_reach_the_rest(
    project: RecipeProject, sandbox: Sandbox, command: str, killed: bool
) -> None:
    workflow = project.workflow("a.json", steps=2)
    if command == "init":
        project.prompts("A", 10)
        project.call("init", "A", "--template", "a.json")
    else:
        project.call("generate", "--prompt", "a fox", "--count", "10", "--template", "a.json", "--queue-only")
    project.call("run", "-n", "3")
    project.workflow("a.json", steps=3)
    assert json.loads(workflow.read_text())["3"]["inputs"]["steps"] == 3
    project.run_to_the_end(killed=killed)
    assert Counter(map(project.steps_of, project.items())) == {2: 10}
    project.call("generate", "--prompt", "a cat", "--template", "a.json")
    assert project.steps_of(project.items()[-1]) == 3, "what is asked for now"


@KILLED
def test_a_workflow_that_is_renamed_hinders_nothing(project: RecipeProject, sandbox: Sandbox, killed: bool) -> None:
    """Neither the state's own nor one that a batch alone named; the other batch is as whole as before."""
    project.workflow("a.json", steps=2)
    project.workflow("b.json", steps=3)
    project.prompts("A", 4)
    project.call("init", "A", "--template", "a.json")
    project.call("generate", "--prompt", "a fox", "--count", "4", "--template", "b.json", "--queue-only")
    for name in ("a", "b"):
        (project.home / f"{name}.json").rename(project.home / f"{name} of May.json")
    project.run_to_the_end(killed=killed)
    assert Counter(map(project.steps_of, project.items())) == {2: 4, 3: 4}
    assert rendered_once(sandbox, project)


@KILLED
def test_a_project_that_is_moved_while_work_waits(project: RecipeProject, sandbox: Sandbox, killed: bool) -> None:
    """Its prompts, its workflows and what is out on the server are found where it is now."""
    project.workflow("flows/a.json", steps=2)
    project.workflow("flows/b.json", steps=3)
    project.prompts("A", 6)
    project.call("init", "A", "--template", "flows/a.json")
    project.call("generate", "--prompt", "a fox", "--count", "4", "--template", "flows/b.json", "--queue-only")
    if killed:
        with project.start("run", "--poll-interval", "0.2") as run:
            wait_until(lambda: project.count(Status.COMPLETED) >= 2, what="two images")
            assert run.stop(signal.SIGKILL).code == 137
    moved = project.home.with_name("moved")
    shutil.move(project.home, moved)
    after = RecipeProject(moved, sandbox.url)
    assert not project.home.exists()
    after.run_to_the_end()
    assert Counter(map(after.steps_of, after.items())) == {2: 6, 3: 4}
    assert {recipe.workflow_name for recipe in after.recipes().values()} == {"flows/a.json", "flows/b.json"}
    assert rendered_once(sandbox, after)


@KILLED
def test_a_forgotten_prompt_is_rescued_by_what_it_was_made_with(
    project: RecipeProject, sandbox: Sandbox, killed: bool
) -> None:
    """The names of its files hang on the workflow that it was sent with, not on what the file holds today."""
    project.workflow("a.json", steps=2)
    project.prompts("A", 4)
    project.call("init", "A", "--template", "a.json")
    launch = ["--kill", "before:orchestrator.cycle.settlement:Settlement.place"]
    assert project.burst("run", launch=launch).code == 137
    wait_until(lambda: len(sandbox.counts()["rendered"]) == 4, what="all rendered")
    sandbox.restart(keep_outputs=True)
    project.workflow("a.json", steps=3)
    if killed:
        assert project.burst("run", launch=[*launch, "--in-doubt", "0.5"]).code == 137
    report = project.call("run", launch=["--in-doubt", "0.5"]).report
    assert (report["rescued"], report["put_back"], report["completed"]) == (4, 0, 4)
    assert rendered_once(sandbox, project)


@pytest.mark.parametrize("again", ["retry", "repair", "reset", "put back by a server that forgot"])
def test_what_is_made_again_is_made_as_before(project: RecipeProject, sandbox: Sandbox, again: str) -> None:
    project.workflow("a.json", steps=2)
    project.prompts("A", 3)
    project.call("init", "A", "--template", "a.json")
    if again.startswith("put back"):
        launch = ["--kill", "before:orchestrator.cycle.settlement:Settlement.place"]
        assert project.burst("run", launch=launch).code == 137
        sandbox.restart(keep_outputs=False)
    else:
        project.call("run")
    project.workflow("a.json", steps=3)
    project.prompts("B", 1)
    project.call("init", "B", "--template", "a.json")
    if again == "retry":
        project.call("retry", *(item.key for item in of(project, "A")))
    elif again == "repair":
        for item in of(project, "A"):
            (project.output / item.outputs[0].path).write_bytes(b"half")
        project.call("verify", "--repair")
    elif again == "reset":
        project.call("reset", "--yes")
    project.run_to_the_end()
    assert {project.steps_of(item) for item in of(project, "A")} == {2}
    assert {project.steps_of(item) for item in of(project, "B")} == {3}
