"""Times in logs, and -q, -v and --log-file: which line goes to which stream."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.projects import Ended, Project

from orchestrator.sandbox import Sandbox, SandboxSettings

AWAY = ("--server", "http://127.0.0.1:9", "--wait-server", "0")
"""A server that is not there, and that is asked once."""
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings()) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox) -> Project:
    return Project(tmp_path, server=sandbox.url)


def untimed(text: str) -> list[str]:
    """The lines of a log, each of which has a time."""
    lines = text.splitlines()
    assert [line for line in lines if not TIME.match(line)] == []
    return [TIME.sub("", line, count=1) for line in lines]


def run(project: Project, *arguments: str, code: int = 0) -> Ended:
    ended = project.burst("run", "--poll-interval", "0.2", *arguments)
    assert ended.code == code, ended
    return ended


def test_each_line_of_a_log_has_its_time(project: Project) -> None:
    ended = run(project)
    lines = untimed(ended.out)
    assert [line.split(" ")[0] for line in lines[:3]] == ["[1/3]", "[2/3]", "[3/3]"]
    # Two prompts are out at a time, and which of their downloads ends first is anybody's guess.
    assert {line.split(" ")[1] for line in lines[:3]} == {
        f"prompts/EP01/prompt_{number:03d}.txt" for number in (1, 2, 3)
    }
    assert lines[3].startswith("This burst: 3 completed in ")
    assert ended.err == ""


def test_json_is_one_object_without_progress_beside_it(project: Project) -> None:
    ended = run(project, "-n", "2", "--json")
    assert ended.report["completed"] == 2
    assert (ended.out.count("\n"), ended.err) == (1, "")
    told = run(project, "-v", "--json")
    assert [line for line in untimed(told.err) if line.startswith("[1/1]")], "unless -v asks for it"


def test_warnings_and_errors_have_times_too(project: Project) -> None:
    ended = run(project, *AWAY, "--json", code=75)
    assert untimed(ended.err)[-1] == f"burst: {ended.report['reason']}"
    warned = run(project, "-n", "1", "--output", "elsewhere")
    (note,) = (line for line in untimed(warned.out) if line.startswith("Note: "))
    assert f"burst: {note.removeprefix('Note: ')}" in untimed(warned.err)
    again = run(project, "-n", "1", "--output", "another", "--json")
    assert again.report["notes"]
    assert again.err == "", "the object has them"
    assert untimed(run(project, "--template", "nowhere.json", code=2).err)[0].startswith("burst: ")


def test_quiet_prints_the_report_and_warnings(project: Project) -> None:
    lines = untimed(run(project, "-q", "-n", "2").out)
    assert lines[0].startswith("This burst: 2 completed")
    ended = run(project, "--quiet", "--json", *AWAY, code=75)
    assert untimed(ended.err)[-1] == f"burst: {ended.report['reason']}"


def test_verbose_names_submissions_look_ups_and_waits(project: Project) -> None:
    lines = untimed(run(project, "-v", "-n", "1", "--ahead", "1", "--json").err)
    assert any(re.match(r"burst: burst \w+ begins: at most 1 item$", line) for line in lines)
    assert any(re.match(r"burst: .*/prompt_001.txt: submitted to \S+ as [0-9a-f-]{36}$", line) for line in lines)
    assert any(re.match(r"burst: burst \w+ ends \(done\): 1 completed, 0 failed in ", line) for line in lines)
    again = untimed(run(project, "--verbose", "-n", "1", "--json").err)
    assert any(
        re.match(r"burst: .*/prompt_00\d.txt: looked up on \S+: (queued|running|finished)$", line) for line in again
    )
    away = untimed(run(project, "-v", *AWAY[:2], "--wait-server", "3", code=75).err)
    assert sum("asking again in " in line for line in away) > 1
    assert not any("submitted to" in line for line in untimed(run(project, "--json").err)), "not without it"


def test_quiet_and_verbose_are_one_or_the_other(project: Project) -> None:
    assert "choose one: --quiet or --verbose" in run(project, "-q", "-v", code=2).err


@pytest.mark.parametrize("arguments", [(), ("--json",), ("-q",), ("-q", "--json")])
def test_the_log_file_has_every_line_whatever_is_printed(project: Project, arguments: tuple[str, ...]) -> None:
    log = project.home / "burst.log"
    log.write_text("before\n")
    ended = run(project, "--log-file", "burst.log", *arguments)
    first, *rest = log.read_text().splitlines()
    assert first == "before", "it is appended to"
    lines = untimed("\n".join(rest))
    assert [line[:5] for line in lines[:3]] == ["[1/3]", "[2/3]", "[3/3]"]
    assert lines[3].startswith("This burst: 3 completed")
    assert "All done." in lines
    assert ("[1/3]" in ended.out) == (not arguments)
    assert ended.err == ""


def test_the_log_file_has_warnings_and_errors(project: Project) -> None:
    run(project, "--log-file", "burst.log", *AWAY, code=75)
    warned = run(project, "--log-file", "burst.log", "-q", "-n", "1", "--output", "elsewhere", "--json")
    run(project, "--log-file", "burst.log", "--template", "nowhere.json", code=2)
    lines = untimed((project.home / "burst.log").read_text())
    assert f"burst: {warned.report['notes'][0]}" in lines
    assert any(line.startswith("Stopped: http://127.0.0.1:9: ") for line in lines)
    assert lines[-1].startswith("burst: ")
    assert "nowhere.json" in lines[-1]


def test_a_log_file_that_cannot_be_written_is_2_before_anything_is_sent(project: Project, sandbox: Sandbox) -> None:
    for place in ("nowhere/burst.log", "."):
        assert f"--log-file {place}: " in run(project, "--log-file", place, code=2).err
    assert sandbox.counts()["rendered"] == {}


def test_a_log_file_on_a_full_disk_costs_its_lines_alone(project: Project) -> None:
    ended = run(project, "--log-file", "/dev/full", "--json")
    assert ended.report["completed"] == 3
    (lost,) = (line for line in untimed(ended.err) if "--log-file" in line)
    assert lost.startswith("burst: --log-file: lines are lost: /dev/full: the disk is full")


def test_a_dry_run_is_no_log(project: Project) -> None:
    """Its workflow can be taken as it is."""
    ended = project.burst(
        "generate", "--prompt", "a fox", "--template", "smoke", "--dry-run", "--log-file", "burst.log"
    )
    assert ended.code == 0, ended
    assert [line for line in ended.out.splitlines() if TIME.match(line)] == []
    assert json.loads(ended.out[ended.out.index("\n{") :])


def test_generate_has_them_too(project: Project) -> None:
    request = ("generate", "--prompt", "a fox", "--count", "2", "--seed", "7", "--template", "smoke")
    ended = project.burst(*request, "--log-file", "burst.log")
    assert ended.code == 0, ended
    lines = untimed(ended.out)
    assert "[2/2] Generating with seed 8..." in lines
    assert untimed((project.home / "burst.log").read_text()) == lines
    quiet = project.burst(*request, "--again", "-q", "--json")
    assert (quiet.err, json.loads(quiet.out)["remaining"]) == ("", 0)
