"""Pictures are given to a server before the prompts that load them, each once, whatever is killed in between."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from support.background import wait_for_renders
from support.image_project import (
    MASKED,
    PictureProject,
    check_given_once,
    draw,
    on_server,
    wanted_name,
)
from support.killing import Killing
from support.preparing import preparation_of
from support.proxy import Proxy
from support.waiting import wait_until

import templates
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.uploads import UPLOADS_AT_ONCE
from orchestrator.sandbox import Sandbox
from state.item import Status

MakeProject = Callable[..., PictureProject]
Burst = Callable[..., BurstReport]
NEXT = ["--in-doubt", "0.5"]


def loaded_by(project: PictureProject, sandbox: Sandbox, number: int, *, node: str = "1") -> str:
    """The picture that the prompt of an item loaded, as its server has it in the history."""
    with ComfyUI(sandbox.url) as client:
        entry = client.history(project.item(number).prompt_id or "")
    assert entry is not None
    name: str = entry.graph[node]["inputs"]["image"]
    return name


def test_each_picture_is_uploaded_loaded_and_its_result_is_called_after_it(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=3)
    before = {path: path.read_bytes() for path in project.photos.rglob("*.png")}
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox)
    for number in (1, 2, 3):
        original = project.picture(number)
        assert loaded_by(project, sandbox, number) == wanted_name(original)
        assert [one.path for one in project.item(number).outputs] == [f"EP01/{original.name}"]
        assert original.read_bytes() == before[original]


def test_equal_pictures_are_one_upload(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    def twins(photos: Path) -> None:
        for name in "abcdef":
            draw(photos / "EP02" / f"{name}.png", 77)

    project = make_project(count=2, prepare=twins)
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox, sent=3)


def test_unusual_names_reach_nobody_but_the_result(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    names = ["a photo (1).PNG", "Füllhorn 狐 🦊.jpeg", "e\u0301.bmp", "x'\";&$.jpg", "#%3F?.png", "a.b.c.png"]
    project = make_project(count=0, prepare=lambda photos: [draw(photos / name, at) for at, name in enumerate(names)])
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox, [project.photos / name for name in names])
    results = {path.name for path in (project.output / "photos").iterdir()}
    assert results == {f"{name.rpartition('.')[0]}.png" for name in names}


@pytest.mark.parametrize(
    "place",
    [
        "before:orchestrator.cycle.uploads:_Server._upload:2",
        "after:orchestrator.cycle.uploads:_Server._upload:2",
        "before:orchestrator.cycle.transitions:Transitions.change",
        "after:orchestrator.cycle.submission:Submission._intend",
        "after:orchestrator.comfyui.client:ComfyUI.submit:2",
    ],
)
def test_what_a_killed_burst_has_uploaded_is_not_uploaded_again(
    place: str, make_project: MakeProject, sandbox: Sandbox
) -> None:
    project = make_project(count=5)
    assert project.run(launch=["--kill", place]).code == 137
    assert project.run(launch=NEXT).code == 0
    check_given_once(project, sandbox, cut_off=UPLOADS_AT_ONCE - 1)


def test_an_answer_that_is_lost_costs_no_second_file(make_project: MakeProject, sandbox: Sandbox, proxy: Proxy) -> None:
    """Killed while the upload's answer is on its way: the server has it, and burst does not know."""
    project = make_project(count=1, server=proxy.url)
    proxy.hold_answers("POST /api/upload/image", times=1)
    with project.start_run() as run:
        proxy.wait_for_held()
        wait_until(lambda: wanted_name(project.picture(1)) in on_server(project.server_directory))
        run.kill()
    proxy.release()
    assert project.run(launch=NEXT).code == 0
    check_given_once(project, sandbox)


def test_six_kills_over_twenty_pictures(make_project: MakeProject, sandbox: Sandbox) -> None:
    sandbox.change(seconds_per_prompt=0.1)
    project = make_project(count=20)
    killing = Killing(project, random.Random(5), launch=["--in-doubt", "2"], longest_seconds=1.0)
    for _ in range(6):
        killing.kill_once("-n", "8")
    sandbox.change(seconds_per_prompt=0.0)
    assert project.run("-n", "20", launch=["--in-doubt", "2"]).code == 0
    check_given_once(project, sandbox, cut_off=6 * UPLOADS_AT_ONCE)


def test_half_a_file_that_a_dying_server_left_is_replaced(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=1)
    there = project.server_directory / "input" / wanted_name(project.picture(1))
    there.parent.mkdir(parents=True)
    there.write_bytes(project.picture(1).read_bytes()[:-20])
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox)


def test_as_many_wrong_bytes_are_seen_by_their_hash(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    project = make_project(count=1)
    there = project.server_directory / "input" / wanted_name(project.picture(1))
    there.parent.mkdir(parents=True)
    there.write_bytes(bytes(project.picture(1).stat().st_size))
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox)


