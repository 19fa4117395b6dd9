"""An item's files are under the output root of its own recipe: where they are brought, looked for and cleaned up."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import Any

import pytest
from support.projects import Ended
from support.recipe_project import RecipeProject
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from state.item import Status

KILLED = pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
AFTER_PLACING = ("--kill", "after:orchestrator.outputs:Outputs.place:{}")
"""The nth group of files has its names, and no checkpoint says so."""
CASE = ("--prompt", "a fox", "--template", "a.json", "--seed", "1")


@pytest.fixture(autouse=True)
def begun(project: RecipeProject, sandbox: Sandbox) -> None:
    """The default output root is `output`, and something is done there already."""
    sandbox.change(seconds_per_prompt=0.05)
    project.workflow("a.json", steps=2)
    project.prompts("A", 1)
    project.call("init", "A", "--template", "a.json")
    project.call("run")


def rendered_once(sandbox: Sandbox, project: RecipeProject) -> bool:
    return bool(sandbox.counts()["rendered_by_item"] == {item.key: 1 for item in project.items()})


def images(project: RecipeProject, root: str) -> list[str]:
    """Of the items that were completed, below a directory."""
    return sorted(path.relative_to(project.home / root).as_posix() for path in (project.home / root).rglob("*.png"))


def verified(project: RecipeProject, *arguments: str) -> dict[str, Any]:
    report: dict[str, Any] = project.burst("verify", "--json", *arguments).report
    return report


def killed_while_placing(project: RecipeProject, *arguments: str, group: int = 1) -> None:
    """`burst ARGUMENTS` is killed between the names of files and their checkpoint."""
    ended = project.burst(*arguments, launch=[part.format(group) for part in AFTER_PLACING])
    assert ended.code == 137, ended


@KILLED
def test_a_batch_of_another_root_stays_there_whoever_makes_the_rest(
    project: RecipeProject, sandbox: Sandbox, killed: bool
) -> None:
    asked = ("generate", *CASE, "--count", "12", "--layout", "batch", "--output", "B")
    if killed:
        killed_while_placing(project, *asked, group=2)
        assert 0 < project.count(Status.COMPLETED) < 13
        (batch,) = project.batches()
        name = batch.id
    else:
        name = project.call(*asked, "--queue-only").report["batch"]
    run = project.run_to_the_end().report
    assert sorted(run["output_dirs"]) == [str(project.home / "B")]
    assert len(images(project, "B")) == 12
    assert images(project, "output") == ["A/prompt_01.png"]
    assert not list(project.home.rglob("*.part"))
    assert (verified(project)["problems"], verified(project)["checked"]) == ([], 13)
    assert verified(project, "--repair")["put_back"] == []
    assert project.call("report", name).report["images"] == 12
    assert "../" not in (project.home / f"report_{name}.html").read_text()
    info = json.loads((project.home / "B" / f"batch_{name}" / "batch_info.json").read_text())
    assert len([one for one in info["images"] if (project.home / "B" / one["file"]).is_file()]) == 12
    assert not list((project.home / "output").rglob("batch_info.json"))
    assert rendered_once(sandbox, project)


@KILLED
def test_a_record_written_by_hand_stays_where_its_run_sent_it(
    project: RecipeProject, sandbox: Sandbox, killed: bool
) -> None:
    """`run --output` without any recipe: verify and later runs without the flag find what it made."""
    records = {f"by hand {number}": {"status": "pending", "prompt_text": f"a fox {number}"} for number in range(6)}
    project.state.write_text(json.dumps(json.loads(project.state.read_bytes()) | records))
    if killed:
        killed_while_placing(project, "run", "-n", "3", "--output", "out")
    else:
        project.call("run", "-n", "3", "--output", "out")
    sent = [item.key for item in project.items() if item.key in records and item.status is not Status.PENDING]
    project.run_to_the_end()
    assert images(project, "out") == sorted(f"{key}.png" for key in sent)
    assert images(project, "output") == sorted(["A/prompt_01.png", *(f"{key}.png" for key in records.keys() - sent)])
    assert verified(project, "--repair")["problems"] == []
    assert rendered_once(sandbox, project)


def test_the_root_of_a_request_is_not_for_what_else_its_bursts_make(project: RecipeProject) -> None:
    """Urgent items of others come first."""
    records = {"by hand": {"status": "pending", "prompt_text": "a fox", "priority": "urgent"}}
    project.state.write_text(json.dumps(json.loads(project.state.read_bytes()) | records))
    project.call("generate", *CASE, "--count", "2", "--output", "B")
    assert images(project, "output") == ["A/prompt_01.png", "by hand.png"]
    assert len(images(project, "B")) == 2


@KILLED
def test_one_run_fills_two_roots(project: RecipeProject, sandbox: Sandbox, killed: bool) -> None:
    for root in ("B", "C"):
        project.call("generate", *CASE, "--count", "4", "--queue-only", "--output", root)
    if killed:
        killed_while_placing(project, "run", "-n", "8")
    ended = project.run_to_the_end()
    by_root = {root: len(images(project, root)) for root in ("B", "C")}
    assert by_root == {"B": 4, "C": 4}
    if not killed:
        assert ended.report["output_dirs"] == {str(project.home / root): 4 for root in ("B", "C")}
    assert not list(project.home.rglob("*.part"))
    assert verified(project)["problems"] == []
    assert rendered_once(sandbox, project)


def test_half_downloads_are_removed_under_each_root(project: RecipeProject, sandbox: Sandbox) -> None:
    for root in ("B", "C"):
        project.call("generate", *CASE, "--count", "2", "--queue-only", "--output", root)
    ended = project.burst("run", launch=("--kill", "before:orchestrator.outputs:Outputs.place"))
    assert ended.code == 137
    for item in project.items():
        if item.status is Status.SUBMITTED:
            (root,) = [root for root in ("B", "C") if root in project.recipes()[str(item.recipe)].output]
            place = project.home / root / item.subfolder / f".burst-{item.prompt_id}-9.part"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    assert {path.relative_to(project.home).parts[0] for path in project.home.rglob("*.part")} == {"B", "C"}
    project.run_to_the_end()
    assert not list(project.home.rglob("*.part"))


def test_the_report_of_a_run_names_each_directory(project: RecipeProject) -> None:
    for root in ("B", "C"):
        project.call("generate", *CASE, "--count", "2", "--queue-only", "--output", root)
    said = project.burst("run").out
    home = project.home
    assert f"{home}/B (2 items)" in said
    assert f"{home}/C (2 items)" in said


@KILLED
def test_a_moved_project_finds_everything(project: RecipeProject, sandbox: Sandbox, killed: bool) -> None:
    """What lies below the state's directory, however it was typed; and what does not lie there."""
    outside = project.home.parent / "disk"
    typed = {"B": "B", "C": str(project.home / "C"), "D": f"../{project.home.name}/D", "outside": str(outside)}
    names = {}
    for root, spelled in typed.items():
        ended = project.call("generate", *CASE, "--count", "2", "--output", spelled, "--queue-only")
        names[root] = ended.report["batch"]
    if killed:
        killed_while_placing(project, "run", "-n", "5")
    else:
        project.call("run", "-n", "5")
    moved = RecipeProject(project.home.parent / "elsewhere" / "renamed", sandbox.url)
    moved.home.parent.mkdir()
    shutil.move(project.home, moved.home)
    moved.run_to_the_end()
    assert {root: len(images(moved, root)) for root in "BCD"} == {"B": 2, "C": 2, "D": 2}
    assert len(list(outside.rglob("*.png"))) == 2
    assert not project.home.exists()
    assert verified(moved, "--repair")["problems"] == []
    assert [moved.call("report", name).report["images"] for name in names.values()] == [2, 2, 2, 2]
    assert rendered_once(sandbox, moved)


