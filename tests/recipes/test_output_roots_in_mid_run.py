"""An output root that refuses while a run is at work costs no item anything, and no other root its images."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.mounts import Mounts, fill, needs_root
from support.projects import Ended
from support.recipe_project import RecipeProject
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from orchestrator.status import read_status
from state.item import Item, Status

CASE = ("--prompt", "a fox", "--template", "a.json", "--seed", "1", "--queue-only")
AFTER_SETTING_ASIDE = ("--kill", "after:orchestrator.cycle.set_aside:SetAsideRecipes.add")
BEFORE_PLACING = ("--kill", "before:orchestrator.outputs:Outputs.place")


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    with contextlib.closing(Mounts(tmp_path)) as made:
        yield made


class Breakage:
    """A way in which a root refuses, and how it is put right. `reason` is what a run says of it."""

    reason: str
    is_seen_by_later_runs = True

    def __init__(self, mounts: Mounts, root: Path) -> None:
        self.mounts, self.root = mounts, root

    def prepare(self) -> None:
        self.mounts.tmpfs(self.root, 256)

    def strike(self) -> None:
        raise NotImplementedError

    def mend(self) -> None:
        raise NotImplementedError


class ReadOnly(Breakage):
    reason = "the file system is read-only; remount it"

    def strike(self) -> None:
        self.mounts.read_only(self.root)

    def mend(self) -> None:
        self.mounts.read_only(self.root, is_so=False)


class Full(Breakage):
    reason = "the disk is full; free some space"

    def strike(self) -> None:
        fill(self.root)

    def mend(self) -> None:
        (self.root / "ballast").unlink()


class Unmounted(Breakage):
    reason = "its disk is not mounted any more; mount it"
    is_seen_by_later_runs = False
    """One that begins without the disk cannot know of it."""

    def prepare(self) -> None:
        self.mounts.bind(self.mounts.tmpfs("disk", 256), self.root)

    def strike(self) -> None:
        self.mounts.unmount(self.root)

    def mend(self) -> None:
        assert not list(self.root.iterdir())
        self.mounts.bind(self.root.parents[1] / "disk", self.root)


class InItsPlace(Breakage):
    reason = "the output directory is a file; move it away"

    def prepare(self) -> None:
        self.root.mkdir()

    def strike(self) -> None:
        shutil.move(self.root, self.root.with_name("away"))
        self.root.touch()

    def mend(self) -> None:
        self.root.unlink()
        shutil.move(self.root.with_name("away"), self.root)


BREAKAGES = [
    pytest.param(ReadOnly, marks=needs_root),
    pytest.param(Full, marks=needs_root),
    pytest.param(Unmounted, marks=needs_root),
    InItsPlace,
]


@pytest.fixture
def breakage(request: pytest.FixtureRequest, project: RecipeProject, mounts: Mounts) -> Breakage:
    """For the root B."""
    project.workflow("a.json", steps=2)
    made: Breakage = getattr(request, "param", InItsPlace)(mounts, project.home / "B")
    made.prepare()
    return made


def queue(project: RecipeProject, root: str | Path, count: int) -> list[str]:
    """The keys of the items of a new batch."""
    batch = project.call("generate", *CASE, "--count", str(count), "--output", str(root)).report["batch"]
    return [item.key for item in project.items(batch)]


def struck_in_mid_run(
    project: RecipeProject, sandbox: Sandbox, strike: Callable[[], object], *arguments: str, out: int
) -> Ended:
    """A run during which the root refuses, once so many items are accepted."""
    sandbox.hold("render")
    with project.start("run", "--json", "--poll-interval", "0.2", *arguments) as run:
        wait_until(lambda: project.accepted() == out, what=f"{out} accepted")
        strike()
        sandbox.release()
        return run.end()


def of(project: RecipeProject, keys: list[str]) -> list[Item]:
    return [item for item in project.items() if item.key in keys]


def aside(ended: Ended) -> dict[str, Any]:
    assert "Traceback" not in ended.err
    (found,) = ended.report["set_aside"]
    assert isinstance(found, dict)
    return found


def check_all_done(project: RecipeProject, sandbox: Sandbox) -> None:
    assert sandbox.counts()["rendered_by_item"] == {item.key: 1 for item in project.items()}
    assert {(item.status, item.attempts) for item in project.items()} == {(Status.COMPLETED, 0)}
    assert project.call("verify").report["problems"] == []
    assert not list(project.home.rglob("*.part"))


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
@pytest.mark.parametrize("breakage", BREAKAGES, indirect=True)
def test_its_items_stay_submitted_until_it_is_mended(
    project: RecipeProject, sandbox: Sandbox, breakage: Breakage, killed: bool
) -> None:
    theirs, others = queue(project, "B", 4), queue(project, "C", 4)
    ended = struck_in_mid_run(project, sandbox, breakage.strike, out=8)
    assert (ended.code, ended.report["completed"], ended.report["failed"]) == (2, 4, 0)
    found = aside(ended)
    assert (found["items"], found["submitted"], found["output"]) == (4, 4, str(breakage.root))
    assert found["reason"].startswith(str(breakage.root))
    assert breakage.reason in found["reason"]
    assert found["reason"] in ended.report["reason"]
    assert {item.status for item in of(project, others)} == {Status.COMPLETED}
    if breakage.is_seen_by_later_runs:
        if killed:
            assert project.burst("run", launch=AFTER_SETTING_ASIDE).code == 137
        again = project.burst("run", "--json")
        assert (again.code, aside(again)["items"]) == (2, 4)
    assert {(item.status, item.attempts) for item in of(project, theirs)} == {(Status.SUBMITTED, 0)}
    breakage.mend()
    assert project.call("run").report["completed"] == 4
    check_all_done(project, sandbox)


def test_what_is_pending_is_not_sent_and_makes_room_for_others(
    project: RecipeProject, sandbox: Sandbox, breakage: Breakage
) -> None:
    theirs, others = queue(project, "B", 4), queue(project, "C", 2)
    ended = struck_in_mid_run(project, sandbox, breakage.strike, "-n", "2", "--until-done", out=2)
    assert (ended.code, ended.report["completed"]) == (2, 2)
    assert {item.status for item in of(project, others)} == {Status.COMPLETED}
    assert sandbox.counts()["posts"] == 4
    assert (aside(ended)["items"], aside(ended)["submitted"]) == (4, 2)
    assert ended.report["next_batch"]["size"] == 0
    status = read_status(project.state)
    assert "4 items of batch" in status.as_text()
    assert "2 still pending and 2 submitted: " + aside(ended)["reason"] in status.as_text()
    assert "burst update --made-with a.json" in status.as_text()
    project.call("update", *theirs, "--output", "D")
    elsewhere = project.burst("run", "--json")
    assert (elsewhere.code, elsewhere.report["completed"], aside(elsewhere)["items"]) == (2, 2, 2)
    text = read_status(project.state).as_text()
    assert "2 items of batch" in text
    assert "still submitted: " in text
    assert text.splitlines()[-1].endswith("Next: fix what is named above; then `burst run`")
    breakage.mend()
    project.call("run")
    check_all_done(project, sandbox)


def test_one_burst_sends_no_more_than_its_size_and_the_next_one_what_others_have(
    project: RecipeProject, sandbox: Sandbox, breakage: Breakage
) -> None:
    theirs, others = queue(project, "B", 2), queue(project, "C", 2)
    ended = struck_in_mid_run(project, sandbox, breakage.strike, "-n", "2", out=2)
    assert (ended.code, ended.report["completed"], sandbox.counts()["posts"]) == (0, 0, 2)
    assert {item.status for item in of(project, theirs)} == {Status.SUBMITTED}
    assert project.burst("run", "-n", "2").code == 2
    assert {item.status for item in of(project, others)} == {Status.COMPLETED}
    breakage.mend()
    project.call("run")
    check_all_done(project, sandbox)


@pytest.mark.parametrize("breakage", [pytest.param(ReadOnly, marks=needs_root), InItsPlace], indirect=True)
def test_what_another_recipe_saves_there_is_not_sent_either(
    project: RecipeProject, sandbox: Sandbox, breakage: Breakage
) -> None:
    queue(project, "B", 2)
    project.workflow("a.json", steps=3)
    queue(project, "B", 2)
    ended = struck_in_mid_run(project, sandbox, breakage.strike, "-n", "1", "--until-done", out=2)
    assert (ended.code, sandbox.counts()["posts"]) == (2, 2)
    assert sum(found["items"] for found in ended.report["set_aside"]) == 4
    breakage.mend()
    project.call("run")
    check_all_done(project, sandbox)


def test_a_run_until_all_is_done_ends_when_only_its_items_are_left(
    project: RecipeProject, sandbox: Sandbox, breakage: Breakage
) -> None:
    queue(project, "B", 3)
    queue(project, "C", 3)
    ended = struck_in_mid_run(project, sandbox, breakage.strike, "-n", "2", "--until-done", out=2)
    assert (ended.code, ended.report["completed"]) == (2, 3)
    breakage.mend()
    project.call("run")
    check_all_done(project, sandbox)


@pytest.mark.parametrize("breakage", [pytest.param(ReadOnly, marks=needs_root)], indirect=True)
def test_half_downloads_that_cannot_be_removed_keep_nobody_else_waiting(
    project: RecipeProject, sandbox: Sandbox, breakage: Breakage
) -> None:
    queue(project, "B", 2)
    assert project.burst("run", launch=BEFORE_PLACING).code == 137
    wait_until(lambda: len(sandbox.counts()["rendered"]) == 2)
    assert list(breakage.root.rglob("*.part"))
    queue(project, "C", 2)
    breakage.strike()
    ended = project.burst("run", "--json")
    assert (ended.code, ended.report["completed"], aside(ended)["submitted"]) == (2, 2, 2)
    breakage.mend()
    project.call("run")
    check_all_done(project, sandbox)


def test_what_a_restarted_server_has_forgotten_is_not_rendered_again(
    project: RecipeProject, sandbox: Sandbox, breakage: Breakage
) -> None:
    """Its files are known by their names alone, and cannot be saved before the root is mended."""
    queue(project, "B", 2)
    assert struck_in_mid_run(project, sandbox, breakage.strike, out=2).code == 2
    sandbox.restart(keep_outputs=True)
    ended = project.burst("run", "--json")
    assert (ended.code, aside(ended)["submitted"], ended.report["rescued"]) == (2, 2, 0)
    breakage.mend()
    assert project.call("run").report["rescued"] == 2
    check_all_done(project, sandbox)


@needs_root
def test_a_full_disk_that_the_state_is_on_too_ends_the_run(tmp_path: Path, sandbox: Sandbox, mounts: Mounts) -> None:
    """A checkpoint could not be written there either."""
    home = mounts.tmpfs("studio", 512)
    project = RecipeProject(home, sandbox.url)
    project.workflow("a.json", steps=2)
    queue(project, "B", 2)
    queue(project, tmp_path / "C", 2)
    ended = struck_in_mid_run(project, sandbox, lambda: fill(home), out=4)
    assert (ended.code, ended.report["set_aside"]) == (2, [])
    assert "the disk is full; free some space and run again" in ended.report["reason"]
    (home / "ballast").unlink()
    assert project.burst("run", "--json").code == 0
    check_all_done(project, sandbox)
