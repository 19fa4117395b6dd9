"""Items without a recipe take the default as it stands when they are sent, and keep that from then on."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.preparing import preparation_of
from support.projects import small_template
from support.recipe_project import RecipeProject
from support.simulated_disk import SimulatedDisk
from support.state_scenes import change

import templates
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.responses import Submitted
from orchestrator.comfyui.terms import Terms
from orchestrator.cycle.context import Options, WorkerContext
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.submission import Submission
from orchestrator.cycle.uploads import ReadyItem
from orchestrator.errors import RecipeUnusable
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from orchestrator.sandbox import Sandbox
from orchestrator.servers import parse_server
from orchestrator.settings import Settings
from state.item import Item, Status
from state.open_store import open_store
from state.recipe import Recipe
from state.store import Store


def by_hand(project: RecipeProject, count: int) -> None:
    """A state of the seed's minimal shape, and its prompts; no settings."""
    project.prompts("A", count)
    records = {
        f"A/prompt_{number:02}.txt": {"status": "pending", "subfolder": "A", "filename": f"prompt_{number:02}.txt"}
        for number in range(1, count + 1)
    }
    project.state.write_text(json.dumps(records))


def test_it_is_the_one_of_the_run_that_sends_them(project: RecipeProject) -> None:
    by_hand(project, 4)
    project.workflow("a.json", steps=2)
    project.workflow("b.json", steps=3)
    project.call("run", "-n", "2", "--template", "a.json")
    project.call("run", "-n", "2", "--template", "b.json")
    assert [project.steps_of(item) for item in project.items()] == [2, 2, 3, 3]
    recipes = project.recipes()
    assert [recipes[str(item.recipe)].workflow_name for item in project.items()] == ["a.json"] * 2 + ["b.json"] * 2


@pytest.mark.parametrize(
    ("place", "steps"),
    [
        ("before:state.json.recipe_book:JsonRecipeBook.add", 3),
        ("after:state.json.recipe_book:JsonRecipeBook.add", 3),
        ("before:state.json.store:JsonStore.apply", 3),
        ("after:state.json.store:JsonStore.apply", 2),
        ("after:orchestrator.comfyui.client:ComfyUI.submit:3", 2),
    ],
)
def test_it_is_theirs_from_the_intent_on_however_the_run_ended(
    project: RecipeProject, sandbox: Sandbox, place: str, steps: int
) -> None:
    """Its graph is on the disk before the intent: also when nobody has the workflow any more."""
    by_hand(project, 3)
    project.workflow("a.json", steps=2)
    assert project.burst("run", "--template", "a.json", launch=["--kill", place]).code == 137
    (project.home / "a.json").unlink()
    project.workflow("b.json", steps=3)
    ended = project.burst("run", "--json", "--template", "b.json", launch=["--in-doubt", "0.5"])
    assert ended.code == 0, ended
    assert {project.steps_of(item) for item in project.items()} == {steps}
    assert sandbox.counts()["rendered_by_item"] == {item.key: 1 for item in project.items()}


def test_a_records_own_template_counts_while_it_has_no_recipe(project: RecipeProject) -> None:
    by_hand(project, 1)
    project.workflow("a.json", steps=2)
    project.workflow("b.json", steps=3)
    project.edit_state(template="b.json")
    project.call("run", "--template", "a.json")
    (item,) = project.items()
    assert project.steps_of(item) == 3
    project.edit_state(template="a.json", status="pending")
    project.call("run")
    (again,) = project.items()
    assert (again.recipe, project.steps_of(again)) == (item.recipe, 3)


def test_a_workflow_that_is_gone_hinders_only_those_who_need_it(project: RecipeProject) -> None:
    """Work with recipes of its own goes on; a flag that names what is not there is still refused."""
    workflow = project.workflow("a.json", steps=2)
    project.prompts("A", 2)
    project.call("init", "A", "--template", "a.json")
    workflow.unlink()
    refused = project.burst("run", "--template", "gone.json")
    assert (refused.code, "gone.json" in refused.err) == (2, True)
    project.call("run", "-n", "1")
    records = json.loads(project.state.read_bytes())
    records["by hand"] = {"status": "pending", "prompt_text": "a fox"}
    project.state.write_text(json.dumps(records))
    needed = project.burst("run")
    assert (needed.code, "a.json" in needed.err) == (2, True)
    assert project.count(Status.COMPLETED) == 1