@KILLED
def test_a_batch_that_was_moved_in_part_is_whole(project: RecipeProject, sandbox: Sandbox, killed: bool) -> None:
    """Each of its directories tells of all of it, and names the files as they are seen from there."""
    batch = project.call("generate", *CASE, "--count", "4", "--layout", "batch", "--queue-only", "--output", "B").report
    name = batch["batch"]
    moved = [item.key for item in project.items() if item.batch == name][2:]
    project.call("update", *moved, "--output", "C")
    if killed:
        killed_while_placing(project, "run")
    project.run_to_the_end()
    directories = [str(project.home / root / f"batch_{name}") for root in ("B", "C")]
    assert project.call("batches", "show", name).report["directories"] == directories
    for root in ("B", "C"):
        assert len(images(project, root)) == 2
        info = json.loads((project.home / root / f"batch_{name}" / "batch_info.json").read_text())
        files = [(project.home / root / one["file"]).resolve() for one in info["images"]]
        assert [path.is_file() for path in files] == [True] * 4
        assert len(set(files)) == 4
    assert project.call("report", name).report["images"] == 4
    assert verified(project)["problems"] == []
    assert rendered_once(sandbox, project)
    grown_old(project)
    project.call("batches", "clean", "--older-than", "1d")
    assert not [path for root in ("B", "C") for path in (project.home / root).iterdir()]


