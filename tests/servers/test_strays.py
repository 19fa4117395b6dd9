"""What another host's loopback server has: whose it is, by what our server knows and that host's signs of life."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.background import wait_for_renders
from support.burst_runs import SetTimes, run_quickly
from support.projects import MakeProject, Project
from support.proxy import Proxy, http_answer

from orchestrator.batches.generate_report import Generated
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.errors import SettingsError
from orchestrator.generation import Generation
from orchestrator.sandbox import Sandbox
from orchestrator.servers import Server, default_name
from orchestrator.settings import Overrides, load_settings
from orchestrator.update import update_items
from state.burst_record import BurstRecord
from state.item import Status
from state.open_store import parts_of

MINUTE = 60.0
HOUR = 3600.0


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host is called `beta`."""
    monkeypatch.setattr("socket.gethostname", lambda: "beta")


def ago(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)


def at_alpha(url: str) -> str:
    """The server that has this address on host alpha."""
    return f"127.0.0.1:{url.rpartition(':')[2]}@alpha"


def sent_by_alpha(project: Project, sandbox: Sandbox, *, submitted: float | None, **more: Any) -> None:
    """All items are out on alpha's server, sent so many seconds ago."""
    records = json.loads(project.state.read_text())
    for number, record in enumerate(records.values()):
        at = ago(submitted)
        record |= {"status": "submitted", "prompt_id": f"p{number}", "server": at_alpha(sandbox.url), "accepted": True}
        record |= {"submitted_at": at.isoformat()} if at is not None else {}
        record |= more
    project.state.write_text(json.dumps(records))


def burst_of_alpha(project: Project, *, ended: float, host: str | None = "alpha") -> None:
    """A burst there ended so many seconds ago."""
    at = ago(ended)
    assert at is not None
    parts_of(project.state).bursts.append(
        BurstRecord(burst="b", started_at=at, ended_at=at, ended="done", size=1, host=host)
    )


def check_left(project: Project, report: BurstReport) -> None:
    assert (report.completed, report.possibly_twice, report.counts[Status.SUBMITTED]) == (0, 0, 3)
    assert report.exit_code == 0
    assert "stay there" in report.notes[0]
    assert {item.prompt_id for item in project.items()} == {"p0", "p1", "p2"}


def check_due_again(project: Project, report: BurstReport) -> None:
    assert (report.completed, report.put_back, report.possibly_twice) == (3, 3, 3)
    assert "due again: host alpha has given no sign of life" in report.notes[0]
    assert all(item.previous_prompt_ids for item in project.items())
    assert {item.attempts for item in project.items()} == {0}


@pytest.mark.parametrize(
    ("submitted", "ended", "is_alive"),
    [
        (10, None, True),
        (59 * MINUTE, None, True),
        (61 * MINUTE, None, False),
        (5 * HOUR, 59 * MINUTE, True),
        (5 * HOUR, 61 * MINUTE, False),
        (10, 5 * HOUR, True),
        (None, 10, True),
        (None, 5 * HOUR, False),
        (None, None, False),
        (-5 * HOUR, None, True),
    ],
)
def test_a_host_is_alive_for_an_hour_after_its_last_burst_or_prompt(
    make_project: MakeProject, sandbox: Sandbox, submitted: float | None, ended: float | None, is_alive: bool
) -> None:
    project = make_project()
    sent_by_alpha(project, sandbox, submitted=submitted)
    if ended is not None:
        burst_of_alpha(project, ended=ended)
    report = run_quickly(project)
    (check_left if is_alive else check_due_again)(project, report)


