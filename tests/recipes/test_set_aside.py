"""A recipe that cannot be used costs no item anything and no other recipe its run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.background import in_background
from support.burst_runs import run_quickly
from support.projects import Graph, Project, small_template
from support.waiting import wait_until

from orchestrator.batches.batch_status import read_batch
from orchestrator.cycle.set_aside import SetAsideRecipes
from orchestrator.init_state import init_state
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides
from orchestrator.status import read_status
from orchestrator.update import update_items
from state.item import Item, Status
from templates import Workflow, check_offline, find_bindings


def add(project: Project, name: str, graph: Graph, *, count: int = 2) -> list[str]:
    """Another directory of prompts with a workflow of its own; the keys of its items."""
    folder = project.home / name
    folder.mkdir()
    for number in range(count):
        (folder / f"{name}_{number}.txt").write_text(f"a {name}, view {number}")
    template = project.home / f"{name}.json"
    template.write_text(json.dumps(graph))
    init_state(project.state, [folder], overrides=Overrides(template=str(template)))
    project.add_prompts([])  # the state's default is the first workflow again
    return [item.key for item in project.items() if item.key.startswith(f"{name}/")]


def workflow_of(project: Project, key: str) -> Path:
    """The kept graph of an item's recipe."""
    (item,) = (item for item in project.items() if item.key == key)
    recipes = [json.loads(line) for line in (project.folder / "recipes.jsonl").read_text().splitlines()]
    (digest,) = (one["recipe"]["workflow"] for one in recipes if one["id"] == item.recipe)
    return project.folder / "workflows" / f"{digest}.json"


def put_first(project: Project, keys: list[str]) -> None:
    """A run takes these items before all others."""
    document: dict[str, dict[str, Any]] = json.loads(project.state.read_text())
    for key in keys:
        document[key]["priority"] = "high"
    project.state.write_text(json.dumps(document))


def with_checkpoint(name: str) -> Graph:
    graph = small_template()
    graph["4"]["inputs"]["ckpt_name"] = name
    return graph


def standing(project: Project) -> dict[str, Status]:
    return {item.key: item.status for item in project.items()}


def uncharged(items: list[Item]) -> None:
    for item in items:
        assert (item.status, item.attempts, item.prompt_id, item.error) == (Status.PENDING, 0, None, None)


@pytest.mark.parametrize("damage", ["missing", "cut", "another graph", "not JSON"])
def test_a_damaged_graph_sets_its_recipe_aside_and_the_others_are_rendered(
    tmp_path: Path, sandbox: Sandbox, damage: str
) -> None:
    project = Project(tmp_path, server=sandbox.url, count=2)
    bad = add(project, "bad", small_template(batch_size=2))
    path = workflow_of(project, bad[0])
    match damage:
        case "missing":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:100])
        case "another graph":
            path.write_text(json.dumps(small_template(batch_size=3)))
        case _:
            path.write_bytes(b"\x00\xff")
    report = run_quickly(project)
    assert (report.completed, report.failed, report.exit_code) == (2, 0, 2)
    uncharged([item for item in project.items() if item.key in bad])
    (aside,) = report.set_aside
    assert (aside.items, aside.name) == (2, "bad.json")
    assert path.name in aside.reason
    assert "burst update" in aside.reason
    assert "bad.json" in report.as_text()
    assert report.as_json()["set_aside"][0]["items"] == 2
    assert len(sandbox.counts()["rendered_by_item"]) == 2


def test_it_is_used_again_once_its_file_is_back(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=1)
    bad = add(project, "bad", small_template(batch_size=2))
    path = workflow_of(project, bad[0])
    shutil.move(path, tmp_path / "aside.json")
    assert run_quickly(project).exit_code == 2
    shutil.move(tmp_path / "aside.json", path)
    assert run_quickly(project).exit_code == 0
    assert set(standing(project).values()) == {Status.COMPLETED}


def test_more_than_set_aside_items_left_is_no_error(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=3)
    bad = add(project, "bad", small_template(batch_size=2))
    workflow_of(project, bad[0]).unlink()
    put_first(project, bad)
    report = run_quickly(project, size=2)
    assert (report.completed, report.exit_code, report.ended) == (2, 0, "done")
    assert [aside.items for aside in report.set_aside] == [2]


