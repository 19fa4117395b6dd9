"""From what is asked to a batch's record and items, with nothing written and nobody asked but for names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.comfyui_loopback import Loopback, Request

import templates
from orchestrator.batches.planning import Plan, Planner, requested_recipe
from orchestrator.batches.sidecars import Reproduction
from orchestrator.batches.spec import BatchSpec
from orchestrator.comfyui import ComfyUI
from orchestrator.errors import UsageError
from orchestrator.preparation import Preparation, Prepared
from orchestrator.recipes import Recipes
from orchestrator.settings import Overrides, load_settings
from state.item import Item
from templates import Graph

EVENING = datetime(2030, 1, 1, 23, 30, tzinfo=timezone(timedelta(hours=2)))
NAME = "txt2img-sd15"


def plan(home: Path, *, template: str | None = NAME, graph: Graph | None = None, **said: Any) -> Plan:
    """`graph`: one that came with an image."""
    how = {name: said.pop(name) for name in ("reproduction", "taken") if name in said}
    servers = said.pop("servers", ())
    settings, recipes = replace(load_settings(home / "state.json"), template=template), Recipes(None, home)
    base = recipes.from_graph(graph, settings, name="fox.png") if graph is not None else None
    planner = Planner(
        recipe=requested_recipe(recipes, settings, Overrides(), base=base),
        preparation=Preparation(recipes, settings, home),
        home=home,
        servers=servers,
        secret_env="HOOK_KEY",
    )
    wish = {"prompt": "a fox"} | said if "reproduction" not in how else said
    reproduction = how.pop("reproduction", None)
    draft = planner.draft(BatchSpec(**wish), reproduction=reproduction, data=b"" if reproduction else None)
    return planner.plan(draft, at=EVENING, **{"taken": lambda name: False} | how)


def lines(home: Path, *prompts: str) -> str:
    path = home / "prompts"
    path.write_text("\n".join(prompts))
    return str(path)


def test_the_record_says_what_was_asked(tmp_path: Path) -> None:
    prompts = ("a fox", "a cat", "a fox", "a dog", "an owl", "a bee", "an ant")
    said = plan(
        tmp_path,
        prompt=None,
        prompts_file=lines(tmp_path, *prompts),
        seed=7,
        steps=9,
        sweeps={"cfg": (5, 7.5)},
        priority="high",
        on_error="continue",
        layout="batch",
        stem="hero",
        notify=("http://127.0.0.1:9/hook",),
    ).record
    assert said.batch.startswith("20300101_233000_"), "by the clock on the wall"
    assert (said.created_at, said.created_at.tzinfo) == (EVENING, UTC)
    assert (said.total, said.prompts) == (14, ("a fox", "a cat", "a dog", "an owl", "a bee"))
    assert (said.parameters, said.axes) == ({"steps": 9, "seed": 7}, {"cfg": [5, 7.5]})
    assert (said.priority, said.on_error, said.layout, said.stem) == ("high", "continue", "batch", "hero")
    assert (said.directory, said.template) == (f"batch_{said.batch}", NAME)
    assert [(to.url, to.secret_env) for to in said.notify] == [("http://127.0.0.1:9/hook", "HOOK_KEY")]


def test_the_items_are_keyed_in_their_order_and_know_their_batch(tmp_path: Path) -> None:
    prompts = lines(tmp_path, "a fox", "a cat")
    made = plan(tmp_path, prompt=None, prompts_file=prompts, count=600, priority="low")
    keys = [item.key for item in made.items]
    assert (keys[0], keys[-1], len(keys)) == (f"{made.record.batch}/0001", f"{made.record.batch}/1200", 1200)
    assert keys == sorted(keys)
    assert {(item.batch, item.priority) for item in made.items} == {(made.record.batch, "low")}
    assert [item.index for item in made.items] == list(range(1, 1201))
    assert plan(tmp_path).items[0].key.endswith("/001")


def test_a_directory_that_is_taken_is_not_taken_again(tmp_path: Path) -> None:
    taken = {"20300101_233000", "20300101_233000_2"}
    made = plan(tmp_path, taken=taken.__contains__)
    assert made.record.directory == made.items[0].subfolder == "20300101_233000_3"
    assert made.items[0].sidecar == "20300101_233000_3/prompt.txt"


def test_items_and_record_name_one_recipe_with_the_workflow_and_its_bindings(tmp_path: Path) -> None:
    made = plan(tmp_path, count=3)
    recipe = made.recipes[0].recipe
    assert {item.recipe for item in made.items} == {made.record.recipe} == {recipe.id}
    assert {item.template for item in made.items} == {None}
    assert (recipe.workflow_name, recipe.output, recipe.servers) == (NAME, "output", ())
    assert recipe.bindings["prompt"] == ("6.text",)
    assert made.recipes[0].graph == templates.load_workflow(NAME).graph
    assert list(tmp_path.iterdir()) == []


def test_the_first_graph_is_the_first_items(tmp_path: Path) -> None:
    graph = plan(tmp_path, count=2, seed=7, steps=9, negative="fog").first_graph
    (sampler,) = (node["inputs"] for node in graph.values() if node["class_type"] == "KSampler")
    assert (sampler["seed"], sampler["steps"]) == (7, 9)
    texts = {node["inputs"]["text"] for node in graph.values() if node["class_type"] == "CLIPTextEncode"}
    assert texts == {"a fox", "fog"}


def test_what_does_not_fit_the_template_is_a_fault_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sets\['3\.stepps'\]"):
        plan(tmp_path, sets={"3.stepps": 4})
    with pytest.raises(UsageError, match="cannot add the LoRA"):
        plan(tmp_path, template="smoke", loras=("a",))


def test_no_template_says_which_come_with_burst(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"template: none is set; .*{NAME}"):
        plan(tmp_path, template=None)


def test_one_of_those_that_differ_in_texts_and_seeds_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, prepared = Preparation.prepare, []

    def counting(prompts: Preparation, item: Item) -> Prepared:
        prepared.append(item.inputs["steps"])
        return prepare(prompts, item)

    monkeypatch.setattr(Preparation, "prepare", counting)
    plan(tmp_path, count=200, sweeps={"steps": (4, 6)}, negative="fog")
    assert prepared == [4, 6]


def test_the_servers_are_asked_once_for_many_that_differ_in_texts_and_seeds(tmp_path: Path) -> None:
    """Once for each node class and folder of models; and each choice that a row makes is looked at."""

    def answer(request: Request) -> None:
        request.json({request.path.rpartition("/")[2]: {"input": {"required": {}}, "output_node": False}})

    with Loopback(answer) as loopback, ComfyUI(loopback.url) as client:
        prompts = lines(tmp_path, *(f"fox {number}" for number in range(40)))
        plan(tmp_path, prompt=None, prompts_file=prompts, count=5, servers=(client,))
        classes = {node["class_type"] for node in templates.load_workflow(NAME).graph.values()}
        assert len(loopback.requests) <= len(classes) + 8


def test_a_recipe_without_a_prompt_is_one(tmp_path: Path) -> None:
    graph = templates.load_workflow(NAME).graph
    found = Reproduction(template=None, graph=graph, prompt=None, seed=5, inputs={"steps": 9})
    made = plan(tmp_path, template=None, graph=graph, reproduction=found, from_file="fox.png")
    (item,) = made.items
    assert (item.prompt_text, item.inputs, item.recipe) == (None, {"steps": 9, "seed": 5}, made.recipes[0].recipe.id)
    assert made.recipes[0].graph == graph
    assert (made.record.template, made.record.prompts) == ("fox.png", ("",))
    assert list(tmp_path.iterdir()) == []


def test_a_profile_says_what_nothing_else_says(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text(
        "profiles: {mine: {steps: 4, cfg: 2.0, sampler: lcm, scheduler: karras, seed_mode: fixed}}"
    )
    said = plan(tmp_path, profile="mine", steps=9, sets={"3.cfg": 5.0}, sweeps={"sampler_name": ("euler",)}, count=2)
    for item in said.items:
        assert {name: item.inputs.get(name) for name in ("steps", "cfg", "sampler", "scheduler")} == {
            "steps": 9,
            "cfg": 5.0,
            "sampler": "euler",
            "scheduler": "karras",
        }
    assert len({item.inputs["seed"] for item in said.items}) == 1, "its seeds are fixed"
    increasing = plan(tmp_path, profile="mine", seed_mode="random", count=2)
    assert len({item.inputs["seed"] for item in increasing.items}) == 2


def test_a_profile_for_another_kind_of_template_says_what_this_one_takes(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text("profiles: {mine: {steps: 4, batch_size: auto}}")
    made = plan(tmp_path, profile="mine", template="smoke")
    assert "steps" not in made.items[0].inputs
