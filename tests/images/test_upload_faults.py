"""Uploads that meet trouble, and pictures that cannot be given: one message each, and nothing else is held up."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.case_folding_disk import run_without_rights
from support.image_project import PictureProject, check_given_once, draw, uploads, wanted_name
from support.proxy import Proxy, http_answer

from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.report import BurstReport
from orchestrator.input_files import LARGEST_UPLOAD_BYTES
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from state.item import Status

MakeProject = Callable[..., PictureProject]
Burst = Callable[..., BurstReport]
SetTimes = Callable[..., None]
UPLOAD = "POST /api/upload/image"
PAGE = b"<html>Bad gateway</html>"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda proxy: proxy.reset(UPLOAD, times=3),
        lambda proxy: proxy.reset_answers(UPLOAD, times=3),
        lambda proxy: proxy.reset_answers(UPLOAD, after_bytes=60, times=3),
        lambda proxy: proxy.answer(UPLOAD, http_answer(503, PAGE), times=3),
        lambda proxy: proxy.answer(UPLOAD, http_answer(502, PAGE), reaches_server=True, times=3),
        lambda proxy: proxy.reset_answers("GET /api/view?", after_bytes=30, times=2),
    ],
    ids=["reset", "answer lost", "answer cut", "503", "502, and it arrived", "the look before it"],
)
def test_trouble_that_passes_is_not_noticed(
    spoil: Callable[[Proxy], None], make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    project = make_project(count=4, server=proxy.url)
    spoil(proxy)
    report = burst(project)
    assert (report.exit_code, report.completed, report.put_back) == (0, 4, 0)
    assert proxy.spoilings_left() == 0
    check_given_once(project, sandbox, sent=uploads(sandbox))


@pytest.mark.parametrize("status", [503, 429])
def test_a_server_that_takes_no_picture_at_all_keeps_every_item_due(
    status: int, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, set_times: SetTimes
) -> None:
    set_times(retry_seconds=0.2)
    project = make_project(count=4, server=proxy.url)
    proxy.answer(UPLOAD, http_answer(status, PAGE))
    report = burst(project)
    assert report.exit_code == 75
    assert report.reason is not None
    assert f"/upload/image answered {status}" in report.reason
    assert {(item.status, item.attempts) for item in project.items()} == {(Status.PENDING, 0)}
    proxy.heal()
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox)


def test_a_picture_that_never_gets_through_while_others_do_fails_alone_after_its_attempts(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst, set_times: SetTimes
) -> None:
    set_times(retry_seconds=1.0)
    project = make_project(count=8, server=proxy.url)
    name = wanted_name(project.picture(3)).rpartition("/")[2]
    proxy.answer(UPLOAD, http_answer(502, PAGE), containing=name)
    report = burst(project, max_attempts=2)
    assert (report.exit_code, report.completed, report.failed) == (1, 7, 1)
    bad = project.item(3)
    assert bad.error is not None
    assert (bad.status, bad.error.kind, bad.attempts) == (Status.FAILED, "upload", 2)
    assert "answered 502" in bad.error.message
    proxy.heal()
    retry(project.state)
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox)


@pytest.mark.parametrize("status", [400, 413])
def test_a_picture_that_the_server_refuses_fails_alone_at_once(
    status: int, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    project = make_project(count=3, server=proxy.url)
    name = wanted_name(project.picture(2)).rpartition("/")[2]
    proxy.answer(UPLOAD, http_answer(status, b"too much"), containing=name)
    report = burst(project)
    assert (report.exit_code, report.completed, report.failed) == (1, 2, 1)
    error = project.item(2).error
    assert error is not None
    assert (error.kind, project.item(2).attempts) == ("upload", 0)
    assert f"the server refuses the image: {proxy.url}: POST /api/upload/image answered {status}" in error.message
    assert sandbox.counts()["posts"] == 2
    proxy.heal()
    retry(project.state)
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox)


def test_a_server_that_wants_a_key_for_uploads_stops_the_burst(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    project = make_project(count=2, server=proxy.url)
    proxy.answer(UPLOAD, http_answer(401, b"who are you"))
    report = burst(project)
    assert report.exit_code == 2
    assert "give the server's key with headers" in (report.reason or "")
    assert {(item.status, item.attempts) for item in project.items()} == {(Status.PENDING, 0)}


def test_what_the_server_calls_it_is_what_the_prompt_loads(
    make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, burst: Burst
) -> None:
    """Where something else has the name, a server numbers the new one."""
    project = make_project(count=1, server=proxy.url)
    named = project.server_directory / "input" / "elsewhere" / "a (1).png"
    named.parent.mkdir()
    shutil.copy(project.picture(1), named)
    told = b'{"name": "a (1).png", "subfolder": "elsewhere", "type": "input"}'
    proxy.answer(UPLOAD, http_answer(200, told, content_type="application/json"))
    assert burst(project).exit_code == 0
    with ComfyUI(sandbox.url) as client:
        entry = client.history(project.item().prompt_id or "")
    assert entry is not None
    assert entry.graph["1"]["inputs"]["image"] == "elsewhere/a (1).png"
    assert project.init(rescan=True).put_back == (), "the fingerprint is the picture's, whatever a server calls it"


Damage = Callable[[Path], object]


def cut(path: Path) -> None:
    draw(path, 2, side=64)
    path.write_bytes(path.read_bytes()[:-2000])


def enormous(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(LARGEST_UPLOAD_BYTES + 1)


DAMAGES: dict[str, tuple[Damage, str]] = {
    "gone": (lambda path: None, "is gone; restore it"),
    "empty": (lambda path: path.write_bytes(b""), "not an image; put a whole image there"),
    "text": (lambda path: path.write_text("a fox in the snow"), "not an image; put a whole image there"),
    "cut short": (cut, "cut short or damaged; put a whole image there"),
    "a directory": (Path.mkdir, "no ordinary file"),
    "a named pipe": (os.mkfifo, "no ordinary file"),
    "a link to nowhere": (lambda path: path.symlink_to("nowhere.png"), "is gone; restore it"),
    "a device without end": (lambda path: path.symlink_to("/dev/zero"), "no ordinary file"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_bad_picture_fails_its_item_alone_and_is_done_when_it_is_mended(
    name: str, make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    damage, message = DAMAGES[name]
    project = make_project(count=3)
    path = project.picture(2)
    path.unlink()
    damage(path)
    report = burst(project)
    assert (report.exit_code, report.completed, report.failed) == (1, 2, 1)
    ((key, said),) = report.failures
    assert key == project.item(2).key
    assert message in said
    assert path.name in said
    error = project.item(2).error
    assert error is not None
    assert (error.kind, project.item(2).attempts) == ("upload", 0)
    assert (sandbox.counts()["posts"], uploads(sandbox)) == (2, 2)
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    draw(path, 2)
    assert retry(project.state).keys == (key,)
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox)


def test_a_picture_may_be_too_large(make_project: MakeProject, burst: Burst, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(count=1)
    monkeypatch.setattr("orchestrator.input_files.LARGEST_UPLOAD_BYTES", project.picture(1).stat().st_size - 1)
    report = burst(project)
    assert "too large for an upload" in report.failures[0][1]


def test_a_picture_that_may_not_be_read(make_project: MakeProject, sandbox: Sandbox) -> None:
    project = make_project(count=2)
    project.picture(1).chmod(0)
    ended = run_without_rights(project, "run", "--json", "--poll-interval", "0.2")
    assert ended.code == 1
    ((failure),) = ended.report["failures"]
    assert "photo_001.png: cannot be read: Permission denied" in failure["message"]
    assert "Traceback" not in ended.err
    assert project.count(Status.COMPLETED) == 1


def test_what_phones_write_behind_a_picture_is_no_fault_of_it(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    def moving(photos: Path) -> None:
        path = draw(photos / "motion.jpg", 5, side=32)
        path.write_bytes(path.read_bytes() + b"ftypmp42" * 500)

    project = make_project(count=0, prepare=moving)
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox, [project.photos / "motion.jpg"])


def test_a_format_that_only_the_server_may_know_is_given_as_it_is(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    """The sandbox cannot read it either: its own words are what the item fails with."""
    project = make_project(count=1)
    (project.photos / "light.exr").write_bytes(b"\x76\x2f\x31\x01 and so on")
    project.init(patterns=["*.exr"])
    report = burst(project, max_attempts=1)
    assert (report.completed, report.failed) == (1, 1)
    assert "UnidentifiedImageError" in report.failures[0][1]
    assert uploads(sandbox) == 2


def test_an_original_is_never_overwritten(make_project: MakeProject, sandbox: Sandbox) -> None:
    """Not even with --overwrite into the directory that holds it."""
    project = make_project(count=2)
    before = {path: path.read_bytes() for path in project.photos.rglob("*.png")}
    project.take_recipes_out()
    ended = project.run("--overwrite", "--output", str(project.photos))
    assert ended.code == 1
    assert "photo_001.png already belongs to another item" in str(ended.report["failures"])
    assert {path: path.read_bytes() for path in project.photos.rglob("*.png")} == before
    assert sandbox.counts()["posts"] == 0


def test_uploads_written_by_hand(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    """Under an id of the user's own, absolute, by the address of an input; and one that fits nothing fails alone."""
    project = make_project(count=1)
    picture = draw(project.home / "elsewhere" / "b.png", 50)
    inputs = {"shot 1": "1.image", "shot 2": "depth"}
    records = {key: {"status": "pending", "uploads": {name: str(picture)}} for key, name in inputs.items()}
    project.state.write_text(json.dumps(records))
    report = burst(project)
    assert (report.completed, report.failed) == (1, 1)
    first, second = project.items()
    assert [one.path for one in first.outputs] == ["shot 1.png"]
    assert second.error is not None
    assert "this workflow has no binding 'depth'" in second.error.message
