"""SIGKILL to bursts whose items have sidecars, at chosen and at random moments: every picture ends with its own."""

from __future__ import annotations

import hashlib
import json
import random

import pytest
from support.killing import Killing
from support.projects import MakeProject, Project

import templates
from orchestrator.batches.sidecars import read_reproduction
from orchestrator.outputs import embedded_graph
from orchestrator.sandbox import Sandbox
from state.item import Item, Status

COUNT = 10
FIRST_SEED = 40


def with_sidecars(project: Project, form: str, *, count: int = COUNT) -> None:
    """The state of somebody who wants them, in a directory of their own."""
    records = {
        f"b/{number:03d}": {
            "status": "pending",
            "subfolder": "b/images",
            "filename": f"{number:03d}.png",
            "prompt_text": f"a lighthouse,\nview {number}",
            "inputs": {"seed": FIRST_SEED + number},
            "sidecar": f"b/notes/{number:03d}{form}",
            "batch": "b",
            "index": number,
        }
        for number in range(1, count + 1)
    }
    (project.folder / "journal.jsonl").unlink(missing_ok=True)
    project.state.write_text(json.dumps(records))


def check_sidecar(project: Project, item: Item) -> None:
    """It says what the picture itself says, and which bytes that has."""
    assert item.index is not None
    picture, sidecar = item.outputs
    assert sidecar.path == item.sidecar
    recipe = read_reproduction(project.output / sidecar.path, home=project.home)
    assert (recipe.prompt, recipe.seed) == (f"a lighthouse,\nview {item.index}", FIRST_SEED + item.index)
    graph = templates.parse_graph(embedded_graph(project.output / picture.path), where=picture.path)
    (seed,) = templates.find_bindings(graph)["seed"]
    assert graph[seed.node_id]["inputs"]["seed"] == recipe.seed
    said = (project.output / sidecar.path).read_text()
    assert hashlib.sha256((project.output / picture.path).read_bytes()).hexdigest() in said


@pytest.mark.parametrize("form", [".txt", ".json"])
@pytest.mark.parametrize("moment", ["filled", "picture placed", "both placed"])
def test_a_kill_around_the_placing(moment: str, form: str, make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=1)
    with_sidecars(project, form, count=2)
    when = "before" if moment == "filled" else "after"
    assert project.run(launch=["--kill", f"{when}:orchestrator.outputs:Outputs.place"]).code == 137
    sidecars = list((project.output / "b" / "notes").glob(f"[0-9]*{form}"))
    assert bool(sidecars) is (moment != "filled")
    for sidecar in sidecars if moment == "picture placed" else ():
        sidecar.unlink()
    before = {path: path.read_bytes() for path in sidecars if path.exists()}
    assert project.count(Status.COMPLETED) == 0
    ended = project.run()
    assert ended.code == 0, ended.err
    assert {path: path.read_bytes() for path in before} == before
    project.check_all_done(sandbox.counts())
    for item in project.items():
        check_sidecar(project, item)


@pytest.mark.parametrize("form", [".txt", ".json"])
def test_six_kills_over_ten_items_with_sidecars(form: str, make_project: MakeProject, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=0.15)
    project = make_project(count=1)
    with_sidecars(project, form)
    killing = Killing(project, random.Random(form), launch=["--in-doubt", "2"], longest_seconds=0.7)
    for _ in range(6):
        killing.kill_once("-n", "3")
    assert sum(killing.moments.values()) >= 1, "one burst, at least, was at work"
    sandbox.change(seconds_per_prompt=0.0)
    ended = project.run("-n", "20", "--until-done", launch=["--in-doubt", "2"])
    assert ended.code == 0, ended.err
    project.check_all_done(sandbox.counts())
    assert len(project.items()) == COUNT
    for item in project.items():
        check_sidecar(project, item)
