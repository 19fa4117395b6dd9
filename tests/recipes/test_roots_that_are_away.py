"""`burst verify --repair` where a disk is not mounted: what looks lost is only away."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.recipe_project import RecipeProject

from orchestrator.sandbox import Sandbox
from orchestrator.verify import verify_outputs
from state.item import Status


@pytest.fixture(autouse=True)
def two_roots(project: RecipeProject, sandbox: Sandbox) -> None:
    """Two items below `output`, one below `B`, all completed."""
    project.workflow("a.json", steps=2)
    project.prompts("A", 2)
    project.call("init", "A", "--template", "a.json")
    project.call("generate", "--prompt", "a fox", "--template", "a.json", "--output", "B", "--queue-only")
    project.call("run", "--until-done")
    assert statuses(project) == [Status.COMPLETED] * 3


def statuses(project: RecipeProject) -> list[Status]:
    return [item.status for item in project.items()]


@pytest.mark.parametrize("what", ["an empty mount point", "moved"])
def test_nothing_of_a_root_that_looks_unmounted_is_made_again_without_a_yes(project: RecipeProject, what: str) -> None:
    root = project.home / "output"
    root.rename(project.home / "elsewhere")
    if what != "moved":
        root.mkdir()
    for repair in (False, True):
        report = verify_outputs(project.state, repair=repair)
        assert (len(report.problems), report.put_back, report.exit_code) == (2, (), 1)
        assert report.as_json()["away"] == [str(root)]
        first, last = report.as_text().splitlines()
        assert f"{root} looks unmounted or moved" in first
        assert "`burst verify --repair --yes`" in first
        assert last == "3 completed items checked, 2 files missing or damaged."
    assert statuses(project) == [Status.COMPLETED] * 3
    report = verify_outputs(project.state, repair=True, yes=True)
    assert (len(report.put_back), report.exit_code, report.as_json()["away"]) == (2, 0, [])


def test_what_is_lost_elsewhere_is_repaired_all_the_same(project: RecipeProject) -> None:
    """Twice: what is due again is not called away."""
    (project.home / "B").rename(project.home / "elsewhere")
    next(iter(images(project.home / "output"))).unlink()
    report = verify_outputs(project.state, repair=True)
    broken = {key for key, _ in report.problems}
    assert (len(broken), len(report.put_back), report.exit_code) == (2, 1, 1)
    assert list(report.as_json()["away"]) == [str(project.home / "B")]
    assert "1 item due again" in report.as_text()
    again = verify_outputs(project.state, repair=True)
    assert ({key for key, _ in again.problems}, again.put_back) == (broken - {*report.put_back}, ())


@pytest.mark.parametrize("left", ["another file", "a cut image"])
def test_a_root_with_anything_in_it_is_there(project: RecipeProject, left: str) -> None:
    root = project.home / "output"
    found = sorted(images(root))
    for image in found:
        image.unlink()
    if left == "a cut image":
        found[0].write_bytes(b"")
    report = verify_outputs(project.state, repair=True)
    assert (report.as_json()["away"], len(report.put_back)) == ([], 2)


def images(root: Path) -> list[Path]:
    return list(root.rglob("*.png"))
