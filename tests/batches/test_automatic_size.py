"""`--batch-size auto` after out of memory: half as many pictures at once, for all that is due of the batch."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from support.background import in_background
from support.burst_runs import run_quickly
from support.preparing import preparation_of
from support.projects import MakeProject, Project, small_template
from support.waiting import wait_until

from orchestrator.batches.sidecars import read_reproduction
from orchestrator.batches.spec import BatchSpec
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.context import Options, WorkerContext
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.progress import Silent
from orchestrator.cycle.request import Request
from orchestrator.cycle.submission import Submission
from orchestrator.cycle.uploads import ReadyItem
from orchestrator.errors import UsageError
from orchestrator.generation import Generated, Generation, Planned
from orchestrator.outputs.placement import Placement
from orchestrator.recipes import Recipes
from orchestrator.sandbox import Sandbox
from orchestrator.servers import parse_server
from orchestrator.web.batch_start import again
from orchestrator.web.states import WatchedStates
from state.change import Change
from state.item import Item, Status
from state.json.journal_lines import read_lines
from state.open_store import open_store

NOTE = "out of memory at batch_size 8: batch b1 continues with 4; its prompts make fewer images each"
KILLED_BEFORE = ("--kill", "before:orchestrator.cycle.transitions:Transitions.shrink")
KILLED_AFTER = ("--kill", "after:orchestrator.cycle.transitions:Transitions.shrink")


def batch(name: str | None = "b1", *, count: int = 3, size: int = 8, auto: bool = True, stem: str = "") -> list[Item]:
    """Items that are due, each of so many pictures; with `auto` that chose how many."""
    return [
        Item(
            key=f"{name}/{stem}{number:03d}",
            status=Status.PENDING,
            batch=name,
            subfolder=str(name),
            filename=f"{stem}{number:03d}.png",
            prompt_text=f"a lighthouse, view {number}",
            inputs={"seed": number, "batch_size": size},
            batch_size_auto=auto,
        )
        for number in range(1, count + 1)
    ]


def hold(project: Project, *items: Item) -> None:
    """These are the items of the state, as if nothing had been before."""
    (project.folder / "journal.jsonl").unlink(missing_ok=True)
    project.state.write_text(json.dumps({item.key: json.loads(item.to_record()) for item in items}))


def change(project: Project, key: str, edit: Callable[[Item], Item]) -> None:
    """As another process does it, or a person with an editor."""
    with open_store(project.state) as store:
        store.apply([Change(key, store.get(key).status, edit)])


def sizes(project: Project, *statuses: Status) -> list[Any]:
    return [item.inputs.get("batch_size") for item in project.items(*statuses)]


def pictures(project: Project) -> list[int]:
    return [len(item.outputs) for item in project.items()]


def requests(sandbox: Sandbox) -> int:
    return sum(sandbox.counts()["requests"].values())


def asked_to_free(sandbox: Sandbox) -> int:
    return int(sandbox.counts()["requests"].get("POST /free", 0))


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    return make_project(count=1, template=small_template(batch_size=2))


def test_one_that_runs_out_halves_all_that_is_due_of_its_batch(project: Project, sandbox: Sandbox) -> None:
    sandbox.change(out_of_memory_above=4)
    hold(project, *batch(count=6))
    report = run_quickly(project, size=1)
    assert (report.exit_code, report.completed, report.put_back, sandbox.counts()["posts"]) == (0, 1, 1, 2)
    assert (pictures(project), sizes(project)) == ([4, 0, 0, 0, 0, 0], [4] * 6)
    assert NOTE in report.notes
    assert run_quickly(project, size=1, until_done=True).notes == ()
    assert (sandbox.counts()["posts"], asked_to_free(sandbox)) == (7, 1)
    assert pictures(project) == [4] * 6
    assert {item.attempts for item in project.items()} == {0}
    project.check_all_done(sandbox.counts())


@pytest.mark.parametrize(("size", "fits", "steps"), [(8, 1, 3), (7, 1, 2), (7, 3, 1), (3, 2, 1), (2, 1, 1)])
def test_it_is_halved_until_it_fits(project: Project, sandbox: Sandbox, size: int, fits: int, steps: int) -> None:
    """However often that is, it is none of the attempts."""
    sandbox.change(out_of_memory_above=fits)
    hold(project, *batch(count=1, size=size))
    report = run_quickly(project, max_attempts=1)
    assert (report.exit_code, report.put_back, sandbox.counts()["posts"], asked_to_free(sandbox)) == (
        0,
        steps,
        steps + 1,
        steps,
    )
    assert pictures(project) == sizes(project) == [size >> steps]
    assert (project.item().attempts, project.item().error) == (0, None)


def test_what_is_out_is_left_as_it_was_sent_and_never_halved_twice(project: Project, sandbox: Sandbox) -> None:
    sandbox.hold("next")
    sandbox.change(out_of_memory_above=4)
    hold(project, *batch(count=4))
    with in_background(run_quickly, project, size=3) as end:
        wait_until(lambda: sandbox.counts()["posts"] == 3)
        sandbox.release()
        report = end()
    assert report.notes == (NOTE,)
    assert run_quickly(project).completed == 1
    assert pictures(project) == sizes(project) == [4] * 4
    assert sandbox.counts()["queued_by_item"] == {f"b1/00{number}": 1 + (number < 4) for number in (1, 2, 3, 4)}


def test_nothing_else_is_halved(project: Project, sandbox: Sandbox) -> None:
    """What somebody said stands, and so do other batches and what is in none."""
    sandbox.change(out_of_memory_next=1)
    said = batch(auto=False, stem="said", count=1)
    hold(project, *batch(count=2), *said, *batch("b2", count=1), *batch(None, count=1), *batch(size=3, stem="small"))
    assert run_quickly(project, size=1).put_back == 1
    assert sizes(project) == [4, 4, 8, 8, 8, 3, 3, 3]
    assert run_quickly(project).exit_code == 0
    assert pictures(project) == sizes(project)


def test_items_of_no_batch_are_each_their_own(project: Project, sandbox: Sandbox) -> None:
    sandbox.change(out_of_memory_next=1)
    hold(project, *batch(None, count=2))
    report = run_quickly(project, size=1)
    assert report.notes == (NOTE.replace("batch b1", "None/001"),)
    assert sizes(project) == [4, 8]


def test_a_size_that_somebody_said_is_kept_and_fails(project: Project, sandbox: Sandbox) -> None:
    sandbox.change(out_of_memory_above=4)
    hold(project, *batch(count=1, auto=False))
    report = run_quickly(project)
    assert (report.failed, report.notes, sandbox.counts()["posts"], asked_to_free(sandbox)) == (1, (), 2, 1)
    item = project.item()
    assert item.error is not None
    assert "smaller batch_size" in item.error.message
    assert (sizes(project), item.attempts) == ([8], 2)


@pytest.mark.parametrize("size", [1, 2])
def test_one_picture_that_does_not_fit_is_tried_once_more_and_fails(
    project: Project, sandbox: Sandbox, size: int
) -> None:
    """As ever; to have been halved before is not to have been tried."""
    sandbox.change(out_of_memory_next=size + 1)
    hold(project, *batch(count=1, size=size))
    report = run_quickly(project)
    assert (report.failed, sandbox.counts()["posts"], asked_to_free(sandbox)) == (1, size + 1, size)
    item = project.item()
    assert item.error is not None
    assert (item.error.kind, item.attempts, sizes(project)) == ("out_of_memory", 2, [1])


@pytest.mark.parametrize("written", ["gone", "8", 8.0, True, None, [8], 0, -8])
def test_a_size_that_was_edited_to_no_number_of_pictures_is_left_alone(written: Any) -> None:
    (item,) = batch(count=1)
    inputs: dict[str, Any] = {"seed": 1} if written == "gone" else {"seed": 1, "batch_size": written}
    edited = msgspec.structs.replace(item, inputs=inputs)
    assert edited.shrink(batch_size=1) is edited
    assert (edited.automatic_batch_size or 0) <= 0


def test_an_item_without_a_size_of_its_own_is_treated_as_ever(project: Project, sandbox: Sandbox) -> None:
    """Somebody took it out by hand, and the template's counts now."""
    sandbox.change(out_of_memory_above=1)
    (item,) = batch(count=1)
    hold(project, msgspec.structs.replace(item, inputs={"seed": 1}))
    assert (run_quickly(project).failed, sandbox.counts()["posts"]) == (1, 2)
    assert sizes(project) == [None]


