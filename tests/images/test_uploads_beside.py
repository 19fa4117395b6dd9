"""Uploads happen beside the rendering and the watching; a slow link, one of several servers, texts and dry runs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.background import in_background
from support.burst_runs import run_quickly
from support.image_project import INVERT, PictureProject, check_given_once, draw, on_server, uploads, wanted_name
from support.projects import Graph
from support.proxy import Proxy, http_answer
from support.waiting import wait_until

from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.uploads import Uploads
from orchestrator.sandbox import Sandbox
from orchestrator.servers import default_name
from state.item import Status

MakeProject = Callable[..., PictureProject]
Burst = Callable[..., BurstReport]
UPLOAD = "POST /api/upload/image"


def test_the_first_is_rendered_while_the_others_are_on_their_way(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy
) -> None:
    """The naive way gives the server all pictures of a burst before it sends the first prompt."""
    project = make_project(count=6, server=proxy.url)
    for number in (2, 3, 4, 5, 6):
        proxy.hold(UPLOAD, containing=wanted_name(project.picture(number)).rpartition("/")[2])
    with in_background(run_quickly, project) as result:
        proxy.wait_for_held()
        try:
            wait_until(lambda: project.count(Status.COMPLETED) == 1, seconds=10.0, what="the first is done")
            assert uploads(sandbox) == 1
        finally:
            proxy.release()
        assert result().completed == 6
    check_given_once(project, sandbox)


def test_the_next_are_uploaded_while_one_renders(make_project: MakeProject, sandbox: Sandbox) -> None:
    """The naive way gives the server a picture when it is that item's turn to be rendered."""
    project = make_project(count=6)
    sandbox.hold("render")
    with in_background(run_quickly, project) as result:
        try:
            wait_until(lambda: uploads(sandbox) == 6, seconds=10.0, what="all are uploaded")
            wait_until(lambda: sandbox.counts()["posts"] == 6, seconds=10.0, what="all are sent")
            assert sandbox.counts()["rendered_by_item"] == {}
        finally:
            sandbox.release()
        assert result().completed == 6
    check_given_once(project, sandbox)


def test_a_held_upload_keeps_no_finished_item_from_its_checkpoint(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy
) -> None:
    project = make_project(count=6, server=proxy.url)
    proxy.hold(UPLOAD, containing=wanted_name(project.picture(2)).rpartition("/")[2])
    with in_background(run_quickly, project) as result:
        try:
            wait_until(lambda: project.count(Status.COMPLETED) == 5, what="the other five are done")
        finally:
            proxy.release()
        assert result().completed == 6


def test_an_item_that_is_cancelled_while_its_picture_is_on_its_way_is_not_sent(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy
) -> None:
    project = make_project(count=2, server=proxy.url)
    proxy.hold(UPLOAD, containing=wanted_name(project.picture(2)).rpartition("/")[2])
    with in_background(run_quickly, project) as result:
        proxy.wait_for_held()
        assert project.burst("cancel", project.item(2).key).code == 0
        proxy.release()
        assert result().completed == 1
    assert project.statuses() == ["completed", "cancelled"]
    assert sandbox.counts()["posts"] == 1


def test_a_signal_does_not_wait_for_an_upload(make_project: MakeProject, sandbox: Sandbox, proxy: Proxy) -> None:
    project = make_project(count=3, server=proxy.url)
    proxy.hold(UPLOAD)
    with project.start_run() as run:
        proxy.wait_for_held(2)
        ended = run.stop(signal.SIGTERM)
    assert (ended.code, project.statuses()) == (143, ["pending"] * 3)
    assert ended.seconds < 5.0, "the read time-out is 30 s"
    proxy.release()
    assert project.run().code == 0
    project.check_all_done(sandbox.counts())


SAVES_ALONE: Graph = {**INVERT, "3": {"class_type": "SaveWithoutPrefix", "inputs": {"images": ["2", 0]}}}


def test_a_template_that_runs_alone_uploads_for_one_at_a_time(make_project: MakeProject, sandbox: Sandbox) -> None:
    """Its save node takes no prefix; the server has no such class, and says so before anything is charged."""
    project = make_project(count=3, template=SAVES_ALONE)
    report = run_quickly(project)
    assert "does not exist" in (report.reason or "")
    assert any("one at a time" in note for note in report.notes)
    assert uploads(sandbox) == 1
    assert {item.status for item in project.items()} == {Status.PENDING}


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(directory=tmp_path / "other") as running:
        yield running


def given_to(directory: Path) -> set[str]:
    return set(on_server(directory))


def test_each_server_is_given_what_it_renders_and_nothing_else(
    make_project: MakeProject, sandbox: Sandbox, other: Sandbox, tmp_path: Path
) -> None:
    project = make_project(count=12, prepare=lambda photos: [draw(photos / f"{name}.png", 500) for name in "abcd"])
    for server in (sandbox, other):
        server.change(seconds_per_prompt=0.1)
    assert run_quickly(project, server=[sandbox.url, other.url], size=16).exit_code == 0
    for server, directory in ((sandbox, project.server_directory), (other, tmp_path / "other")):
        rendered = [item for item in project.items() if item.server == default_name(server.url)]
        assert rendered
        assert given_to(directory) == {wanted_name(project.home / item.key) for item in rendered}
        assert uploads(server) == len(given_to(directory))
    both = [server.counts()["rendered_by_item"] for server in (sandbox, other)]
    assert both[0] | both[1] == dict.fromkeys((item.key for item in project.items()), 1)
    assert not both[0].keys() & both[1].keys()