def test_until_done_ends_when_only_set_aside_items_are_left(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=5)
    bad = add(project, "bad", small_template(batch_size=2), count=40)
    workflow_of(project, bad[0]).unlink()
    put_first(project, bad)
    report = run_quickly(project, size=2, until_done=True)
    assert (report.completed, report.exit_code) == (5, 2)
    assert len(sandbox.counts()["rendered_by_item"]) == 5


def test_nothing_waits_for_a_server_that_does_not_answer(tmp_path: Path, sandbox: Sandbox) -> None:
    """Where only items set aside are left: that server could do nothing for them either."""
    with Sandbox(SandboxSettings()) as other:
        gone = other.url
    project = Project(tmp_path, server=sandbox.url, count=2)
    bad = add(project, "bad", small_template(batch_size=2))
    workflow_of(project, bad[0]).unlink()
    report = run_quickly(project, server=(sandbox.url, gone))
    assert (report.completed, report.exit_code, report.ended) == (2, 2, "error")
    assert "2 items remaining, all made with bad.json" in str(report.reason)


def test_a_workflow_that_the_server_refuses_is_set_aside(tmp_path: Path, sandbox: Sandbox) -> None:
    """The refused node is one that no item touches."""
    project = Project(tmp_path, server=sandbox.url, count=2)
    bad = add(project, "bad", with_checkpoint("nobody-has-this.safetensors"), count=3)
    report = run_quickly(project)
    assert (report.completed, report.failed, report.exit_code) == (2, 0, 2)
    uncharged([item for item in project.items() if item.key in bad])
    (aside,) = report.set_aside
    assert "nobody-has-this" in aside.reason
    assert aside.items == 3