@pytest.mark.parametrize("is_read", [False, True], ids=["read later", "read before it ends"])
@pytest.mark.parametrize(("now", "auto", "then"), [(2, True, 2), (16, True, 4), (2, False, 2)])
def test_an_edit_while_it_is_out_stands_but_for_what_cannot_fit(
    project: Project, sandbox: Sandbox, now: int, auto: bool, then: int, is_read: bool
) -> None:
    """What did not fit is what was sent, whatever the item says by now."""
    sandbox.hold("next")
    sandbox.change(out_of_memory_above=4)
    hold(project, *batch(count=1))
    with in_background(run_quickly, project) as end:
        wait_until(lambda: sandbox.counts()["posts"] == 1 and project.item().accepted)
        inputs = {"seed": 1, "batch_size": now}
        change(project, "b1/001", lambda item: msgspec.structs.replace(item, inputs=inputs, batch_size_auto=auto))
        looks = requests(sandbox)
        wait_until(lambda: not is_read or requests(sandbox) >= looks + 3)
        sandbox.release()
        assert end().completed == 1
    assert (pictures(project), sizes(project), sandbox.counts()["posts"]) == ([then], [then], 2)


def test_a_record_says_so_only_where_it_is_so() -> None:
    (marked,), (plain,) = batch(count=1), batch(count=1, auto=False)
    assert json.loads(marked.to_record())["batch_size_auto"] is True
    assert "batch_size_auto" not in json.loads(plain.to_record())
    again = Item.from_record(marked.key, marked.to_record())
    assert again == marked
    assert again.start_over().batch_size_auto