def test_what_was_on_its_way_to_a_lost_server_goes_to_another(
    make_project: MakeProject, sandbox: Sandbox, other: Sandbox, proxy: Proxy, set_times: Callable[..., None]
) -> None:
    """It goes down when it has shown its pace, so that several pictures are on their way to it."""
    set_times(retry_seconds=0.2)
    project = make_project(count=40, server=proxy.url)
    for number in range(8, 41):
        proxy.hold(UPLOAD, containing=wanted_name(project.picture(number)).rpartition("/")[2])
    for server in (sandbox, other):
        server.change(seconds_per_prompt=0.05)
    with in_background(run_quickly, project, server=[proxy.url, other.url], size=40) as result:
        try:
            proxy.wait_for_held(2)
            # What it had finished by then has to be taken in before it goes for good.
            wait_until(lambda: all(item.server != default_name(proxy.url) for item in project.items(Status.SUBMITTED)))
        finally:
            proxy.refuse()
            proxy.drop()
        report = result()
    assert report.completed == 40, report.as_text()


def test_a_server_of_several_that_takes_no_picture_leaves_all_to_the_others(
    make_project: MakeProject, sandbox: Sandbox, other: Sandbox, proxy: Proxy, set_times: Callable[..., None]
) -> None:
    set_times(retry_seconds=0.2)
    project = make_project(count=8)
    proxy.answer(UPLOAD, http_answer(503, b"no"))
    report = run_quickly(project, server=[proxy.url, other.url])
    assert report.completed == 8, report.as_text()
    assert sandbox.counts()["posts"] == 0


def test_a_server_at_rest_looks_again_for_what_a_lost_one_lets_go_of(
    make_project: MakeProject,
    other: Sandbox,
    proxy: Proxy,
    set_times: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_times(retry_seconds=0.2)
    project = make_project(count=4)
    proxy.answer(UPLOAD, http_answer(503, b"no"))
    abandon = Uploads.abandon

    def late(uploads: Uploads) -> None:
        wait_until(lambda: uploads._context.dispatch._resting, what="the other one to have found nothing")
        abandon(uploads)

    monkeypatch.setattr(Uploads, "abandon", late)
    report = run_quickly(project, server=[proxy.url, other.url])
    assert report.completed == 4, report.as_text()


def test_no_more_are_taken_than_a_server_of_several_can_use(
    make_project: MakeProject, sandbox: Sandbox, other: Sandbox, proxy: Proxy
) -> None:
    """What is on its way counts as out: otherwise the lane would take as many again at every look."""
    project = make_project(count=40, server=proxy.url)
    other.change(seconds_per_prompt=0.1)
    proxy.hold(UPLOAD)
    with in_background(run_quickly, project, server=[proxy.url, other.url], size=40) as result:
        try:
            wait_until(lambda: project.count(Status.COMPLETED) >= 36, what="the other server does nearly all")
        finally:
            proxy.release()
        assert result().completed == 40


TEXTED: Graph = INVERT | {
    "7": {
        "class_type": "RegexReplace",
        "inputs": {"string": "the template's own", "regex_pattern": "x", "replace": "x"},
    },
    "8": {"class_type": "PreviewAny", "inputs": {"source": ["7", 0]}},
}


def texts(photos: Path) -> None:
    draw(photos / "a.png", 1).with_suffix(".txt").write_text("a fox in the snow\n")
    draw(photos / "b.png", 2)
    draw(photos / "c.png", 3).with_suffix(".txt").write_text(" \n")


def test_a_text_of_the_same_name_is_the_prompt(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    project = make_project(count=0, template=TEXTED, prepare=texts)
    assert "3 images found, 2 with a text" in project.init().as_text()
    report = burst(project)
    assert (report.completed, report.failed) == (2, 1)
    assert "photos/c.txt: the prompt text is empty" in report.failures[0][1]
    with ComfyUI(sandbox.url) as client:
        found = [client.history(item.prompt_id or "") for item in project.items()[:2]]
    assert [entry.graph["7"]["inputs"]["string"] for entry in found if entry] == [
        "a fox in the snow",
        "the template's own",
    ]
    (project.photos / "b.txt").write_text("a hare")
    assert project.init(rescan=True).put_back == ("photos/b.png",)


def test_a_template_without_a_prompt_says_that_texts_are_not_used(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=0, prepare=texts)
    assert "takes no prompt text: 2 texts not used" in project.init().as_text()
    assert burst(project).completed == 3


def test_a_dry_run_reads_pictures_and_gives_none(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=4)
    project.picture(2).unlink()
    project.picture(3).write_text("a fox in the snow")
    said: dict[str, Any] = project.run("--dry-run").report
    assert [problem["item"] for problem in said["problems"]] == [project.item(number).key for number in (2, 3)]
    assert said["graph"]["1"]["inputs"]["image"] == wanted_name(project.picture(1))
    assert sandbox.counts()["requests"] == {}


def test_doctor_counts_pictures_that_are_gone_and_expects_the_others_to_be_uploaded(
    make_project: MakeProject, sandbox: Sandbox
) -> None:
    template = {**INVERT, "1": {"class_type": "LoadImage", "inputs": {"image": "not there.png"}}}
    project = make_project(count=3, template=template)
    well = project.burst("doctor", "--json", "--all")
    assert (well.code, well.report["warnings"]) == (0, 0), well.out
    project.picture(2).unlink()
    ended = project.burst("doctor", "--json", "--all")
    assert ended.code == 1
    (problem,) = [check for check in ended.report["checks"] if check["verdict"] == "problem"]
    assert problem["name"] == "images"
    assert problem["facts"]["missing"] == 1
    assert problem["message"].startswith("photos/EP01/photo_002.png: ")
