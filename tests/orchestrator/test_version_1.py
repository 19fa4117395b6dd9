"""A state that the burst of version 1 left in the middle of a batch, as tests/data/version1/make.py made it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fast_disk import contents
from support.projects import Project

from orchestrator.batches.batch_status import list_batches
from orchestrator.migration import open_for_writing
from orchestrator.sandbox import Sandbox
from orchestrator.status import read_status
from orchestrator.verify import verify_outputs
from state.item import Item, Status
from state.recipe import Recipe

MADE = Path(__file__).parents[1] / "data" / "version1"
OLD_SERVER = "http://127.0.0.1:8199"
FOX, CATS = "20261129_183920_9t4d", "20261129_183922_ndep"


class OldProject(Project):
    """A copy of what was made."""

    def __init__(self, home: Path) -> None:
        shutil.copytree(MADE / "project", home)
        self.home = home
        self.state = home / "re_render_state.json"
        self.folder = self.state.with_suffix(".burst")
        self.output = home / "pictures"

    def find_template(self) -> None:
        """Restore the template that an item names and nobody can read."""
        shutil.copy(self.home / "other.json", self.home / "gone.json")

    def version(self) -> int:
        return int(json.loads((self.folder / "journal.jsonl").read_bytes().splitlines()[0])["version"])

    def records(self) -> dict[str, Any]:
        """As any reader sees them."""
        return {item.key: json.loads(item.to_record()) for item in self.items()}

    def recipe_of(self, key: str) -> Recipe | None:
        recipe_id = self.by_key()[key].recipe
        return self.recipes().get(recipe_id) if recipe_id is not None else None

    def by_key(self) -> dict[str, Item]:
        return {item.key: item for item in self.items()}


@pytest.fixture
def project(tmp_path: Path) -> OldProject:
    return OldProject(tmp_path / "project")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sandbox]:
    """Its server, started anew: it has the files of all prompts, and has forgotten the prompts."""
    shutil.copytree(MADE / "server", tmp_path / "server")
    with Sandbox(directory=tmp_path / "server") as sandbox:
        yield sandbox


def prompt(number: int) -> str:
    return f"prompts/EP01/prompt_{number}.txt"


def test_whoever_only_reads_it_changes_nothing(project: OldProject) -> None:
    project.find_template()
    before = contents(project.home)
    status = read_status(project.state, ended=True)
    assert (status.total, status.remaining, status.counts[Status.COMPLETED]) == (16, 9, 4)
    assert status.killed is not None
    assert len(list_batches(project.state).batches) == 2
    assert len(verify_outputs(project.state).problems) == 4
    for command in ("status --json", f"status {FOX}", "batches list --json", "run --dry-run"):
        assert project.burst(*command.split()).code == 0, command
    assert "re_render_state.json" in project.burst("doctor").out
    assert contents(project.home) == before


def check_migrated(project: OldProject, before: dict[str, Any]) -> None:
    """Every item has the recipe that it should have, and nothing else changed in any record."""
    after = project.records()
    assert {key: {name: record[name] for name in record if name != "recipe"} for key, record in after.items()} == before
    small, large = project.recipe_of(prompt(5)), project.recipe_of("own template")
    assert small is not None
    assert large is not None
    assert (small.workflow_name, small.output, small.servers) == ("template.json", "pictures", ())
    assert small.bindings["prompt"] == ("6.text",)
    assert (large.workflow_name, large.output) == ("other.json", "pictures")
    template = json.loads((project.home / "template.json").read_text())
    assert project.recipes().workflow(small) == template
    assert project.recipes().workflow(large)["5"]["inputs"]["width"] == 24
    root = Recipe(output="pictures")
    elsewhere = [f"{FOX}/001", f"{FOX}/002"]
    special = {"own template": large.id, "gone template": None, **dict.fromkeys(elsewhere)}
    expected = {
        key: special[key] if key in special else root.id if record["status"] == "completed" else small.id
        for key, record in before.items()
    }
    assert {key: record.get("recipe") for key, record in after.items()} == expected
    assert sum(1 for recipe in expected.values() if recipe == root.id) == 2
    assert list(project.recipes().all().values()) == [small, large, root]
    assert project.version() == 2
    assert "version = 2" in (project.folder / "settings.toml").read_text()


def test_its_items_get_recipes(project: OldProject, caplog: pytest.LogCaptureFixture) -> None:
    before = project.records()
    assert before[f"{CATS}/003"]["status"] == "cancelled"  # by the journal alone
    assert before["own template"]["mine"] == [1]  # in the file alone
    open_for_writing(project.state).close()
    check_migrated(project, before)
    assert list(json.loads(project.state.read_bytes())) == list(before)
    messages = [message for message in caplog.messages if str(project.state) in message]
    assert len(messages) == 3
    assert "brought to format version 2" in messages[0]
    assert re.search(r"1 item left without a recipe: .*gone\.json: No such file", messages[1])
    assert "the files of 2 completed items are not in" in messages[2]


def test_a_file_of_the_same_name_and_another_size_is_not_the_items(project: OldProject) -> None:
    (project.output / "EP01" / "prompt_1.png").write_bytes(b"another")
    (project.output / "EP01" / "prompt_2.png").unlink()
    open_for_writing(project.state).close()
    assert project.recipe_of(prompt(1)) is None
    assert project.recipe_of(prompt(2)) is None
    assert Recipe(output="pictures").id not in project.recipes().all()


def test_a_recipe_that_an_item_has_stays(project: OldProject) -> None:
    """Version 1 kept the fields that it did not know, so it may be there after an interruption and a burst of it."""
    records = json.loads(project.state.read_bytes())
    records[prompt(5)]["recipe"] = records[prompt(1)]["recipe"] = "0123456789abcdef"
    project.state.write_text(json.dumps(records))
    open_for_writing(project.state).close()
    assert {project.by_key()[prompt(number)].recipe for number in (1, 5)} == {"0123456789abcdef"}


WRITING = [
    ("retry", prompt(3)),
    ("cancel", f"{CATS}/001"),
    ("verify", "--repair", "--quick"),
    ("init", "prompts"),
    ("generate", "--prompt", "a dog", "--queue-only"),
    ("reset", "--yes"),
]


@pytest.mark.parametrize("command", WRITING, ids=[command[0] for command in WRITING])
def test_every_command_that_writes_migrates_it_first(project: OldProject, command: tuple[str, ...]) -> None:
    ended = project.burst(*command)
    assert ended.code in (0, 1), ended.err
    assert "brought to format version 2" in ended.err
    assert project.version() == 2
    assert project.by_key()[f"{CATS}/002"].recipe is not None


def test_what_was_out_is_rescued_and_the_rest_is_made_as_it_was_asked_for(project: OldProject, server: Sandbox) -> None:
    """The server has forgotten all prompts; their files still have the names that version 1 gave them."""
    project.find_template()
    before = project.by_key()
    out = [key for key, item in before.items() if item.status is Status.SUBMITTED]
    assert sorted(out) == [f"{FOX}/003", f"{FOX}/004", prompt(5), prompt(6), prompt(7)]
    ended = project.run(*("--server-moved", f"{OLD_SERVER}={server.url}", "--until-done"), launch=["--in-doubt", "0.5"])
    assert ended.code == 0, ended.err
    assert (ended.report["rescued"], ended.report["completed"], ended.report["put_back"]) == (5, 9, 0)
    assert sorted(server.counts()["rendered_by_item"]) == sorted(
        [f"{CATS}/001", f"{CATS}/002", "own template", "gone template"]
    )
    after = project.by_key()
    assert {after[key].prompt_id for key in out} == {before[key].prompt_id for key in out}
    for key in (*out, f"{CATS}/001", "own template"):
        assert all((project.output / output.path).is_file() for output in after[key].outputs)
        assert after[key].outputs
    kinds = {problem.kind for _, problem in verify_outputs(project.state).problems}
    assert kinds == {"missing"}  # what `generate --output elsewhere` had made
    assert {key for key, _ in verify_outputs(project.state).problems} == {f"{FOX}/001", f"{FOX}/002"}


KILLED_AT = [
    *(f"{when}:state.disk:Disk.rename:{nth}" for nth in range(1, 5) for when in ("before", "after")),
    *(f"after:state.disk:Handle.sync:{nth}" for nth in range(1, 9)),
    "before:state.json.store:JsonStore.migrate",
    "after:state.json.store:JsonStore.migrate",
]


def test_killed_at_any_step_it_is_ended_by_the_next_command(tmp_path: Path) -> None:
    killed: list[str] = []
    for number, place in enumerate(KILLED_AT):
        project = OldProject(tmp_path / str(number))
        before = project.records()
        cancel = ("cancel", prompt(4))  # which is cancelled already: nothing but the migration is done
        ended = project.burst(*cancel, launch=["--kill", place])
        if ended.code == 137:
            killed.append(place)
        statuses = {key: record["status"] for key, record in before.items()}
        assert {key: record["status"] for key, record in project.records().items()} == statuses, place
        if ended.code != 137:
            assert project.version() == 2
        assert project.burst(*cancel).code == 0, place
        check_migrated(project, before)
        assert project.temporary_files() == [], place
    assert len(killed) > 12
    assert KILLED_AT[-1] in killed