class TestKilled:
    def test_before_it_is_written_down(self, project: Project, sandbox: Sandbox) -> None:
        """The memory is free already, and nothing says so: the prompt's end is met once more."""
        self.hold_some(project, sandbox)
        assert project.run("-n", "1", launch=KILLED_BEFORE).code == 137
        assert asked_to_free(sandbox) == 1
        assert (sizes(project), project.count(Status.SUBMITTED)) == ([8, 8, 8, 3], 1)
        self.check_goes_on(project, sandbox)

    def test_after(self, project: Project, sandbox: Sandbox) -> None:
        """All of it was one line, so no moment is between; and nothing else was in it."""
        self.hold_some(project, sandbox)
        assert project.run("-n", "1", launch=KILLED_AFTER).code == 137
        journal = project.folder / "journal.jsonl"
        last = read_lines(journal, journal.read_bytes()).lines[-1]
        assert {one.key for one in last.changes} == {"b1/001", "b1/002", "b1/003"}
        assert (sizes(project, Status.PENDING), project.item().error) == ([4, 4, 4, 3], None)
        self.check_goes_on(project, sandbox)

    def hold_some(self, project: Project, sandbox: Sandbox) -> None:
        """Four pictures fit, and one of the batch is smaller already."""
        sandbox.change(out_of_memory_above=4)
        hold(project, *batch(), *batch(count=1, size=3, stem="small"))

    def check_goes_on(self, project: Project, sandbox: Sandbox) -> None:
        ended = project.run("--until-done")
        assert ended.code == 0, ended.err
        assert pictures(project) == sizes(project) == [4, 4, 4, 3]
        assert sandbox.counts()["posts"] == 5
        project.check_all_done(sandbox.counts())

    def test_and_cancelled_then(self, project: Project, sandbox: Sandbox) -> None:
        """The wish is kept; the others of its batch learn from it all the same."""
        sandbox.change(out_of_memory_above=4)
        hold(project, *batch())
        assert project.run("-n", "1", launch=KILLED_BEFORE).code == 137
        change(project, "b1/001", lambda item: item.request_cancel())
        assert run_quickly(project).completed == 2
        assert project.statuses() == ["cancelled", "completed", "completed"]
        assert (pictures(project), sandbox.counts()["posts"]) == ([0, 4, 4], 3)

    def test_and_another_set_to_pending_by_hand_while_it_was_out(self, project: Project, sandbox: Sandbox) -> None:
        """That one's prompt is looked for first, and is of the size that it was sent with."""
        sandbox.change(out_of_memory_above=4)
        sandbox.hold("next")
        hold(project, *batch(count=2))
        with project.start_run("-n", "2", launch=KILLED_BEFORE) as run:
            wait_until(lambda: all(item.accepted for item in project.items()))
            sandbox.release()
            assert run.end().code == 137
        with ComfyUI(sandbox.url) as client:
            wait_until(lambda: client.queue_remaining() == 0)
        change(project, "b1/002", lambda item: msgspec.structs.replace(item, status=Status.PENDING))
        assert run_quickly(project).completed == 2
        assert pictures(project) == sizes(project) == [4, 4]
        assert sandbox.counts()["posts"] == 4


def test_a_graph_that_was_filled_before_the_halving_is_not_sent(project: Project, sandbox: Sandbox) -> None:
    """Another server's lane may hold an item that is halved before its intent is written."""
    (item,) = batch(count=1)
    hold(project, item)
    with open_store(project.state) as store, store.lease() as lease, ComfyUI(sandbox.url) as client:
        context = WorkerContext(
            store=store,
            lease=lease,
            server=parse_server(sandbox.url),
            client=client,
            placement=Placement(Recipes(store.recipes, project.home), project.output),
            preparation=preparation_of(project.home, project.home / "template.json", book=store.recipes),
            dispatch=Dispatch(store, lease, progress=Silent(), on_error="continue"),
            options=Options(),
            clock=Clock(),
            halt=threading.Event(),
        )
        taken = store.get(item.key)
        change(project, item.key, lambda now: now.shrink(batch_size=4))
        sent: list[Item] = []
        submission = Submission(
            context,
            forget_uploads=lambda: None,
            refused=lambda item, error: None,
            sent=sent.append,
            attend=lambda: None,
        )
        submission.submit([ReadyItem(taken, {})])
        assert not sent
        (due,) = store.due(1)
        assert (due.status, due.automatic_batch_size, due.prompt_id) == (Status.PENDING, 4, None)
        assert sandbox.counts()["posts"] == 0
        submission.submit([ReadyItem(due, {})])
        assert len(sent) == 1


