"""`burst update`: pending items get a new recipe, what is out and what is done keeps its own."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.burst_runs import run_quickly
from support.projects import Project, small_template

from orchestrator.errors import TemplateError, UsageError
from orchestrator.init_state import init_state
from orchestrator.outputs import embedded_graph
from orchestrator.sandbox import Sandbox
from orchestrator.settings import Overrides
from orchestrator.status import read_status
from orchestrator.update import update_items
from orchestrator.verify import verify_outputs
from state.change import Change
from state.item import Status
from state.open_store import open_store


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox) -> Project:  # in place of the other tests' project
    return Project(tmp_path, server=sandbox.url, count=3)


def template(project: Project, *, batch_size: int = 2) -> str:
    """A workflow that makes another number of images of each prompt."""
    path = project.home / "other.json"
    path.write_text(json.dumps(small_template(batch_size=batch_size)))
    return str(path)


def image_counts(project: Project) -> list[int]:
    return [len(item.outputs) for item in project.items()]


def test_pending_items_are_made_with_the_new_workflow(project: Project) -> None:
    run_quickly(project, size=1)
    report = update_items(project.state, overrides=Overrides(template=template(project)))
    assert (len(report.updated), report.ended, report.recipes) == (2, 0, ("other.json",))
    assert run_quickly(project).exit_code == 0
    assert image_counts(project) == [1, 2, 2]
    assert verify_outputs(project.state).problems == ()


def give_inputs(project: Project, inputs: dict[str, Any]) -> None:
    records = json.loads(project.state.read_bytes())
    for record in records.values():
        record["inputs"] = inputs
    project.state.write_text(json.dumps(records))


def test_only_the_items_that_are_named_are_updated(project: Project) -> None:
    second = project.item(2).key
    update_items(project.state, [second], overrides=Overrides(template=template(project)))
    run_quickly(project)
    assert image_counts(project) == [1, 2, 1]


def add_others(project: Project) -> None:
    """Two more prompts, made with a workflow of their own."""
    (project.home / "cats").mkdir()
    for name in ("one", "two"):
        (project.home / "cats" / f"{name}.txt").write_text(f"cat {name}")
    (project.home / "cats.json").write_text(json.dumps(small_template(batch_size=3)))
    overrides = Overrides(template=str(project.home / "cats.json"))
    init_state(project.state, [project.home / "cats"], overrides=overrides)


@pytest.mark.parametrize("name", ["cats.json", "{home}/cats.json"], ids=["as kept", "as a path"])
def test_only_the_items_made_with_one_workflow_are_updated(project: Project, name: str) -> None:
    add_others(project)
    named = name.format(home=project.home)
    report = update_items(project.state, overrides=Overrides(template=template(project)), made_with=named)
    assert (len(report.updated), report.unchanged) == (2, 0)
    assert run_quickly(project).exit_code == 0
    assert image_counts(project) == [1, 1, 1, 2, 2]


def test_a_workflow_that_no_item_is_made_with_is_refused_with_those_that_are(project: Project) -> None:
    add_others(project)
    with pytest.raises(UsageError, match=r"made_with='catz\.json': .*cats\.json"):
        update_items(project.state, overrides=Overrides(template=template(project)), made_with="catz.json")


def test_the_hint_of_a_changed_file_reaches_its_own_items_and_no_others(project: Project) -> None:
    add_others(project)
    (project.home / "cats.json").write_text(json.dumps(small_template(batch_size=4)))
    (changed,) = read_status(project.state).changed_workflows
    assert (changed.path, changed.items) == ("cats.json", 2)
    hint = re.search("`burst (.*?)`", changed.as_text())
    assert hint is not None
    assert project.burst(*shlex.split(hint[1])).code == 0
    assert read_status(project.state).changed_workflows == ()
    assert run_quickly(project).exit_code == 0
    assert image_counts(project) == [1, 1, 1, 4, 4]


def test_a_completed_item_that_is_named_keeps_its_recipe_and_is_counted(project: Project) -> None:
    run_quickly(project, size=1)
    first = project.item(1)
    report = update_items(project.state, [first.key], overrides=Overrides(template=template(project)))
    assert (report.updated, report.ended) == ((), 1)
    assert project.item(1) == first
    assert "1 item not pending" in report.as_text()


def test_a_binding_is_changed_and_the_others_stay(project: Project) -> None:
    """Those that were given by name, too: they are not found again in the workflow."""
    give_inputs(project, {"prompt": "a fox", "steps": 3})
    update_items(project.state, overrides=Overrides(bindings={"prompt": "7.text"}))
    update_items(project.state, overrides=Overrides(bindings={"steps": "3.cfg"}))
    assert run_quickly(project).exit_code == 0
    for item in project.items():
        (image,) = item.outputs
        graph = embedded_graph(project.output / image.path)
        assert graph is not None
        assert [graph[node]["inputs"]["text"] for node in "67"] == ["", "a fox"]
        assert [graph["3"]["inputs"][name] for name in ("cfg", "steps")] == [3, 2]


def test_another_output_directory(project: Project) -> None:
    run_quickly(project, size=1)
    update_items(project.state, overrides=Overrides(output_dir=project.home / "elsewhere"))
    update_items(project.state, overrides=Overrides(bindings={"steps": "3.cfg"}))
    assert run_quickly(project).exit_code == 0
    assert len(list((project.home / "elsewhere").rglob("*.png"))) == 2
    assert len(list(project.output.rglob("*.png"))) == 1
    assert verify_outputs(project.state).problems == ()


def test_twice_is_once(project: Project) -> None:
    said = Overrides(template=template(project))
    assert len(update_items(project.state, overrides=said).updated) == 3
    again = update_items(project.state, overrides=said)
    assert (again.updated, again.unchanged) == ((), 3)


def test_a_dry_run_changes_nothing(project: Project) -> None:
    before = project.state.read_bytes()
    journal = (project.folder / "journal.jsonl").read_bytes()
    report = update_items(project.state, overrides=Overrides(template=template(project)), dry_run=True)
    assert len(report.updated) == 3
    assert "would be updated" in report.as_text()
    assert (project.state.read_bytes(), (project.folder / "journal.jsonl").read_bytes()) == (before, journal)


def test_what_cannot_be_used_changes_nothing(project: Project) -> None:
    before = [item.recipe for item in project.items()]
    with pytest.raises(TemplateError, match=r"other\.json"):
        update_items(project.state, overrides=Overrides(template="other.json"))
    with pytest.raises(TemplateError, match="99"):
        update_items(project.state, overrides=Overrides(bindings={"prompt": "99.text"}))
    with pytest.raises(UsageError, match="name what to change"):
        update_items(project.state, overrides=Overrides())
    with pytest.raises(UsageError, match="no item and no batch 'zzz'"):
        update_items(project.state, ["zzz"], overrides=Overrides(template=template(project)))
    give_inputs(project, {"7.text": "blurry"})
    graph = small_template()
    graph["3"]["inputs"]["negative"] = ["6", 0]
    del graph["7"]
    (project.home / "other.json").write_text(json.dumps(graph))
    with pytest.raises(UsageError, match=r"prompt_001\.txt: .*7"):
        update_items(project.state, overrides=Overrides(template=str(project.home / "other.json")))
    assert [item.recipe for item in project.items()] == before


def test_it_is_the_way_out_of_a_damaged_recipe(project: Project) -> None:
    for path in (*(project.folder / "workflows").iterdir(), project.home / "template.json"):
        path.unlink()
    assert run_quickly(project).exit_code == 2
    update_items(project.state, overrides=Overrides(template=template(project)))
    assert run_quickly(project).exit_code == 0
    assert image_counts(project) == [2, 2, 2]


def test_beside_a_run_what_it_has_sent_keeps_its_recipe(project: Project, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=1.0)
    with project.start_run("-n", "1") as run:
        project.wait_for(Status.SUBMITTED)
        before = project.item(1).recipe
        report = update_items(project.state, overrides=Overrides(template=template(project)))
        assert (len(report.updated), report.out) == (2, 1)
        assert run.end().code == 0
    assert project.item(1).recipe == before
    sandbox.change(seconds_per_prompt=0.0)
    assert run_quickly(project).exit_code == 0
    assert image_counts(project) == [1, 2, 2]


@pytest.mark.parametrize("place", ["before", "after"])
def test_an_item_that_was_out_when_the_run_was_killed_keeps_its_recipe(
    project: Project, sandbox: Sandbox, place: str
) -> None:
    kill = f"{place}:orchestrator.comfyui.client:ComfyUI.submit"
    assert project.run("-n", "1", launch=["--kill", kill]).code == 137
    before = project.item(1).recipe
    report = update_items(project.state, overrides=Overrides(template=template(project)))
    assert (len(report.updated), report.out) == (2, 1)
    assert run_quickly(project).exit_code == 0
    assert image_counts(project) == [1, 2, 2]
    assert project.item(1).recipe == before
    assert set(sandbox.counts()["rendered_by_item"].values()) == {1}


def test_the_command_says_what_it_did(project: Project) -> None:
    ended = project.burst("update", "--template", template(project))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("3 items updated, made with other.json")
    shown = project.burst("update", "--template", template(project), "--dry-run", "--json").report
    assert (shown["schema"], shown["updated"], shown["unchanged"]) == ("burst.update/2", [], 3)


def test_another_root_where_another_item_is_saved_is_refused(project: Project) -> None:
    """Completed or due, whichever root leads there; nothing is changed then, nor written in a dry run."""
    run_quickly(project, size=1)
    done, second = project.output / project.item(1).outputs[0].path, project.item(2)
    change = Change(
        second.key, second.status, lambda now: msgspec.structs.replace(now, subfolder="", filename=done.name)
    )
    with open_store(project.state) as store:
        store.apply([change])
    (project.home / "link").symlink_to(project.output)
    for root in (project.output, project.home / "link"):
        overrides = Overrides(output_dir=root / done.parent.name)
        for dry_run in (True, False):
            with pytest.raises(UsageError, match="would both be saved as"):
                update_items(project.state, [second.key], overrides=overrides, dry_run=dry_run)
    assert project.item(2).recipe == second.recipe


def test_under_another_root_nothing_is_an_items_own(project: Project, sandbox: Sandbox) -> None:
    """Made again after it was completed: its old file's name may be anybody's there."""
    run_quickly(project, size=1)
    first = project.item(1)
    (project.output / first.outputs[0].path).unlink()
    assert verify_outputs(project.state, repair=True).put_back == (first.key,)
    foreign = project.home / "elsewhere" / first.outputs[0].path
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"of somebody else")
    update_items(project.state, overrides=Overrides(output_dir=project.home / "elsewhere"))
    assert run_quickly(project).failed == 1
    assert foreign.read_bytes() == b"of somebody else"