# Before the POST.


def context(store: Store, client: Any, **preparing: Any) -> WorkerContext:
    home, lease = store.location.home, store.lease()
    return WorkerContext(
        store=store,
        lease=lease,
        server=parse_server("http://127.0.0.1:1"),
        client=client,
        placement=Placement(Recipes(store.recipes, home), home / "output"),
        preparation=preparation_of(home, "smoke", book=store.recipes, **preparing),
        dispatch=Dispatch(store, lease, progress=Silent(), on_error="continue"),
        options=Options(),
        clock=Clock(),
        halt=threading.Event(),
    )


def test_recipe_and_graph_survive_power_loss_wherever_the_intent_does(tmp_path: Path) -> None:
    """Looked at before each operation on the disk, on every disk that may be found then, and at the POST."""
    disk = SimulatedDisk(tmp_path)
    posted: list[str] = []
    smoke = templates.load_workflow("smoke").graph

    def look(*_: object) -> None:
        for found in disk.after_power_loss():
            with open_store(tmp_path / "state.json", disk=found, read_only=True) as store:
                for item in store.items(Status.SUBMITTED):
                    assert store.recipes.workflow(store.recipes.get(str(item.recipe))) == smoke
                    posted.append(item.key)

    class Client:
        url = "http://127.0.0.1:1"
        terms = Terms()

        def submit(self, graph: Any, *, prompt_id: str, **_: Any) -> Submitted:
            posted.clear()
            look()
            assert posted, "the intent is durable"
            return Submitted(prompt_id=prompt_id, number=0.0, node_errors={})

    with open_store(tmp_path / "state.json", create=True, disk=disk) as store:
        store.add([Item(key="a", status=Status.PENDING, prompt_text="a fox")])
        # The real directories, where locks are, are those of the disk that was looked at last.
        disk.before = lambda kind, path: None if kind == "make_directory" else (look(), disk._mirror())[0]
        sent: list[Item] = []
        submission = Submission(
            context(store, Client()),
            forget_uploads=lambda: None,
            refused=lambda item, error: None,
            sent=sent.append,
            attend=lambda: None,
        )
        submission.submit([ReadyItem(store.get("a"), {})])
        assert [item.accepted for item in sent] == [True]


