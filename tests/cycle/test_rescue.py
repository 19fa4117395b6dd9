"""What a server has rendered and forgotten, behind a node that burst does not know: taken by name whole, or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.fake_faults import Page
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.recorded import AUDIO_NAMES
from support.simulated import Simulation

from orchestrator.cycle.tally import Tally
from state.change import change_all
from state.item import Item, OutputRecord, Status, TrashedOutput
from templates import load_workflow

URL = "http://gpu:8188"
GRAPH: dict[str, Any] = {
    **load_workflow("txt2img-sd15").graph,
    "50": {"class_type": "SomebodysFilter", "inputs": {"image": ["8", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["50", 0], "filename_prefix": "x"}},
}
VIDEO: dict[str, Any] = {
    "1": {"class_type": "PrimitiveInt", "inputs": {"value": 1}},
    "9": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], "filename_prefix": "x", "format": "mp4"}},
}
"""Its files show their end."""
WEBM: dict[str, Any] = {
    "1": {"class_type": "PrimitiveInt", "inputs": {"value": 1}},
    "9": {"class_type": "SaveWEBM", "inputs": {"images": ["1", 0], "filename_prefix": "x", "codec": "vp9"}},
}
"""Its files may be streams, whose end is nowhere announced."""
AUDIO: dict[str, Any] = {
    "1": {"class_type": "PrimitiveInt", "inputs": {"value": 1}},
    **{
        node_id: {"class_type": name, "inputs": {"audio": ["1", 0], "filename_prefix": "x"}}
        for node_id, name in (("9", "SaveAudio"), ("10", "SaveAudioMP3"), ("11", "SaveAudioOpus"))
    },
}
ALIKE: list[dict[str, Any]] = [
    {"prompt_text": "a cat", "inputs": {"seed": 1}},
    {"prompt_text": "a dog", "inputs": {"seed": 2, "negative": "blurry"}},
]
"""Two items that differ in texts and seed alone."""
OTHERS = [{"prompt_text": "a cat", "inputs": {"steps": steps}} for steps in (5, 6, 7)]


class Scene:
    """Items on one server, whose prompts save four files a save node. Each run opens the state anew."""

    def __init__(self, folder: Path, records: list[dict[str, Any]], *, graph: dict[str, Any] = GRAPH) -> None:
        self.folder, self.clock = folder, HandClock()
        self.server = FakeServer(URL, self.clock, lambda number: 1.0, images=lambda prompt: 4)
        self.template = folder / "graph.json"
        self.template.write_text(json.dumps(graph))
        items = {name: {"status": "pending", "filename": name} | one for name, one in zip("abc", records, strict=False)}
        (folder / "state.json").write_text(json.dumps(items))

    def open(self) -> Simulation:
        return Simulation(self.folder, self.clock, [self.server], items=0, template=self.template)

    def run(self, size: int = 10) -> Tally:
        """A run that ends; what it did."""
        simulation = self.open()
        try:
            simulation.burst(size)
        finally:
            simulation.close()
        return simulation.tally

    def leave(self) -> None:
        """A run submits all that is due and is killed; the server renders it. Then a minute passes."""
        killed = self.open()
        killed.work.begin(10)
        killed.workers[0].turn()
        killed.close()
        self.clock.seconds += 60.0
        self.server.tick()

    def edit(self, key: str, edit: Callable[[Item], Item]) -> None:
        simulation = self.open()
        change_all(simulation.store, [simulation.store.get(key)], edit)
        simulation.close()

    def items(self) -> list[Item]:
        simulation = self.open()
        simulation.close()
        return list(simulation.store.items())

    def files_of(self, key: str) -> list[str]:
        """The server's files of the item's first prompt, in their order."""
        first = next(prompt for prompt in self.server.accepted.values() if prompt.item == key)
        return sorted(path for path in self.server.files if first.prompt_id in path)

    def check_whole(self, *, posts: int, files: int = 4) -> None:
        """Each item has all files of one prompt."""
        assert len(self.server.accepted) == posts
        for item in self.items():
            assert (item.status, item.attempts, item.crashes) == (Status.COMPLETED, 0, 0)
            assert len({output.path for output in item.outputs}) == len(item.outputs) == files


@pytest.fixture
def alike(tmp_path: Path) -> Scene:
    """`a` is completed, `b` is rendered and its run was killed."""
    scene = Scene(tmp_path, ALIKE)
    scene.run(1)
    scene.leave()
    return scene


def check_again(scene: Scene, why: str, *, posts: int, files: int = 4) -> None:
    """The lost prompt is rendered again, mentioned and counted."""
    tally = scene.run()
    assert (tally.completed, tally.rescued, tally.put_back, tally.possibly_twice) == (1, 0, 1, 1)
    (note,) = tally.notes
    assert f"{URL} has forgotten prompts that it may have rendered" in note
    assert why in note
    scene.check_whole(posts=posts, files=files)


class TestACountLearned:
    """From completed items that differ in texts and seed alone."""

    @pytest.mark.parametrize("lost", ["restarted", "cleared"])
    def test_tells_a_whole_set(self, alike: Scene, lost: str) -> None:
        alike.server.restart() if lost == "restarted" else alike.server.history.clear()
        tally = alike.run()
        assert (tally.completed, tally.rescued, tally.put_back, tally.possibly_twice) == (1, 1, 0, 0)
        alike.check_whole(posts=2)
        assert alike.run().completed == 0

    @pytest.mark.parametrize("gone", [(2, 3), (1,), (3,), (1, 2, 3)], ids=str)
    def test_half_a_set_is_never_taken_for_it(self, alike: Scene, gone: tuple[int, ...]) -> None:
        for path in [alike.files_of("b")[number] for number in gone]:
            del alike.server.files[path]
        alike.server.restart()
        check_again(alike, "some of their files are missing" if gone == (1,) else "where others", posts=3)

    def test_later_files_are_never_taken_for_the_first(self, alike: Scene) -> None:
        for path in alike.files_of("b")[:2]:
            del alike.server.files[path]
        alike.server.restart()
        assert alike.run().rescued == 0
        alike.check_whole(posts=3)

    def test_a_file_that_is_cut_is_not_taken(self, alike: Scene) -> None:
        path = alike.files_of("b")[-1]
        alike.server.files[path] = alike.server.files[path][:-100]
        alike.server.restart()
        tally = alike.run()
        assert (tally.rescued, tally.put_back) == (0, 1)
        alike.check_whole(posts=3)

    def test_what_is_no_file_of_the_server_does_not_count(self, alike: Scene) -> None:
        """Texts, a sidecar; what the user deleted does."""

        def edit(now: Item) -> Item:
            extra = tuple(OutputRecord(path=name, bytes=1, sha256="0") for name in ("a_005.txt", "a.json"))
            trash = TrashedOutput(**msgspec.structs.asdict(now.outputs[0]), trashed_at=alike.clock.now())
            outputs = (*now.outputs[1:], *extra)
            return msgspec.structs.replace(now, outputs=outputs, sidecar="a.json", trashed=(trash,))

        alike.edit("a", edit)
        alike.server.restart()
        assert alike.run().rescued == 1

    def test_is_of_items_of_the_same_values_alone(self, tmp_path: Path) -> None:
        scene = Scene(tmp_path, OTHERS[:2])
        scene.run(1)
        scene.leave()
        scene.server.restart()
        check_again(scene, "it is not known how many files", posts=3)

    def test_is_none_where_they_do_not_agree(self, tmp_path: Path) -> None:
        """The number of files goes by the text there."""
        scene = Scene(tmp_path, [*ALIKE, {"prompt_text": "a cow"}])
        numbers = iter([4, 2, 4, 4])
        scene.server.images = lambda prompt: next(numbers)
        scene.run(2)
        scene.leave()
        scene.server.restart()
        tally = scene.run()
        assert (tally.rescued, tally.possibly_twice, len(scene.server.accepted)) == (0, 1, 4)

    def test_of_several_save_nodes_is_of_all_together(self, tmp_path: Path) -> None:
        graph = GRAPH | {"90": {"class_type": "SaveImage", "inputs": {"images": ["50", 0], "filename_prefix": "y"}}}
        scene = Scene(tmp_path, [*ALIKE, {"prompt_text": "a cow"}], graph=graph)
        scene.run(1)
        scene.leave()
        half = [path for path in scene.files_of("b") if "-90_" in path]
        for path in half:
            del scene.server.files[path]
        scene.server.restart()
        tally = scene.run()
        assert (tally.completed, tally.rescued, tally.possibly_twice) == (2, 1, 1)
        scene.check_whole(posts=4, files=8)


class TestAServerThatStayedUp:
    """Where an older prompt is still in its history, all that it began to save is whole."""

    @pytest.fixture
    def scene(self, tmp_path: Path) -> Scene:
        """`a` is completed; `b`, which nothing is known of, was rendered after it."""
        scene = Scene(tmp_path, OTHERS[:2])
        scene.run(1)
        scene.leave()
        return scene

    def lose(self, scene: Scene, *keys: str) -> None:
        """Somebody deletes the prompts of these items from the history."""
        for prompt in list(scene.server.history.values()):
            if prompt.item in keys:
                del scene.server.history[prompt.prompt_id]

    def test_has_written_all_of_it(self, scene: Scene) -> None:
        self.lose(scene, "b")
        tally = scene.run()
        assert (tally.completed, tally.rescued, tally.put_back) == (1, 1, 0)
        scene.check_whole(posts=2)

    def test_without_the_older_prompt_nothing_shows_it(self, scene: Scene) -> None:
        self.lose(scene, "a", "b")
        check_again(scene, "it is not known how many files", posts=3)

    def test_a_newer_prompt_shows_nothing(self, scene: Scene) -> None:
        """`a` was completed after `b` was sent: the server may have been restarted in between."""
        scene.edit("a", lambda now: msgspec.structs.replace(now, completed_at=scene.clock.now()))
        self.lose(scene, "b")
        check_again(scene, "it is not known how many files", posts=3)

    def test_a_gap_between_the_files_is_seen(self, scene: Scene) -> None:
        del scene.server.files[scene.files_of("b")[2]]
        self.lose(scene, "b")
        check_again(scene, "some of their files are missing", posts=3)

    def test_files_whose_end_does_not_show_are_whole_there_alone(self, tmp_path: Path) -> None:
        scene = Scene(tmp_path, [{"inputs": {"1.value": number}} for number in range(3)], graph=WEBM)
        scene.server.images = lambda prompt: 1
        scene.run(1)
        scene.leave()
        self.lose(scene, "b")
        assert scene.run(1).rescued == 1
        scene.run()
        scene.check_whole(posts=3, files=1)

    def test_files_whose_end_does_not_show_are_not_taken_after_a_restart(self, tmp_path: Path) -> None:
        scene = Scene(tmp_path, [{"inputs": {"1.value": number}} for number in range(2)], graph=WEBM)
        scene.server.images = lambda prompt: 1
        scene.run(1)
        scene.leave()
        scene.server.restart()
        check_again(scene, ".webm files are complete", posts=3, files=1)

    @pytest.mark.parametrize("is_cut", [False, True])
    def test_a_video_whose_end_shows_is_taken_after_a_restart_if_it_is_there(
        self, is_cut: bool, tmp_path: Path
    ) -> None:
        scene = Scene(tmp_path, [{"inputs": {"1.value": number}} for number in range(2)], graph=VIDEO)
        scene.server.images = lambda prompt: 1
        scene.run(1)
        scene.leave()
        scene.server.restart()
        (path,) = scene.files_of("b")
        if is_cut:
            scene.server.files[path] = scene.server.files[path][:-100]
        tally = scene.run()
        assert (tally.completed, tally.rescued) == (1, 0 if is_cut else 1)
        scene.check_whole(posts=3 if is_cut else 2, files=1)


@pytest.mark.parametrize("version", AUDIO_NAMES)
def test_audio_is_found_as_each_version_names_it(version: str, tmp_path: Path) -> None:
    """Of 0.33.0, without an underscore behind the number; a file that is missing is seen there too."""
    scene = Scene(tmp_path, [{"inputs": {"1.value": number}} for number in range(3)], graph=AUDIO)
    (listed,) = AUDIO_NAMES[version]["9"]["audio"]
    scene.server.audio_number = "_{:05}_" if listed["filename"].endswith("_00001_.flac") else "_{:05}"
    scene.run(1)
    scene.leave()
    del scene.server.files[scene.files_of("c")[0]]
    for prompt in list(scene.server.history.values()):
        if prompt.item != "a":
            del scene.server.history[prompt.prompt_id]
    tally = scene.run()
    assert (tally.rescued, tally.put_back) == (1, 1)
    scene.check_whole(posts=4, files=3)


def test_nothing_there_is_rendered_without_a_word(alike: Scene) -> None:
    for path in alike.files_of("b"):
        del alike.server.files[path]
    alike.server.restart()
    tally = alike.run()
    assert (tally.completed, tally.put_back, tally.possibly_twice, tally.notes) == (1, 1, 0, [])


def test_names_that_nobody_knows_are_mentioned(tmp_path: Path) -> None:
    """A save node of somebody's own names its files as it likes."""
    graph = GRAPH | {"90": {"class_type": "Image Save", "inputs": {"images": ["8", 0], "filename_prefix": "y"}}}
    scene = Scene(tmp_path, ALIKE, graph=graph)
    scene.run(1)
    scene.leave()
    scene.server.restart()
    check_again(scene, "names that burst does not know", posts=3, files=8)


def test_an_unclear_answer_leaves_it_to_a_later_run(alike: Scene) -> None:
    alike.server.restart()
    alike.server.fault = lambda asked: Page(502) if "/view" in asked else None
    assert alike.run().completed == 0
    assert [item.status for item in alike.items()] == [Status.COMPLETED, Status.SUBMITTED]
    alike.server.fault = lambda asked: None
    assert alike.run().rescued == 1
    assert [(item.status, len(item.outputs)) for item in alike.items()] == [(Status.COMPLETED, 4)] * 2
    assert len(alike.server.accepted) == 2
