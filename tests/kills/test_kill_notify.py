"""Whole bursts with a batch whose end somebody wants to be told: killed in between, and with a receiver that hangs."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pytest
from support.background import in_background
from support.burst_runs import run_quickly
from support.comfyui_loopback import Loopback
from support.projects import MakeProject, Project
from support.waiting import wait_until

from orchestrator.clock import Clock
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.notifications import delivery, notifier
from orchestrator.sandbox import Sandbox
from state.batch import Batch, BatchRecord, Notify
from state.change import Change
from state.item import Item, Status
from state.open_store import open_store, parts_of


class NotedWaits(Clock):
    """The real clock; how long each wait was to be is noted."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        return super().wait(event, seconds)


def with_batch(project: Project, *, url: str, cancelled: bool = False) -> None:
    """A batch of one item, behind the project's own."""
    record = BatchRecord(
        batch="b1",
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
        total=1,
        layout="batch",
        directory="batch_b1",
        notify=(Notify(url=url),),
    )
    store = open_store(project.state)
    item = Item(key="b1/001", status=Status.PENDING, batch="b1", index=1, prompt_text="a fox", inputs={"seed": 7})
    store.add([item], batch=record)
    if cancelled:
        store.apply([Change(item.key, item.status, lambda now: now.cancel())])
    store.close()


def noted(project: Project) -> Batch:
    return parts_of(project.state).batches.read()["b1"]


def test_killed_between_the_delivery_and_its_note_it_is_told_again_as_the_same_event(make_project: MakeProject) -> None:
    with Loopback(lambda request: request.reply(200)) as receiver:
        project = make_project(count=1)
        with_batch(project, url=receiver.url + "/hook")
        # The first append is the end of the batch, the second that it was told.
        killed = project.run(launch=("--kill", "before:state.json.batch_log:JsonBatchLog.append:2"))
        assert killed.code == 137
        assert len(receiver.requests) == 1
        assert (len(noted(project).ends), noted(project).notifications) == (1, [])
        assert project.run().code == 0
        first, second = receiver.requests
    assert first.body == second.body
    assert [json.loads(first.body)["event"]] == [end.event for end in noted(project).ends]
    assert [told.delivered for told in noted(project).notifications] == [True]
    info = json.loads((project.output / "batch_b1" / "batch_info.json").read_text())
    assert (info["totals"]["completed"], info["images"][0]["seed"]) == (1, 7)


def test_killed_before_the_end_is_noted_nobody_has_heard_of_it_and_the_next_burst_notes_it(
    make_project: MakeProject,
) -> None:
    with Loopback(lambda request: request.reply(200)) as receiver:
        project = make_project(count=1)
        with_batch(project, url=receiver.url + "/hook")
        killed = project.run(launch=("--kill", "before:state.json.batch_log:JsonBatchLog.append"))
        assert (killed.code, receiver.requests) == (137, [])
        assert set(project.statuses()) == {"completed"}
        assert project.run().code == 0
        assert len(receiver.requests) == 1
    assert [end.how for end in noted(project).ends] == ["done"]


def test_a_receiver_that_hangs_keeps_no_burst_from_ending(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    # Longer than the test waits for the burst's end.
    monkeypatch.setattr(delivery, "TIMEOUTS", (120.0, 120.0))
    monkeypatch.setattr(delivery, "LONGEST_SECONDS", 120.0)
    with Loopback(lambda request: (release.wait(120), request.reply(200))[1]) as receiver:
        project = make_project(count=1)
        with_batch(project, url=receiver.url + "/hook?token=hunter2")
        try:
            with in_background(run_quickly, project) as end:
                report = end()
        finally:
            release.set()
        assert (report.exit_code, report.completed) == (0, 2)
        (note,) = report.notes
        assert note.startswith(f"{receiver.url} was not notified of the end of batch b1 (done): no answer yet")
        wait_until(lambda: any(told.delivered for told in noted(project).notifications), what="the late delivery")


def test_what_ended_before_a_run_is_told_while_it_works(make_project: MakeProject, sandbox: Sandbox) -> None:
    with Loopback(lambda request: request.reply(200)) as receiver:
        project = make_project(count=1)
        with_batch(project, url=receiver.url, cancelled=True)
        sandbox.hold()
        with in_background(run_quickly, project) as end:
            wait_until(lambda: any(told.delivered for told in noted(project).notifications), what="the delivery")
            assert Status.COMPLETED not in {item.status for item in project.items()}
            sandbox.release()
            assert end().exit_code == 0
        assert json.loads(receiver.requests[0].body)["kind"] == "batch.cancelled"


def test_a_run_that_is_told_to_stop_waits_for_no_receiver(make_project: MakeProject, sandbox: Sandbox) -> None:
    release, stop, clock = threading.Event(), threading.Event(), NotedWaits()
    with Loopback(lambda request: (release.wait(30), request.reply(200))[1]) as receiver:
        project = make_project(count=1)
        with_batch(project, url=receiver.url, cancelled=True)
        sandbox.hold()
        try:
            with in_background(Run(Request(state=project.state), stop=stop, clock=clock).execute) as end:
                wait_until(lambda: receiver.requests, what="the request")
                stop.set()
                assert end().ended == "stopped"
        finally:
            release.set()
            sandbox.release()
        assert clock.waits
        assert notifier.LAST_SECONDS not in clock.waits
        wait_until(lambda: any(told.delivered for told in noted(project).notifications), what="the late delivery")