@pytest.mark.parametrize(
    "edit",
    [
        {"recipe": "other"},
        {"inputs": {"seed": 8}},
        {"uploads": {"image": "other.png"}},
        {"priority": "high"},
        {"prompt_text": "a cat"},
        {"template": "txt2img-sd15"},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_what_was_changed_since_it_was_prepared_is_not_sent(
    tmp_path: Path, sandbox: Sandbox, edit: dict[str, Any]
) -> None:
    """By `burst update`, `cancel` or an editor beside the run: it stays due, with the change, for the next look."""
    with open_store(tmp_path / "state.json", create=True) as store, ComfyUI(sandbox.url) as client:
        recipes = Recipes(store.recipes, tmp_path)
        other = recipes.from_graph(small_template(), Settings(output_dir=tmp_path / "output"), name="small.json")
        recipes.keep(other)
        store.add([Item(key="a", status=Status.PENDING, prompt_text="a fox", inputs={"seed": 7})])
        taken = store.get("a")
        fields = {name: other.recipe.id if value == "other" else value for name, value in edit.items()}
        changed = change(store, "a", lambda now: msgspec.structs.replace(now, **fields))
        sent: list[Item] = []
        submission = Submission(
            context(store, client),
            forget_uploads=lambda: None,
            refused=lambda item, error: None,
            sent=sent.append,
            attend=lambda: None,
        )
        submission.submit([ReadyItem(taken, {})])
        assert not sent
        assert store.get("a") == changed
        assert sandbox.counts()["posts"] == 0
        if "uploads" not in edit and "template" not in edit:
            submission.submit([ReadyItem(store.get("a"), {})])
            assert [{name: getattr(item, name) for name in fields} for item in sent] == [fields]


# What it is.


def test_an_output_root_alone_takes_the_defaults_workflow(tmp_path: Path) -> None:
    """Completed items of a version 1 state have one: made again, they go where they were."""
    with open_store(tmp_path / "state.json", create=True) as store:
        root = store.recipes.add(Recipe(output="elsewhere"), None)
        preparation = preparation_of(tmp_path, "smoke", book=store.recipes)
        item = Item(key="a", status=Status.PENDING, prompt_text="a fox", recipe=root.id)
        made = preparation.prepare(item).recipe
        assert (made.recipe.workflow_name, made.recipe.output) == ("smoke", "elsewhere")
        preparation.keep(made)
        with_both = msgspec.structs.replace(item, recipe=made.recipe.id)
        other = preparation_of(tmp_path, "txt2img-sd15", book=store.recipes)
        assert other.recipe_of(with_both).graph == templates.load_workflow("smoke").graph
        assert other.recipe_of(item).recipe.workflow_name == "txt2img-sd15"


def test_a_recipe_that_cannot_be_used_says_which_and_why(tmp_path: Path) -> None:
    with open_store(tmp_path / "state.json", create=True) as store:
        preparation = preparation_of(tmp_path, "smoke", book=store.recipes)
        item = Item(key="a", status=Status.PENDING, prompt_text="a fox", recipe="0123456789abcdef")
        with pytest.raises(RecipeUnusable, match=r"recipe 0123456789abcdef: .*burst update") as error:
            preparation.prepare(item)
        assert error.value.recipe_id == "0123456789abcdef"


def test_the_same_request_gives_the_same_recipe_from_everywhere(project: RecipeProject, tmp_path: Path) -> None:
    """From another working directory, by absolute paths, through a link, and where the project was moved to."""
    project.workflow("flows/a.json", steps=2)
    project.prompts("A", 1)
    home = project.home
    state = ("--state", str(project.state))
    link = tmp_path / "link"
    link.symlink_to(home)
    said = ("--template", "flows/a.json", "--output", "out", "--bind", "seed=3.seed")
    (first,) = project.ids_after("init", "A", *said)
    elsewhere = ("--template", "../flows/a.json", "--output", "../out", "--bind", "seed=class=KSampler.seed")
    assert project.ids_after("init", "../A", *state, *elsewhere, cwd=home / "flows") == {first}
    absolute = ("--template", str(home / "flows" / "a.json"), "--output", str(home / "out"))
    assert project.ids_after("init", str(home / "A"), *state, *absolute, cwd=tmp_path) == {first}
    through = ("--template", str(link / "flows" / "a.json"), "--output", str(link / "out"))
    assert project.ids_after("init", "A", *state, *through, cwd=link) == {first}
    shutil.move(home, tmp_path / "moved")
    moved = RecipeProject(tmp_path / "moved", project.server)
    moved.prompts("B", 1)
    assert moved.ids_after("init", "B") == {first}
    assert {item.recipe for item in moved.items()} == {first}


def test_a_recipe_holds_no_password_and_no_header(project: RecipeProject) -> None:
    with_password = project.server.replace("http://", "http://me:hunter2@")
    said = ("--prompt", "a fox", "--template", "smoke", "--queue-only", "--header", "X-Key: env:KEY")
    project.prompts("A", 1)
    project.call("init", "A", "--template", "smoke")
    project.call("generate", *said, "--server", f"gpu1={with_password}")
    project.call("generate", *said)
    first, second = (item.recipe for item in project.items() if item.batch is not None)
    recipes = project.recipes()
    assert (recipes[str(first)].servers, recipes[str(second)].servers) == (("gpu1",), ())
    assert not [path for path in project.home.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
