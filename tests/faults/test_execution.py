"""Answers from the cache, prompts that fail or are refused, and a second state in the same output directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.background import in_background
from support.burst_runs import Burst, check_next_run, check_untouched
from support.projects import Graph, MakeProject, Project, small_template
from support.waiting import wait_until

from orchestrator.comfyui import ComfyUI
from orchestrator.outputs import decodes
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox, catalogue, render
from orchestrator.sandbox.nodes import NodeClass
from state.item import Item, Status

PREVIEW = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
CUSTOM = {"class_type": "SaveUnderOneName", "inputs": {"images": ["8", 0]}}


@pytest.fixture
def custom_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox has a node that nobody else knows. It takes no prefix and saves under the same name each time."""

    def save(inputs: render.Inputs, context: render.Context) -> render.Computed:
        kept = render._NODES["SaveImage"](inputs | {"filename_prefix": "one"}, context)
        assert kept.ui is not None
        (picture,) = kept.ui["images"]
        folder = context.files.folder("output")
        (folder / picture["filename"]).rename(folder / "one.png")
        return render.Computed(ui={"images": [picture | {"filename": "one.png"}]})

    node = NodeClass(CUSTOM["class_type"], {"images": ("IMAGE",)}, output_node=True)
    monkeypatch.setitem(catalogue.NODE_CLASSES, node.name, node)
    monkeypatch.setitem(render._NODES, node.name, save)


class TestCached:
    """Equal graphs: what the server has just rendered it does not render again."""

    @pytest.mark.usefixtures("custom_node")
    @pytest.mark.parametrize(
        ("nodes", "rendered"),
        [
            ({"10": PREVIEW}, 3),
            ({"9": PREVIEW}, 1),
            ({"9": CUSTOM}, 1),
            ({"10": CUSTOM}, 3),
        ],
        ids=[
            "saved and previewed",
            "previewed only",
            "a node that takes no prefix",
            "saved, and a node without prefix",
        ],
    )
    def test_each_item_has_files_of_its_own(
        self, make_project: MakeProject, sandbox: Sandbox, burst: Burst, nodes: Graph, rendered: int
    ) -> None:
        """`rendered`: of the three prompts so many had something to do."""
        project = make_project(template=small_template() | nodes)
        for path in project.prompts.rglob("*.txt"):
            path.write_text("the same for all")
        report = burst(project)
        assert (report.exit_code, report.completed, sandbox.counts()["posts"]) == (0, 3, 3)
        assert len(sandbox.counts()["rendered"]) == rendered
        items = project.items()
        recorded = [output.path for item in items for output in item.outputs]
        assert {item.outputs[0].path for item in items} == {f"EP01/prompt_00{number}.png" for number in (1, 2, 3)}
        assert len(set(recorded)) == len(recorded) == len(list(project.output.rglob("*.*")))
        assert all(decodes(project.output / path) for path in recorded)


