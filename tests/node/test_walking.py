"""From run to run: what is next, what a stopped walk goes on with, and which run follows which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_comfyui import ComfyUI, Interrupted, Killed
from support.node_images import Album

ALL = ["img1.png", "img2.png", "img10.png"]


def at_run(comfy: ComfyUI, number: int, what: Callable[[], None], *, before: str = "Invert") -> None:
    """Do this while that run is at work; runs count from 1."""

    def look(class_type: str) -> None:
        if class_type == before and len(comfy.runs) == number:
            what()

    comfy.before = look


def interrupt() -> None:
    raise Interrupted


def fail() -> None:
    raise RuntimeError("out of memory")


def kill() -> None:
    raise Killed


def walk_until_killed(comfy: ComfyUI) -> None:
    with pytest.raises(Killed):
        comfy.work()
    comfy.restart()
    comfy.before = lambda class_type: None


def test_what_a_loader_says(comfy: ComfyUI, album: Album) -> None:
    comfy.post(album.graph())
    said = []
    while comfy.queue.queue:
        comfy.step()
        said.append(comfy.outputs("1")[2:])
        comfy.settle()

    assert said == [
        (3, 0, 1, "img1.png", "img1", "1 of 3: img1.png", False),
        (3, 1, 2, "img2.png", "img2", "2 of 3: img2.png", False),
        (3, 2, 3, "img10.png", "img10", "3 of 3: img10.png, the last", True),
    ]


def test_an_image_is_in_progress_on_disk_before_it_is_rendered(comfy: ComfyUI, album: Album) -> None:
    noted = []
    at_run(comfy, 2, lambda: noted.append(album.records()))
    comfy.post(album.graph())
    comfy.work()

    [records] = noted
    assert [records[name]["status"] for name in ALL] == ["completed", "submitted", "pending"]
    assert records["img2.png"]["prompt_id"] == comfy.runs[1]


@pytest.mark.parametrize("mode", ["Continue", "Reset"])
def test_a_finished_directory_begins_anew(comfy: ComfyUI, album: Album, mode: str) -> None:
    for _ in range(2):
        comfy.post(album.graph(saver="SaveImage", iteration_mode=mode))
        comfy.work()

    assert comfy.seen == ALL + ALL


def test_reset_begins_anew_once(comfy: ComfyUI, album: Album) -> None:
    """In the middle of the walk; the runs that follow go on, though they are the same prompt."""
    comfy.post(album.graph(saver="SaveImage"))
    comfy.step()
    comfy.settle()
    comfy.queue.queue.clear()

    comfy.post(album.graph(saver="SaveImage", iteration_mode="Reset"))
    comfy.work()

    assert comfy.seen == ["img1.png", *ALL]


def test_reset_pressed_while_it_runs_is_no_press_that_may_be_left_out(comfy: ComfyUI, album: Album) -> None:
    """It waits while the last image is at work."""
    reset = album.graph(saver="SaveImage", iteration_mode="Reset")
    at_run(comfy, 3, lambda: comfy.post(reset) and None)
    comfy.post(album.graph(saver="SaveImage"))
    comfy.work()

    assert comfy.seen == ALL + ALL


def test_each_directory_has_its_own_place(comfy: ComfyUI, album: Album, tmp_path: Path) -> None:
    """Another one begins at its beginning; going back goes on."""
    other = Album(tmp_path / "elsewhere" / "album", comfy)
    other.add("x.png", "y.png")
    at_run(comfy, 2, interrupt)
    comfy.post(album.graph(saver="SaveImage"))
    comfy.work()

    comfy.post(other.graph(saver="SaveImage"))
    comfy.work()
    comfy.post(album.graph(saver="SaveImage"))
    comfy.work()

    assert comfy.seen == ["img1.png", "x.png", "y.png", "img2.png", "img10.png"]


def test_relative_directories_are_below_comfyuis_input(comfy: ComfyUI) -> None:
    inside = Album(comfy.directory / "input" / "shots", comfy)
    inside.add("a.png")
    comfy.post(inside.graph(saver="SaveImage", directory="shots"))
    comfy.work()

    assert comfy.seen == ["a.png"]


@pytest.mark.parametrize("mode", ["Continue", "Reset"])
def test_start_index(comfy: ComfyUI, album: Album, mode: str) -> None:
    """What lies before it is left out now, and is there for the press after."""
    comfy.post(album.graph(saver="SaveImage", start_index=1, iteration_mode=mode))
    comfy.work()
    assert comfy.seen == ["img2.png", "img10.png"]
    assert album.statuses()["img1.png"] == "cancelled"

    comfy.post(album.graph(saver="SaveImage"))
    comfy.work()
    assert comfy.seen == ["img2.png", "img10.png", "img1.png"]
    assert comfy.outputs("1")[7:] == ("1 of 3: img1.png, the last", True)


class TestStopped:
    @pytest.mark.parametrize("saver", ["BatchImageSaver", "SaveImage"])
    def test_cancel_keeps_the_index(self, comfy: ComfyUI, album: Album, saver: str) -> None:
        at_run(comfy, 2, interrupt)
        comfy.post(album.graph(saver=saver))
        comfy.work()

        assert len(comfy.runs) == 2, "no run waits behind the cancelled one"
        assert album.statuses() == {"img1.png": "completed", "img2.png": "pending", "img10.png": "pending"}
        comfy.post(album.graph(saver=saver))
        comfy.step()
        assert comfy.outputs("1")[3:6] == (1, 2, "img2.png")

    def test_cancelled_while_another_press_waits(self, comfy: ComfyUI, album: Album) -> None:
        """Its run begins before any thread could see how the cancelled one ended, and takes that very image."""
        at_run(comfy, 1, interrupt)
        comfy.post(album.graph(saver="SaveImage"))
        comfy.post(album.graph(saver="SaveImage"))
        comfy.work(hurried=True)

        assert comfy.seen == ALL

    def test_skipping_errors_does_not_skip_a_cancelled_image(self, comfy: ComfyUI, album: Album) -> None:
        at_run(comfy, 2, interrupt)
        comfy.post(album.graph(error_handling="Skip on error"))
        comfy.work()

        assert len(comfy.runs) == 2
        assert album.statuses()["img2.png"] == "pending"

    @pytest.mark.parametrize("saver", ["BatchImageSaver", "SaveImage"])
    def test_killed_while_an_image_is_rendered(self, comfy: ComfyUI, album: Album, saver: str) -> None:
        at_run(comfy, 2, kill)
        comfy.post(album.graph(saver=saver))
        walk_until_killed(comfy)
        assert album.statuses() == {"img1.png": "completed", "img2.png": "submitted", "img10.png": "pending"}
        assert not comfy.queue.queue

        comfy.runs.clear()
        comfy.post(album.graph(saver=saver))
        comfy.work()

        assert len(comfy.runs) == 2
        assert set(album.statuses().values()) == {"completed"}

    def test_killed_after_the_saver_and_before_the_prompts_end(self, comfy: ComfyUI, album: Album) -> None:
        """A preview was yet to come: what the Saver has saved is not rendered again."""
        graph = album.graph() | {"4": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0], "name": ""}}}
        at_run(comfy, 2, kill, before="PreviewImage")
        comfy.post(graph)
        walk_until_killed(comfy)

        comfy.runs.clear()
        comfy.post(graph)
        comfy.work()

        assert len(comfy.runs) == 1
        assert album.saved() == sorted(ALL)

    def test_killed_between_two_save_nodes(self, comfy: ComfyUI, album: Album) -> None:
        """Somebody else's has not saved yet: the image is rendered again, or its second result would be lost."""
        graph = album.graph() | {"4": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "name": ["1", 5]}}}
        at_run(comfy, 2, kill, before="SaveImage")
        comfy.post(graph)
        walk_until_killed(comfy)

        comfy.post(graph)
        comfy.work()

        assert comfy.seen == ALL

    def test_killed_between_two_savers(self, comfy: ComfyUI, album: Album) -> None:
        graph = album.graph()
        graph["4"] = album.graph(saver_inputs={"subfolder": "again"})["3"]
        at_run(comfy, 5, kill, before="BatchImageSaver")
        savers = []

        def second_saver_of_second_run(class_type: str) -> None:
            savers.append(class_type)
            if savers.count("BatchImageSaver") == 4:
                raise Killed

        comfy.before = second_saver_of_second_run
        comfy.post(graph)
        walk_until_killed(comfy)
        comfy.post(graph)
        comfy.work()

        assert album.saved() == sorted([*ALL, *(f"again/{name}" for name in ALL)])

    def test_killed_again_and_again(self, comfy: ComfyUI, album: Album) -> None:
        """At each image once; each is saved in the end, and each press begins with the one that was cut short."""
        for number in range(1, 4):
            at_run(comfy, len(comfy.runs) + (1 if number == 1 else 2), kill)
            comfy.post(album.graph(saver="SaveImage"))
            walk_until_killed(comfy)
        comfy.post(album.graph(saver="SaveImage"))
        comfy.work()

        assert comfy.seen == ALL

    def test_a_press_that_waited_when_the_server_was_killed_is_only_gone(self, comfy: ComfyUI, album: Album) -> None:
        at_run(comfy, 1, kill)
        comfy.post(album.graph(saver="SaveImage"))
        comfy.post(album.graph(saver="SaveImage"))
        walk_until_killed(comfy)
        comfy.post(album.graph(saver="SaveImage"))
        comfy.work()

        assert comfy.seen == ALL


