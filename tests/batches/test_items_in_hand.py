"""Items in hand: given up, forgotten, put first and edited, alone, on a server and beside a burst."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from support.background import in_background
from support.documents import checked
from support.projects import small_template
from support.waiting import wait_until

from burst import cli
from orchestrator import editing, forgetting
from orchestrator.batches.batch_status import read_batch
from orchestrator.cancellation import cancel
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.run import run_burst
from orchestrator.editing import Edit, edit_items
from orchestrator.errors import UsageError
from orchestrator.forgetting import forget
from orchestrator.preparation import Preparation
from orchestrator.priorities import set_priority
from orchestrator.recipes import Recipes
from orchestrator.retries import retry
from orchestrator.sandbox import Sandbox
from orchestrator.settings import load_settings
from state.batch import Batch
from state.change import change_all
from state.item import ErrorRecord, Item, ItemOutput, Status
from state.open_store import open_store, parts_of

NOBODY = "http://127.0.0.1:9"
PENDING, SUBMITTED, COMPLETED, FAILED, CANCELLED = Status
SEEDLESS = {
    "1": {"class_type": "StringConcatenate", "inputs": {"string_a": "", "string_b": "", "delimiter": ""}},
    "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
}
GENERATE = ["generate", "--template", "flow.json", "--size", "64x64", "--seed", "5", "--queue-only", "--prompt"]


class Scene:
    """A directory with a template and a state, that commands work on in this process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "re_render_state.json"
        self.output = home / "output"

    def burst(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        result = CliRunner().invoke(cli, [*arguments, "--json"])
        assert result.exit_code == code, result.output
        return checked(json.loads(result.stdout))

    def begin(self, server: str = NOBODY, *, count: int = 3) -> None:
        """Prompt files and a state of them."""
        (self.home / "prompts").mkdir(exist_ok=True)
        for number in range(1, count + 1):
            (self.home / "prompts" / f"{number}.txt").write_text(f"prompt {number}")
        self.burst("init", "prompts", "--template", "flow.json", "--server", server)

    def items(self, *statuses: Status) -> list[Item]:
        with open_store(self.state, read_only=True) as store:
            return list(store.items(*statuses))

    def item(self, key: str) -> Item:
        (found,) = [item for item in self.items() if item.key == key]
        return found

    def statuses(self) -> list[Status]:
        return [item.status for item in self.items()]

    def change(self, edit: Callable[[Item], Item], *keys: str) -> None:
        """As a burst changes these items, or all."""
        with open_store(self.state) as store:
            change_all(store, [item for item in store.items() if not keys or item.key in keys], edit)

    def run(self, *, stop: threading.Event | None = None, **asked: Any) -> Any:
        return run_burst(self.state, poll_seconds=0.05, stop=stop, **asked)

    def submit(self, sandbox: Sandbox, *, count: int) -> None:
        """Have a burst send all, and end while the first one renders."""
        stop = threading.Event()
        sandbox.hold("render")
        with in_background(self.run, stop=stop) as end:
            wait_until(lambda: sum(item.accepted for item in self.items()) == count, what="all sent")
            stop.set()
            end()

    def prepared(self) -> dict[str, Any]:
        """The graph that would be sent of the one item."""
        with open_store(self.state, read_only=True) as store:
            (item,) = store.items()
            preparation = Preparation(
                Recipes(store.recipes, self.home), load_settings(self.state), self.home, items=store
            )
            return preparation.prepare(item).graph

    def batches(self) -> list[Batch]:
        return list(parts_of(self.state).batches.read().values())


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    for name in ("COMFYUI_URL", "COMFYUI_HEADERS", "BURST_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.json").write_text(json.dumps(small_template()))
    return Scene(tmp_path)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def failed(item: Item) -> Item:
    return item.fail(error=ErrorRecord(kind="execution_error", message="no"))


def graph_of(sandbox: Sandbox, item: Item) -> dict[str, Any]:
    """What the server rendered for an item."""
    with ComfyUI(sandbox.url) as client:
        entry = client.history(item.prompt_id or "")
    assert entry is not None
    assert entry.graph is not None
    return dict(entry.graph)


class TestEqualPrompts:
    def prompts(self, scene: Scene, *more: str) -> dict[str, Any]:
        (scene.home / "prompts.txt").write_text("a fox\na dog\na fox\n")
        return scene.burst(
            *("generate", "--prompts-file", "prompts.txt", "--template", "flow.json", "--server", NOBODY),
            *("--queue-only", *more),
        )

    def test_they_get_seeds_of_their_own(self, scene: Scene) -> None:
        assert self.prompts(scene, "--seed", "5")["notes"] == []
        assert sorted((item.prompt_text, item.inputs["seed"]) for item in scene.items()) == [
            ("a dog", 5),
            ("a fox", 5),
            ("a fox", 6),
        ]

    def test_the_same_images_are_noted(self, scene: Scene) -> None:
        (note,) = self.prompts(scene, "--seed", "5", "--seed-mode", "fixed")["notes"]
        assert note.startswith("1 item is like another in text, values and seed, and so is the same image")

    def test_a_workflow_without_a_seed(self, scene: Scene) -> None:
        (scene.home / "flow.json").write_text(json.dumps(SEEDLESS))
        (note,) = self.prompts(scene, "--count", "2", "--bind", "prompt=1.string_a")["notes"]
        assert note.startswith("4 items are like another")


class TestGivingUpFailedItems:
    def test_one_that_is_named_counts_as_cancelled_and_not_as_failed(self, scene: Scene) -> None:
        scene.begin()
        scene.change(failed, "prompts/1.txt", "prompts/2.txt")
        document = scene.burst("cancel", "prompts/1.txt")
        assert document["items"] == ["prompts/1.txt"]
        assert scene.statuses() == [CANCELLED, FAILED, PENDING]
        assert scene.item("prompts/1.txt").error is not None, "why it failed is still to be read"
        assert scene.burst("cancel", "prompts/1.txt")["items"] == []
        assert retry(scene.state, ["prompts/1.txt"]).keys == ("prompts/1.txt",)

    def test_all_failed_ones_and_none_else(self, scene: Scene) -> None:
        scene.begin()
        scene.change(failed, "prompts/1.txt", "prompts/3.txt")
        assert scene.burst("cancel", "--failed")["items"] == ["prompts/1.txt", "prompts/3.txt"]
        assert scene.statuses() == [CANCELLED, PENDING, CANCELLED]

    def test_all_with_the_failed_ones(self, scene: Scene) -> None:
        scene.begin()
        scene.change(failed, "prompts/1.txt")
        assert scene.burst("cancel", "--all")["items"] == ["prompts/2.txt", "prompts/3.txt"]
        assert scene.statuses() == [FAILED, CANCELLED, CANCELLED]
        assert scene.burst("cancel", "--all", "--failed")["items"] == ["prompts/1.txt"]

    def test_of_a_batch_only_with_the_flag(self, scene: Scene) -> None:
        batch = scene.burst(*GENERATE, "a fox", "--count", "2", "--server", NOBODY)["batch"]
        scene.change(failed, scene.items()[0].key)
        scene.burst("cancel", batch)
        assert scene.statuses() == [FAILED, CANCELLED]
        scene.burst("cancel", batch, "--failed")
        assert scene.statuses() == [CANCELLED, CANCELLED]

    def test_the_same_request_goes_on_with_a_batch_of_which_one_was_given_up(self, scene: Scene) -> None:
        request = (*GENERATE, "a fox", "--count", "2", "--server", NOBODY)
        first = scene.burst(*request)
        scene.change(failed, scene.items()[0].key)
        cancel(scene.state, [scene.items()[0].key])
        again = scene.burst(*request)
        assert (again["batch"], len(scene.items())) == (first["batch"], 2)
        cancel(scene.state, [scene.items()[1].key])
        assert scene.burst(*request)["batch"] != first["batch"], "taken back, not given up"

    def test_a_pending_item_that_is_cancelled_after_a_failed_attempt_was_taken_back(self, scene: Scene) -> None:
        scene.begin(count=1)
        error = ErrorRecord(kind="execution_error", message="no")
        scene.change(lambda item: item.put_back(charge=True, error=error))
        cancel(scene.state, ["prompts/1.txt"])
        assert scene.item("prompts/1.txt").error is None


class TestForgetting:
    def test_an_item_leaves_the_state_and_its_image_stays(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url)
        scene.run()
        document = scene.burst("forget", "prompts/2.txt")
        assert (document["items"], document["left"], document["removed"]) == (["prompts/2.txt"], 1, [])
        assert [item.key for item in scene.items()] == ["prompts/1.txt", "prompts/3.txt"]
        assert len(list(scene.output.rglob("*.png"))) == 3
        assert "prompts/2.txt" not in scene.state.read_text()
        message = scene.burst("forget", "prompts/2.txt", code=2)["error"]["message"]
        assert "has no item and no batch 'prompts/2.txt'" in message

    def test_whatever_became_of_it(self, scene: Scene) -> None:
        scene.begin()
        scene.change(failed, "prompts/1.txt")
        scene.change(Item.cancel, "prompts/2.txt")
        assert len(forget(scene.state, ["prompts/1.txt", "prompts/2.txt", "prompts/3.txt"]).keys) == 3
        assert scene.items() == []

    def test_with_its_files_but_not_those_that_are_changed(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url)
        scene.run()
        (scene.output / "prompts" / "1.png").write_bytes(b"mine")
        planned = scene.burst("forget", "prompts/1.txt", "prompts/2.txt", "--remove-files", "--dry-run")
        assert (planned["removed"], planned["kept"]) == (["prompts/2.png"], ["prompts/1.png"])
        assert (len(scene.items()), len(list(scene.output.rglob("*.png")))) == (3, 3)
        document = scene.burst("forget", "prompts/1.txt", "prompts/2.txt", "--remove-files")
        assert (document["removed"], document["kept"]) == (planned["removed"], planned["kept"])
        assert [item.key for item in scene.items()] == ["prompts/3.txt"]
        assert sorted(path.name for path in scene.output.rglob("*.png")) == ["1.png", "3.png"]

    def test_a_batch_goes_with_its_items_and_the_same_request_makes_another(
        self, scene: Scene, sandbox: Sandbox
    ) -> None:
        request = (*GENERATE, "a fox", "--count", "2", "--layout", "batch", "--server", sandbox.url)
        batch = scene.burst(*request)["batch"]
        scene.run()
        document = scene.burst("forget", batch, "--remove-files")
        assert (document["batches"], len(document["items"])) == ([batch], 2)
        assert [path for path in scene.output.rglob("*") if path.is_file()] == []
        assert scene.burst("batches", "list")["batches"] == []
        assert scene.burst("forget", batch, code=2)["error"]["message"].endswith("was cleaned away")
        assert scene.burst(*request)["batch"] != batch
        assert len(scene.items(PENDING)) == 2

    def test_the_last_item_of_a_batch_takes_it_along(self, scene: Scene) -> None:
        batch = scene.burst(*GENERATE, "a fox", "--count", "2", "--name", "foxes", "--server", NOBODY)["batch"]
        first, second = [item.key for item in scene.items()]
        assert forget(scene.state, [first]).batches == ()
        assert read_batch(scene.state, "foxes").total == 1
        assert forget(scene.state, [second]).batches == (batch,)
        scene.burst(*GENERATE, "a dog", "--name", "foxes", "--server", NOBODY)

    def test_an_ended_batch_does_not_end_once_more_without_some_items(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.burst(*GENERATE, "a fox", "--count", "3", "--server", sandbox.url)
        scene.run()
        (before,) = [end for batch in scene.batches() for end in batch.ends]
        forget(scene.state, [scene.items()[0].key])
        scene.burst(*GENERATE, "a dog", "--server", sandbox.url)
        scene.run()
        (after,) = scene.batches()[0].ends
        assert (after.event, after.completed) == (before.event, 2)

    def test_after_a_kill_between_items_and_batch(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        batch = scene.burst(*GENERATE, "a fox", "--server", NOBODY)["batch"]

        class Killed(BaseException):
            pass

        def kill(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(forgetting, "settled", kill)
            patch.setattr("state.json.batch_log.JsonBatchLog.append", kill)
            with pytest.raises(Killed):
                forget(scene.state, [batch])
        assert scene.items() == []
        assert forget(scene.state, [batch]).batches == (batch,)
        assert [one.gone for one in scene.batches()] == [True]

    def test_nothing_is_forgotten_where_one_is_on_a_server(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url)
        scene.submit(sandbox, count=3)
        (scene.home / "prompts" / "4.txt").write_text("prompt 4")
        scene.burst("init", "prompts")
        message = scene.burst("forget", "prompts/1.txt", "prompts/4.txt", code=2)["error"]["message"]
        assert message == (
            "1 item is on a server (prompts/1.txt): `burst cancel prompts/1.txt prompts/4.txt`, then forget again"
        )
        assert len(scene.items()) == 4
        cancel(scene.state, ["prompts/2.txt", "prompts/4.txt"])
        assert forget(scene.state, ["prompts/2.txt", "prompts/4.txt"]).keys == ("prompts/2.txt", "prompts/4.txt")

    def test_files_that_are_gone(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url)
        scene.run(size=1)
        for number in (1, 2):
            (scene.home / "prompts" / f"{number}.txt").unlink()
        assert scene.burst("init", "prompts")["gone"] == ["prompts/1.txt", "prompts/2.txt"]
        assert scene.burst("forget", "--gone")["items"] == ["prompts/1.txt", "prompts/2.txt"]
        assert [item.key for item in scene.items()] == ["prompts/3.txt"]
        assert scene.burst("init", "prompts")["gone"] == []
        assert scene.burst("forget", "--gone")["items"] == []

    def test_beside_a_burst_that_has_not_sent_it(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url, count=4)
        sandbox.hold("render")
        with in_background(scene.run, size=2) as end:
            wait_until(lambda: sum(item.accepted for item in scene.items()) == 2, what="two sent")
            forget(scene.state, ["prompts/3.txt"])
            sandbox.release()
            assert end().completed == 2
        scene.run()
        assert [item.key for item in scene.items(COMPLETED)] == ["prompts/1.txt", "prompts/2.txt", "prompts/4.txt"]


class TestStagesOfItemsInHand:
    """Items that are made from another one's output."""

    @pytest.fixture
    def staged(self, scene: Scene) -> Scene:
        """A prompt file, and `second`, which is made from its image."""
        scene.begin(count=1)
        with open_store(scene.state) as store:
            source = ItemOutput(item="prompts/1.txt", output=1)
            store.add([Item(key="second", status=PENDING, prompt_text="x", uploads={"image": source})])
        return scene

    def test_they_fail_with_a_forgotten_source_and_it_is_said(self, staged: Scene) -> None:
        planned = staged.burst("forget", "prompts/1.txt", "--dry-run")
        assert planned["notes"] == ["1 item made from their outputs would fail with them (second)"]
        assert staged.burst("forget", "prompts/1.txt")["notes"] == [
            "1 item made from their outputs failed with them (second)"
        ]
        assert staged.item("second").status is FAILED

    def test_they_are_forgotten_with_it(self, staged: Scene) -> None:
        document = staged.burst("forget", "prompts/1.txt", "second")
        assert (document["items"], document["notes"]) == (["prompts/1.txt", "second"], [])
        assert staged.items() == []

    def test_an_edited_source_is_all_that_is_reported(self, staged: Scene) -> None:
        staged.change(failed, "prompts/1.txt")
        assert staged.item("second").status is FAILED
        assert staged.burst("edit", "prompts/1.txt", "--prompt", "x")["items"] == ["prompts/1.txt"]
        assert staged.item("second").status is PENDING

    def test_a_source_that_is_given_up_cancels_them(self, staged: Scene) -> None:
        staged.change(failed, "prompts/1.txt")
        cancel(staged.state, ["prompts/1.txt"])
        assert staged.item("second").status is CANCELLED


class TestPriorities:
    def test_what_is_sent_first(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url)
        document = scene.burst("priority", "prompts/3.txt", "prompts/2.txt", "high")
        assert (document["items"], document["priority"]) == (["prompts/3.txt", "prompts/2.txt"], "high")
        again = scene.burst("priority", "prompts/3.txt", "high")
        assert (again["items"], again["unchanged"]) == ([], 1)
        scene.run(size=1)
        assert [item.key for item in scene.items(COMPLETED)] == ["prompts/2.txt"]

    def test_a_batch_but_for_what_it_has_done(self, scene: Scene, sandbox: Sandbox) -> None:
        batch = scene.burst(*GENERATE, "a fox", "--count", "3", "--server", sandbox.url)["batch"]
        scene.run(size=1)
        scene.change(failed, scene.items()[1].key)
        scene.burst("priority", batch[:-2], "urgent")
        assert [item.priority for item in scene.items()] == ["normal", "urgent", "urgent"]
        assert set_priority(scene.state, [batch], "urgent").as_text() == "2 items urgent before"

    def test_a_batch_of_which_nothing_can_be_sent(self, scene: Scene, sandbox: Sandbox) -> None:
        batch = scene.burst(*GENERATE, "a fox", "--server", sandbox.url)["batch"]
        cancel(scene.state, [batch])
        done = set_priority(scene.state, [batch], "low")
        assert done.as_text() == "Nothing to change: none of these items is pending, submitted or failed"

    def test_first_is_before_all_that_is_due_and_again_before_that(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url, count=4)
        fourth, third = "prompts/4.txt", "prompts/3.txt"
        set_priority(scene.state, ["prompts/2.txt"], "urgent")
        assert set_priority(scene.state, [fourth], "first").as_text().startswith("1 item now before all others")
        document = scene.burst("priority", third, "first")
        assert (document["priority"], document["items"]) == ("urgent", [third])
        with open_store(scene.state) as store:
            assert [item.key for item in store.due(4)] == [third, fourth, "prompts/2.txt", "prompts/1.txt"]
        assert set_priority(scene.state, [third], "first").unchanged == 1, "twice is once"

    def test_first_overtakes_what_waits_on_a_server(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url, count=3)
        scene.submit(sandbox, count=3)
        scene.begin(sandbox.url, count=4)
        assert set_priority(scene.state, ["prompts/3.txt", "prompts/4.txt"], "first").left == 0
        with in_background(scene.run, until_done=True) as end:
            wait_until(lambda: all(item.accepted for item in scene.items()), what="all sent")
            sandbox.release()
            assert end().completed == 4
        by_prompt = {item.prompt_id: item.key for item in scene.items()}
        rendered = [by_prompt[prompt_id] for prompt_id in sandbox.counts()["rendered"]]
        assert rendered == ["prompts/1.txt", "prompts/3.txt", "prompts/4.txt", "prompts/2.txt"]

    def test_what_waits_on_a_server_is_sent_again_in_its_new_place(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url)
        scene.submit(sandbox, count=3)
        before = {item.key: item.prompt_id for item in scene.items()}
        document = scene.burst("priority", *before, "urgent")
        assert (document["items"], document["left"]) == (["prompts/2.txt", "prompts/3.txt"], 1)
        assert [(item.status, item.priority) for item in scene.items()] == [
            (SUBMITTED, "normal"),
            (PENDING, "urgent"),
            (PENDING, "urgent"),
        ]
        sandbox.release()
        scene.run(until_done=True)
        assert scene.statuses() == [COMPLETED] * 3
        rendered = sandbox.counts()["rendered"]
        assert {before["prompts/2.txt"], before["prompts/3.txt"]}.isdisjoint(rendered)

    def test_beside_a_burst_it_overtakes_what_waits(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url, count=4)
        sandbox.hold("render")
        with in_background(scene.run) as end:
            wait_until(lambda: sum(item.accepted for item in scene.items()) == 4, what="four sent")
            old = scene.item("prompts/4.txt").prompt_id
            assert set_priority(scene.state, ["prompts/4.txt"], "urgent").keys == ("prompts/4.txt",)
            wait_until(lambda: scene.item("prompts/4.txt").accepted, what="sent again")
            sandbox.release()
            assert end().completed == 4
        counts = sandbox.counts()
        assert old not in counts["rendered"]
        assert counts["rendered_by_item"] == {item.key: 1 for item in scene.items()}
        by_prompt = {item.prompt_id: item.key for item in scene.items()}
        assert [by_prompt[prompt_id] for prompt_id in counts["rendered"]][1] == "prompts/4.txt"

    def test_a_server_that_does_not_answer_keeps_what_it_has(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url, count=2)
        scene.submit(sandbox, count=2)
        sandbox.close()
        done = set_priority(scene.state, ["prompts/2.txt"], "urgent", patience_seconds=0.0)
        assert (done.keys, done.left) == ((), 1)
        assert "What waits there stays" in done.notes[0]
        assert scene.item("prompts/2.txt").priority == "normal"


class TestEditing:
    def test_a_pending_item_is_rendered_with_its_new_text(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url)
        document = scene.burst(
            "edit", "prompts/2.txt", "--prompt", "a better one", "--negative", "fog", "--set", "steps=3"
        )
        assert document["items"] == ["prompts/2.txt"]
        assert document["notes"] == ["prompts/2.txt is no longer read for prompts/2.txt"]
        item = scene.item("prompts/2.txt")
        assert (item.prompt_text, item.inputs) == ("a better one", {"negative": "fog", "steps": 3})
        scene.run()
        graph = graph_of(sandbox, scene.item("prompts/2.txt"))
        assert (graph["6"]["inputs"]["text"], graph["7"]["inputs"]["text"]) == ("a better one", "fog")
        assert graph["3"]["inputs"]["steps"] == 3
        assert graph_of(sandbox, scene.item("prompts/1.txt"))["6"]["inputs"]["text"] == "prompt 1"

    def test_values_alone_leave_the_text_to_its_file(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url, count=1)
        scene.burst("edit", "prompts/1.txt", "--set", "seed=9")
        (scene.home / "prompts" / "1.txt").write_text("as it is now")
        scene.run()
        graph = graph_of(sandbox, scene.item("prompts/1.txt"))
        assert (graph["6"]["inputs"]["text"], graph["3"]["inputs"]["seed"]) == ("as it is now", 9)

    def test_a_failed_item_is_due_again(self, scene: Scene) -> None:
        scene.begin()
        scene.change(failed, "prompts/1.txt")
        scene.burst("edit", "prompts/1.txt", "--prompt", "a better one")
        item = scene.item("prompts/1.txt")
        assert (item.status, item.attempts, item.error) == (PENDING, 0, None)

    def test_a_completed_item_is_refused_or_made_due_again(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url)
        scene.run()
        edited = ("edit", "prompts/1.txt", "--prompt", "a better one")
        message = scene.burst(*edited, code=2)["error"]["message"]
        assert message == "prompts/1.txt is completed: --rescan makes it due again with the new values"
        assert scene.statuses() == [COMPLETED] * 3
        scene.burst(*edited, "--rescan")
        assert scene.statuses() == [PENDING, COMPLETED, COMPLETED]
        scene.run()
        assert graph_of(sandbox, scene.item("prompts/1.txt"))["6"]["inputs"]["text"] == "a better one"
        assert len(list(scene.output.rglob("*.png"))) == 3, "its image is replaced"

    def test_a_cancelled_item_too(self, scene: Scene) -> None:
        scene.begin(count=1)
        cancel(scene.state, ["prompts/1.txt"])
        with pytest.raises(UsageError, match="is cancelled: rescan=True makes it due again"):
            edit_items(scene.state, ["prompts/1.txt"], Edit(prompt="x"))
        assert edit_items(scene.state, ["prompts/1.txt"], Edit(prompt="x"), rescan=True).keys == ("prompts/1.txt",)

    def test_loras_are_replaced_and_taken_away(self, scene: Scene, sandbox: Sandbox) -> None:
        """With the strength that was meant for them; the same edit again changes nothing."""
        given = ("--lora", "a.safetensors:0.5", "--lora", "b.safetensors", "--set", "lora_strength=0.7")
        batch = scene.burst(*GENERATE, "a fox", *given, "--server", sandbox.url)["batch"]
        scene.burst("edit", batch, "--set", "steps=3")
        assert scene.items()[0].inputs["lora"] == ["a.safetensors:0.5", "b.safetensors"], "nothing else takes them"
        scene.burst("edit", batch, "--lora", "c.safetensors:1")
        assert (scene.items()[0].inputs["lora"], "lora_strength" in scene.items()[0].inputs) == (
            "c.safetensors:1",
            False,
        )
        assert scene.burst("edit", batch, "--lora", "")["items_total"] == 1
        assert "lora" not in scene.items()[0].inputs
        assert scene.burst("edit", batch, "--lora", "")["unchanged"] == 1
        scene.run()
        classes = {node["class_type"] for node in graph_of(sandbox, scene.items()[0]).values()}
        assert not {name for name in classes if name.startswith("Lora")}

    def test_a_lora_of_the_prompt_is_not_described_once_it_is_taken_away(self, scene: Scene) -> None:
        request = (*GENERATE, "a {fox|dog} <lora:x:0.5>", "--negative", "{fog|rain}", "--dynamic", "--server", NOBODY)
        batch = scene.burst(*request)["batch"]
        before = scene.items()[0]
        assert before.inputs["lora"] == "x.safetensors:0.5"
        scene.burst("edit", batch, "--set", "steps=3")
        assert scene.items()[0].dynamic == before.dynamic
        scene.burst("edit", batch, "--lora", "")
        item = scene.items()[0]
        assert (item.prompt_text, "lora" in item.inputs) == (before.prompt_text, False)
        assert item.dynamic == before.dynamic | {"texts": {"negative": "{fog|rain}"}}

    def test_the_workflow_keeps_a_lora_of_its_own(self, scene: Scene) -> None:
        loader = {
            "lora_name": "own.safetensors",
            "strength_model": 1,
            "strength_clip": 1,
            "model": ["4", 0],
            "clip": ["4", 1],
        }
        graph = small_template() | {"20": {"class_type": "LoraLoader", "inputs": loader}}
        graph["3"]["inputs"]["model"] = ["20", 0]
        (scene.home / "flow.json").write_text(json.dumps(graph))
        batch = scene.burst(*GENERATE, "a fox", "--lora", "a.safetensors:0.5", "--server", NOBODY)["batch"]
        assert scene.prepared()["20"]["inputs"]["lora_name"] == "a.safetensors"
        scene.burst("edit", batch, "--lora", "")
        assert scene.prepared()["20"]["inputs"] == loader

    def test_a_batch_of_one_text_but_for_what_it_has_done(self, scene: Scene, sandbox: Sandbox) -> None:
        batch = scene.burst(*GENERATE, "a fox", "--count", "3", "--server", sandbox.url)["batch"]
        scene.run(size=1)
        document = scene.burst("edit", batch, "--prompt", "a dog", "--set", "width=128")
        assert (len(document["items"]), document["ended"]) == (2, 1)
        assert [item.prompt_text for item in scene.items()] == ["a fox", "a dog", "a dog"]
        assert [item.inputs["seed"] for item in scene.items()] == [5, 6, 7], "seeds stay"
        again = scene.burst("edit", batch, "--prompt", "a dog", "--set", "width=128")
        assert (again["items"], again["unchanged"]) == ([], 2)
        scene.run()
        sidecars = sorted(path.read_text() for path in scene.output.rglob("prompt_*.txt"))
        assert sum("a dog" in text for text in sidecars) == 2

    def test_several_texts_are_not_replaced_by_one(self, scene: Scene) -> None:
        scene.begin()
        with pytest.raises(UsageError, match="these items have 2 different texts"):
            edit_items(scene.state, ["prompts/1.txt", "prompts/2.txt"], Edit(prompt="x"))
        done = edit_items(scene.state, ["prompts/1.txt", "prompts/2.txt"], Edit(negative="x"))
        assert len(done.keys) == 2

    def test_the_same_request_goes_on_with_its_edited_batch(self, scene: Scene) -> None:
        request = (*GENERATE, "a fox", "--count", "2", "--server", NOBODY)
        batch = scene.burst(*request)["batch"]
        scene.burst("edit", batch, "--prompt", "a dog")
        assert scene.burst(*request)["batch"] == batch
        assert [item.prompt_text for item in scene.items()] == ["a dog", "a dog"]

    def test_what_was_chosen_for_the_old_text_is_forgotten(self, scene: Scene) -> None:
        scene.burst(*GENERATE, "a {red|blue} fox", "--dynamic", "--server", NOBODY)
        (item,) = scene.items()
        assert item.dynamic
        scene.burst("edit", item.key, "--set", "steps=3")
        assert scene.item(item.key).dynamic == item.dynamic
        scene.burst("edit", item.key, "--prompt", "a {red|blue} dog", "--literal")
        now = scene.item(item.key)
        assert (now.dynamic, now.prompt_text) == ({}, "a {red|blue} dog")

    def test_an_automatic_batch_size_is_one_of_its_own_from_then_on(self, scene: Scene) -> None:
        scene.burst(*GENERATE, "a fox", "--server", NOBODY)
        (item,) = scene.items()
        scene.change(
            lambda now: msgspec.structs.replace(now, batch_size_auto=True, inputs={**now.inputs, "batch_size": 4})
        )
        scene.burst("edit", item.key, "--set", "batch_size=2")
        assert scene.item(item.key).automatic_batch_size is None

    def test_a_dry_run_changes_nothing(self, scene: Scene) -> None:
        scene.begin()
        before = scene.items()
        assert scene.burst("edit", "prompts/1.txt", "--prompt", "x", "--dry-run")["items"] == ["prompts/1.txt"]
        assert scene.items() == before

    def test_what_waits_on_a_server_is_taken_back_and_what_renders_is_refused(
        self, scene: Scene, sandbox: Sandbox
    ) -> None:
        scene.begin(sandbox.url)
        scene.submit(sandbox, count=3)
        rendering = scene.burst("edit", "prompts/1.txt", "--prompt", "x", code=2)["error"]["message"]
        assert rendering == (
            "prompts/1.txt is being rendered, or about to be; nothing was changed: wait for it, then use --rescan, "
            "or `burst cancel` it first"
        )
        assert scene.burst("edit", "prompts/2.txt", "--prompt", "x")["items"] == ["prompts/2.txt"]
        assert scene.statuses() == [SUBMITTED, PENDING, SUBMITTED]
        same = scene.item("prompts/3.txt").prompt_id
        scene.burst("edit", "prompts/3.txt", "--prompt", "prompt 3")
        sandbox.release()
        scene.run(until_done=True)
        assert graph_of(sandbox, scene.item("prompts/2.txt"))["6"]["inputs"]["text"] == "x"
        assert same is not None

    def test_beside_a_burst(self, scene: Scene, sandbox: Sandbox) -> None:
        scene.begin(sandbox.url)
        sandbox.hold("render")
        with in_background(scene.run) as end:
            wait_until(lambda: sum(item.accepted for item in scene.items()) == 3, what="three sent")
            scene.burst("edit", "prompts/3.txt", "--prompt", "a better one")
            wait_until(lambda: scene.item("prompts/3.txt").accepted, what="sent again")
            sandbox.release()
            assert end().completed == 3
        assert sandbox.counts()["rendered_by_item"] == {item.key: 1 for item in scene.items()}
        assert graph_of(sandbox, scene.item("prompts/3.txt"))["6"]["inputs"]["text"] == "a better one"

    def test_a_burst_that_sends_it_again_meanwhile_is_met_again(
        self, scene: Scene, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the deletion of its prompt and the edit, as a worker does that finds the prompt gone."""
        scene.begin(sandbox.url)
        scene.submit(sandbox, count=3)
        real = editing.amend.__globals__["delete_waiting_of"]
        calls: list[Mapping[str, str]] = []

        def racing(servers: Any, items: Any) -> Mapping[str, str]:
            gone = real(servers, items)
            calls.append(gone)
            if len(calls) == 1:
                scene.change(lambda now: now.put_back(charge=False), "prompts/3.txt")
            return gone

        monkeypatch.setitem(editing.amend.__globals__, "delete_waiting_of", racing)
        assert edit_items(scene.state, ["prompts/3.txt"], Edit(prompt="x")).keys == ("prompts/3.txt",)
        assert scene.item("prompts/3.txt").prompt_text == "x"
        assert len(calls) == 2
