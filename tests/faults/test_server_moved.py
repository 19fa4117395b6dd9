"""A server whose address changed. The proxy is the old address, the sandbox the new one."""

from __future__ import annotations

import json
import threading

import pytest
from support.background import in_background, wait_for_renders
from support.projects import MakeProject, Project
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator import run_burst
from orchestrator.cycle.report import BurstReport
from orchestrator.errors import UsageError
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from orchestrator.servers import Server, default_name
from orchestrator.settings import kept_settings


@pytest.fixture
def project(make_project: MakeProject, sandbox: Sandbox) -> Project:
    """Three prompts are out and rendered meanwhile; the old address answers no more, the new one does."""
    with Proxy(sandbox.url) as old:
        project = make_project(server=old.url, count=3)
        sandbox.hold("next")
        stop = threading.Event()
        with in_background(run_burst, project.state, stop=stop):
            wait_until(lambda: all(item.accepted for item in project.items()))
            stop.set()
    sandbox.release()
    wait_for_renders(sandbox, 3)
    return project


def moved(project: Project, sandbox: Sandbox) -> BurstReport:
    return run_burst(project.state, server_moved=(project.server, sandbox.url))


def test_what_is_out_is_collected_at_the_new_address(project: Project, sandbox: Sandbox) -> None:
    name = default_name(project.server)
    ended = project.run("--server-moved", f"{project.server}={sandbox.url}/")
    assert (ended.code, ended.report["completed"], ended.report["recovered"]) == (0, 3, 3)
    assert any(name in note and sandbox.url in note for note in ended.report["notes"])
    assert {item.server for item in project.items()} == {name}
    assert kept_settings(project.state).servers == (Server(name, sandbox.url),)
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())


def test_later_runs_go_there_and_saying_it_again_changes_nothing(project: Project, sandbox: Sandbox) -> None:
    moved(project, sandbox)
    before = project.items()
    again = moved(project, sandbox)
    assert (again.exit_code, again.completed, again.notes) == (0, 0, ())
    assert project.items() == before
    retry(project.state, [project.item(1).key])
    assert run_burst(project.state).completed == 1
    project.check_all_done(sandbox.counts(), rendered_twice=[project.item(1).key])


def test_headers_of_the_old_address_go_along(
    project: Project, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_KEY", "a-secret-key")
    settings = project.folder / "settings.toml"
    settings.write_text(f'{settings.read_text()}\n[headers."{project.server}"]\nAuthorization = "env:GPU_KEY"\n')
    report = moved(project, sandbox)
    assert report.completed == 3, report.reason
    assert kept_settings(project.state).own_headers == {project.server: {"Authorization": "env:GPU_KEY"}}


def test_a_server_that_was_only_ever_said_is_found_too(project: Project, sandbox: Sandbox) -> None:
    """It is not among the settings: the run uses the new address all the same, and the settings stay."""
    settings = project.folder / "settings.toml"
    settings.write_text(settings.read_text().replace(project.server, "http://127.0.0.1:9"))
    report = run_burst(project.state, server=sandbox.url, server_moved=(project.server, sandbox.url))
    assert report.completed == 3
    assert kept_settings(project.state).server_urls == ("http://127.0.0.1:9",)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:8", ["nothing is known of 127.0.0.1:9@", "(3 items)"]),
        ("OLD", "OLD/", ["both the old address and the new one"]),
        ("OLD", "ftp://somewhere", ["server_moved"]),
        ("OLD", "http://me:my-password@127.0.0.1:8", ["without a password"]),
    ],
    ids=["unknown", "the same", "no address", "a password"],
)
def test_nonsense_is_refused_and_changes_nothing(project: Project, old: str, new: str, words: list[str]) -> None:
    before = project.items(), kept_settings(project.state)
    with pytest.raises(UsageError) as refused:
        run_burst(project.state, server_moved=(old.replace("OLD", project.server), new.replace("OLD", project.server)))
    assert all(word in str(refused.value) for word in words)
    assert "my-password" not in str(refused.value)
    assert (project.items(), kept_settings(project.state)) == before


def test_an_unknown_address_is_refused_also_where_the_new_one_is_known(project: Project, sandbox: Sandbox) -> None:
    """A slip in the old address is no repetition while items wait for the right one."""
    settings = project.folder / "settings.toml"
    settings.write_text(settings.read_text().replace(project.server, sandbox.url))
    with pytest.raises(UsageError, match=r"Items are out on: 127\.0\.0\.1:\d+@\S+ \(3 items\)"):
        run_burst(project.state, server_moved=("http://127.0.0.1:9", sandbox.url))
    report = moved(project, sandbox)
    assert report.completed == 3, report.reason
    project.check_all_done(sandbox.counts())


def test_a_half_pair_is_a_usage_error(project: Project) -> None:
    ended = project.burst("run", "--server-moved", project.server, "--json")
    assert ended.code == 2
    assert json.loads(ended.out)["error"]["message"].startswith("--server-moved: write OLD=NEW")