class TestErrors:
    def test_stop(self, comfy: ComfyUI, album: Album) -> None:
        """The image has failed with the node's words, and is the first of the next press."""
        at_run(comfy, 2, fail)
        comfy.post(album.graph(saver="SaveImage"))
        comfy.work()

        assert len(comfy.runs) == 2
        record = album.records()["img2.png"]
        assert (record["status"], record["attempts"]) == ("failed", 1)
        assert record["error"] == {"kind": "execution", "message": "out of memory", "node_id": "1"}
        comfy.post(album.graph(saver="SaveImage"))
        comfy.work()
        assert comfy.seen == ALL
        assert "error" not in album.records()["img2.png"]

    def test_skip(self, comfy: ComfyUI, album: Album) -> None:
        at_run(comfy, 2, fail)
        comfy.post(album.graph(saver="SaveImage", error_handling="Skip on error"))
        comfy.work()

        assert comfy.seen == ["img1.png", "img10.png"]
        assert len(comfy.runs) == 3
        assert album.statuses() == {"img1.png": "completed", "img2.png": "failed", "img10.png": "completed"}
        assert comfy.outputs("1")[7] == "3 of 3: img10.png, 1 failed, the last"

    def test_a_workflow_that_always_fails_comes_to_an_end(self, comfy: ComfyUI, album: Album) -> None:
        comfy.before = lambda class_type: fail() if class_type == "Invert" else None
        comfy.post(album.graph(error_handling="Skip on error"))
        comfy.work()

        assert len(comfy.runs) == 3
        assert set(album.statuses().values()) == {"failed"}

    def test_an_unreadable_image_stops(self, comfy: ComfyUI, album: Album) -> None:
        (album.directory / "img2.png").write_bytes(b"no picture")
        comfy.post(album.graph())
        comfy.work()

        [message] = comfy.said.values()
        assert message.startswith(f"{album.directory / 'img2.png'} cannot be read")
        assert album.statuses() == {"img1.png": "completed", "img2.png": "failed", "img10.png": "pending"}

    def test_an_unreadable_image_is_skipped_within_one_run(self, comfy: ComfyUI, album: Album) -> None:
        (album.directory / "img2.png").write_bytes(b"no picture")
        comfy.post(album.graph(saver="SaveImage", error_handling="Skip on error"))
        comfy.work()

        assert comfy.seen == ["img1.png", "img10.png"]
        assert len(comfy.runs) == 2

    def test_the_last_image_is_unreadable(self, comfy: ComfyUI, album: Album) -> None:
        """Its run ends without an error and without a result, and is the last."""
        (album.directory / "img10.png").write_bytes(b"no picture")
        comfy.post(album.graph(saver="SaveImage", error_handling="Skip on error"))
        comfy.work()

        assert comfy.seen == ["img1.png", "img2.png"]
        assert len(comfy.runs) == 3
        assert not comfy.said

    @pytest.mark.parametrize("handling", ["Stop on error", "Skip on error"])
    def test_a_directory_without_images(self, comfy: ComfyUI, tmp_path: Path, handling: str) -> None:
        empty = Album(tmp_path / "empty", comfy)
        (empty.directory / "notes.txt").write_text("")
        comfy.post(empty.graph(error_handling=handling))
        comfy.work()

        [message] = comfy.said.values()
        assert f"no image in {empty.directory} matches" in message
        assert len(comfy.runs) == 1

    @pytest.mark.parametrize("directory", ["", "  ", "nowhere", "/nowhere/at/all"])
    def test_a_directory_that_is_not_there(self, comfy: ComfyUI, album: Album, directory: str) -> None:
        with pytest.raises(AssertionError, match="directory"):
            comfy.post(album.graph(directory=directory))

    def test_an_unreadable_position_is_no_empty_one(self, comfy: ComfyUI, album: Album) -> None:
        comfy.post(album.graph())
        comfy.work()
        album.state.write_text('{"img1.png": {"status": "comp')
        comfy.post(album.graph(error_handling="Skip on error"))
        comfy.work()

        [message] = comfy.said.values()
        assert str(album.state) in message
        assert album.state.read_text() == '{"img1.png": {"status": "comp'


