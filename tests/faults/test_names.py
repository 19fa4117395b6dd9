"""Names that no disk takes, that some disks take for one, or that a terminal would obey: nothing is overwritten."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from support.case_folding_disk import CaseFoldingDisk
from support.projects import Ended, MakeProject, Project

from orchestrator.cycle.report import BurstReport
from orchestrator.log_lines import without_time
from orchestrator.outputs import decodes
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from orchestrator.verify import verify_outputs
from state.item import Status

Burst = Callable[..., BurstReport]
Placed = tuple[str, str, str]
"""Key, subfolder and file name of an item."""

NFC = "Café"
NFD = unicodedata.normalize("NFD", NFC)
TWINS = {
    "case": ("A.txt", "a.txt"),
    "accents": (f"{NFC}.txt", f"{NFD}.txt"),
    "both": (f"{NFC}.txt", f"{NFD.upper()}.txt"),
}


def by_hand(project: Project, *items: Placed) -> None:
    """A state that somebody wrote: these items and no others."""
    records = {
        key: {"status": "pending", "subfolder": subfolder, "filename": filename, "prompt_text": f"a fox for {key}"}
        for key, subfolder, filename in items
    }
    (project.folder / "journal.jsonl").unlink(missing_ok=True)
    project.state.write_text(json.dumps(records))


def mend(project: Project, changes: dict[str, dict[str, str]]) -> None:
    """What the message says, done by hand; then `burst retry`."""
    records = json.loads(project.state.read_text())
    for key, fields in changes.items():
        records[key] |= fields
    project.state.write_text(json.dumps(records))
    assert set(retry(project.state).keys) == set(changes)


def failure(report: BurstReport) -> tuple[str, str]:
    ((key, message),) = report.failures
    assert report.exit_code == 1
    return key, message


# Two names for one file.


@pytest.mark.parametrize("names", TWINS)
def test_init_refuses_prompts_whose_pictures_some_disks_would_take_for_one(
    names: str, make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project(count=1)
    before = project.state.read_bytes()
    for name in TWINS[names]:
        (project.prompts / "EP01" / name).write_text(f"a fox, called {name}")
    ended = project.burst("init", "prompts")
    assert ended.code == 2
    assert all(f"prompts/EP01/{name}" in ended.err for name in TWINS[names])
    assert len(ended.err.splitlines()) == 1
    assert project.state.read_bytes() == before
    (project.prompts / "EP01" / TWINS[names][1]).rename(project.prompts / "EP01" / "other.txt")
    assert project.burst("init", "prompts").code == 0
    assert project.run().code == 0
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("names", TWINS)
def test_on_a_disk_that_folds_names_neither_twin_replaces_the_other(
    names: str, size: int, make_project: MakeProject, sandbox: Sandbox, burst: Burst, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one burst both are rendered before one is found in the way; in two the second is not even sent."""
    project = make_project()
    first, second = TWINS[names]
    by_hand(project, ("one", "EP01", first), ("two", "EP01", second))
    CaseFoldingDisk(project.output, monkeypatch)
    reports = [burst(project, size=size) for _ in range(2 // size)]
    key, message = failure(reports[-1])
    (done,) = (item.key for item in project.items(Status.COMPLETED))
    assert {done, key} == {"one", "two"}
    assert "already exists and does not belong to this item" in message
    assert len(os.listdir(project.output / "EP01")) == 1
    assert verify_outputs(project.state).problems == ()
    rendered = sandbox.counts()["rendered_by_item"]
    assert rendered == {done: 1} | ({key: 1} if size == 2 else {})
    mend(project, {key: {"filename": "another.txt"}})
    assert burst(project).exit_code == 0
    assert {item.status for item in project.items()} == {Status.COMPLETED}
    assert verify_outputs(project.state).problems == ()
    assert sandbox.counts()["rendered_by_item"][done] == 1


def test_on_a_disk_that_tells_them_apart_each_twin_has_its_own_file(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project()
    names = sorted({name for pair in TWINS.values() for name in pair})
    by_hand(project, *((name, "EP01", name) for name in names))
    project.output.mkdir()
    for name in names:
        (project.output / name).touch()
    if len(os.listdir(project.output)) < len(names):
        pytest.skip("this disk does not")
    for name in names:
        (project.output / name).unlink()
    assert burst(project).exit_code == 0
    project.check_all_done(sandbox.counts())


def test_of_two_items_with_one_name_the_second_is_refused_before_it_is_rendered(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project()
    by_hand(project, ("one", "EP01", "a.txt"), ("two", "EP01", "a.md"), ("three", "EP02", "a.txt"))
    key, message = failure(burst(project))
    assert (key, message.partition(";")[0]) == ("two", "one is saved under the same name")
    assert sandbox.counts()["rendered_by_item"] == {"one": 1, "three": 1}
    mend(project, {"two": {"filename": "b.md"}})
    assert burst(project).exit_code == 0
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("until_done", [False, True])
@pytest.mark.parametrize("folds", [False, True])
def test_overwrite_spares_what_other_items_of_the_state_have_there(
    folds: bool,
    until_done: bool,
    make_project: MakeProject,
    sandbox: Sandbox,
    burst: Burst,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Placed by an earlier burst, or by an earlier one of the same run."""
    project = make_project()
    by_hand(
        project, ("one", "EP01", "A.txt" if folds else "a.txt"), ("two", "EP01", "a.txt"), ("three", "EP02", "b.txt")
    )
    foreign = project.output / "EP02" / "b.png"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"a photograph")
    if folds:
        CaseFoldingDisk(project.output, monkeypatch)
    reports = [burst(project, size=1, overwrite=True, until_done=until_done) for _ in range(1 if until_done else 3)]
    ((key, message),) = (told for report in reports for told in report.failures)
    ready_together = until_done and not folds
    assert ("is saved under the same name" if ready_together else "already belongs to another item") in message
    assert len(project.items(Status.COMPLETED)) == 2
    assert len(os.listdir(project.output / "EP01")) == 1
    assert verify_outputs(project.state).problems == ()
    assert decodes(foreign)
    mend(project, {key: {"filename": "c.txt"}})
    assert burst(project, overwrite=True).exit_code == 0
    assert verify_outputs(project.state).problems == ()
    rendered = sandbox.counts()["rendered_by_item"]
    assert rendered == {"one": 1, "two": 1, "three": 1} | ({key: 2} if until_done and folds else {})


# Names that are too long.


def test_the_longest_names_that_a_disk_takes(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    project = make_project(count=1)
    for stem in ("a" * 251, "é" * 125, "狐" * 83):
        (project.prompts / "EP01" / f"{stem}.txt").write_text("a fox")
    project.add_prompts([2])
    assert burst(project).exit_code == 0
    assert len(project.items()) == 5
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("filename", ["a" * 252, "é" * 126, "狐" * 84])
def test_a_name_that_is_too_long_fails_its_item_alone_before_it_is_rendered(
    filename: str, make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project()
    by_hand(project, ("long", "EP01", filename), ("short", "EP01", "a.txt"))
    key, message = failure(burst(project))
    assert key == "long"
    assert "is over 255 bytes; shorten it" in message
    assert len(message) < 200
    assert sandbox.counts()["rendered_by_item"] == {"short": 1}
    mend(project, {"long": {"filename": "shorter.txt"}})
    assert burst(project).exit_code == 0
    project.check_all_done(sandbox.counts())


def test_a_path_that_only_this_system_finds_too_long(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst, tmp_path: Path
) -> None:
    """Within burst's own limit, but with the way to the output directory beyond the 4,096 bytes of Linux."""
    project = make_project(output=tmp_path / ("o" * 200) / ("p" * 200))
    by_hand(project, ("deep", "/".join(["d" * 200] * 19), "deep.txt"), ("flat", "EP01", "a.txt"))
    key, message = failure(burst(project))
    assert key == "deep"
    assert "too long for this file system; shorten it" in message
    assert len(message) < 200
    assert sandbox.counts()["rendered_by_item"] == {"flat": 1}
    mend(project, {"deep": {"subfolder": "deep"}})
    assert burst(project).exit_code == 0
    project.check_all_done(sandbox.counts())


# Names that are no line of text.

UNSHOWABLE = ["new\nline", "carriage\rreturn", "clear\x1b[2Jscreen", "other\x9b2Jclear", "line\u2028separator", "nul\0"]


def check_shown(ended: Ended) -> None:
    """Every line ends where it was meant to, and holds nothing that a terminal obeys."""
    for line in (ended.out + ended.err).split("\n"):
        assert line.isprintable(), repr(line)


def test_keys_that_a_terminal_would_obey_are_shown_as_escapes(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    by_hand(project, *((key, "EP01", f"{number}.txt") for number, key in enumerate(UNSHOWABLE)))
    ran = [project.burst(*words) for words in (["run", "--dry-run"], ["run", "-n", "1"], ["status"])]
    (project.output / "EP01" / "0.png").unlink()
    ran += [project.burst(*words) for words in (["verify", "--repair"], ["cancel", "--all"], ["retry", "--cancelled"])]
    ran.append(project.burst("run", "--poll-interval", "0.2"))
    for ended in ran:
        check_shown(ended)
    assert ran[-1].code == 0
    lines = [without_time(line) for line in ran[-1].out.splitlines()]
    assert [line.split("]")[0] for line in lines[:6]] == [f"[{number}/6" for number in range(1, 7)]
    assert all(any(repr(key)[1:-1] in line for line in lines[:6]) for key in UNSHOWABLE)
    assert {item.status for item in project.items()} == {Status.COMPLETED}
    assert {item.key for item in project.items()} == set(UNSHOWABLE)


def test_file_names_that_are_no_line_fail_alone_and_are_not_sent(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=1)
    names = [f"{name}.txt" for name in UNSHOWABLE if "\0" not in name and "\u2028" not in name and "\x9b" not in name]
    for name in names:
        (project.prompts / "EP01" / name).write_text("a fox")
    check_shown(project.burst("init", "prompts"))
    ended = project.burst("run", "--poll-interval", "0.2")
    check_shown(ended)
    assert ended.code == 1
    assert ended.out.count("holds a control character; rename it") == 2 * len(names)
    assert sandbox.counts()["posts"] == 1
    mend(project, {f"prompts/EP01/{name}": {"filename": f"{number}.txt"} for number, name in enumerate(names)})
    check_shown(project.burst("run"))
    project.check_all_done(sandbox.counts())


def test_a_name_that_is_no_text_is_refused_by_init(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=1)
    before = project.state.read_bytes()
    path = os.fsencode(project.prompts / "EP01") + b"/caf\xe9.txt"
    try:
        Path(os.fsdecode(path)).write_text("a fox")
    except OSError:
        pytest.skip("this disk takes no such name")
    ended = project.burst("init", "prompts")
    assert ended.code == 2
    assert ended.err.endswith("caf\\xe9.txt': the name is not UTF-8; rename it\n")
    assert len(ended.err.splitlines()) == 1
    assert project.state.read_bytes() == before
    os.rename(path, path.replace(b"\xe9", "é".encode()))
    assert project.burst("init", "prompts").code == 0
    assert project.run().code == 0
    project.check_all_done(sandbox.counts())


def test_an_output_directory_whose_name_is_no_text_cannot_be_remembered(make_project: MakeProject) -> None:
    project = make_project(count=1)
    kept = project.folder / "settings.toml"
    before = kept.read_bytes()
    ended = project.burst("init", "prompts", "--output", os.fsdecode(b"caf\xe9"))
    assert ended.code == 2
    assert "not UTF-8; use another name" in ended.err
    check_shown(ended)
    assert len(ended.err.splitlines()) == 1
    assert kept.read_bytes() == before


def test_names_that_a_terminal_cannot_show_hinder_nothing(
    make_project: MakeProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(count=1)
    (project.prompts / "EP01" / "狐 é 🦊.txt").write_text("a fox")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert project.burst("init", "prompts").code == 0
    assert project.burst("run", "-n", "1").code == 0
    ended = project.run()
    assert ended.code == 0, ended.err
    assert project.burst("status").code == 0
    listed = project.burst("retry", "--json", "prompts/EP01/狐 é 🦊.txt")
    assert listed.report["items"] == ["prompts/EP01/狐 é 🦊.txt"]
    assert project.run().code == 0
