"""What runs where: the display of a run, and what others see of it."""

from __future__ import annotations

import io
import itertools
import json
import math
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.fake_faults import Page
from support.fake_queue import Prompt
from support.fake_transport import FakeServer
from support.hand_clock import BEGINNING, HandClock
from support.simulated import Simulation
from support.waiting import wait_until

from orchestrator.comfyui.events import Event, Preview
from orchestrator.cycle.live import LiveView
from orchestrator.cycle.progress import Bar, Both, Generating, Lines, RunningItem, Silent
from orchestrator.cycle.run import run_burst
from orchestrator.errors import ServerStalled, ServerUnreachable, TransientError
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.status import read_status
from state.item import Item, Status
from state.live import Line, Live, Running
from state.open_store import parts_of

URL = "http://127.0.0.1:8188"
JPEG = b"\xff\xd8\xff"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


class Shown:
    """What was shown to others."""

    def __init__(self) -> None:
        self.shown: list[tuple[Live, bytes | None]] = []

    def show(self, live: Live, *, preview: bytes | None = None) -> None:
        self.shown.append((live, preview))


class TestLiveView:
    """A server that renders the first of two items."""

    @pytest.fixture
    def simulation(self, tmp_path: Path, clock: HandClock) -> Iterator[Simulation]:
        made = Simulation(tmp_path, clock, [FakeServer(URL, clock, lambda number: 100.0)], items=2)
        made.work.begin(2)
        made.workers[0].turn()
        yield made
        made.close()

    @pytest.fixture
    def prompt_id(self, simulation: Simulation) -> str:
        return next(iter(simulation.servers[0].accepted))

    @pytest.fixture
    def shown(self) -> Shown:
        return Shown()

    @pytest.fixture
    def view(self, simulation: Simulation, shown: Shown, clock: HandClock) -> LiveView:
        return LiveView(simulation.workers, simulation.work, shown, clock)  # type: ignore[arg-type]

    def test_what_it_heard(
        self, simulation: Simulation, view: LiveView, shown: Shown, clock: HandClock, prompt_id: str
    ) -> None:
        hearing = simulation.workers[0].hearing
        hearing.connected()
        clock.seconds = 10.0
        hearing.hear(Event("began", prompt_id))
        hearing.hear(Event("node", prompt_id, "1"))
        hearing.hear(Event("step", prompt_id, "1", 12, 20))
        hearing.hear(Preview("image/jpeg", JPEG))
        clock.seconds = 51.0
        view.show(burst="b")
        ((live, preview),) = shown.shown
        assert live.burst == "b"
        assert live.at == BEGINNING + timedelta(seconds=51)
        assert live.running == (
            Running(
                item="0000.txt",
                server=simulation.workers[0].context.server.name,
                since=BEGINNING + timedelta(seconds=10),
                node="StringConcatenate",
                step=12,
                steps=20,
            ),
        )
        assert live.running[0].percent == 60
        assert (live.preview_of, preview) == ("0000.txt", JPEG)

    def test_without_events_it_is_the_oldest_since_it_is_that(
        self, view: LiveView, shown: Shown, clock: HandClock
    ) -> None:
        clock.seconds = 7.0
        view.show(burst="b")
        ((live, _),) = shown.shown
        (running,) = live.running
        assert (running.item, running.since, running.node) == ("0000.txt", BEGINNING, None)

    def test_nothing_while_prompts_of_others_run(self, simulation: Simulation, view: LiveView, shown: Shown) -> None:
        simulation.workers[0].hearing.connected()
        view.show(burst="b")
        assert shown.shown == []

    def test_how_many_of_others_are_first(
        self, simulation: Simulation, view: LiveView, shown: Shown, clock: HandClock, prompt_id: str
    ) -> None:
        """Looked up while no prompt of ours is said to run, and never while one is."""
        (server,), (worker,) = simulation.servers, simulation.workers
        worker.hearing.connected()
        # Before ours in whatever order they are listed; one comes after it.
        server.queue[0].begin = server.queue[0].end = math.inf
        for name, number in (("running", -3.0), ("last", 9e12), ("second", -2.0), ("third", -1.0)):
            server.add(Prompt(name, number, {}, {}))
        asked = lambda: sum(what.endswith("/queue") for _, what in server.requests)  # noqa: E731
        before = asked()
        for seconds in (1.0, 1.1, 3.5):
            clock.seconds = seconds
            worker.turn()
            view.show(burst="b")
        assert asked() - before == 2
        assert shown.shown[-1][0].lines == (Line(server=worker.context.server.name, ahead=3),)
        assert shown.shown[-1][0].running == ()
        worker.hearing.hear(Event("began", prompt_id))
        clock.seconds = 9.0
        worker.turn()
        view.show(burst="b")
        assert (shown.shown[-1][0].lines, asked() - before) == ((), 2)
        assert shown.shown[-1][0].running[0].item == "0000.txt"

    def test_without_events_one_that_waits_behind_others_is_not_running(
        self, simulation: Simulation, view: LiveView, shown: Shown, clock: HandClock
    ) -> None:
        (server,), (worker,) = simulation.servers, simulation.workers
        ours = server.queue[0]
        server.queue.insert(0, Prompt("other", -1.0, {}, {}, begin=0.0, end=5.0))
        ours.begin = ours.end = math.inf
        clock.seconds = 1.0
        worker.turn()
        worker.turn()
        clock.seconds = 2.0
        worker.turn()
        view.show(burst="b")
        (live, _) = shown.shown[-1]
        assert (live.running, [line.ahead for line in live.lines]) == ((), [1])
        server.queue.remove(server.queue[0])
        clock.seconds = 6.0
        worker.turn()
        view.show(burst="b")
        (live, _) = shown.shown[-1]
        assert ([one.item for one in live.running], live.lines) == (["0000.txt"], ())

    @pytest.mark.parametrize(
        ("fault", "kind"), [("refused", "away"), (Page(503, b"too much"), "busy"), (Page(429, b"slower"), "busy")]
    )
    def test_a_server_that_does_not_answer_is_said_while_it_is_asked_again(
        self, simulation: Simulation, view: LiveView, shown: Shown, clock: HandClock, fault: Any, kind: str
    ) -> None:
        """Not only when the patience with it is over."""
        (server,), (worker,) = simulation.servers, simulation.workers
        began, asked = clock.seconds, itertools.count()

        def meet(what: str) -> Any:
            if next(asked) == 1:
                view.show(burst="b")
            return fault

        server.fault = meet
        clock.seconds += 5.0
        with pytest.raises(TransientError):
            worker.turn()
        (trouble,) = shown.shown[0][0].troubles
        assert (trouble.server, trouble.kind) == (worker.context.server.name, kind)
        assert shown.shown[0][0].at - BEGINNING < timedelta(seconds=began + 7)
        server.fault = lambda what: None
        clock.seconds += 100.0
        worker.turn()
        view.show(burst="b")
        assert shown.shown[-1][0].troubles == ()

    def test_a_server_that_is_lost_is_said_until_it_is_back(
        self, simulation: Simulation, view: LiveView, shown: Shown, clock: HandClock
    ) -> None:
        (worker,) = simulation.workers
        worker.lost = ServerStalled("it stands still")
        view.show(burst="b")
        worker.lost = ServerUnreachable("no answer", may_have_arrived=False)
        clock.seconds = 60.0
        view.show(burst="b")
        clock.seconds = 70.0
        view.show(burst="b")
        worker.lost = None
        clock.seconds = 80.0
        view.show(burst="b")
        kinds = [[(one.kind, one.since) for one in live.troubles] for live, _ in shown.shown]
        assert kinds == [[("stopped", BEGINNING)], [("away", BEGINNING + timedelta(seconds=60))], []]

    def test_at_most_twice_a_second_and_only_what_is_new(
        self, simulation: Simulation, view: LiveView, shown: Shown, clock: HandClock, prompt_id: str
    ) -> None:
        hearing = simulation.workers[0].hearing
        hearing.connected()
        hearing.hear(Event("began", prompt_id))
        hearing.hear(Preview("image/jpeg", JPEG))
        for step in range(100):
            clock.seconds = step / 10
            hearing.hear(Event("step", prompt_id, "1", step + 1, 100))
            view.show(burst="b")
        assert 15 <= len(shown.shown) <= 20
        assert [preview for _, preview in shown.shown if preview is not None] == [JPEG], "it is the same"
        before = len(shown.shown)
        for _ in range(100):
            clock.seconds += 0.1
            view.show(burst="b")
        assert len(shown.shown) <= before + 1

    def test_what_is_set_aside_meanwhile(
        self, simulation: Simulation, view: LiveView, shown: Shown, clock: HandClock
    ) -> None:
        """Also where nothing is being rendered for that."""
        view.show(burst="b1")
        item = next(simulation.store.items())
        simulation.work.set_aside.add(item, name="w.json", reason="the disk is full", output="/renders")
        clock.seconds += 0.5
        view.show(burst="b1")
        (one,) = shown.shown[-1][0].set_aside
        assert (one.reason, one.output) == ("the disk is full", "/renders")
        count = len(shown.shown)
        clock.seconds += 0.5
        view.show(burst="b1")
        assert len(shown.shown) == count