# Collisions


def refused(project: RecipeProject, *arguments: str) -> Ended:
    before = project.state.read_bytes()
    ended = project.burst(*arguments)
    assert (ended.code, "would both be saved as" in ended.err) == (2, True), ended
    assert project.state.read_bytes() == before
    return ended


ROWS = ("generate", "--template", "a.json", "--layout", "mirror", "--queue-only")


@pytest.mark.parametrize("root", ["output/deep", "link/deep", "OUTPUT/deep"])
def test_generate_refuses_a_place_that_is_another_items_under_another_root(project: RecipeProject, root: str) -> None:
    (project.home / "link").symlink_to("output")
    project.prompts("P/deep/x", 1)
    project.call("init", "P")
    (project.home / "x.jsonl").write_text(json.dumps({"prompt": "a fox", "name": "prompt_01"}))
    ended = refused(project, *ROWS, "--jsonl", "x.jsonl", "--output", root)
    assert "P/deep/x/prompt_01.txt and " in ended.err
    project.call(*ROWS, "--jsonl", "x.jsonl", "--output", "another")


def test_init_refuses_a_place_that_is_another_items_under_another_root(project: RecipeProject) -> None:
    project.prompts("P/output/A", 1)
    ended = refused(project, "init", "P", "--output", ".")
    assert "A/prompt_01.txt and P/output/A/prompt_01.txt" in ended.err
    project.call("init", "P", "--output", "another")


def test_a_place_that_both_items_were_given_by_hand_is_rendered_for_one(
    project: RecipeProject, sandbox: Sandbox
) -> None:
    """Both due in one run, under two roots: the second fails before it is sent, and nothing of the first is lost."""
    for name, root in (("one", "B/x"), ("two", "B")):
        (project.home / "rows.jsonl").write_text(json.dumps({"prompt": name, "name": name}))
        project.call(*ROWS, "--jsonl", "rows.jsonl", "--output", root)
    records = json.loads(project.state.read_bytes())
    keys = [key for key in records if records[key]["status"] == "pending"]
    for key, subfolder in zip(keys, ("", "x"), strict=True):
        records[key] |= {"subfolder": subfolder, "filename": "same.png", "sidecar": None}
        del records[key]["sidecar"]
    project.state.write_text(json.dumps(records))
    posts = sandbox.counts()["posts"]
    ended = project.burst("run", "--json")
    assert (ended.code, sandbox.counts()["posts"]) == (1, posts + 1)
    failed = [item for item in project.items() if item.status is Status.FAILED]
    assert [item.key for item in failed] == [keys[1]]
    assert failed[0].error is not None
    assert f"{keys[0]} is saved under the same name" in failed[0].error.message
    assert images(project, "B") == ["x/same.png"]


# Cleaning


def grown_old(project: RecipeProject) -> None:
    """As if all batches had been requested, and made, ten years ago."""
    then = datetime(2015, 1, 1, tzinfo=UTC).isoformat()
    records = json.loads(project.state.read_bytes())
    for record in records.values():
        if "completed_at" in record:
            record["completed_at"] = then
    project.state.write_text(json.dumps(records))
    log = project.folder / "batches.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(line | {"created_at": then, "at": then}) + "\n" for line in lines))


@KILLED
def test_clean_removes_the_files_of_each_batch_under_its_own_root(project: RecipeProject, killed: bool) -> None:
    for root in ("B", "C"):
        project.call("generate", *CASE, "--count", "2", "--layout", "batch", "--output", root)
        (project.home / root / "mine.png").write_bytes(b"of nobody's record")
    grown_old(project)
    if killed:
        launch = ("--kill", "after:pathlib:Path.unlink:5")
        assert project.burst("batches", "clean", "--older-than", "1d", launch=launch).code == 137
    cleaned = project.call("batches", "clean", "--older-than", "1d").report
    assert (len(cleaned["batches"]), cleaned["kept"]) == (2, [])
    assert images(project, "B") == images(project, "C") == ["mine.png"]
    assert [path.name for root in ("B", "C") for path in (project.home / root).iterdir()] == ["mine.png"] * 2
    assert images(project, "output") == ["A/prompt_01.png"]
    assert verified(project)["problems"] == []


# What becomes of an item's own files


