"""The two races of the design: shown against the naive client first, then passed."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.projects import MakeProject, Project, small_template
from support.proxy import Proxy
from support.waiting import wait_until

import templates
from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.lookup import Absent, Finished, look_up
from orchestrator.sandbox import Sandbox
from state.item import Status

ITEM = "prompts/EP01/prompt_001.txt"


@pytest.fixture
def client(proxy: Proxy) -> Iterator[ComfyUI]:
    with ComfyUI(proxy.url) as asking:
        asking.queue_remaining()
        yield asking


def submit(client: ComfyUI) -> str:
    prompt_id = str(uuid.uuid4())
    graph = templates.set_prefixes(small_template(), prompt_id)
    client.submit(graph, prompt_id=prompt_id, number=0, extra_data={"burst": {"item": ITEM, "prompt_id": prompt_id}})
    return prompt_id


def naively_lost(client: ComfyUI, prompt_id: str) -> bool:
    """History, then queue: what everybody writes first."""
    if client.history(prompt_id) is not None:
        return False
    queue = client.queue()
    return prompt_id not in {prompt.prompt_id for prompt in (*queue.running, *queue.pending)}


def in_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """Begin `work`; what is returned waits for its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()

    def result() -> Any:
        thread.join(30.0)
        return results[0]

    return result


class TestMovedFromQueueToHistoryBetweenTwoQuestions:
    """The prompt ends after history was asked for it, before the queue is."""

    def move(self, sandbox: Sandbox, proxy: Proxy) -> None:
        """With the question for the queue held in the proxy: let the prompt end, then the question arrive."""
        proxy.wait_for_held()
        sandbox.release()
        wait_until(lambda: sandbox.counts()["rendered_by_item"] == {ITEM: 1}, what="rendered")
        with ComfyUI(sandbox.url) as direct:
            wait_until(lambda: direct.queue_remaining() == 0, what="in history")
        proxy.release()

    @pytest.fixture
    def prompt_id(self, sandbox: Sandbox, proxy: Proxy, client: ComfyUI) -> str:
        sandbox.hold("render")
        prompt_id = submit(client)
        wait_until(lambda: client.queue().running)
        proxy.hold("GET /api/queue", times=1)
        return prompt_id

    def test_the_naive_client_calls_it_lost_and_renders_it_twice(
        self, sandbox: Sandbox, proxy: Proxy, client: ComfyUI, prompt_id: str
    ) -> None:
        lost = in_thread(lambda: naively_lost(client, prompt_id))
        self.move(sandbox, proxy)
        assert lost()
        submit(client)
        wait_until(lambda: sandbox.counts()["rendered_by_item"] == {ITEM: 2})

    def test_the_look_up_finds_it(self, sandbox: Sandbox, proxy: Proxy, client: ComfyUI, prompt_id: str) -> None:
        fates = in_thread(lambda: look_up(client, [prompt_id]))
        self.move(sandbox, proxy)
        assert isinstance(fates()[prompt_id], Finished)

    def test_the_next_burst_collects_it(self, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy) -> None:
        """A client that calls it lost could still find its files by name: that it was not rescued is what counts."""
        project = make_project(server=proxy.url, count=1)
        sandbox.hold("render")
        project.run(launch=["--kill", "after:orchestrator.cycle.transitions:Transitions.change"])
        assert project.item().accepted
        wait_until(lambda: sandbox.counts()["posts"])
        proxy.hold("GET /api/queue", times=1)
        with project.start_run(launch=["--in-doubt", "0.5"]) as run:
            self.move(sandbox, proxy)
            report = run.end().report
        assert (report["completed"], report["put_back"], report["rescued"]) == (1, 0, 0)
        project.check_all_done(sandbox.counts())


