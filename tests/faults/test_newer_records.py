"""What a newer burst of the same format version put into the records: left alone, or done again, and reported."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from support.background import wait_for_renders
from support.burst_runs import Burst, SetTimes
from support.projects import MakeProject, Project
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from orchestrator.status import read_status
from state.change import change_all
from state.item import Status
from state.open_store import open_store


def edit(project: Project, number: int, **fields: Any) -> str:
    """Put these fields into an item's record by hand; its key."""
    records = json.loads(project.state.read_bytes())
    key = list(records)[number - 1]
    records[key] |= fields
    project.state.write_text(json.dumps(records))
    return key


def test_an_item_that_waits_for_anothers_output_is_left_alone_and_reported(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=3)
    source = {"image": {"item": project.item(1).key, "output": 1}}
    waiting = edit(project, 2, uploads=source, priority="urgent")
    report = burst(project, until_done=True, size=1)
    assert (report.exit_code, report.completed, report.failed, report.bursts) == (0, 2, 0, 2)
    assert project.statuses() == ["completed", "pending", "completed"]
    assert project.item(2).attempts == 0
    said = (
        "1 item waits for an output of another item and stays pending: this version of burst cannot make it, a newer "
        f"one can ({waiting})"
    )
    assert said in report.notes
    assert sandbox.counts()["posts"] == 2
    status = read_status(project.state)
    assert (status.counts[Status.PENDING], status.next_items, status.notes) == (1, (), (said,))
    assert f"Note: {said}" in status.as_text()
    report = burst(project, until_done=True)
    assert (report.exit_code, report.completed, report.bursts, report.next_batch) == (0, 0, 1, ())
    assert project.item(2).uploads == {"image": msgspec.convert(source["image"], type(project.item(2).awaits[0]))}


def test_a_server_that_is_down_has_nothing_left_to_do_then(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst, set_times: SetTimes
) -> None:
    set_times(retry_seconds=0.2)
    with Sandbox() as gone:
        dead_url = gone.url
    project = make_project(count=2)
    edit(project, 2, uploads={"image": {"item": project.item(1).key, "output": 1}})
    report = burst(project, server=[sandbox.url, dead_url])
    assert (report.exit_code, report.completed, report.reason) == (0, 1, None)


def test_files_under_the_prefixes_of_a_newer_burst_are_not_taken_for_those_of_ours(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    """Their names mean something else there; what is rendered again for that is reported."""
    project = make_project(server=proxy.url, count=2)
    proxy.hold("GET /api/history")
    with project.start_run() as process:
        wait_for_renders(sandbox, 2)
        wait_until(lambda: all(item.accepted for item in project.items()))
        process.kill()
    with open_store(project.state) as store:
        newer = [store.get(project.item(1).key)]
        change_all(store, newer, lambda item: msgspec.structs.replace(item, prefix_scheme=3))
    sandbox.restart(keep_outputs=True)
    proxy.release()
    report = burst(project)
    assert (report.exit_code, report.completed, report.rescued, report.put_back) == (0, 2, 1, 1)
    assert [note for note in report.notes if "a newer burst" in note] != []
    assert [item.prefix_scheme for item in project.items()] == [1, 1]
    project.check_all_done(sandbox.counts(), rendered_twice=[project.item(1).key])