def test_another_root_makes_nothing_there_the_items_own(project: RecipeProject) -> None:
    """Made again by `init --rescan` for another directory, it replaces nothing there that has its old file's name."""
    foreign = project.home / "B" / "A" / "prompt_01.png"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"of somebody else")
    project.workflow("a.json", steps=3)
    put_back = project.call("init", "A", "--template", "a.json", "--output", "B", "--rescan").report["put_back"]
    assert put_back == ["A/prompt_01.txt"]
    ended = project.burst("run", "--json")
    assert (ended.code, foreign.read_bytes()) == (1, b"of somebody else")
    foreign.unlink()
    project.call("retry")
    project.call("run")
    (item,) = project.items()
    assert project.steps_of(item, root="B") == 3


@pytest.mark.parametrize("spelled", ["output", "./output/", "link"])
def test_the_same_root_leaves_an_items_files_its_own(project: RecipeProject, spelled: str) -> None:
    (project.home / "link").symlink_to("output")
    project.workflow("a.json", steps=3)
    project.call("init", "A", "--template", "a.json", "--output", spelled, "--rescan")
    project.call("run")
    (item,) = project.items()
    assert project.steps_of(item) == 3


def made_without_a_recipe(project: RecipeProject, *, status: Status) -> bytes:
    """The item's record as of somebody who writes states by hand; the bytes of its file, which names it."""
    project.edit_state(status=str(status), recipe=None, fingerprint=None if status is Status.PENDING else "as before")
    return (project.home / "output" / "A" / "prompt_01.png").read_bytes()


DEFAULT_CHANGES = {
    "run": [("run", "--output", "B")],
    "init, then run": [("init", "A", "--output", "B"), ("run",)],
    "update, after init": [("init", "A", "--output", "B"), ("update", "--template", "a.json"), ("run",)],
    "init --rescan": [("init", "A", "--template", "a.json", "--output", "B", "--rescan"), ("run",)],
    "verify --repair, after init": [("init", "A", "--output", "B"), ("verify", "--repair"), ("run",)],
}


@pytest.mark.parametrize("commands", DEFAULT_CHANGES.values(), ids=DEFAULT_CHANGES.keys())
def test_another_default_makes_nothing_there_the_own_of_an_item_without_a_recipe(
    project: RecipeProject, commands: list[tuple[str, ...]]
) -> None:
    done = any("--rescan" in command or "verify" in command for command in commands)
    project.workflow("a.json", steps=3)
    made = made_without_a_recipe(project, status=Status.COMPLETED if done else Status.PENDING)
    foreign = project.home / "B" / "A" / "prompt_01.png"
    foreign.parent.mkdir(parents=True)
    theirs = b"of somebody else".ljust(len(made))
    foreign.write_bytes(theirs)
    *before, last = commands
    for command in before:
        project.burst(*command)
    ended = project.burst(*last, "--json")
    assert (ended.code, ended.report["failed"]) == (1, 1)
    assert "already exists and does not belong to this item" in ended.report["failures"][0]["message"]
    assert foreign.read_bytes() == theirs
    assert (project.home / "output" / "A" / "prompt_01.png").read_bytes() == made
    foreign.unlink()
    project.call("retry")
    project.call(*last)
    (item,) = project.items()
    assert project.steps_of(item, root="B") == 3


def test_a_file_that_comes_while_an_item_without_a_recipe_is_rendered_is_not_its_own(
    project: RecipeProject, sandbox: Sandbox
) -> None:
    made_without_a_recipe(project, status=Status.PENDING)
    foreign = project.home / "B" / "A" / "prompt_01.png"
    foreign.parent.mkdir(parents=True)
    sandbox.hold("render")
    with project.start("run", "--output", "B") as run:
        wait_until(lambda: project.accepted() == 1, what="it is accepted")
        foreign.write_bytes(b"of somebody else")
        sandbox.release()
        assert run.end().code == 1
    assert foreign.read_bytes() == b"of somebody else"


def test_under_the_same_default_its_file_is_its_own(project: RecipeProject) -> None:
    project.workflow("a.json", steps=3)
    made_without_a_recipe(project, status=Status.PENDING)
    project.call("run")
    (item,) = project.items()
    assert project.steps_of(item) == 3


def test_an_item_that_was_not_sent_after_all_keeps_its_outputs(project: RecipeProject) -> None:
    made_without_a_recipe(project, status=Status.PENDING)
    (before,) = project.items()
    path = project.home / "a.json"
    path.write_text(path.read_text().replace("tiny-random.safetensors", "nobody-has-this.safetensors"))
    assert project.burst("run", "--output", "B").code == 2
    (item,) = project.items()
    assert item.outputs == before.outputs != ()
    assert (item.status, item.recipe) == (Status.PENDING, None)
