"""Whole bursts as processes against a server that errs, forgets, renames, or is used by others too."""

from __future__ import annotations

import json
import time

import pytest
import requests
from PIL import Image
from support.projects import MakeProject, Project, small_template
from support.proxy import Proxy
from support.waiting import wait_until

from orchestrator.sandbox import Sandbox
from orchestrator.servers import default_name
from state.item import Item, Status


def tell(sandbox: Sandbox, path: str, body: object) -> None:
    """What somebody else does to the server."""
    requests.post(sandbox.url + path, json=body, timeout=10).raise_for_status()


def running(sandbox: Sandbox) -> list[str]:
    return [entry[1] for entry in requests.get(sandbox.url + "/queue", timeout=10).json()["queue_running"]]


def waiting(sandbox: Sandbox) -> list[str]:
    return [entry[1] for entry in requests.get(sandbox.url + "/queue", timeout=10).json()["queue_pending"]]


def wait_for_accepted(project: Project, count: int) -> list[Item]:
    wait_until(lambda: sum(item.accepted for item in project.items()) == count, what=f"{count} accepted")
    return project.items()


class TestOutputs:
    def test_four_pictures_of_each_of_two_nodes_and_a_text(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        project = make_project(count=2, template=small_template(batch_size=4, save_nodes=2, text=True))
        project.burst("update", "--outputs", "class=SaveImage,20")
        assert project.run().code == 0
        paths = [output.path for output in project.item().outputs]
        pictures = ["EP01/prompt_001.png"] + [f"EP01/prompt_001_{number:03d}.png" for number in range(2, 9)]
        assert paths == [*pictures, "EP01/prompt_001_009.txt"]
        assert (project.output / paths[-1]).read_text()
        project.check_all_done(sandbox.counts())

    def test_a_truncated_download_goes_on_where_it_broke(
        self, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy
    ) -> None:
        project = make_project(count=1, server=proxy.url)
        project.run(launch=["--kill", "before:orchestrator.outputs:Outputs.fetch"])
        (picture,) = sandbox.output_directory.rglob("*.png")
        Image.effect_noise((1024, 1024), 90.0).save(picture)
        sandbox.change(truncate_next=1)
        assert project.run(launch=["--in-doubt", "0.5"]).report["completed"] == 1
        views = [request for request in proxy.requests if request.startswith("GET /api/view")]
        assert ["Range: bytes=" in request for request in views] == [False, True]
        (output,) = project.item().outputs
        assert (project.output / output.path).read_bytes() == picture.read_bytes()

    def test_equal_graphs_end_in_files_of_their_own(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        """The server answers the second from its cache as far as it can."""
        project = make_project(count=3)
        for path in project.prompts.rglob("*.txt"):
            path.write_text("the same for all")
        assert project.run().report["completed"] == 3
        files = list(project.output.rglob("*.png"))
        assert len(files) == 3
        project.check_all_done(sandbox.counts())


class TestErrors:
    def test_errors_are_tried_again(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.change(fail_next=2)
        project = make_project(count=1)
        assert project.run().code == 0
        assert (project.item().status, project.item().attempts) == (Status.COMPLETED, 2)
        project.check_all_done(sandbox.counts())

    def test_up_to_the_last_attempt(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.change(fail_next=2)
        project = make_project(count=2)
        ended = project.run("--max-attempts", "1", "-n", "5")
        assert ended.code == 1
        assert project.statuses() == ["failed", "failed"]
        error = project.item().error
        assert error is not None
        assert (error.kind, error.node_id) == ("execution_error", "3")
        assert "the sandbox was told to fail" in error.message
        assert [failure["item"] for failure in ended.report["failures"]] == [item.key for item in project.items()]
        assert project.burst("status", "--check").code == 3
        assert project.burst("retry", "--json").code == 0
        assert project.run().code == 0
        project.check_all_done(sandbox.counts())

    def test_on_error_stop_leaves_the_rest(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.change(fail_next=1, seconds_per_prompt=1.5)
        project = make_project(count=4)
        ended = project.run("--max-attempts", "1", "--on-error", "stop")
        sandbox.change(seconds_per_prompt=0.0)
        assert (ended.code, ended.report["ended"]) == (1, "failure")
        assert project.count(Status.FAILED) == 1
        assert project.count(Status.COMPLETED) == 0
        assert project.run("--until-done").code == 0
        assert project.count(Status.COMPLETED) == 3

    def test_out_of_memory_frees_it_and_tries_once_more(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.change(out_of_memory_next=1)
        project = make_project(count=1)
        assert project.run().code == 0
        assert sandbox.counts()["requests"]["POST /free"] == 1
        project.check_all_done(sandbox.counts())

    def test_out_of_memory_twice_fails_with_advice(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.change(out_of_memory_next=2)
        project = make_project(count=1)
        assert project.run("--max-attempts", "5").code == 1
        assert sandbox.settings.out_of_memory_next == 0
        assert sandbox.counts()["requests"]["POST /free"] == 1
        error = project.item().error
        assert error is not None
        assert error.kind == "out_of_memory"
        assert "smaller batch_size" in error.message


class TestOthersAtTheServer:
    @pytest.mark.parametrize("how", ["deleted", "cleared"])
    def test_a_prompt_taken_from_the_queue_is_sent_again(
        self, make_project: MakeProject, sandbox: Sandbox, how: str
    ) -> None:
        sandbox.hold("render")
        project = make_project()
        with project.start_run(launch=["--sweep", "0.3"]) as run:
            items = wait_for_accepted(project, 3)
            gone = waiting(sandbox)
            tell(sandbox, "/queue", {"delete": gone[:1]} if how == "deleted" else {"clear": True})
            sandbox.release()
            report = run.end().report
        lost = gone[:1] if how == "deleted" else gone
        assert report["put_back"] == len(lost)
        for before, after in zip(items, project.items(), strict=True):
            assert after.attempts == 0
            assert (before.prompt_id != after.prompt_id) == (before.prompt_id in lost)
        project.check_all_done(sandbox.counts())

    def test_an_interruption_by_somebody_else_costs_an_attempt(
        self, make_project: MakeProject, sandbox: Sandbox
    ) -> None:
        sandbox.hold("render")
        project = make_project(count=2)
        with project.start_run() as run:
            wait_for_accepted(project, 2)
            wait_until(lambda: running(sandbox))
            tell(sandbox, "/interrupt", {})
            sandbox.release()
            assert run.end().report["put_back"] == 1
        assert [item.attempts for item in project.items()] == [1, 0]
        project.check_all_done(sandbox.counts())

    @pytest.mark.parametrize("dropped", ["drop_before_queue_next", "drop_after_queue_next"])
    def test_a_post_without_an_answer_is_looked_up(
        self, make_project: MakeProject, sandbox: Sandbox, dropped: str
    ) -> None:
        sandbox.change(**{dropped: 1})
        project = make_project()
        report = project.run(launch=["--in-doubt", "0.5"]).report
        assert report["completed"] == 3
        assert report["put_back"] == (dropped == "drop_before_queue_next")
        project.check_all_done(sandbox.counts())

    def test_a_server_that_renames_prompts_is_believed(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.change(rename_prompts=True)
        project = make_project()
        assert project.run("-n", "1").code == 0
        (item,) = project.items(Status.COMPLETED)
        assert item.prompt_id in sandbox.counts()["rendered"]
        sandbox.hold("next")
        assert project.run(launch=["--kill", "after:orchestrator.comfyui:ComfyUI.submit:2"]).code == 137
        sandbox.release()
        assert project.run(launch=["--in-doubt", "0.5"]).report["recovered"] == 2
        assert sandbox.counts()["posts"] == 3
        project.check_all_done(sandbox.counts())

    def test_a_renamed_prompt_that_ended_before_its_answer_was_noted_is_found_by_its_files(
        self, make_project: MakeProject, sandbox: Sandbox
    ) -> None:
        sandbox.change(rename_prompts=True)
        project = make_project(count=1)
        assert project.run(launch=["--kill", "after:orchestrator.comfyui:ComfyUI.submit"]).code == 137
        wait_until(lambda: sandbox.counts()["rendered"])
        assert project.run(launch=["--in-doubt", "0.5"]).report["rescued"] == 1
        project.check_all_done(sandbox.counts())

    def test_the_jobs_api_is_used_where_it_is(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.change(comfyui_version="0.33.0")
        sandbox.hold("next")
        project = make_project()
        assert project.run(launch=["--kill", "after:orchestrator.comfyui:ComfyUI.submit:3"]).code == 137
        with project.start_run(launch=["--in-doubt", "0.5"]) as run:
            wait_for_accepted(project, 3)
            sandbox.release()
            assert run.end().code == 0
        assert sandbox.counts()["requests"]["GET /queue"] == 2, "once at the start of each burst, for strays"
        project.check_all_done(sandbox.counts())


class TestNoAnswer:
    def test_pages_of_a_proxy_say_nothing_about_a_prompt(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        project = make_project(count=2)
        assert project.run(launch=["--kill", "before:orchestrator.outputs:Outputs.fetch"]).code == 137
        sandbox.change(unavailable_next=4)
        report = project.run().report
        assert (report["recovered"], report["put_back"], report["completed"]) == (2, 0, 2)
        assert (sandbox.settings.unavailable_next, sandbox.counts()["posts"]) == (0, 2)
        project.check_all_done(sandbox.counts())

    def test_a_server_that_is_down_keeps_its_items(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        project = make_project(count=2)
        sandbox.hold("next")
        assert project.run(launch=["--kill", "after:orchestrator.comfyui:ComfyUI.submit:2"]).code == 137
        before = project.items()
        sandbox.change(unavailable_rate=1.0)
        ended = project.run("--max-seconds", "6")
        assert ended.code == 75
        assert "answered 503" in ended.report["reason"]
        assert project.items() == before
        sandbox.change(unavailable_rate=0.0)
        sandbox.release()
        assert project.run(launch=["--in-doubt", "0.5"]).code == 0
        assert sandbox.counts()["posts"] == 2
        project.check_all_done(sandbox.counts())


class TestHowMuch:
    def test_ahead_keeps_prompts_on_the_server_for_the_next_burst(
        self, make_project: MakeProject, sandbox: Sandbox
    ) -> None:
        sandbox.change(seconds_per_prompt=0.1)
        project = make_project(count=6)
        report = project.run("-n", "2", "--ahead", "2").report
        assert (report["completed"], report["counts"]["submitted"]) == (2, 2)
        wait_until(lambda: len(sandbox.counts()["rendered"]) == 4, what="the two ahead, while no burst lives")
        report = project.run("-n", "2", "--ahead", "2").report
        assert (report["recovered"], report["completed"], report["counts"]["submitted"]) == (2, 2, 2)
        assert project.run("-n", "2", "--ahead", "2").report["completed"] == 2
        project.check_all_done(sandbox.counts())

    def test_until_done(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        project = make_project(count=7)
        report = project.run("-n", "2", "--until-done").report
        # Several may end in one checkpoint, so that a burst may end with more than it was to end.
        assert report["completed"] == 7
        assert 2 <= report["bursts"] <= 4
        project.check_all_done(sandbox.counts())

    def test_until_done_ends_where_the_rest_is_on_another_server(
        self, make_project: MakeProject, sandbox: Sandbox
    ) -> None:
        project = make_project(count=2)
        assert project.run("-n", "1", launch=["--kill", "after:orchestrator.comfyui:ComfyUI.submit"]).code == 137
        with Proxy(sandbox.url) as other:
            report = project.run("--until-done", "--server", other.url).report
        assert report["counts"]["submitted"] == 1
        assert any(default_name(sandbox.url) in note for note in report["notes"])
        assert project.run("--until-done", launch=["--in-doubt", "0.5"]).code == 0
        project.check_all_done(sandbox.counts())

    def test_max_seconds_ends_in_time_and_leaves_the_rest_to_the_next(
        self, make_project: MakeProject, sandbox: Sandbox
    ) -> None:
        sandbox.hold("render")
        project = make_project()
        ended = project.run("--max-seconds", "0.5")
        assert (ended.code, ended.report["ended"]) == (0, "deadline")
        assert ended.report["seconds"] < 3.0
        assert project.count(Status.SUBMITTED) == 3
        sandbox.release()
        assert project.run().report["recovered"] == 3
        project.check_all_done(sandbox.counts())


class TestOtherProcessesMeanwhile:
    def test_cancel_settles_pending_waiting_and_running_items(
        self, make_project: MakeProject, sandbox: Sandbox
    ) -> None:
        sandbox.change(seconds_per_prompt=60.0)
        project = make_project(count=4)
        with project.start_run("-n", "3", "--poll-interval", "5") as run:
            out = wait_for_accepted(project, 3)
            wait_until(lambda: running(sandbox) == [out[0].prompt_id])
            pending, queued = project.items()[3], out[1]
            for item in (pending, queued, out[0]):
                ended = project.burst("cancel", item.key, "--json")
                assert ended.code == 0, ended.err
                told = time.monotonic()
                wait_until(lambda item=item: self.status(project, item.key) is Status.CANCELLED)
                assert time.monotonic() - told < 2.0
            wait_until(lambda: running(sandbox) == [out[2].prompt_id])
            assert run.lives()
            assert project.burst("cancel", "--all").code == 0
            report = run.end().report
        assert (report["cancelled"], report["completed"]) == (3, 0)
        assert sandbox.counts()["rendered"] == {}

    def status(self, project: Project, key: str) -> Status:
        return next(item.status for item in project.items() if item.key == key)

    def test_cancelling_one_never_stops_another(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        """Servers that do not read the id of an interruption stop whatever runs: they are asked what runs first."""
        sandbox.hold("render")
        project = make_project(count=2)
        with project.start_run() as run:
            out = wait_for_accepted(project, 2)
            wait_until(lambda: running(sandbox) == [out[0].prompt_id])
            assert project.burst("cancel", out[1].key).code == 0
            wait_until(lambda: self.status(project, out[1].key) is Status.CANCELLED)
            assert "POST /interrupt" not in sandbox.counts()["requests"]
            sandbox.release()
            assert run.end().report["completed"] == 1

    def test_cancel_without_a_burst(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.hold("render")
        project = make_project(count=2)
        assert project.run("--max-seconds", "0.3").code == 0
        assert project.burst("cancel", project.item(2).key, "--json").code == 0
        assert project.statuses() == ["submitted", "cancelled"]
        sandbox.release()
        assert project.run().code == 0
        assert project.statuses() == ["completed", "cancelled"]
        assert sandbox.counts()["rendered_by_item"] == {project.item(1).key: 1}

    def test_items_are_added_while_a_burst_runs(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.hold("render")
        project = make_project(count=2)
        with project.start_run() as run:
            wait_for_accepted(project, 2)
            project.add_prompts([3, 4])
            wait_for_accepted(project, 4)
            sandbox.release()
            assert run.end().report["completed"] == 4
        project.check_all_done(sandbox.counts())

    def test_retry_while_a_burst_runs(self, make_project: MakeProject, sandbox: Sandbox) -> None:
        sandbox.change(fail_next=1)
        project = make_project(count=2)
        assert project.run("--max-attempts", "1", "-n", "1").code == 1
        sandbox.hold("render")
        with project.start_run() as run:
            wait_for_accepted(project, 1)
            assert project.burst("retry").code == 0
            wait_for_accepted(project, 2)
            sandbox.release()
            assert run.end().report["completed"] == 2
        project.check_all_done(sandbox.counts())

    @pytest.mark.parametrize("finished", [False, True], ids=["still out", "finished meanwhile"])
    def test_set_to_pending_by_hand_while_it_is_out_it_is_looked_up_first(
        self, make_project: MakeProject, sandbox: Sandbox, finished: bool
    ) -> None:
        sandbox.hold("render")
        project = make_project(count=2)
        assert project.run("--max-seconds", "0.3").code == 0
        records = json.loads(project.state.read_text())
        for record in records.values():
            assert record["status"] == "submitted"
            record["status"] = "pending"
        project.state.write_text(json.dumps(records, indent=2))
        if finished:
            sandbox.release()
            wait_until(lambda: len(sandbox.counts()["rendered"]) == 2)
        with project.start_run() as run:
            wait_until(lambda: sandbox.counts()["requests"].get("GET /queue") or finished)
            sandbox.release()
            assert run.end().code == 0
        assert sandbox.counts()["posts"] == 2
        project.check_all_done(sandbox.counts())
