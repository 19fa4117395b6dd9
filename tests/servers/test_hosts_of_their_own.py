"""Two hosts, one state: each calls its own ComfyUI by the same loopback address. Real networks and host names."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hosts import PORT, Host, HostedSandbox, need_hosts
from support.projects import Ended, Project
from support.waiting import wait_until

from state.item import Status
from state.open_store import parts_of

COUNT = 3
KILLED = {"launch": ["--kill", f"after:orchestrator.comfyui:ComfyUI.submit:{COUNT}"]}


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    need_hosts()
    with Host("alpha") as alpha, Host("beta") as beta:
        yield alpha, beta


@pytest.fixture
def project(tmp_path: Path) -> Project:
    home = tmp_path / "project"
    home.mkdir()
    return Project(home, server=f"http://127.0.0.1:{PORT}", count=COUNT)


def send(project: Project, host: Host, server: HostedSandbox, *, killed: bool, held: str = "render") -> None:
    """All items are out on this host's server, which holds them; the burst was killed, or stopped."""
    server.hold(held)
    if killed:
        assert project.run(on=host.prefix, **KILLED).code == 137
    else:
        with project.start_run(on=host.prefix) as run:
            wait_until(lambda: sum(item.accepted for item in project.items()) == COUNT, what=f"{COUNT} accepted")
            assert run.stop(signal.SIGTERM).code == 143
    assert project.statuses() == ["submitted"] * COUNT


def silent(state: Path) -> None:
    """As if the run had been killed a minute ago: until then another host takes it to be at work."""
    holder = parts_of(state).location.auxiliary("holder.json")
    then = holder.stat().st_mtime - 60.0
    os.utime(holder, (then, then))


def servers_of(project: Project) -> set[str | None]:
    return {item.server for item in project.items()}


def remember(project: Project, line: str) -> None:
    settings = parts_of(project.state).settings
    settings.write(f"{line}\n{settings.read()}")


def check_left_alone(ended: Ended, host: str) -> None:
    report = ended.report
    assert (ended.code, report["completed"], report["put_back"], report["recovered"]) == (0, 0, 0, 0)
    assert (report["possibly_twice"], report["counts"]["submitted"]) == (0, COUNT)
    (note,) = report["notes"]
    assert note.startswith(f"{COUNT} items submitted to 127.0.0.1:{PORT}@{host} stay there")
    assert f"host {host} was last seen" in note
    assert f"--abandon-server 127.0.0.1:{PORT}@{host}" in note


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "time was up"])
def test_two_hosts_with_one_loopback_address_render_each_item_once(
    hosts: tuple[Host, Host], project: Project, tmp_path: Path, killed: bool
) -> None:
    alpha, beta = hosts
    with HostedSandbox(alpha, tmp_path / "a") as first, HostedSandbox(beta, tmp_path / "b") as second:
        send(project, alpha, first, killed=killed)
        assert servers_of(project) == {f"127.0.0.1:{PORT}@alpha"}
        project.add_prompts([COUNT + 1])
        beside = project.run(on=beta.prefix).report
        assert (beside["completed"], beside["counts"]["submitted"]) == (1, COUNT)
        check_left_alone(project.run(on=beta.prefix), "alpha")
        first.release()
        last = project.run(on=alpha.prefix).report
        assert (last["completed"], last["rendered_twice"], last["possibly_twice"]) == (COUNT, 0, 0)
        rendered = first.rendered(), second.rendered()
    assert [sum(one.values()) for one in rendered] == [COUNT, 1]
    project.check_all_done({"rendered_by_item": rendered[0] | rendered[1]})


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "time was up"])
def test_what_a_dead_host_had_is_due_again_and_counted(
    hosts: tuple[Host, Host], project: Project, tmp_path: Path, killed: bool
) -> None:
    alpha, beta = hosts
    with HostedSandbox(alpha, tmp_path / "a") as first, HostedSandbox(beta, tmp_path / "b") as second:
        send(project, alpha, first, killed=killed)
        remember(project, "abandon_after_seconds = 2")
        quickly: dict[str, Any] = {"launch": ["--in-doubt", "0.5"], "on": beta.prefix}
        reports: list[dict[str, Any]] = []

        def goes_on() -> bool:
            reports.append(project.run(**quickly).report)
            return sum(report["completed"] for report in reports) == COUNT

        wait_until(goes_on, what="alpha is dead", seconds=60)
        for figure in ("completed", "put_back", "possibly_twice"):
            assert sum(report[figure] for report in reports) == COUNT, "each once, in one run or in several"
        assert any("host alpha has given no sign of life" in note for report in reports for note in report["notes"])
        first.release()
        # Alpha was alive after all, and says what happened; nothing is rendered a third time.
        assert project.run(on=alpha.prefix).report["completed"] == 0
        assert sum(second.rendered().values()) == COUNT
    project.check_all_done({"rendered_by_item": {item.key: 1 for item in project.items()}})


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "time was up"])
@pytest.mark.parametrize("found", ["queued", "running", "finished"])
def test_a_container_with_a_new_host_name_takes_over_its_own_items(
    hosts: tuple[Host, Host], project: Project, tmp_path: Path, killed: bool, found: str
) -> None:
    alpha, _ = hosts
    with HostedSandbox(alpha, tmp_path / "a") as server, Host("8c1f0e", network=alpha) as again:
        send(project, alpha, server, killed=killed, held="next" if found == "queued" else "render")
        if found == "finished":
            server.release()
            wait_until(lambda: sum(server.rendered().values()) == COUNT, what="all are rendered")
        with project.start_run(on=again.prefix) as process:
            new = f"127.0.0.1:{PORT}@8c1f0e"
            wait_until(lambda: servers_of(project) == {new}, what="the records follow")
            server.release()
            report = process.end().report
        assert (report["completed"], report["recovered"], report["put_back"]) == (COUNT, COUNT, 0)
        assert server.counts()["posts"] == COUNT
        project.check_all_done(server.counts())