def test_bursts_of_other_hosts_and_of_nobody_are_no_sign_of_life_of_this_one(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    sent_by_alpha(project, sandbox, submitted=2 * HOUR)
    for host in ("beta", "gamma", None):
        burst_of_alpha(project, ended=1, host=host)
    check_due_again(project, run_quickly(project))


def test_a_burst_that_was_killed_is_a_sign_of_life_until_it_was_last_seen(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    sent_by_alpha(project, sandbox, submitted=2 * HOUR)
    holder = {"host": "alpha", "boot_id": "b", "pid": 1, "burst": "k", "size": 1}
    path = project.folder / "holder.json"
    path.write_text(json.dumps(holder | {"started_at": datetime.now(UTC).isoformat()}))
    then = (datetime.now(UTC) - timedelta(seconds=30)).timestamp()
    os.utime(path, (then, then))
    check_left(project, run_quickly(project))


def test_each_record_of_a_burst_names_its_host(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    run_quickly(project)
    assert {record.host for record in project.bursts()} == {"beta"}


def set_limit(project: Project, text: str) -> None:
    settings = parts_of(project.state).settings
    settings.write(f"abandon_after_seconds = {text}\n{settings.read()}")


@pytest.mark.parametrize(("text", "is_alive"), [("10800", True), ("60", False), ("0", False), ("inf", True)])
def test_how_long_is_a_setting(make_project: MakeProject, sandbox: Sandbox, text: str, is_alive: bool) -> None:
    project = make_project()
    set_limit(project, text)
    sent_by_alpha(project, sandbox, submitted=2 * HOUR)
    (check_left if is_alive else check_due_again)(project, run_quickly(project))


def test_the_request_wins_over_the_setting(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    set_limit(project, "inf")
    sent_by_alpha(project, sandbox, submitted=10)
    check_due_again(project, run_quickly(project, abandon_after_seconds=5))


@pytest.mark.parametrize("text", ["-1", "nan", "true", '"1 h"'])
def test_what_is_no_time_is_refused(make_project: MakeProject, text: str) -> None:
    project = make_project()
    set_limit(project, text)
    with pytest.raises(SettingsError, match="abandon_after_seconds: expected seconds"):
        load_settings(project.state)


def test_init_keeps_the_setting(make_project: MakeProject) -> None:
    project = make_project()
    set_limit(project, "7.5")
    project.add_prompts([4])
    assert load_settings(project.state).abandon_after_seconds == 7.5


def test_however_short_the_time_what_may_still_be_on_its_way_is_not_sent_again(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    """A container that starts again within seconds: the POST of the one before may arrive after the look-up."""
    project = make_project()
    sent_by_alpha(project, sandbox, submitted=1, accepted=False)
    check_left(project, run_quickly(project, abandon_after_seconds=0, in_doubt_seconds=30))


def test_a_wish_to_cancel_is_done_when_the_host_is_dead(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sent_by_alpha(project, sandbox, submitted=2 * HOUR, cancel_requested=True)
    report = run_quickly(project)
    assert (report.cancelled, report.possibly_twice) == (3, 0)
    assert sandbox.counts()["posts"] == 0


def test_one_whose_record_was_changed_by_hand_to_pending_is_not_sent_while_its_host_may_be_alive(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    sent_by_alpha(project, sandbox, submitted=10)
    records = json.loads(project.state.read_text())
    project.state.write_text(json.dumps({key: one | {"status": "pending"} for key, one in records.items()}))
    for _ in range(2):
        report = run_quickly(project)
        assert (report.completed, report.possibly_twice) == (0, 0)
    assert sandbox.counts()["posts"] == 0


# Servers that do not answer, and several of them


def test_a_server_that_does_not_answer_decides_nothing(
    make_project: MakeProject, sandbox: Sandbox, set_times: SetTimes
) -> None:
    project = make_project()
    sent_by_alpha(project, sandbox, submitted=2 * HOUR)
    sandbox.change(unavailable_rate=1.0)
    set_times(retry_seconds=0.2)
    assert run_quickly(project).exit_code == 75
    assert {item.server for item in project.items()} == {at_alpha(sandbox.url)}
    sandbox.change(unavailable_rate=0.0)
    check_due_again(project, run_quickly(project))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(directory=tmp_path / "other") as running:
        yield running


@pytest.mark.parametrize("first", [True, False])
def test_of_several_servers_the_one_of_the_same_address_is_asked_before_the_run_ends(
    make_project: MakeProject, sandbox: Sandbox, other: Sandbox, first: bool
) -> None:
    project = make_project()
    sent_by_alpha(project, sandbox, submitted=2 * HOUR)
    servers = [sandbox.url, other.url] if first else [other.url, sandbox.url]
    report = run_quickly(project, server=servers)
    assert (report.completed, report.possibly_twice) == (3, 3)


def test_with_a_server_lost_beside_it_strays_are_looked_for_all_the_same(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    with Proxy(sandbox.url) as gone:
        url = gone.url
    project = make_project()
    sent_by_alpha(project, sandbox, submitted=2 * HOUR)
    report = run_quickly(project, server=[url, sandbox.url])
    assert (report.completed, report.possibly_twice) == (3, 3)


def call_it_alpha_s(project: Project, url: str) -> None:
    """What is out was sent from here while this host was called alpha."""
    records = json.loads(project.state.read_text())
    for record in records.values():
        record["server"] = at_alpha(url)
    project.state.write_text(json.dumps(records))


@pytest.mark.parametrize("name", ["gpu1", None], ids=["named", "called by its address"])
def test_what_our_server_knows_is_ours_and_the_record_follows(
    make_project: MakeProject, sandbox: Sandbox, name: str | None
) -> None:
    project = make_project(server=f"gpu1={sandbox.url}" if name else sandbox.url)
    sandbox.hold("render")
    run_quickly(project, max_seconds=2)
    sandbox.release()
    call_it_alpha_s(project, sandbox.url)
    report = run_quickly(project)
    assert (report.completed, report.recovered, report.possibly_twice, report.notes) == (3, 3, 0, ())
    assert {item.server for item in project.items()} == {name or default_name(sandbox.url)}
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("status", [500, 502])
def test_files_that_cannot_be_looked_for_leave_a_dead_host_s_item_alone(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, status: int, set_times: SetTimes
) -> None:
    """Rendered, and forgotten by the server: what says nothing about its files does not make it due again."""
    project = make_project(server=proxy.url)
    set_times(retry_seconds=0.2)
    sandbox.hold("render")
    run_quickly(project, max_seconds=2)
    sandbox.release()
    wait_for_renders(sandbox, 3)
    sandbox.restart()
    call_it_alpha_s(project, proxy.url)
    proxy.answer("GET /api/view", http_answer(status))
    report = run_quickly(project, abandon_after_seconds=0)
    assert (report.put_back, report.possibly_twice, report.counts[Status.SUBMITTED]) == (0, 0, 3)
    assert "left for a later burst" in report.notes[0]
    proxy.heal()
    report = run_quickly(project, abandon_after_seconds=0)
    assert (report.completed, report.rescued, report.possibly_twice) == (3, 3, 0)
    assert {item.server for item in project.items()} == {default_name(proxy.url)}
    project.check_all_done(sandbox.counts())


# A request that names a loopback server


def test_the_same_request_from_a_container_with_a_new_name_is_one_request(
    make_project: MakeProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project()
    port = sandbox.url.rpartition(":")[2]
    found = set()
    for host, url in (("8c1f0e", sandbox.url), ("77ab12", sandbox.url), ("77ab12", f"localhost:{port}")):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        request = Request(state=project.state, overrides=Overrides(servers=(url,)))
        made = Generation(BatchSpec(prompt="a fox", count=2), request, queue_only=True, ask_servers=False).execute()
        assert isinstance(made, Generated)
        found.add(made.record.batch)
    assert len(found) == 1


def test_an_updated_recipe_names_a_loopback_server_on_every_host_alike(
    make_project: MakeProject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project()
    said = Overrides(servers=(sandbox.url.replace("127.0.0.1", "localhost"),))
    first = update_items(project.state, overrides=said)
    monkeypatch.setattr("socket.gethostname", lambda: "77ab12")
    again = update_items(project.state, overrides=said)
    assert (len(first.updated), again.updated, again.unchanged) == (3, (), 3)
    assert [server.name for server in pinned(project)] == [default_name(sandbox.url)]


def pinned(project: Project) -> list[Server]:
    """The servers that the items' recipe names, as a run on this host reaches them."""
    (recipe_id,) = {str(item.recipe) for item in project.items()}
    settings = load_settings(project.state)
    found = [settings.find_server(name) for name in parts_of(project.state).recipes.get(recipe_id).servers]
    return [server for server in found if server is not None]