class TestGenerate:
    """From the command to the sidecars. A note says that 8 pictures fit, and that is wrong."""

    @pytest.fixture
    def generate(self, project: Project, sandbox: Sandbox) -> Callable[..., Generated | Planned]:
        hold(project)
        (project.home / "profiles.yaml").write_text(
            "profiles:\n  mine: {batch_size: auto, steps: 3}\nmodels:\n  'tiny-random*': {memory_gib: {8: 0.1}}\n"
        )

        def call(**said: Any) -> Generated | Planned:
            dry_run = said.pop("dry_run", False)
            asked = BatchSpec(**{"prompt": "a lighthouse", "layout": "batch"} | said)
            return Generation(asked, Request(state=project.state, poll_seconds=0.2), dry_run=dry_run).execute()

        return call

    @pytest.mark.parametrize("said", [{"batch_size": "auto"}, {"profile": "mine"}], ids=["flag", "profile"])
    def test_the_pictures_and_their_sidecars_tell_the_size_that_was_rendered(
        self, project: Project, sandbox: Sandbox, generate: Callable[..., Generated], said: dict[str, str]
    ) -> None:
        sandbox.change(out_of_memory_above=2)
        generated = generate(count=2, **said)
        assert generated.exit_code == 0
        assert sizes(project) == [2, 2]
        for item in project.items():
            assert item.batch_size_auto
            assert item.sidecar is not None
            assert sum(output.path.endswith(".png") for output in item.outputs) == 2
            recipe = read_reproduction(project.output / item.sidecar, home=project.home)
            assert recipe.inputs["batch_size"] == 2

    def test_a_sidecar_s_size_is_a_size_that_somebody_said(
        self, project: Project, generate: Callable[..., Generated]
    ) -> None:
        generate(batch_size="auto")
        sidecar = str(project.output / str(project.item().sidecar))
        generate(prompt=None, from_file=sidecar)
        generate(prompt=None, from_file=sidecar, batch_size="auto")
        assert [(item.inputs["batch_size"], item.batch_size_auto) for item in project.items()] == [
            (8, True),
            (8, False),
            (8, True),
        ]

    def test_the_batch_says_auto_and_is_made_anew_so(
        self, project: Project, sandbox: Sandbox, generate: Callable[..., Generated]
    ) -> None:
        """No number is true of all of its pictures; made anew by the browser it chooses again."""
        sandbox.change(out_of_memory_above=4)
        made = generate(batch_size="auto").record
        assert made.parameters["batch_size"] == "auto"
        with contextlib.closing(WatchedStates([project.state])) as desk:
            found = desk.find(made.batch)
            assert found is not None
            again(*found)
        assert [(item.inputs["batch_size"], item.batch_size_auto) for item in project.items()] == [(4, True), (8, True)]
        said = generate(batch_size=3).record
        assert said.parameters["batch_size"] == 3
        with contextlib.closing(WatchedStates([project.state])) as desk:
            found = desk.find(said.batch)
            assert found is not None
            assert again(*found).record.parameters["batch_size"] == 3
        assert not project.items()[-1].batch_size_auto

    def test_what_a_row_or_a_flag_says_is_not_auto_s_choice(
        self, project: Project, generate: Callable[..., Generated | Planned]
    ) -> None:
        rows = project.home / "rows.csv"
        rows.write_text("prompt,batch_size\na fox,\na hen,8\na hare,3\n")

        def planned(**said: Any) -> list[tuple[Any, bool]]:
            outcome = generate(dry_run=True, **said)
            assert isinstance(outcome, Planned)
            return [(item.inputs["batch_size"], item.batch_size_auto) for item in outcome.plan.items]

        of_rows = [(8, True), (8, False), (3, False)]
        assert planned(prompt=None, csv=str(rows), batch_size="auto") == of_rows
        assert planned(prompt=None, csv=str(rows), profile="mine") == of_rows
        assert planned(batch_size=4) == planned(batch_size=4, profile="mine") == [(4, False)]
        assert planned(sets={"batch_size": "4"}, profile="mine") == [(4, False)]
        with pytest.raises(UsageError, match="both set batch_size"):
            planned(batch_size="auto", sweeps={"batch_size": ("2", "4")})
