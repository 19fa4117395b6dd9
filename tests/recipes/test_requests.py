"""What `init`, `generate` and the flags of `run` do to recipes, and what they tell of those that they leave alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from support.projects import small_template
from support.recipe_project import RecipeProject

from orchestrator.sandbox import Sandbox, SandboxSettings
from state.item import Status


@pytest.fixture
def begun(project: RecipeProject) -> RecipeProject:
    """Workflows a.json (2 steps) and b.json (3), prompts A and B; nothing is asked for yet."""
    project.workflow("a.json", steps=2)
    project.workflow("b.json", steps=3)
    project.prompts("A", 3)
    project.prompts("B", 2)
    return project


def notes(begun: RecipeProject, *arguments: str) -> list[str]:
    found: list[str] = begun.call(*arguments).report["notes"]
    return found


# init.


def test_items_of_one_init_share_a_recipe_and_without_a_template_there_is_none(begun: RecipeProject) -> None:
    begun.call("init", "A", "--output", "out")
    assert ({item.recipe for item in begun.items()}, begun.recipes()) == ({None}, {})
    begun.call("init", "B", "--template", "b.json", "--bind", "seed=3.seed", "--server", "gpu1=http://gpu1:8188")
    (recipe,) = begun.recipes().values()
    assert Counter(item.recipe for item in begun.items()) == {None: 3, recipe.id: 2}
    assert (recipe.workflow_name, recipe.output, recipe.servers) == ("b.json", "out", ())
    assert recipe.bindings["seed"] == ("3.seed",)


def test_an_init_that_changes_the_default_tells_how_many_it_changes(begun: RecipeProject) -> None:
    """Those that have no recipe; the others keep theirs."""
    assert notes(begun, "init", "A") == ["no template is set, so nothing can be rendered"]
    (note,) = notes(begun, "init", "B", "--template", "b.json")
    assert note.startswith("3 items due without a recipe: made with the new default from now on (template ")
    assert notes(begun, "init", "B", "--template", "b.json") == []
    (note,) = notes(begun, "init", "B", "--output", "elsewhere", "--bind", "seed=3.seed")[:1]
    assert note.startswith("3 items due without a recipe")
    assert "elsewhere" in note
    records = json.loads(begun.state.read_bytes())
    for key in list(records)[:2]:
        records[key]["template"] = "a.json"
    begun.state.write_text(json.dumps(records))
    (note,) = notes(begun, "init", "B", "--template", "a.json")[:1]
    assert note.startswith("1 item due without a recipe"), "two have a template of their own"


def test_a_second_init_of_the_same_prompts_leaves_what_waits_as_it_was_asked_for(begun: RecipeProject) -> None:
    begun.call("init", "A", "--template", "a.json")
    (note,) = notes(begun, "init", "A", "--template", "b.json")
    assert note == (
        "3 items of these were added before and keep their recipe (a.json); `burst update` gives them a new recipe"
    )
    begun.run_to_the_end()
    assert {begun.steps_of(item) for item in begun.items()} == {2}


def test_rescan_gives_completed_items_of_the_named_prompts_the_new_recipe(begun: RecipeProject) -> None:
    begun.call("init", "A", "--template", "a.json")
    begun.call("init", "B", "--template", "b.json")
    begun.run_to_the_end()
    assert begun.call("init", "A", "--rescan", "--template", "a.json", "--output", "other").report["put_back"] == []
    begun.workflow("a.json", steps=4)
    begun.workflow("b.json", steps=5)
    (begun.home / "B" / "prompt_02.txt").write_text("another prompt")
    again = begun.call("init", "A", "--rescan", "--template", "a.json", "--output", "output").report
    assert again["put_back"] == [*(f"A/prompt_0{number}.txt" for number in (1, 2, 3)), "B/prompt_02.txt"]
    begun.run_to_the_end()
    steps = {item.key: begun.steps_of(item) for item in begun.items()}
    assert steps == {f"A/prompt_0{number}.txt": 4 for number in (1, 2, 3)} | {
        f"B/prompt_0{number}.txt": 3 for number in (1, 2)
    }
    assert begun.call("init", "A", "--rescan").report["put_back"] == []


# The flags of a run.


def test_the_flags_of_a_run_do_not_reach_items_with_a_recipe_and_it_tells_so(begun: RecipeProject) -> None:
    begun.call("init", "A", "--template", "a.json")
    begun.call("generate", "--prompt", "a fox", "--template", "b.json", "--queue-only")
    (note,) = notes(begun, "run", "-n", "1", "--template", "b.json", "--bind", "prompt=7.text", "--output", "out")
    assert note == (
        "--template, --output, --bind: only for items without a recipe; 4 items due with recipes of their own: "
        "a.json (3), b.json (1). `burst update` gives them a new one"
    )
    assert notes(begun, "run", "-n", "1", "--template", "a.json") == [
        "--template: only for items without a recipe; 1 item due with recipes of their own: b.json (1). "
        "`burst update` gives them a new one"
    ]


def test_flags_that_say_what_is_so_are_not_mentioned(begun: RecipeProject) -> None:
    begun.call("init", "A", "--template", "a.json")
    said = ("--template", "a.json", "--bind", "prompt=6.text", "--output", "output", "--server", begun.server)
    assert notes(begun, "run", *said) == []
    assert begun.count(Status.COMPLETED) == 3


def test_servers_that_a_request_named_are_its_own(begun: RecipeProject, sandbox: Sandbox) -> None:
    begun.call("generate", "--prompt", "a fox", "--template", "a.json", "--server", begun.server, "--queue-only")
    assert notes(begun, "run", "-n", "1", "--server", begun.server) == []
    begun.call("generate", "--prompt", "a fox", "--template", "a.json", "--server", begun.server, "--queue-only")
    with Sandbox() as other:
        assert notes(begun, "run", "-n", "1", "--server", other.url)[0].startswith("--server: only for items without")


def test_what_a_request_names_is_not_for_items_of_others(begun: RecipeProject) -> None:
    """A record without a recipe waits in front of it; its default is not the template of the request."""
    begun.call("init", "A", "--template", "a.json")
    begun.edit_state(recipe=None)
    begun.call("generate", "--prompt", "a fox", "--template", "b.json")
    begun.run_to_the_end()
    assert [begun.steps_of(item) for item in begun.items()] == [2, 2, 2, 3]


# Made again.


@pytest.mark.parametrize("what", ["saved over", "gone", "other bindings"])
def test_an_image_is_made_again_from_its_sidecar_whatever_became_of_its_workflow(
    begun: RecipeProject, what: str
) -> None:
    asked = ("--prompt", "a fox", "--seed", "7", "--template", "a.json", "--bind", "prompt=7.text")
    begun.call("generate", *asked)
    if what == "gone":
        (begun.home / "a.json").unlink()
    elif what == "saved over":
        begun.workflow("a.json", steps=4)
    else:
        settings = begun.folder / "settings.toml"
        settings.write_text(settings.read_text().replace('prompt = "7.text"', 'prompt = "6.text"'))
    first = begun.items()[0]
    begun.call("generate", "--from", str(begun.output / str(first.sidecar)))
    second = begun.items()[1]
    assert begun.graph_of(second)["7"]["inputs"]["text"] == "a fox"
    assert second.fingerprint == first.fingerprint


def test_what_is_named_beside_a_sidecar_wins(begun: RecipeProject) -> None:
    begun.call("generate", "--prompt", "a fox", "--seed", "7", "--template", "a.json")
    sidecar = str(begun.output / str(begun.items()[0].sidecar))
    begun.call("generate", "--from", sidecar, "--template", "b.json")
    begun.call("generate", "--from", sidecar, "--bind", "prompt=7.text")
    first, other, bound = begun.items()
    recipes = begun.recipes()
    named = [recipes[str(item.recipe)].workflow_name for item in (first, other, bound)]
    assert named == ["a.json", "b.json", "a.json"]
    assert begun.graph_of(bound)["7"]["inputs"]["text"] == "a fox"


def test_an_image_of_comfyui_brings_its_graph_into_the_recipe(begun: RecipeProject) -> None:
    begun.call("generate", "--prompt", "a fox", "--seed", "7", "--template", "b.json")
    image = begun.home / "from comfyui.png"
    image.write_bytes((begun.output / begun.items()[0].outputs[0].path).read_bytes())
    begun.call("generate", "--from", image.name, "--queue-only")
    image.unlink()
    begun.run_to_the_end()
    again = begun.items()[1]
    assert begun.steps_of(again) == 3
    assert begun.recipes()[str(again.recipe)].workflow_name == image.name
    sidecar = begun.output / str(again.sidecar)
    assert f"template: {image.name}" in sidecar.read_text()
    begun.call("generate", "--from", str(sidecar))
    assert begun.items()[2].fingerprint == again.fingerprint


# Several servers.


def test_a_server_is_sent_what_it_can_make_by_recipe(tmp_path: Path, sandbox: Sandbox) -> None:
    """Two batches whose records differ in nothing but their recipe, each of a model that one of two servers has."""
    project = RecipeProject(tmp_path, sandbox.url)
    sandbox.change(checkpoints=("first.safetensors",))
    for name in ("first", "second"):
        graph = small_template()
        graph["4"]["inputs"]["ckpt_name"] = f"{name}.safetensors"
        (tmp_path / f"{name}.json").write_text(json.dumps(graph))
        project.prompts(name, 4)
        project.call("init", name, "--template", f"{name}.json")
    with Sandbox(SandboxSettings(checkpoints=("second.safetensors",))) as other:
        report = project.call("run", "--server", sandbox.url, "--server", other.url).report
        assert (report["completed"], report["failed"]) == (8, 0)
        made = [sandbox.counts()["rendered_by_item"], other.counts()["rendered_by_item"]]
    assert [{key.partition("/")[0] for key in keys} for keys in made] == [{"first"}, {"second"}]
