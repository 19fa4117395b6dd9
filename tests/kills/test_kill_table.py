"""The crash table of the design, row by row: killed here, the next burst does this."""

from __future__ import annotations

import signal

import pytest
from support.projects import MakeProject, Project, small_template
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from orchestrator.verify import verify_outputs
from state.item import Status

KILLED = 137
BEFORE_INTENT = "before:orchestrator.cycle.submission:Submission._intend"
BEFORE_POST = "before:orchestrator.comfyui:ComfyUI.submit"
AFTER_POST = "after:orchestrator.comfyui:ComfyUI.submit"
BEFORE_DOWNLOAD = "before:orchestrator.outputs:Outputs.fetch"
AFTER_CHECKPOINT = "after:orchestrator.cycle.transitions:Transitions.complete"
AFTER_PLACING = "after:orchestrator.outputs:Outputs.place"


def run_killed(project: Project, place: str) -> None:
    ended = project.run(launch=["--kill", place])
    assert ended.code == KILLED, ended.err
    project.check_readable()


def prompt_ids(project: Project) -> list[str | None]:
    return [item.prompt_id for item in project.items()]


def remaining(sandbox: Sandbox) -> int:
    counts = sandbox.counts()
    return len(counts["queued"]) - len(counts["rendered"])


def test_before_the_intent_is_written_it_is_pending_and_submitted(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    run_killed(project, BEFORE_INTENT)
    assert project.statuses() == ["pending"] * 3
    assert sandbox.counts()["posts"] == 0
    assert project.run().report["recovered"] == 0
    project.check_all_done(sandbox.counts())


def test_after_the_intent_before_the_post_it_is_in_doubt_then_sent_again(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    run_killed(project, BEFORE_POST)
    before = project.items()
    assert {item.status for item in before} == {Status.SUBMITTED}
    assert all(item.in_doubt for item in before)
    assert sandbox.counts()["posts"] == 0
    assert project.run(launch=["--in-doubt", "1.0"]).report["recovered"] == 3
    for old, new in zip(before, project.items(), strict=True):
        assert old.submitted_at is not None
        assert new.submitted_at is not None
        assert (new.submitted_at - old.submitted_at).total_seconds() >= 1.0
        assert old.prompt_id in new.previous_prompt_ids
        assert new.prompt_id != old.prompt_id
        assert new.attempts == 0
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("finished", [False, True], ids=["still in the queue", "in history already"])
@pytest.mark.parametrize("version", ["0.3.64", "0.33.0"], ids=["history and queue", "jobs API"])
def test_after_the_post_before_its_answer_it_is_adopted_or_collected(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, finished: bool, version: str
) -> None:
    sandbox.change(comfyui_version=version)
    if not finished:
        sandbox.hold("next")
    project = make_project(server=proxy.url)
    proxy.hold_answers("POST /api/prompt")
    with project.start_run() as run:
        proxy.wait_for_held()
        assert run.kill().code == KILLED
    ids = prompt_ids(project)
    wait_until(lambda: sandbox.counts()["posts"] == 1)
    if finished:
        wait_until(lambda: remaining(sandbox) == 0, what="rendered")
    proxy.release()
    with project.start_run(launch=["--in-doubt", "1"]) as run:
        wait_until(lambda: project.item().accepted or project.item().status is Status.COMPLETED)
        sandbox.release()
        assert run.end().report["completed"] == 3
    assert prompt_ids(project)[0] == ids[0]
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())


def test_after_the_post_and_its_answer_it_is_adopted(make_project: MakeProject, sandbox: Sandbox) -> None:
    sandbox.hold("next")
    project = make_project()
    run_killed(project, AFTER_POST + ":3")
    ids = prompt_ids(project)
    sandbox.release()
    assert project.run().report["recovered"] == 3
    assert prompt_ids(project) == ids
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())


