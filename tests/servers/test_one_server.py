"""One server, however it is called: other spellings, names that were given later, an address that changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from support.background import wait_for_renders
from support.burst_runs import run_quickly
from support.projects import MakeProject, Project
from support.proxy import Proxy

from orchestrator.cancellation import cancel
from orchestrator.sandbox import Sandbox
from orchestrator.servers import Server, default_name
from orchestrator.settings import kept_settings
from state.item import Status
from state.open_store import parts_of

KILLED = ["--kill", "after:orchestrator.comfyui:ComfyUI.submit:3"]


def send(project: Project, sandbox: Sandbox, *flags: str, killed: bool) -> None:
    """All three items are out, and the burst that sent them was killed or its time was up."""
    sandbox.hold("render")
    if killed:
        assert project.run(*flags, launch=KILLED).code == 137
    else:
        assert project.run("--max-seconds", "3", *flags).code == 0
    assert project.statuses() == ["submitted"] * 3
    sandbox.release()


def localhost(sandbox: Sandbox) -> str:
    return f"http://localhost:{sandbox.url.rpartition(':')[2]}"


def edit(project: Project, **change: Any) -> None:
    """By hand, in the file that people read."""
    records = json.loads(project.state.read_text())
    for record in records.values():
        record.update(change)
    project.state.write_text(json.dumps(records))


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "time was up"])
def test_localhost_is_127_0_0_1(make_project: MakeProject, sandbox: Sandbox, killed: bool) -> None:
    project = make_project()
    send(project, sandbox, killed=killed)
    report = project.run("--server", localhost(sandbox)).report
    assert (report["completed"], report["recovered"], report["notes"]) == (3, 3, [])
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())


def test_two_spellings_are_one_server_of_a_run(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    report = run_quickly(project, server=[sandbox.url, localhost(sandbox), default_name(sandbox.url)])
    assert [(server.name, server.url) for server in report.servers] == [(default_name(sandbox.url), sandbox.url)]
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize(
    ("spelling", "status"),
    [
        ("version 1", "submitted"),
        ("version 1", "pending"),
        ("localhost", "submitted"),
        ("localhost", "pending"),
        ("none", "submitted"),
    ],
)
def test_a_record_that_spells_its_server_otherwise_is_found(
    make_project: MakeProject, sandbox: Sandbox, spelling: str, status: str
) -> None:
    project = make_project()
    send(project, sandbox, killed=False)
    text = {"version 1": sandbox.url, "localhost": f"{localhost(sandbox)}/", "none": None}[spelling]
    edit(project, server=text, status=status)
    report = run_quickly(project)
    assert report.completed == 3
    assert sandbox.counts()["posts"] == 3
    assert {item.server for item in project.items()} == {default_name(sandbox.url)}
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "time was up"])
@pytest.mark.parametrize("flags", [("gpu1={url}",), ("gpu1={url}", "{url}")], ids=["by flag", "by two flags"])
def test_a_server_that_is_named_later_has_what_was_sent_to_its_address(
    make_project: MakeProject, sandbox: Sandbox, flags: Sequence[str], killed: bool
) -> None:
    project = make_project()
    send(project, sandbox, killed=killed)
    said = [word for flag in flags for word in ("--server", flag.format(url=sandbox.url))]
    report = project.run(*said).report
    assert (report["completed"], report["recovered"]) == (3, 3)
    assert [(server["name"], server["url"]) for server in report["servers"]] == [("gpu1", sandbox.url)]
    assert {item.server for item in project.items()} == {"gpu1"}
    project.check_all_done(sandbox.counts())


def test_a_name_is_enough_where_the_settings_know_it(make_project: MakeProject, sandbox: Sandbox) -> None:
    with Proxy(sandbox.url) as proxy:
        project = make_project(server=f"gpu1={sandbox.url}")
        project.burst("init", "prompts", "--server", f"gpu1={sandbox.url}", "--server", f"gpu2={proxy.url}")
        report = project.run("--server", "gpu2").report
        assert [server["name"] for server in report["servers"]] == ["gpu2"]
    assert {item.server for item in project.items()} == {"gpu2"}


@pytest.mark.parametrize("by", ["gpu1", "address"])
def test_a_server_is_given_up_by_name_or_address(make_project: MakeProject, sandbox: Sandbox, by: str) -> None:
    with Proxy(sandbox.url) as proxy:
        project = make_project(server=f"gpu1={proxy.url}")
        send(project, sandbox, killed=True)
        wait_for_renders(sandbox, 3)
        url = proxy.url
    ended = project.run("--server", sandbox.url, "--abandon-server", by if by == "gpu1" else url)
    assert (ended.report["completed"], ended.report["possibly_twice"]) == (3, 3)
    assert f"3 items submitted to gpu1 ({url}) given up" in ended.report["notes"][0]
    keys = [item.key for item in project.items()]
    project.check_all_done(sandbox.counts(), rendered_twice=keys)


def test_giving_up_a_server_that_nobody_knows_changes_nothing(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(server=f"gpu1={sandbox.url}")
    edit(project, status="submitted", prompt_id="x", server="http://gone:8188")
    for unknown in ("gpu7", "http://someone:hunter2@elsewhere:8188"):
        ended = project.run("--abandon-server", unknown)
        assert ended.code == 2
        assert f"it knows gpu1 ({sandbox.url}), http://gone:8188" in ended.err
        assert "hunter2" not in ended.err + ended.out
    assert project.statuses() == ["submitted"] * 3
    assert project.run("--abandon-server", "gpu1").code == 0


def test_the_report_says_how_many_may_be_rendered_twice(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    edit(project, status="submitted", prompt_id="x", server="http://gone:8188")
    ended = project.burst("run", "--abandon-server", "gone:8188")
    assert ", 3 possibly rendered twice in" in ended.out


def test_an_unknown_name_is_no_address(make_project: MakeProject, sandbox: Sandbox) -> None:
    """Neither a run nor `cancel` guesses where it may be."""
    project = make_project()
    edit(project, status="submitted", prompt_id="x", server="gpu9")
    report = run_quickly(project)
    assert report.counts[Status.SUBMITTED] == 3
    assert "Run with servers=['gpu9=URL']" in report.notes[0]
    notes = cancel(project.state).notes
    assert "give it with servers=['gpu9=URL']" in notes[0]
    edit(project, server="no server at all")
    assert run_quickly(project).counts[Status.SUBMITTED] == 3
    assert cancel(project.state).notes


# Its address changes

MOVES = {
    "not killed": None,
    "before the settings follow": "before:state.json.settings_file:SettingsFile.write",
    "after the settings followed": "after:state.json.settings_file:SettingsFile.write",
    "before anything is looked up": "before:orchestrator.comfyui:ComfyUI.history",
    "after the first is collected": "after:orchestrator.cycle.transitions:Transitions.complete",
}


@pytest.mark.parametrize("killed", MOVES)
@pytest.mark.parametrize("name", ["gpu1", None], ids=["named", "called by its address"])
def test_a_server_that_moved_keeps_its_name(
    make_project: MakeProject, sandbox: Sandbox, name: str | None, killed: str
) -> None:
    with Proxy(sandbox.url) as old:
        project = make_project(server=f"gpu1={old.url}" if name else old.url)
        send(project, sandbox, killed=True)
        url = old.url
    wait_for_renders(sandbox, 3)
    called = name or default_name(url)
    move = ["--server-moved", f"{name or url}={sandbox.url}"]
    if (place := MOVES[killed]) is not None:
        assert project.run(*move, launch=["--kill", place]).code == 137
    assert project.run(*move).code == 0
    assert {item.server for item in project.items()} == {called}
    assert kept_settings(project.state).servers == (Server(called, sandbox.url),)
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())
    project.server = called
    project.add_prompts([4])
    assert project.run().report["completed"] == 1


def test_a_record_that_names_the_old_address_is_the_server_whose_address_that_was(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    with Proxy(sandbox.url) as old:
        project = make_project(server=old.url)
        send(project, sandbox, killed=True)
        project.burst("init", "prompts", "--server", f"gpu1={old.url}")
        url = old.url
    report = project.run("--server-moved", f"gpu1={sandbox.url}").report
    assert (report["completed"], report["recovered"]) == (3, 3)
    assert {item.server for item in project.items()} == {"gpu1"}
    assert url not in (parts_of(project.state).settings.read() or "")
    project.check_all_done(sandbox.counts())