def test_a_container_that_starts_anew_with_its_server_collects_what_that_had_saved(
    hosts: tuple[Host, Host], project: Project, tmp_path: Path
) -> None:
    """Queue and history are gone; the files have names that no other prompt has."""
    alpha, _ = hosts
    with HostedSandbox(alpha, tmp_path / "a") as server:
        send(project, alpha, server, killed=True)
        server.release()
        wait_until(lambda: sum(server.rendered().values()) == COUNT, what="all are rendered")
        rendered = server.counts()
    with HostedSandbox(alpha, tmp_path / "a") as server, Host("8c1f0e", network=alpha) as again:
        report = project.run(on=again.prefix).report
        assert (report["completed"], report["rescued"], report["put_back"]) == (COUNT, COUNT, 0)
        assert server.counts()["posts"] == 0
        assert servers_of(project) == {f"127.0.0.1:{PORT}@8c1f0e"}
        project.check_all_done(rendered)


def test_cancel_reaches_a_container_that_has_a_new_name_and_leaves_another_host_alone(
    hosts: tuple[Host, Host], project: Project, tmp_path: Path
) -> None:
    alpha, beta = hosts
    with HostedSandbox(alpha, tmp_path / "a") as first, HostedSandbox(beta, tmp_path / "b"):
        send(project, alpha, first, killed=True)
        other = project.burst("cancel", "--json", project.item(3).key, on=beta.prefix).report
        assert "can only be reached from that host" in other["notes"][0]
        assert project.statuses() == ["submitted"] * COUNT
        with Host("8c1f0e", network=alpha) as again:
            project.burst("cancel", "--json", project.item(2).key, on=again.prefix)
            assert project.statuses() == ["submitted", "cancelled", "submitted"]
            with project.start_run(on=again.prefix) as process:
                project.wait_for(Status.CANCELLED, 2)
                first.release()
                report = process.end().report
        assert (report["completed"], report["cancelled"]) == (1, 1)
        assert project.statuses() == ["completed", "cancelled", "cancelled"]
        assert sum(first.rendered().values()) == 1


def test_status_and_doctor_name_the_host_that_others_wait_for(
    hosts: tuple[Host, Host], project: Project, tmp_path: Path
) -> None:
    alpha, beta = hosts
    with HostedSandbox(alpha, tmp_path / "a") as first, HostedSandbox(beta, tmp_path / "b"):
        send(project, alpha, first, killed=True)
        status = project.burst("status", "--json", on=beta.prefix).report
        assert status["submitted_to"] == {f"127.0.0.1:{PORT}@alpha": COUNT}
        assert "waits for that host" not in project.burst("status", on=beta.prefix).out, "a run of alpha may be at work"
        silent(project.state)
        assert "waits for that host" in project.burst("status", on=beta.prefix).out
        assert "waits for that host" not in project.burst("status", on=alpha.prefix).out
        seen = project.burst("doctor", "--json", "--all", on=beta.prefix).report
        (check,) = [check for check in seen["checks"] if check["name"] == "elsewhere"]
        assert "waits for host alpha" in check["message"]
        assert check["next"].startswith("burst run --state")
        own = project.burst("doctor", "--json", "--all", on=alpha.prefix).report
        assert not [check for check in own["checks"] if check["name"] == "elsewhere"]


def test_a_host_without_a_server_at_that_address_leaves_the_items_alone_for_good(
    hosts: tuple[Host, Host], project: Project, tmp_path: Path
) -> None:
    """Nothing is known of them here, so nothing says that they are gone."""
    alpha, beta = hosts
    with HostedSandbox(alpha, tmp_path / "a") as first, HostedSandbox(beta, tmp_path / "b"):
        send(project, alpha, first, killed=True)
        remember(project, "abandon_after_seconds = 0")
        elsewhere = project.run("--server", "http://127.0.0.1:8199", "--max-seconds", "1", on=beta.prefix).report
        assert elsewhere["counts"]["submitted"] == COUNT
        assert "Run burst on alpha" in elsewhere["notes"][0]
        given_up = project.run("--abandon-server", f"127.0.0.1:{PORT}@alpha", on=beta.prefix).report
        assert (given_up["completed"], given_up["possibly_twice"]) == (COUNT, COUNT)
    assert {item.status for item in project.items()} == {Status.COMPLETED}