def test_a_workflow_that_takes_no_prompt_is_set_aside_in_the_words_of_its_check(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    project = Project(tmp_path, server=sandbox.url, count=1)
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    (tmp_path / "deaf.json").write_text(json.dumps(graph))
    document = json.loads(project.state.read_text())
    document["by_hand"] = {"status": "pending", "template": str(tmp_path / "deaf.json"), "prompt_text": "a harbour"}
    project.state.write_text(json.dumps(document))
    (aside,) = run_quickly(project).set_aside
    (found,) = check_offline(Workflow("deaf", None, graph), find_bindings(graph))
    assert found.message in aside.reason
    assert (
        "no binding 'prompt' (available: width, height, batch_size, prefix); add one with bindings={" in found.message
    )


def with_models(project: Project, models: list[str]) -> None:
    """The items are given these checkpoints, each its own."""
    document: dict[str, dict[str, Any]] = json.loads(project.state.read_text())
    for record, model in zip(document.values(), models, strict=True):
        record["inputs"] = {"model": model}
    project.state.write_text(json.dumps(document))


def test_a_value_that_every_item_has_is_the_recipes_fault(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=3)
    with_models(project, ["nobody-has-this.safetensors"] * 3)
    report = run_quickly(project)
    assert (report.failed, report.exit_code) == (0, 2)
    uncharged(project.items())


def test_a_value_of_one_item_fails_that_item(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=3)
    with_models(project, ["tiny-random.safetensors", "nobody-has-this.safetensors", "tiny-random.safetensors"])
    report = run_quickly(project)
    assert (report.completed, report.failed, report.exit_code) == (2, 1, 1)
    assert report.set_aside == ()


def test_a_single_item_is_to_blame_for_its_own_value(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=1)
    with_models(project, ["nobody-has-this.safetensors"])
    assert run_quickly(project).failed == 1


def test_with_several_servers_it_is_set_aside_when_all_of_them_refuse_it(tmp_path: Path, sandbox: Sandbox) -> None:
    with Sandbox(SandboxSettings()) as other:
        project = Project(tmp_path, server=sandbox.url, count=4)
        bad = add(project, "bad", with_checkpoint("nobody-has-this.safetensors"), count=3)
        report = run_quickly(project, server=(sandbox.url, other.url), until_done=True)
        assert (report.completed, report.failed, report.exit_code) == (4, 0, 2)
        uncharged([item for item in project.items() if item.key in bad])


def test_a_recipe_that_one_of_several_servers_refuses_is_made_by_another(tmp_path: Path, sandbox: Sandbox) -> None:
    """It lost a model after it was asked what it has, so it refuses what it is sent."""
    with Sandbox(SandboxSettings()) as other:
        project = Project(tmp_path, server=sandbox.url, count=8, template=with_checkpoint("sd_xl_base_1.0.safetensors"))
        for server in (sandbox, other):
            server.hold("render")
        with in_background(run_quickly, project, server=(sandbox.url, other.url)) as end:
            wait_until(lambda: all(server.counts()["posts"] for server in (sandbox, other)), what="a prompt on each")
            sandbox.change(checkpoints=("tiny-random.safetensors",))
            sandbox.release()
            wait_until(
                lambda: sandbox.counts()["posts"] > sum(sandbox.counts()["queued_by_item"].values()), what="a refusal"
            )
            other.release()
            report = end()
    assert (report.completed, report.failed, report.set_aside, report.exit_code) == (8, 0, (), 0)


def test_status_names_recipe_reason_and_way_out(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=1)
    bad = add(project, "bad", small_template(batch_size=2))
    workflow_of(project, bad[0]).unlink()
    run_quickly(project)
    text = read_status(project.state).as_text()
    assert "bad.json" in text
    assert "burst update" in text
    (aside,) = read_status(project.state).as_json()["set_aside"]
    assert aside["items"] == 2


def test_the_status_of_a_batch_lists_what_is_set_aside_of_it_alone(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=1)
    for name, template, size, count in (("two", "bad", 2, 2), ("three", "bad", 2, 3), ("other", "good", 3, 1)):
        path = tmp_path / f"{template}.json"
        path.write_text(json.dumps(small_template(batch_size=size)))
        words = ("--prompt", f"an owl of {name}", "--count", str(count), "--template", str(path), "--name", name)
        assert project.burst("generate", *words, "--queue-only").code == 0
    bad = next(item for item in project.items() if item.prompt_text == "an owl of two")
    workflow_of(project, bad.key).unlink()
    assert run_quickly(project).completed == 2
    for name, count in (("two", 2), ("three", 3)):
        view = read_batch(project.state, name)
        (aside,) = view.as_json()["set_aside"]
        assert (aside["items"], aside["batches"], aside["name"]) == (count, [view.id], "bad.json")
        text = view.as_text()
        assert f"{count} left, {count} of them set aside" in text
        assert f"Set aside: {count} items of batch {view.id} made with bad.json, still pending: " in text
        assert "Next: fix what is named above, or give the items another recipe (`burst update" in text
    other = read_batch(project.state, "other")
    assert other.as_json()["set_aside"] == []
    assert "aside" not in other.as_text()


def filled_in(command: str, template: Path) -> list[str]:
    """The arguments of a command that a report names, with this template in place of what is to be filled in."""
    program, *words = shlex.split(re.sub(r"\[--template NAME\].*", f"--template {shlex.quote(str(template))}", command))
    assert program == "burst"
    return words


def test_the_next_step_is_what_a_person_has_to_do(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=1)
    bad = add(project, "bad one", small_template(batch_size=2))
    workflow_of(project, bad[0]).unlink()
    report = run_quickly(project)
    document = report.as_json()
    assert (document["next_batch"], document["seconds_left"]) == ({"size": 0, "first": []}, None)
    step = "Next: fix what is named above, or give the items another recipe (`burst update --made-with 'bad one.json' "
    for text in (report.as_text(), read_status(project.state).as_text()):
        (line,) = [line for line in text.splitlines() if "Next" in line]
        assert step in line
        assert line.rstrip(".").endswith("); then `burst run`")
    status = read_status(project.state)
    assert (status.as_json()["next"], status.seconds_left) == ([], None)
    assert "2 left, 2 of them set aside. Next: fix" in status.as_text()
    (aside,) = document["set_aside"]
    (listed,) = status.as_json()["set_aside"]
    assert aside["next"] == listed["next"]
    other = tmp_path / "another one.json"
    other.write_text(json.dumps(small_template(batch_size=3)))
    assert project.burst(*filled_in(aside["next"], other)).code == 0
    assert read_status(project.state).as_text().endswith(". Next: burst run")
    assert run_quickly(project).exit_code == 0


def test_the_next_batch_is_of_items_that_another_run_renders(tmp_path: Path, sandbox: Sandbox) -> None:
    """Also where one reason holds for several recipes, of which a report tells once."""
    project = Project(tmp_path, server=sandbox.url, count=1)
    bad = add(project, "bad", with_checkpoint("nobody-has-this.safetensors"))
    update_items(project.state, [bad[1]], overrides=Overrides(bindings={"steps": "3.cfg"}))
    good = add(project, "good", small_template(batch_size=2))
    report = run_quickly(project, size=2)
    assert (report.completed, report.remaining, len(report.set_aside)) == (2, 3, 1)
    assert report.next_batch == (good[1],)
    assert f"Next burst: 1 item ({good[1]}), about " in report.as_text()
    assert report.seconds_left == pytest.approx(report.seconds_per_item, rel=0.5)
    status = read_status(project.state)
    assert status.next_items == (good[1],)
    assert status.seconds_left == pytest.approx(status.seconds_per_item)
    assert "3 left, 2 of them set aside, about" in status.as_text()
    assert "Next: burst run" in status.as_text()


def test_generate_names_the_next_step_too(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=1)
    template = tmp_path / "bad.json"
    template.write_text(json.dumps(small_template(batch_size=2)))
    words = ["generate", "--prompt", "an owl", "--count", "2", "--template", str(template)]
    assert project.burst(*words, "--queue-only").code == 0
    workflow_of(project, project.item(2).key).unlink()
    ended = project.burst(*words)
    assert ended.code == 2
    assert "2 items left. Next: fix what is named above, or give the items another recipe (`burst update" in ended.out
    document = project.burst(*words, "--json").report
    assert "burst update --made-with bad.json" in document["next"]
    assert document["next"].endswith("; then `burst run`")


def test_a_killed_run_charges_nobody_either(tmp_path: Path, sandbox: Sandbox) -> None:
    project = Project(tmp_path, server=sandbox.url, count=2)
    bad = add(project, "bad", small_template(batch_size=2))
    workflow_of(project, bad[0]).unlink()
    place = "after:orchestrator.cycle.set_aside:SetAsideRecipes.add"
    assert project.run(launch=["--kill", place]).code == 137
    uncharged([item for item in project.items() if item.key in bad])
    assert project.run().code == 2
    assert len(sandbox.counts()["rendered_by_item"]) == 2


def test_a_root_that_refuses_as_well_is_noted_for_what_is_submitted() -> None:
    """Of a recipe whose graph is damaged, what is submitted can be collected, unless its output root refuses too."""
    found = SetAsideRecipes()
    pending = Item(key="one", status=Status.PENDING, recipe="r")
    submitted = Item(key="two", status=Status.SUBMITTED, recipe="r", prompt_id="p")
    assert found.add(pending, name="a.json", reason="its graph is gone")
    assert found.add(submitted, name="a.json", reason="/B: read-only", output="/B")
    assert not found.add(submitted, name="a.json", reason="its graph is gone")
    (record,) = found.records()
    assert (record.output, record.reason) == ("/B", "/B: read-only")
    assert found.kinds == {"r"}


@pytest.mark.parametrize("what", ["a file", "a link that leads nowhere"])
def test_an_output_root_that_cannot_be_used_is_set_aside(tmp_path: Path, sandbox: Sandbox, what: str) -> None:
    """Items of another root are rendered, and nothing is sent that could not be placed."""
    project = Project(tmp_path, server=sandbox.url, count=2)
    taken = tmp_path / "taken"
    first = project.item(1).key
    update_items(project.state, [first], overrides=Overrides(output_dir=taken))
    taken.touch() if what == "a file" else taken.symlink_to("nowhere")
    report = run_quickly(project)
    assert (report.completed, report.exit_code) == (1, 2)
    assert sandbox.counts()["posts"] == 1
    assert project.statuses() == ["pending", "completed"]
    (aside,) = report.set_aside
    assert (aside.items, f"{taken}: the output directory is {what}" in aside.reason) == (1, True)
    taken.unlink()
    assert run_quickly(project).exit_code == 0
    assert (taken / project.item(1).outputs[0].path).is_file()
