"""An exception that nobody expected: recorded, shown, one message, exit 70, and nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.projects import Ended, MakeProject, Project
from support.waiting import wait_until

from orchestrator.cycle.pacing import automatic_size, learned_limit
from orchestrator.log_lines import without_time
from orchestrator.sandbox import Sandbox
from state.item import Status

PLACES = {
    "in a worker's thread": "before:orchestrator.cycle.worker:Worker.turn:2",
    "in a download's thread": "before:orchestrator.cycle.settlement:Settlement.fetch",
    "between two looks": "before:orchestrator.cycle.workers:WorkerPool.follow",
    "before the first burst": "after:orchestrator.cycle.workers:WorkerPool.open",
    "after the last burst": "before:orchestrator.cycle.loop:Cycle.close",
}
MESSAGE = "unexpected error: KeyError: 'broken', at "


def check_said(ended: Ended) -> Path:
    """One message and one object say it; the file with the traceback."""
    assert ended.code == 70, ended
    assert ended.report["schema"] == "burst.error/1"
    assert (ended.report["error"]["kind"], ended.report["exit_code"]) == ("Crashed", 70)
    message = ended.report["error"]["message"]
    assert message.startswith(MESSAGE)
    assert "Nothing is lost" in message
    *_, last = ended.err.splitlines()
    assert without_time(last) == f"burst: {message}"
    assert "Traceback (most" not in ended.err
    kept = Path(message.rpartition("Traceback: ")[2])
    text = kept.read_text()
    assert text.startswith("Traceback (most recent call last):")
    assert text.endswith("KeyError: 'broken'\n")
    assert kept.stat().st_mode & 0o077 == 0
    return kept


BEFORE_THE_LEASE = {
    "before the state is opened": "before:state.json.store:JsonStore.open",
    "once it is open": "after:state.json.store:JsonStore.open",
    "before it has the lease": "before:state.json.store:JsonStore.lease",
    "once it is over": "after:state.json.lease:JsonLease.end",
}


@pytest.mark.parametrize("place", (PLACES | BEFORE_THE_LEASE).values(), ids=PLACES | BEFORE_THE_LEASE)
def test_a_run_that_crashes_is_recorded_and_the_next_one_goes_on(
    make_project: MakeProject, sandbox: Sandbox, place: str
) -> None:
    project = make_project()
    ended = project.run("-n", "3", launch=["--raise", place])
    assert check_said(ended) == project.folder / "crash.txt"
    record = project.bursts()[-1]
    assert (record.ended, record.host is not None, record.alive_seconds is not None) == ("crashed", True, True)
    assert record.reason is not None
    assert record.reason.startswith(("KeyError: 'broken', at orchestrator/", "KeyError: 'broken', at state/"))
    assert not (project.folder / "holder.json").exists()
    assert [one.ended for one in project.bursts()].count("crashed") == 1
    status = project.burst("status").out
    assert "crashed" in status
    assert record.reason in status
    last = project.burst("status", "--json").report["last_burst"]
    assert last["ended"] == "crashed"
    assert project.run("--until-done").code == 0
    project.check_all_done(sandbox.counts())


def test_what_a_burst_had_done_before_it_crashed_is_in_its_record(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.change(seconds_per_prompt=0.3)
    ended = project.run(launch=["--raise", "before:orchestrator.cycle.settlement:Settlement.fetch:3"])
    check_said(ended)
    (record,) = project.bursts()
    assert (record.ended, record.completed) == ("crashed", 2)


def test_a_crash_is_no_kill(make_project: MakeProject) -> None:
    """The next bursts are neither smaller nor shorter for it."""
    project = make_project()
    for _ in range(3):
        project.run(launch=["--raise", PLACES["in a worker's thread"]])
    long_ago = [record for record in project.bursts() if record.ended == "crashed"]
    assert len(long_ago) == 3
    aged = [json.loads(line) | {"alive_seconds": 40.0} for line in _lines(project)]
    (project.folder / "bursts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in aged))
    assert learned_limit(project.bursts()) is None
    assert automatic_size(project.bursts()) == 15


def _lines(project: Project) -> list[str]:
    return (project.folder / "bursts.jsonl").read_text().splitlines()


def test_a_crash_of_another_command_leaves_its_traceback_in_a_temporary_file(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project()
    ended = project.burst("status", "--json", launch=["--raise", "before:orchestrator.status:StatusReport.as_json"])
    kept = check_said(ended)
    assert not kept.is_relative_to(tmp_path)
    kept.unlink()


def test_the_traceback_is_shown_to_who_wants_it(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURST_TRACEBACK", "1")
    project = make_project()
    ended = project.run(launch=["--raise", PLACES["in a worker's thread"]])
    assert ended.code == 70
    assert ended.err.startswith("Traceback (most recent call last):")
    assert "Worker.turn" in ended.err or "turn()" in ended.err


def test_generate_crashes_as_run_does(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    ended = project.burst("generate", "--prompt", "a fox", "--json", launch=["--raise", PLACES["in a worker's thread"]])
    check_said(ended)
    assert project.bursts()[-1].ended == "crashed"
    assert project.run("--until-done").code == 0
    assert project.statuses() == ["completed"] * 4


def test_a_crash_of_generate_before_it_adds_anything_is_recorded_where_there_is_a_state(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project()
    place = ["--raise", "before:orchestrator.batches.planning:Planner.draft"]
    ended = project.burst("generate", "--prompt", "a fox", "--json", launch=place)
    assert check_said(ended) == project.folder / "crash.txt"
    assert [record.ended for record in project.bursts()] == ["crashed"]
    assert len(project.items()) == 3
    words = ("generate", "--prompt", "a fox", "--template", "smoke", "--json")
    elsewhere = project.burst(*words, "--state", str(tmp_path / "new.json"), launch=place)
    check_said(elsewhere).unlink()
    assert not (tmp_path / "new.burst").exists()


def test_a_crash_beside_a_burst_at_work_leaves_its_records_alone(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run() as run:
        project.wait_for(Status.SUBMITTED, 3)
        check_said(project.run(launch=["--raise", BEFORE_THE_LEASE["before it has the lease"]]))
        assert (project.bursts(), (project.folder / "holder.json").exists()) == ([], True)
        sandbox.release()
        assert run.end().code == 0
    assert [record.ended for record in project.bursts()] == ["done"]


def test_a_crash_after_a_kill_leaves_the_record_of_both(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run() as run:
        project.wait_for_holder()
        run.kill()
    sandbox.release()
    project.run(launch=["--raise", BEFORE_THE_LEASE["before the state is opened"]])
    assert [record.ended for record in project.bursts()] == ["killed", "crashed"]


def test_two_servers_come_to_rest_when_one_worker_crashes(make_project: MakeProject, sandbox: Sandbox) -> None:
    """What the other one was doing has a record that the next run can use."""
    with Sandbox() as other:
        project = make_project(count=6)
        servers = ("--server", f"one={sandbox.url}", "--server", f"two={other.url}")
        ended = project.run(*servers, launch=["--raise", "before:orchestrator.cycle.settlement:Settlement.fetch:2"])
        check_said(ended)
        project.check_at_rest()
        assert project.run("--until-done", *servers).code == 0
        assert project.statuses() == ["completed"] * 6
        wait_until(lambda: len(sandbox.counts()["rendered"]) + len(other.counts()["rendered"]) == 6)


def test_a_thread_beside_the_work_that_crashes_is_one_message(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    sandbox.hold("render")
    with project.start_run(launch=["--raise", "before:state.json.holder:HolderFile._touch"]) as run:
        wait_until(lambda: "unexpected error" in run.err_so_far(), what="the message")
        sandbox.release()
        ended = run.end()
    assert (ended.code, ended.report["completed"]) == (0, 3)
    (message,) = (without_time(line) for line in ended.err.splitlines() if "unexpected" in line)
    assert message.startswith(f"burst: {MESSAGE}")
    assert "Traceback (most" not in ended.err
    Path(message.rpartition("Traceback: ")[2]).unlink()
