"""What a newer burst of the same format version put into the records: left alone, or done again, and reported."""

from __future__ import annotations

import msgspec
from support.background import wait_for_renders
from support.burst_runs import Burst
from support.projects import MakeProject
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from state.change import change_all
from state.open_store import open_store


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