class TestImagesThatComeAndGo:
    def test_no_image_is_taken_for_another(self, comfy: ComfyUI, album: Album) -> None:
        """One before the place is gone, one before it is new, one behind it is new: by index, img2 would come again."""

        def change() -> None:
            (album.directory / "img1.png").unlink()
            album.add("img0.png", "img01a.png", "img11.png")

        at_run(comfy, 2, change)
        comfy.post(album.graph(saver="SaveImage"))
        comfy.work()

        assert comfy.seen == ["img1.png", "img2.png", "img0.png", "img01a.png", "img10.png", "img11.png"]
        assert comfy.outputs("1")[2:4] == (5, 4)

    def test_the_next_image_is_gone(self, comfy: ComfyUI, album: Album) -> None:
        at_run(comfy, 1, (album.directory / "img2.png").unlink)
        comfy.post(album.graph(saver="SaveImage"))
        comfy.work()

        assert comfy.seen == ["img1.png", "img10.png"]

    def test_all_that_were_left_are_gone(self, comfy: ComfyUI, album: Album) -> None:
        at_run(comfy, 1, lambda: [(album.directory / name).unlink() for name in ALL[1:]] and None)
        comfy.post(album.graph(saver="SaveImage"))
        comfy.work()

        assert len(comfy.runs) == 1
        assert not comfy.said