@pytest.mark.parametrize("names", [["a.png"], ["a.png", "b.png"]], ids=["one item", "two of one picture"])
def test_what_the_server_lost_meanwhile_is_given_to_it_again(
    names: list[str], make_project: MakeProject, sandbox: Sandbox, proxy: Proxy
) -> None:
    """Its input folder is emptied between an upload and the prompts that load it."""
    project = make_project(count=0, server=proxy.url, prepare=lambda photos: [draw(photos / name, 7) for name in names])
    proxy.hold("POST /api/prompt", times=1)
    with project.start_run("-n", "2") as run:
        proxy.wait_for_held()
        shutil.rmtree(project.server_directory / "input" / "burst")
        proxy.release()
        assert run.end().code == 0
    check_given_once(project, sandbox, sent=2)


def test_a_changed_picture_has_another_name_and_rescan_does_it_again(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=2)
    assert burst(project).exit_code == 0
    before = on_server(project.server_directory)
    assert project.init(rescan=True).put_back == ()
    draw(project.picture(2), 99)
    assert project.init(rescan=True).put_back == (project.item(2).key,)
    assert burst(project).completed == 1
    after = on_server(project.server_directory)
    assert after == before | {wanted_name(project.picture(2)): project.picture(2).read_bytes()}
    assert loaded_by(project, sandbox, 2) == wanted_name(project.picture(2))
    assert {item.status for item in project.items()} == {Status.COMPLETED}


def test_a_picture_that_was_damaged_since_is_put_back_and_says_so(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=2)
    assert burst(project).exit_code == 0
    project.picture(1).unlink()
    project.picture(2).write_text("a fox in the snow")
    assert project.init(rescan=True).put_back == (project.item(2).key,), "one that is gone is left as it is done"
    assert "not an image" in burst(project).failures[0][1]


@pytest.mark.parametrize("changed", [False, True], ids=["the same picture", "another picture by now"])
def test_a_server_that_was_restarted_gives_its_results_by_name(
    changed: bool, make_project: MakeProject, sandbox: Sandbox
) -> None:
    """A result of other bytes than the picture's of today is not taken for its own."""
    project = make_project(count=3)
    sandbox.hold()
    project.run(launch=["--kill", "after:orchestrator.comfyui.client:ComfyUI.submit:3"])
    sandbox.release()
    wait_for_renders(sandbox, 3)
    sandbox.restart(keep_outputs=True)
    if changed:
        draw(project.picture(2), 60)
    report = project.run(launch=NEXT).report
    assert (report["rescued"], report["completed"]) == (3 - changed, 3)
    assert sandbox.counts()["posts"] == 3 + changed
    assert project.statuses() == ["completed"] * 3


def moving(path: Path, form: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
    frames[0].save(path, format=form, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_moving_picture_under_the_name_of_a_plain_one_is_never_rescued_as_one(
    form: str, make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=1, prepare=lambda photos: moving(photos / "a.png", form))
    prompts = preparation_of(project.home, book=project.recipes())
    moves, plain = (prompts.prepare(item).graph for item in project.items())
    assert [one.count for one in templates.numbered_files(plain, "1" * 36) or []] == [1]
    assert [one.count for one in templates.numbered_files(moves, "1" * 36) or []] == [None]
    assert burst(project).completed == 2


def with_masks(photos: Path) -> None:
    for number in (1, 2):
        draw(photos / "EP01" / "masks" / f"photo_{number:03d}.png", 100 + number)


def test_masks_are_given_too_and_bound_beside_their_pictures(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    project = make_project(count=2, template=MASKED, masks="masks/{stem}.png", prepare=with_masks)
    assert burst(project).exit_code == 0
    check_given_once(project, sandbox)
    for number in (1, 2):
        assert loaded_by(project, sandbox, number) == wanted_name(project.picture(number))
        mask = project.picture(number).parent / "masks" / project.picture(number).name
        assert loaded_by(project, sandbox, number, node="4") == wanted_name(mask)
        assert [one.path for one in project.item(number).outputs] == [
            f"EP01/photo_{number:03d}{more}.png" for more in ("", "_002")
        ]


def test_a_hundred_pictures(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    project = make_project(count=100, side=4)
    assert burst(project, size=100).exit_code == 0
    check_given_once(project, sandbox)


def test_a_large_picture_is_seen_inverted(make_project: MakeProject, sandbox: Sandbox, burst: Burst) -> None:
    """What the server drew over is the picture that was given, not the template's own."""
    project = make_project(count=1, side=256)
    assert burst(project).exit_code == 0
    with Image.open(project.picture(1)) as original, Image.open(project.output / "EP01/photo_001.png") as result:
        assert result.size == original.size == (256, 256)
        corner = (200, 0, 256, 56)  # the text is at the bottom
        difference = ImageChops.difference(ImageChops.invert(original.convert("RGB")), result.convert("RGB"))
        assert max(high for _, high in difference.crop(corner).getextrema()) < 90  # type: ignore[misc, union-attr]
