"""`burst pause` and `burst resume` beside runs, generate, cancel and kills, with a sandbox as the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from faults.conftest import make_project, sandbox
from support.background import in_background
from support.burst_runs import run_quickly
from support.leases import at_work
from support.projects import MakeProject, Project
from support.waiting import wait_until

from burst import cli
from orchestrator import cancel, generate, pause, read_status, resume
from orchestrator.batches.generate_report import Generated
from orchestrator.batches.spec import BatchSpec
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.pacing import learned_limit
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import StateError
from orchestrator.sandbox import Sandbox
from orchestrator.status import watch_status
from state.item import Status
from state.open_store import parts_of

__all__ = ["make_project", "sandbox"]


@pytest.fixture
def project(make_project: MakeProject, sandbox: Sandbox) -> Project:
    return make_project(count=4)


def wait_for_one_to_render(sandbox: Sandbox, project: Project) -> None:
    """The server is held in the middle of its first prompt, and has the others in its queue."""
    project.wait_for(Status.SUBMITTED, 4)
    with ComfyUI(sandbox.url) as client:
        wait_until(lambda: client.queue().running and all(item.accepted for item in project.items()), what="a render")


def left_behind(sandbox: Sandbox, project: Project) -> None:
    """A run ended with one item rendering and three in the queue."""
    sandbox.hold("render")
    with in_background(run_quickly, project, max_seconds=1.0) as end:
        wait_for_one_to_render(sandbox, project)
        assert end().ended == "deadline"


def test_a_run_at_work_takes_back_what_waits_collects_what_renders_and_ends(project: Project, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with in_background(run_quickly, project, until_done=True) as end:
        wait_for_one_to_render(sandbox, project)
        report = pause(project.state)
        assert (report.is_new, report.taken_back) == (True, ())
        assert report.at_work is not None
        project.wait_for(Status.PENDING, 3)
        sandbox.release()
        ended = end()
    assert (ended.ended, ended.exit_code, ended.reason, ended.completed) == ("paused", 0, None, 1)
    assert ended.as_text().splitlines()[0].endswith("; paused.")
    assert "3 items remaining. Next: burst resume" in ended.as_text()
    assert project.statuses() == ["completed", "pending", "pending", "pending"]
    assert {item.attempts for item in project.items()} == {0}
    assert sandbox.counts()["posts"] == 4
    (record,) = project.bursts()
    assert (record.ended, record.completed) == ("paused", 1)
    assert learned_limit([record, record]) is None
    resume(project.state)
    assert run_quickly(project).completed == 3
    project.check_all_done(sandbox.counts())


def test_runs_start_nothing_while_it_is_set(project: Project, sandbox: Sandbox) -> None:
    pause(project.state)
    before = sandbox.counts()["requests"]
    for asked in ({}, {"until_done": True}, {"size": "auto", "max_seconds": 60.0}):
        report = run_quickly(project, **asked)
        assert (report.ended, report.exit_code, report.bursts, report.counts.pending) == ("paused", 0, 0, 4)
        assert report.as_text().startswith("Nothing was started: runs have been paused since ")
        assert "`burst resume`" in str(report.reason)
    assert project.bursts() == []
    assert sandbox.counts()["requests"] == before
    assert resume(project.state).is_new
    assert run_quickly(project).completed == 4


def test_what_a_run_left_is_taken_back_at_once_and_what_renders_is_collected_by_the_next(
    project: Project, sandbox: Sandbox
) -> None:
    left_behind(sandbox, project)
    report = pause(project.state)
    assert (report.at_work, len(report.taken_back), report.still_out) == (None, 3, 1)
    assert "3 items taken back from the queue, no attempt charged" in report.as_text()
    assert "`burst run` collects them even while runs are paused" in report.as_text()
    assert project.statuses() == ["submitted", "pending", "pending", "pending"]
    with ComfyUI(sandbox.url) as client:
        assert client.queue_remaining() == 1
    sandbox.release()
    collected = run_quickly(project)
    assert (collected.ended, collected.exit_code, collected.completed) == ("paused", 0, 1)
    assert sandbox.counts()["posts"] == 4
    resume(project.state)
    assert run_quickly(project).completed == 3
    project.check_all_done(sandbox.counts())


def test_twice_is_once_and_so_is_resume(project: Project) -> None:
    first, second = pause(project.state), pause(project.state)
    assert (first.is_new, second.is_new) == (True, False)
    assert first.pause == second.pause
    assert second.as_text().startswith("Paused already, since ")
    facts = parts_of(project.state).facts
    assert len(facts.path.read_text().splitlines()) == 1
    third = pause(project.state, free=True)
    assert third.pause is not None
    assert (third.is_new, third.pause.free, third.pause.at) == (True, True, first.pause and first.pause.at)
    assert [resume(project.state).is_new for _ in range(2)] == [True, False]
    assert resume(project.state).as_text().startswith("Nothing was paused.\n4 remaining. Next: burst run")


def test_models_are_unloaded_also_where_no_run_is_at_work(project: Project, sandbox: Sandbox) -> None:
    pause(project.state, free=True)
    assert sandbox.counts()["requests"]["POST /free"] == 1


def test_a_server_that_does_not_answer_is_named_and_the_pause_is_set(project: Project, sandbox: Sandbox) -> None:
    left_behind(sandbox, project)
    sandbox.release()
    sandbox.close()
    report = pause(project.state, free=True, patience_seconds=0.0)
    assert (report.taken_back, report.still_out) == ((), 4)
    assert len(report.notes) == 2
    assert "What waits there stays" in report.notes[0]
    assert "could not be asked to unload its models" in report.notes[1]
    assert parts_of(project.state).pause() is not None


def test_generate_adds_and_says_so_and_cancel_works(project: Project, sandbox: Sandbox) -> None:
    pause(project.state)
    spec = BatchSpec(prompt="a lighthouse", count=2, seed=7)
    made = generate(spec, request=Request(state=project.state))
    assert isinstance(made, Generated)
    assert (made.ended, made.exit_code, made.remaining, made.resume) == ("paused", 0, 2, "burst resume")
    assert "Stopped: runs have been paused since " in made.as_text()
    assert sandbox.counts()["posts"] == 0
    again = generate(spec, request=Request(state=project.state))
    assert isinstance(again, Generated)
    assert again.continued, "nothing was rendered, so the same request is the same batch"
    queued = generate(BatchSpec(prompt="an owl"), request=Request(state=project.state), queue_only=True)
    assert isinstance(queued, Generated)
    assert queued.ended == "queued"
    assert any(note.startswith("runs have been paused since ") for note in queued.notes)
    assert "Next: burst resume" in queued.as_text()
    assert len(cancel(project.state, [made.record.batch]).keys) == 2
    resume(project.state)
    assert run_quickly(project, until_done=True).completed == 5


def test_generate_at_work_ends_with_what_renders(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=1)
    sandbox.hold("render")
    spec = BatchSpec(prompt="a lighthouse", count=3, seed=7)
    with in_background(generate, spec, request=Request(state=project.state, poll_seconds=0.2)) as end:
        project.wait_for(Status.SUBMITTED, 3)
        with ComfyUI(sandbox.url) as client:
            wait_until(lambda: client.queue().running, what="a render")
        pause(project.state)
        project.wait_for(Status.PENDING, 3)
        sandbox.release()
        made = end()
    assert isinstance(made, Generated)
    assert (made.ended, made.exit_code, made.counts.completed, made.remaining) == ("paused", 0, 1, 2)
    assert "; paused" in made.as_text()
    assert made.resume == "burst resume"


def test_a_run_that_another_one_keeps_out_while_that_rests_is_paused_too(project: Project, sandbox: Sandbox) -> None:
    left_behind(sandbox, project)
    with at_work(project.state, burst="theirs"):
        report = pause(project.state)
        assert "burst theirs" in str(report.at_work)
        assert (report.taken_back, report.still_out) == ((), 4)
        kept_out = run_quickly(project)
    assert (kept_out.ended, kept_out.exit_code) == ("paused", 0)
    sandbox.release()


def test_a_killed_run_leaves_the_pause_and_the_next_one_does_the_rest(project: Project, sandbox: Sandbox) -> None:
    sandbox.hold("render")
    with project.start_run("--until-done") as process:
        wait_for_one_to_render(sandbox, project)
        pause(project.state)
        process.kill()
    assert parts_of(project.state).pause() is not None
    report = pause(project.state)
    assert not report.is_new
    sandbox.release()
    ended = run_quickly(project)
    assert (ended.ended, ended.exit_code) == ("paused", 0)
    counts = sandbox.counts()
    assert counts["posts"] == 4
    assert counts["rendered_by_item"] == {item.key: 1 for item in project.items(Status.COMPLETED)}
    assert project.count(Status.SUBMITTED) == 0
    resume(project.state)
    run_quickly(project)
    project.check_all_done(sandbox.counts())


def test_status_shows_it_and_watch_sees_it_come_and_go(project: Project) -> None:
    assert read_status(project.state).as_json()["paused"] is None
    seen = watch_status(project.state)
    assert next(seen).pause is None
    pause(project.state, free=True)
    assert next(seen).pause is not None
    shown = read_status(project.state)
    assert shown.as_json()["paused"] == {"since": shown.pause and shown.pause.at.isoformat(), "free": True}
    assert "Paused since " in shown.as_text()
    assert shown.as_text().splitlines()[-1].endswith("Next: burst resume")
    resume(project.state)
    assert next(seen).pause is None
    assert read_status(project.state).as_text().splitlines()[-1].endswith("Next: burst run")


def test_a_moved_server_is_noted_while_paused_too(project: Project, sandbox: Sandbox) -> None:
    pause(project.state)
    with Sandbox() as other:
        moved = Run(Request(state=project.state, server_moved=(sandbox.url, other.url))).execute()
        assert (moved.ended, moved.exit_code) == ("paused", 0)
        assert other.counts()["posts"] == 0
        assert other.url in (project.folder / "settings.toml").read_text()


def test_a_state_that_is_not_there_is_named(tmp_path: Path) -> None:
    for ask in (pause, resume):
        with pytest.raises(StateError, match=r"nowhere\.json"):
            ask(tmp_path / "nowhere.json")
    assert list(tmp_path.iterdir()) == []


def test_the_commands(project: Project) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, [*arguments, "--state", str(project.state)])
        return result.exit_code, result.stdout

    assert said("pause")[1].startswith("Paused since ")
    code, text = said("run")
    assert (code, "Nothing was started: runs have been paused since " in text) == (0, True)
    assert said("pause")[1].startswith("Paused already, since ")
    code, text = said("pause", "--json")
    assert (code, '"schema": "burst.pause/1"' in text, '"changed": false' in text) == (0, True, True)
    assert said("resume")[1].splitlines() == ["Resumed.", "4 remaining. Next: burst run"]
    code, text = said("resume", "--json")
    assert (code, '"schema": "burst.pause/1"' in text, '"paused": null' in text) == (0, True, True)