class TestIntermediate:
    """ComfyUI 0.33.0 lists what a node in between shows again, where it comes from the cache."""

    CROP: ClassVar[dict[str, Any]] = {
        "class_type": "ImageCropV2",
        "inputs": {"image": ["8", 0], "crop_region": {"x": 0, "y": 0, "width": 32, "height": 32}},
    }

    @pytest.fixture
    def saves_in_between(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The sandbox's cropping node saves what it shows."""

        def crop(inputs: render.Inputs, context: render.Context) -> render.Computed:
            saved = render._NODES["SaveImage"]({"images": inputs["image"], "filename_prefix": "between"}, context)
            return render.Computed((inputs["image"],), saved.ui)

        monkeypatch.setitem(render._NODES, "ImageCropV2", crop)

    def downloaded(self, project: Project, sandbox: Sandbox, burst: Burst) -> list[int]:
        """The number of files of each item."""
        sandbox.change(comfyui_version="0.33.0")
        for path in project.prompts.rglob("*.txt"):
            path.write_text("the same for all")
        report = burst(project)
        assert (report.exit_code, report.completed) == (0, 3)
        return [len(item.outputs) for item in project.items()]

    @pytest.mark.usefixtures("saves_in_between")
    def test_what_an_earlier_prompt_made_is_not_taken_for_ours(
        self, make_project: MakeProject, sandbox: Sandbox, burst: Burst
    ) -> None:
        saving = {"class_type": "SaveImage", "inputs": {"images": ["20", 0], "filename_prefix": "x"}}
        project = make_project(template=small_template() | {"20": self.CROP, "9": saving})
        assert self.downloaded(project, sandbox, burst) == [2, 1, 1]

    def test_a_preview_in_between_is_none_of_the_outputs(
        self, make_project: MakeProject, sandbox: Sandbox, burst: Burst
    ) -> None:
        shown = {"class_type": "PreviewImage", "inputs": {"images": ["20", 0]}}
        project = make_project(template=small_template() | {"20": self.CROP, "9": shown})
        assert self.downloaded(project, sandbox, burst) == [1, 1, 1]


class TestOutOfMemory:
    def test_without_a_second_attempt_the_advice_is_given_at_once(
        self, make_project: MakeProject, sandbox: Sandbox, burst: Burst
    ) -> None:
        sandbox.change(out_of_memory_next=1)
        project = make_project(count=2)
        report = burst(project, max_attempts=1)
        assert (report.completed, report.failed) == (1, 1)
        error = project.item(1).error
        assert error is not None
        assert (error.kind, error.node_id) == ("out_of_memory", "3")
        assert all(words in error.message for words in ("smaller batch_size", "KSampler", "torch.OutOfMemoryError"))
        assert report.failures == ((project.item(1).key, error.message),)
        assert sandbox.counts()["requests"]["POST /free"] == 1, "the items after it are to fit"
        retry(project.state)
        check_next_run(project, sandbox)

    def test_its_one_retry_is_one_however_many_attempts_there_are(
        self, make_project: MakeProject, sandbox: Sandbox, burst: Burst
    ) -> None:
        sandbox.change(out_of_memory_next=2)
        project = make_project(count=1)
        report = burst(project, max_attempts=9)
        ((_, message),) = report.failures
        assert all(words in message for words in ("twice", "also after /free", "smaller batch_size", "KSampler"))
        assert (project.item().attempts, sandbox.counts()["posts"]) == (2, 2)
        retry(project.state)
        check_next_run(project, sandbox)


def test_an_execution_error_is_told_by_node_and_exception_and_hinders_no_other(
    make_project: MakeProject, sandbox: Sandbox, burst: Burst
) -> None:
    """The first is tried as often as was asked for, in the same burst, and then left."""
    sandbox.hold("next")
    sandbox.change(fail_next=2)
    project = make_project(count=2)
    first = project.item(1).key
    with in_background(burst, project, size=1, max_attempts=2) as end:
        wait_until(lambda: sandbox.counts()["posts"])
        sandbox.release()
        report = end()
    message = "node 3 (KSampler) raised RuntimeError: the sandbox was told to fail this prompt"
    assert report.failures == ((first, message),)
    assert (report.exit_code, report.put_back, sandbox.counts()["queued_by_item"]) == (1, 1, {first: 2})
    failed = project.item(1)
    assert (failed.status, failed.attempts) == (Status.FAILED, 2)
    assert failed.error is not None
    assert (failed.error.kind, failed.error.node_id, failed.error.message) == ("execution_error", "3", message)
    assert burst(project).completed == 1
    retry(project.state)
    check_next_run(project, sandbox)


class TestRefused:
    def test_for_a_node_that_items_do_not_touch_its_recipe_is_set_aside_at_the_first(
        self, make_project: MakeProject, sandbox: Sandbox, burst: Burst
    ) -> None:
        sandbox.change(checkpoints=("another.safetensors",))
        project = make_project(count=5)
        report = burst(project)
        assert report.exit_code == 2
        assert report.reason is not None
        assert all(
            words in report.reason for words in ("node 4 (CheckpointLoaderSimple)", "tiny-random", "burst update")
        )
        assert sandbox.counts()["posts"] == 1
        check_untouched(project)
        sandbox.change(checkpoints=("tiny-random.safetensors",))
        check_next_run(project, sandbox)

    @pytest.mark.parametrize("is_held", [False, True], ids=["rendered by then", "running"])
    def test_for_one_of_its_save_nodes_it_is_taken_back(
        self, make_project: MakeProject, sandbox: Sandbox, burst: Burst, is_held: bool
    ) -> None:
        """The server queues what it can make and says what it leaves out; that half is not taken for the whole."""
        template = small_template()
        template["12"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}
        project = make_project(count=3, template=template)
        if is_held:
            sandbox.hold("render")
        report = burst(project)
        assert (report.exit_code, sandbox.counts()["posts"]) == (2, 1)
        assert report.reason is not None
        assert all(words in report.reason for words in ("node 12 (SaveImage)", "images", "burst update"))
        check_untouched(project)
        if is_held:
            with ComfyUI(sandbox.url) as client:
                wait_until(lambda: client.queue_remaining() == 0, what="taken back")
            assert sandbox.counts()["rendered"] == {}
            sandbox.release()
        template["12"]["inputs"]["images"] = ["8", 0]
        (project.home / "template.json").write_text(json.dumps(template))
        project.take_recipes_out()
        mended = burst(project)
        assert (mended.completed, mended.rendered_twice, mended.notes) == (3, 0, ())
        assert [len(item.outputs) for item in project.items()] == [2, 2, 2]

    def test_for_its_prompt_text_the_item_fails_alone(
        self, make_project: MakeProject, sandbox: Sandbox, burst: Burst
    ) -> None:
        """The prompt text is the name of a picture to load; the server does not have the second."""
        template = {
            "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }
        project = make_project(count=3, template=template, bindings={"prompt": "1.image"})
        for number, name in enumerate(("example.png", "missing.png", "example.png"), 1):
            (project.prompts / "EP01" / f"prompt_{number:03}.txt").write_text(name)
        report = burst(project)
        assert (report.exit_code, report.completed, report.failed) == (1, 2, 1)
        ((key, message),) = report.failures
        assert key == project.item(2).key
        assert all(words in message for words in ("node 1 (LoadImage)", "missing.png"))
        error = project.item(2).error
        assert error is not None
        assert error.kind == "rejected"
        assert sandbox.counts()["posts"] == 3, "a refused prompt is not sent again"
        shutil.copy(sandbox.input_directory / "example.png", sandbox.input_directory / "missing.png")
        retry(project.state)
        check_next_run(project, sandbox)


class TestASecondState:
    """Of another project, with items of the same names and the same output directory."""

    @pytest.fixture
    def first(self, make_project: MakeProject) -> Project:
        return make_project(count=2)

    @pytest.fixture
    def second(self, first: Project, sandbox: Sandbox, tmp_path: Path) -> Project:
        home = tmp_path / "second"
        home.mkdir()
        return Project(home, server=sandbox.url, count=2, output=first.output)

    def files(self, project: Project) -> dict[str, bytes]:
        found = (project.output / output.path for item in project.items() for output in item.outputs)
        return {str(path): path.read_bytes() for path in found}

    def check_said(self, items: list[Item]) -> None:
        for item in items:
            assert item.error is not None
            assert item.error.kind == "output_refused"
            advice = ("already exists and does not belong to this item", "another output directory", "overwrite")
            assert all(words in item.error.message for words in advice)

    def test_that_comes_later_renders_nothing_and_replaces_nothing(
        self, first: Project, second: Project, sandbox: Sandbox, burst: Burst
    ) -> None:
        assert burst(first).completed == 2
        before = self.files(first)
        report = burst(second)
        assert (report.exit_code, report.failed, sandbox.counts()["posts"]) == (1, 2, 2)
        self.check_said(second.items())
        assert self.files(first) == before
        self.elsewhere(second)
        assert self.files(first) == before

    def test_at_the_same_time_whoever_is_first_keeps_the_place(
        self, first: Project, second: Project, sandbox: Sandbox, burst: Burst
    ) -> None:
        """Both were free to render: no file was there yet."""
        sandbox.hold("next")
        with in_background(burst, first) as end_first, in_background(burst, second) as end_second:
            wait_until(lambda: sandbox.counts()["posts"] == 4, what="both submitted")
            sandbox.release()
            reports = end_first(), end_second()
        assert [report.completed + report.failed for report in reports] == [2, 2]
        assert sum(report.completed for report in reports) == 2
        for project in (first, second):
            self.check_said(project.items(Status.FAILED))
        kept = self.files(first) | self.files(second)
        assert len(kept) == 2
        assert all(output.bytes == len(kept[str(first.output / output.path)]) for output in self.outputs(first, second))
        for project in (first, second):
            self.elsewhere(project)
        assert {path: Path(path).read_bytes() for path in kept} == kept

    def outputs(self, *projects: Project) -> list[Any]:
        return [output for project in projects for item in project.items() for output in item.outputs]

    def elsewhere(self, project: Project) -> None:
        """What was refused is done once it may save elsewhere."""
        due = project.count(Status.FAILED)
        retry(project.state)
        assert project.burst("update", "--output", str(project.home / "own")).code == 0
        ended = project.run()
        assert (ended.code, ended.report["completed"]) == (0, due)
        assert project.count(Status.COMPLETED) == 2