def at_work(name: str = "shot_07", *, seconds: float = 41.0, **running: Any) -> RunningItem:
    item = Item(key=f"EP01/{name}", status=Status.SUBMITTED, filename=name, batch="b1", index=3)
    return RunningItem(item, Running(item=item.key, server="gpu1", since=BEGINNING, **running), seconds)


class TestDisplays:
    def test_a_line_every_thirty_seconds(self) -> None:
        lines: list[str] = []
        display = Lines(lines.append)
        for seconds in range(100):
            display.running([at_work(seconds=seconds, node="KSampler", step=12, steps=20)], number=7, size=15)
        assert lines == [
            "[7/15] shot_07: KSampler 12/20, 30 s",
            "[7/15] shot_07: KSampler 12/20, 1 min 0 s",
            "[7/15] shot_07: KSampler 12/20, 1 min 30 s",
        ]

    def test_without_steps_and_without_events(self) -> None:
        lines: list[str] = []
        display = Lines(lines.append)
        display.running([at_work("a", node="VAE Decode"), at_work("b")], number=7, size=15)
        assert lines == ["[7/15] a: VAE Decode, 41 s", "[8/15] b: on the server for 41 s"]

    def test_an_item_that_begins_again_is_said_after_thirty_seconds_again(self) -> None:
        lines: list[str] = []
        display = Lines(lines.append)
        for seconds in (40.0, 5.0, 31.0):
            display.running([at_work(seconds=seconds)], number=1, size=1)
        assert len(lines) == 2

    def test_a_title_with_a_line_break_stays_on_its_line(self) -> None:
        lines: list[str] = []
        Lines(lines.append).running([at_work(node="My\nnode \x1b[31m")], number=1, size=1)
        assert "\n" not in lines[0]
        assert "\x1b" not in lines[0]

    def test_generate_says_it_of_its_own_batch(self) -> None:
        lines: list[str] = []
        display = Generating(lines.append, batch="b1", total=4)
        display.running([at_work(node="KSampler", step=3, steps=20)], number=9, size=9)
        Generating(lines.append, batch="other", total=4).running([at_work()], number=9, size=9)
        assert lines == ["  [3/4] KSampler 3/20, 41 s"]

    def test_the_bar_shows_what_runs(self) -> None:
        stream = io.StringIO()
        with Both(Bar(stream), Silent()) as display:
            display.running([at_work(node="KSampler", step=12, steps=20)], number=1, size=15)
        assert "shot_07: KSampler 12/20, 41 s" in stream.getvalue()
        assert "0item" not in stream.getvalue()


def test_a_run_shows_its_steps_and_previews_while_it_works_and_nothing_afterwards(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"a": {"status": "pending", "prompt_text": "a fox"}}))
    settings = SandboxSettings(seconds_per_prompt=10.0, latent_previews=True)
    stop = threading.Event()
    with Sandbox(settings) as sandbox:
        run = threading.Thread(target=lambda: run_burst(state, server=sandbox.url, template="txt2img-sd15", stop=stop))
        run.start()
        try:
            parts = parts_of(state)
            wait_until(lambda: (live := parts.live()) is not None and live.running[0].step, what="a step")
            report = read_status(state)
            (one,) = report.rendering
            assert (one.item, one.steps) == ("a", 20)
            assert "Rendering: a on 127.0.0.1:" in report.as_text()
            assert f": Sampler {one.step}/20 (" in report.as_text()
            assert report.as_json()["rendering"][0]["percent"] == one.percent
            assert (parts.live_preview() or b"").startswith(JPEG)
        finally:
            stop.set()
            run.join()
    assert parts.live() is None
    assert parts.live_preview() is None
    assert read_status(state).rendering == ()