def test_rendered_but_not_downloaded_it_is_collected(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    run_killed(project, BEFORE_DOWNLOAD)
    assert project.item().status is Status.SUBMITTED
    assert not project.output.exists()
    ids = prompt_ids(project)
    project.run()
    assert prompt_ids(project) == ids
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize("forgotten", [False, True], ids=["collected again", "rendered again"])
def test_while_downloading_its_temporary_files_are_removed(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, forgotten: bool
) -> None:
    project = make_project(server=proxy.url, count=1, template=small_template(save_nodes=2))
    sandbox.hold("render")
    with project.start_run() as run:
        wait_until(lambda: project.item().accepted)
        proxy.hold_answers(f"GET /api/view?filename={project.item().prompt_id}-10", after_bytes=600)
        sandbox.release()
        proxy.wait_for_held()
        wait_until(lambda: len(project.temporary_files()) == 2, what="two .part files")
        run.signal(signal.SIGKILL)
        assert run.end().code == KILLED
    assert all(name.endswith(".part") for name in project.temporary_files())
    assert not list(project.output.rglob("*.png"))
    proxy.release()
    if forgotten:
        sandbox.restart(keep_outputs=False)
    assert project.run().report["put_back"] == forgotten
    again = [item.key for item in project.items() if forgotten]
    project.check_all_done(sandbox.counts(), rendered_twice=again)


def test_placed_but_not_checkpointed_it_comes_to_the_same_name_with_the_same_bytes(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    run_killed(project, AFTER_PLACING)
    assert set(project.statuses()) == {"submitted"}
    placed = {path: path.read_bytes() for path in project.output.rglob("*.png")}
    assert placed
    project.run()
    assert {path: path.read_bytes() for path in placed} == placed
    assert placed.keys() <= {project.output / item.outputs[0].path for item in project.items()}
    project.check_all_done(sandbox.counts())


def test_checkpointed_as_completed_its_files_are_in_their_place(make_project: MakeProject, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=0.3)
    project = make_project()
    run_killed(project, AFTER_CHECKPOINT)
    assert project.statuses() == ["completed", "submitted", "submitted"]
    assert verify_outputs(project.state).problems == ()
    project.run()
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())


def test_a_server_restarted_with_its_outputs_gives_them_by_name(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    run_killed(project, AFTER_POST + ":3")
    wait_until(lambda: remaining(sandbox) == 0, what="rendered")
    sandbox.restart(keep_outputs=True)
    assert project.run(launch=["--in-doubt", "0.5"]).report["rescued"] == 3
    assert sandbox.counts()["posts"] == 3
    project.check_all_done(sandbox.counts())


def test_a_server_restarted_without_its_outputs_renders_again(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project()
    run_killed(project, AFTER_POST + ":3")
    wait_until(lambda: remaining(sandbox) == 0, what="rendered")
    sandbox.restart(keep_outputs=False)
    report = project.run(launch=["--in-doubt", "0.5"]).report
    assert (report["rescued"], report["put_back"], report["completed"]) == (0, 3, 3)
    assert [item.attempts for item in project.items()] == [0, 0, 0]
    project.check_all_done(sandbox.counts(), rendered_twice=[item.key for item in project.items()])


def test_a_server_killed_while_writing_leaves_half_a_file_that_is_not_taken(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project(count=1)
    sandbox.hold("render")
    run_killed(project, AFTER_POST)
    sandbox.restart(keep_outputs=True, leave_cut_file=True)
    sandbox.release()
    assert list(sandbox.output_directory.rglob("*.png"))
    report = project.run(launch=["--in-doubt", "0.5"]).report
    assert (report["rescued"], report["put_back"]) == (0, 1)
    project.check_all_done(sandbox.counts())


def test_a_server_restarted_in_the_middle_of_a_burst_is_given_the_rest_again(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project()
    with project.start_run(launch=["--in-doubt", "0.5", "--sweep", "0.3"]) as run:
        project.wait_for(Status.COMPLETED)
        sandbox.hold("next")
        sandbox.restart(keep_outputs=True, down_seconds=0.5)
        sandbox.release()
        report = run.end().report
    assert report["completed"] == 3
    project.check_all_done(sandbox.counts())
