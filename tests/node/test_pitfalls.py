"""The six pitfalls of walking through a directory by queueing one run after another, each as a test of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.fake_comfyui import ComfyUI
from support.node_images import Album

ALL = ["img1.png", "img2.png", "img10.png"]


def test_pitfall_1_state_lost_between_executions(comfy: ComfyUI, album: Album) -> None:
    """Every run has a Loader object of its own, and each image is loaded once."""
    comfy.post(album.graph(saver="SaveImage"))
    comfy.work()

    assert comfy.seen == ALL


def test_pitfall_2_is_changed_not_updating(comfy: ComfyUI, album: Album) -> None:
    """The same graph over and over: neither the Loader nor what follows it comes from the cache."""
    comfy.post(album.graph())
    comfy.work()

    assert album.saved() == sorted(ALL)
    assert len(comfy.runs) == len(ALL)


def test_pitfall_2_an_image_that_is_due_again_has_the_index_it_had(comfy: ComfyUI, album: Album) -> None:
    """The Loader had loaded it when the run failed: from the cache, the run would be of no image."""

    def fail_once(class_type: str) -> None:
        if class_type == "BatchImageSaver" and len(comfy.runs) == 2:
            raise RuntimeError("disk full")

    comfy.before = fail_once
    comfy.post(album.graph())
    comfy.work()
    assert album.statuses() == {"img1.png": "completed", "img2.png": "failed", "img10.png": "pending"}

    comfy.post(album.graph())
    comfy.work()

    assert set(album.statuses().values()) == {"completed"}
    assert len(comfy.runs) == 4


@pytest.mark.parametrize("hurried", [False, True])
def test_pitfall_3_race_between_the_trigger_and_the_state(comfy: ComfyUI, album: Album, hurried: bool) -> None:
    """Queue pressed three times: the runs share the images out, however close they follow each other."""
    for _ in range(3):
        comfy.post(album.graph(saver="SaveImage"))
    comfy.work(hurried=hurried)

    assert comfy.seen == ALL
    assert len(comfy.runs) == 3


def test_pitfall_3_the_state_is_on_disk_before_the_next_run_is_queued(
    comfy: ComfyUI, album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = []
    put = comfy.queue.put

    def look_and_put(item: tuple[object, ...]) -> None:
        noted.append(sorted(album.statuses().values()))
        put(item)

    comfy.post(album.graph(saver="SaveImage"))
    monkeypatch.setattr(comfy.queue, "put", look_and_put)
    comfy.work()

    assert noted == [["completed", "pending", "pending"], ["completed", "completed", "pending"]]


@pytest.mark.parametrize("form", ["{}/", "{}/../album", "  {} ", '"{}"', "{}/./"])
def test_pitfall_4_reset_on_slight_path_variations(comfy: ComfyUI, album: Album, form: str) -> None:
    """Stopped after the first image, gone on with under another spelling of the same directory."""
    comfy.post(album.graph(saver="SaveImage"))
    comfy.step()
    comfy.settle()
    comfy.queue.queue.clear()

    comfy.post(album.graph(saver="SaveImage", directory=form.format(album.directory)))
    comfy.work()

    assert comfy.seen == ALL


def test_pitfall_4_a_link_to_the_directory(comfy: ComfyUI, album: Album, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(album.directory)
    comfy.post(album.graph(saver="SaveImage"))
    comfy.step()
    comfy.settle()
    comfy.queue.queue.clear()

    comfy.post(album.graph(saver="SaveImage", directory=str(tmp_path / "link")))
    comfy.work()

    assert comfy.seen == ALL


@pytest.mark.parametrize("server", ["missing", "without an instance"])
def test_pitfall_5_queueing_without_a_server(
    comfy: ComfyUI, album: Album, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes work by themselves; an image stays due until a Saver has saved it."""
    if server == "missing":
        monkeypatch.delitem(sys.modules, "server")
    else:
        monkeypatch.setattr(sys.modules["server"].PromptServer, "instance", None)
    loader = comfy.classes["BatchImageLoader"]()
    saver = comfy.classes["BatchImageSaver"]()

    first = loader.load(**album.inputs())
    again = loader.load(**album.inputs())
    given = {"image": [first[0]], "filename": [first[5]], "subfolder": [""], "format": ["png"], "quality": [90]}
    saver.save(**given, if_exists=["overwrite"])
    second = loader.load(**album.inputs())

    assert [first[5], again[5], second[5]] == ["img1.png", "img1.png", "img2.png"]
    assert not comfy.queue.queue


def test_pitfall_6_infinite_loop(comfy: ComfyUI, album: Album) -> None:
    """One run an image, and never one more."""
    comfy.post(album.graph())
    comfy.work()

    assert len(comfy.runs) == len(ALL)
    assert not comfy.queue.queue


@pytest.mark.parametrize("handling", ["Stop on error", "Skip on error"])
def test_pitfall_6_no_run_follows_one_that_took_no_image(comfy: ComfyUI, album: Album, handling: str) -> None:
    comfy.post(album.graph(start_index=3, error_handling=handling))
    comfy.work()

    assert len(comfy.runs) == 1
    [message] = comfy.said.values()
    assert "start_index is 3" in message
    assert "0 to 2" in message


def test_pitfall_6_results_saved_into_the_directory_itself(comfy: ComfyUI, album: Album) -> None:
    """By somebody else's save node, into ComfyUI's output directory, which is also the one that is worked off."""
    inside = Album(comfy.directory / "output" / "frames", comfy)
    inside.add("a.png", "b.png")

    def save_one_more(class_type: str) -> None:
        if class_type == "SaveImage":
            inside.add(f"result_{len(comfy.runs)}.png")

    comfy.before = save_one_more
    comfy.post(inside.graph(saver="SaveImage"))
    comfy.work()

    assert comfy.seen == ["a.png", "b.png"]