class TestAPostThatArrivesAfterTheNextBurstLooked:
    """The proxy holds the POST of a burst that is killed, and lets it through later."""

    def held_and_killed(self, project: Project, proxy: Proxy) -> None:
        proxy.hold("POST /api/prompt", times=1)
        with project.start_run() as run:
            proxy.wait_for_held()
            run.signal(signal.SIGKILL)
            run.end()
        assert project.item().in_doubt

    def wait_for_look(self, proxy: Proxy, asked: int) -> None:
        """Until the whole look-up was asked: history, queue, history."""
        wait_until(
            lambda: [line for line in proxy.requests[asked:] if "/api/queue" in line or "/api/history" in line][2:],
            what="the look-up",
        )

    def test_the_naive_client_renders_it_twice(
        self, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, client: ComfyUI
    ) -> None:
        project = make_project(server=proxy.url, count=1)
        self.held_and_killed(project, proxy)
        assert isinstance(look_up(client, [project.item().prompt_id or ""])[project.item().prompt_id or ""], Absent)
        submit(client)
        proxy.release()
        wait_until(lambda: sandbox.counts()["rendered_by_item"] == {ITEM: 2}, what="rendered twice")

    def test_within_the_time_in_doubt_it_is_rendered_once(
        self, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy
    ) -> None:
        project = make_project(server=proxy.url, count=1)
        self.held_and_killed(project, proxy)
        late = project.item().prompt_id
        asked = len(proxy.requests)
        with project.start_run(launch=["--in-doubt", "3"]) as run:
            self.wait_for_look(proxy, asked)
            # A second later; one that does not wait has sent it again by then.
            looked = time.monotonic()
            wait_until(lambda: time.monotonic() > looked + 1.0 or sandbox.counts()["posts"])
            proxy.release()
            report = run.end().report
        assert (report["completed"], report["put_back"], report["rendered_twice"]) == (1, 0, 0)
        assert project.item().prompt_id == late
        assert sandbox.counts()["posts"] == 1
        project.check_all_done(sandbox.counts())

    def test_after_the_time_in_doubt_it_is_rendered_twice_and_said_so(
        self, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy
    ) -> None:
        project = make_project(server=proxy.url, count=1)
        self.held_and_killed(project, proxy)
        sandbox.hold("next")
        with project.start_run(launch=["--in-doubt", "0.1", "--sweep", "60"]) as run:
            wait_until(lambda: sandbox.counts()["posts"] == 1, what="sent again")
            proxy.release()
            wait_until(lambda: sandbox.counts()["posts"] == 2, what="the late POST")
            sandbox.release()
            ended = run.end()
        assert ended.report["rendered_twice"] == 1
        assert any(ITEM in note and "rendered twice" in note for note in ended.report["notes"])
        project.check_all_done(sandbox.counts(), rendered_twice=[ITEM])

    @pytest.mark.parametrize("sweep", ["0.2", "60"], ids=["swept", "when the newer one is done"])
    def test_after_the_time_in_doubt_it_is_deleted_while_it_waits(
        self, make_project: MakeProject, sandbox: Sandbox, proxy: Proxy, sweep: str
    ) -> None:
        project = make_project(server=proxy.url, count=1)
        self.held_and_killed(project, proxy)
        late = project.item().prompt_id or ""
        sandbox.hold("finish")
        with (
            ComfyUI(sandbox.url) as direct,
            project.start_run(launch=["--in-doubt", "0.1", "--sweep", sweep]) as run,
        ):
            wait_until(lambda: sandbox.counts()["rendered_by_item"] == {ITEM: 1}, what="sent again")
            proxy.release()
            wait_until(lambda: sandbox.counts()["posts"] == 2, what="the late POST")
            if sweep == "60":
                # The newer one ends, the late one is kept waiting until the burst has ended.
                sandbox.hold("next")
                report = run.end().report
            else:
                wait_until(lambda: not direct.queue().pending, what="deleted")
                sandbox.release()
                report = run.end().report
            sandbox.release()
            wait_until(lambda: direct.queue_remaining() == 0)
        assert late in project.item().previous_prompt_ids
        assert report["rendered_twice"] == 0
        assert project.item().status is Status.COMPLETED
        project.check_all_done(sandbox.counts())
