"""Prompt files that are gone, empty, no text, no files at all: one message each, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.case_folding_disk import run_without_rights
from support.projects import MakeProject, Project

from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.report import BurstReport
from orchestrator.log_lines import without_time
from orchestrator.preparation import LARGEST_PROMPT_BYTES
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from state.item import Status

Damage = Callable[[Path], object]


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.txt")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def enormous(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(LARGEST_PROMPT_BYTES + 1)


def content(data: bytes) -> Damage:
    return lambda path: path.write_bytes(data)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "gone": (lambda path: None, "is gone; restore it"),
    "empty": (content(b""), "the prompt text is empty"),
    "only white space": (content(b" \t\r\n\n"), "the prompt text is empty"),
    "only a byte order mark": (content(b"\xef\xbb\xbf \n"), "the prompt text is empty"),
    "Latin-1": (content("ein Füllhorn".encode("latin-1")), "not UTF-8 at byte 5; save it as UTF-8"),
    "not UTF-8 behind a mark": (content(b"\xef\xbb\xbfab\xff"), "not UTF-8 at byte 5; save it as UTF-8"),
    "UTF-16 with a mark": (content("a fox".encode("utf-16")), "not UTF-8 at byte 0; save it as UTF-8"),
    "UTF-16 without a mark": (content("a fox".encode("utf-16-le")), "a NUL at byte 1, as in UTF-16"),
    "too large": (enormous, "over 16 MiB"),
    "a directory": (Path.mkdir, "cannot be read: no ordinary file"),
    "a named pipe": (os.mkfifo, "cannot be read: no ordinary file"),
    "a device without end": (endless, "cannot be read: no ordinary file"),
    "a link in a circle": (circle, "Too many levels of symbolic links"),
    "a link to nowhere": (dangling, "is gone; restore it"),
}


def mend(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_text("a lighthouse, mended")


def check_it_failed_alone(project: Project, report: BurstReport, sandbox: Sandbox, message: str) -> None:
    """The second of three: told in one line, charged no attempt, never sent."""
    bad = project.item(2)
    assert (report.exit_code, report.completed, report.failed) == (1, 2, 1)
    ((key, said),) = report.failures
    assert key == bad.key
    assert message in said
    assert bad.name in said
    assert sum("Failed: " in line and message in line for line in report.as_text().splitlines()) == 1
    assert bad.status is Status.FAILED
    assert bad.error is not None
    assert (bad.error.kind, bad.attempts) == ("prompt_text", 0)
    assert bad.key not in sandbox.counts()["rendered_by_item"]
    assert sandbox.counts()["posts"] == 2


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_bad_prompt_file_fails_its_item_alone_and_is_done_when_it_is_mended(
    name: str, make_project: MakeProject, sandbox: Sandbox, burst: Callable[..., BurstReport]
) -> None:
    """The time limit is for the naive version, which waits for ever where a pipe or a device stands."""
    damage, message = DAMAGES[name]
    project = make_project(count=3)
    path = project.home / project.item(2).key
    path.unlink()
    damage(path)
    check_it_failed_alone(project, burst(project), sandbox, message)
    mend(path)
    assert retry(project.state).keys == (project.item(2).key,)
    assert burst(project).exit_code == 0
    project.check_all_done(sandbox.counts())


TEXTS = {
    "with a byte order mark": (b"\xef\xbb\xbfa fox in the snow\n", "a fox in the snow"),
    "in other alphabets": ("狐 в снегу 🦊 é e\u0301".encode(), "狐 в снегу 🦊 é e\u0301"),
    "with the lines of other systems": (b"a fox\r\nin\rthe snow\r\n", "a fox\nin\nthe snow"),
    "of a mebibyte": ("größer ".encode() * 131072, ("größer " * 131072).strip()),
}


@pytest.mark.parametrize("name", TEXTS)
def test_an_unusual_text_reaches_the_server_as_it_is(
    name: str, make_project: MakeProject, sandbox: Sandbox, burst: Callable[..., BurstReport]
) -> None:
    data, text = TEXTS[name]
    project = make_project(count=1)
    (project.home / project.item().key).write_bytes(data)
    assert burst(project).exit_code == 0
    with ComfyUI(sandbox.url) as client:
        entry = client.history(project.item().prompt_id or "")
    assert entry is not None
    assert entry.graph["6"]["inputs"]["text"] == text
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("name", ["a named pipe", "a link in a circle", "a link to nowhere"])
def test_what_only_looks_like_a_prompt_file_is_an_item_too_and_says_so(
    name: str, make_project: MakeProject, sandbox: Sandbox, burst: Callable[..., BurstReport]
) -> None:
    """Left out by `init`, it would be missed only when somebody counts the pictures."""
    damage, message = DAMAGES[name]
    project = make_project(count=1)
    damage(project.prompts / "EP01" / "prompt_002.txt")
    project.add_prompts([3])
    check_it_failed_alone(project, burst(project), sandbox, message)


def test_a_directory_that_holds_itself_is_walked_once(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=1)
    (project.prompts / "EP01" / "again").symlink_to("..")
    project.add_prompts([2])
    assert [item.name for item in project.items()] == ["prompt_001.txt", "prompt_002.txt"]


def test_a_prompt_file_that_may_not_be_read(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=3)
    path = project.home / project.item(2).key
    path.chmod(0)
    ended = run_without_rights(project, "run", "--json", "--poll-interval", "0.2")
    assert ended.code == 1
    ((failure),) = ended.report["failures"]
    assert failure["item"] == project.item(2).key
    assert "cannot be read: Permission denied" in failure["message"]
    assert "Traceback" not in ended.err
    assert sandbox.counts()["posts"] == 2
    path.chmod(0o600)
    retry(project.state)
    assert project.run().code == 0
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_prompt_directory_that_may_not_be_read_is_refused_and_not_passed_over(
    mode: int, make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project(count=1)
    folder = project.prompts / "EP02"
    folder.mkdir()
    (folder / "a.txt").write_text("a fox")
    before = project.state.read_bytes()
    folder.chmod(mode)
    try:
        ended = run_without_rights(project, "init", "prompts")
    finally:
        folder.chmod(0o700)
    assert ended.code == 2
    assert without_time(ended.err).startswith(f"burst: {folder}")
    assert "cannot be read: Permission denied" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert project.state.read_bytes() == before
    assert project.burst("init", "prompts").code == 0
    assert project.run().code == 0
    project.check_all_done(sandbox.counts())
    assert len(project.items()) == 2


def test_a_hidden_directory_that_may_not_be_read_is_none_of_our_business(make_project: MakeProject) -> None:
    project = make_project(count=1)
    hidden = project.prompts / ".trash"
    hidden.mkdir(mode=0)
    assert run_without_rights(project, "init", "prompts").code == 0