class TestSeveralPrompts:
    @pytest.mark.parametrize("presses", [2, 3, 5])
    @pytest.mark.parametrize("hurried", [False, True])
    def test_presses_join_the_walk(self, comfy: ComfyUI, album: Album, presses: int, hurried: bool) -> None:
        """Also those that still wait when the last image is done: their runs end without a result."""
        for _ in range(presses):
            comfy.post(album.graph(saver="SaveImage"))
        comfy.work(hurried=hurried)

        assert comfy.seen == ALL
        assert len(comfy.runs) == max(presses, len(ALL))
        assert not comfy.said

    def test_another_directory_waits(self, comfy: ComfyUI, album: Album, tmp_path: Path) -> None:
        """It is no reason to end this walk: both are done, in turn."""
        other = Album(tmp_path / "other", comfy)
        other.add("x.png", "y.png")
        comfy.post(album.graph(saver="SaveImage"))
        comfy.post(other.graph(saver="SaveImage"))
        comfy.work()

        assert comfy.seen == ["img1.png", "x.png", "img2.png", "y.png", "img10.png"]

    def test_the_same_directory_through_another_filter_waits(self, comfy: ComfyUI, album: Album) -> None:
        album.add("a.jpg", "b.jpg")
        comfy.post(album.graph(saver="SaveImage", filter_preset="PNG Only"))
        comfy.post(album.graph(saver="SaveImage", filter_preset="Custom", custom_pattern="*.jpg, *.gif"))
        comfy.work()

        assert sorted(comfy.seen) == sorted([*ALL, "a.jpg", "b.jpg"])
        assert len(comfy.runs) == 5

    def test_another_spelling_of_the_same_directory_waits(self, comfy: ComfyUI, album: Album) -> None:
        """It joins the walk: no third run is queued between the two."""
        comfy.post(album.graph(saver="SaveImage", directory=f"{album.directory}/"))
        comfy.post(album.graph(saver="SaveImage", directory=f" {album.directory}/../{album.directory.name}"))
        comfy.step()
        comfy.settle()
        assert len(comfy.queue.queue) == 1
        comfy.work()

        assert comfy.seen == ALL

    def test_directories_that_other_nodes_say(self, comfy: ComfyUI, album: Album, tmp_path: Path) -> None:
        """Two graphs whose Loaders are told alike, by nodes that say different directories: both are done."""
        other = Album(tmp_path / "other", comfy)
        other.add("x.png", "y.png")
        for each in (album, other):
            graph = each.graph(saver="SaveImage", directory=["4", 0])
            graph["4"] = {"class_type": "Text", "inputs": {"text": str(each.directory)}}
            comfy.post(graph)
        comfy.work()

        assert comfy.seen == ["img1.png", "x.png", "img2.png", "y.png", "img10.png"]

    def test_a_prompt_that_ends_between_two_questions(self, comfy: ComfyUI, monkeypatch: pytest.MonkeyPatch) -> None:
        """It was not in the history yet, and is not in the queue any more: it ended, and how is known."""

        def look() -> tuple[list[object], list[object]]:
            status = {"completed": True, "messages": [("execution_success", {})]}
            comfy.queue.history["X"] = {"status": status}
            return [], []

        monkeypatch.setattr(comfy.queue, "get_current_queue", look)
        part = comfy.part("queue")

        assert part.ending("X") == part.Ending(part.How.WELL)

    def test_the_next_run_is_the_same_prompt_for_the_same_browser(self, comfy: ComfyUI, album: Album) -> None:
        """With what newer servers add to a queue's entry; but not with the mark of a burst's item."""
        graph = album.graph()
        first = comfy.post(graph, client_id="browser", api_key_comfy_org="key", burst={"item": "a"})
        comfy.step()
        comfy.settle()

        [(number, prompt_id, queued, extra, outputs, secret)] = comfy.queue.queue
        assert number == 1
        assert prompt_id != first
        assert queued == graph
        assert extra == {"client_id": "browser", "api_key_comfy_org": "key", "burst_node": {"after": first}}
        assert outputs == ["3"]
        assert secret == {"secret": "key"}

    @pytest.mark.parametrize(("saver", "left"), [("BatchImageSaver", 2), ("SaveImage", 3)])
    def test_a_run_that_was_deleted_from_the_history(
        self, comfy: ComfyUI, album: Album, saver: str, left: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Saved by the Saver: it goes on. By another node: nobody knows, so the image stays due."""
        done = comfy.queue.task_done

        def forget(number: int, messages: list[tuple[str, dict[str, Any]]], *, well: bool) -> None:
            with comfy.queue.mutex:
                done(number, messages, well=well)
                comfy.queue.history.clear()

        comfy.post(album.graph(saver=saver))
        monkeypatch.setattr(comfy.queue, "task_done", forget)
        comfy.step()
        comfy.settle()

        assert list(album.statuses().values()).count("pending") == left
        assert len(comfy.queue.queue) == 3 - left


class TestSeveralLoaders:
    def test_two_of_one_directory_give_the_same_image(self, comfy: ComfyUI, album: Album) -> None:
        graph = album.graph(saver="SaveImage")
        graph["5"] = {"class_type": "BatchImageLoader", "inputs": album.inputs()}
        graph["6"] = {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "name": ["5", 5]}}
        comfy.post(graph)
        comfy.work()

        assert comfy.seen == [name for name in ALL for _ in range(2)]
        assert len(comfy.runs) == 3

    def test_two_directories_go_side_by_side(self, comfy: ComfyUI, album: Album, tmp_path: Path) -> None:
        """While both have an image left, and one run follows another, not two."""
        masks = Album(tmp_path / "masks", comfy)
        masks.add("m1.png", "m2.png")
        graph = album.graph(saver="SaveImage")
        graph["5"] = {"class_type": "BatchImageLoader", "inputs": masks.inputs()}
        graph["6"] = {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "name": ["5", 5]}}
        comfy.post(graph)
        comfy.work()

        assert comfy.seen == ["img1.png", "m1.png", "img2.png", "m2.png"]
        assert len(comfy.runs) == 2
