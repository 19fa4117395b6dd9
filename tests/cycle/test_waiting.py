"""A run whose only server does not answer: it waits as it was told, says so, and goes on by itself."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.background import in_background
from support.comfyui_loopback import Loopback
from support.fake_faults import Page, during
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation
from support.waiting import wait_until

from orchestrator import cancel, generate, pause
from orchestrator.batches.generate_report import Generated
from orchestrator.batches.spec import BatchSpec
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle.context import Options
from orchestrator.cycle.report import BurstReport
from orchestrator.cycle.request import Request
from orchestrator.cycle.run import Run
from orchestrator.errors import (
    ServerStalled,
    ServerUnreachable,
    TransientError,
    UnexpectedAnswer,
    UsageError,
)
from orchestrator.sandbox import Sandbox, SandboxSettings
from orchestrator.settings import Overrides, Settings
from orchestrator.status import read_status
from state.item import Status
from state.open_store import parts_of

URL = "http://gpu:8188"
COMPLETED, SUBMITTED = Status.COMPLETED, Status.SUBMITTED
WITHOUT_END = Options(wait_server_seconds=math.inf)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def burst(folder: Path, server: FakeServer, *, options: Options, items: int = 4) -> Simulation:
    simulation = Simulation(folder, server.clock, [server], items=items, options=options)
    simulation.burst_to_end(items)
    return simulation


@pytest.mark.parametrize("fault", ["refused", "lost", Page(502), Page(200, b"<html>")], ids=str)
def test_it_goes_on_when_the_server_answers_again(tmp_path: Path, clock: HandClock, fault: Any) -> None:
    """Whatever it does not answer with. Nothing is charged, nothing is rendered twice."""
    server = FakeServer(URL, clock, lambda _: 10.0, fault=during(fault, clock, 15.0, 1000.0))
    simulation = burst(tmp_path, server, options=WITHOUT_END)
    assert simulation.statuses() == [COMPLETED] * 4
    assert {(item.attempts, item.crashes) for item in simulation.store.items()} == {(0, 0)}
    assert server.begun == 4
    assert 1000.0 <= clock.seconds < 1000.0 + 60.0 + 10.0


class _WhenItReturns(logging.Handler):
    """What is asked when a server answers again, before its worker has looked at what it holds."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        super().__init__()
        self._ask = ask
        self.answers: list[bool] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().endswith("answers again"):
            self.answers.append(self._ask())


def test_a_worker_is_not_at_rest_when_its_server_returns(tmp_path: Path, clock: HandClock) -> None:
    """The thread that watches over a run may look at that moment, and would end it as done with all of it submitted."""
    server = FakeServer(URL, clock, lambda _: 10.0, fault=during("refused", clock, 15.0, 100.0))
    simulation = Simulation(tmp_path, clock, [server], items=4, options=WITHOUT_END)
    handler = _WhenItReturns(lambda: simulation.work.is_at_rest)
    logger = logging.getLogger("burst")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        simulation.burst_to_end(4)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert handler.answers == [False]


def test_it_is_asked_again_after_5_10_20_40_60_seconds(tmp_path: Path, clock: HandClock) -> None:
    server = FakeServer(URL, clock, lambda _: 10.0, fault=during("refused", clock, 15.0, 400.0))
    burst(tmp_path, server, options=WITHOUT_END)
    asked = [at for at, _ in server.requests if at < 400.0]
    pauses = [round(after - before) for before, after in itertools.pairwise(asked)]
    first = pauses.index(10) - 1
    assert pauses[first : first + 6] == [5, 10, 20, 40, 60, 60]


@pytest.mark.parametrize("waits", [0.0, 100.0])
def test_after_that_time_the_run_ends(tmp_path: Path, clock: HandClock, waits: float) -> None:
    server = FakeServer(URL, clock, lambda _: 10.0, fault=during("refused", clock, 15.0, 1e9))
    simulation = Simulation(tmp_path, clock, [server], items=4, options=Options(wait_server_seconds=waits))
    with pytest.raises(ServerUnreachable, match="refused"):
        simulation.burst_to_end(4)
    assert clock.seconds == pytest.approx(15.0 + 20.0 + waits, abs=6.0)
    assert SUBMITTED in simulation.statuses()


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Page(401), UnexpectedAnswer), (Page(302, headers={"Location": "http://x/"}), UnexpectedAnswer)],
)
def test_what_a_person_must_change_is_not_waited_for(
    tmp_path: Path, clock: HandClock, fault: Page, error: type[TransientError]
) -> None:
    server = FakeServer(URL, clock, lambda _: 10.0, fault=during(fault, clock, 15.0, 1e9))
    simulation = Simulation(tmp_path, clock, [server], items=4, options=WITHOUT_END)
    with pytest.raises(UnexpectedAnswer):
        simulation.burst_to_end(4)
    assert clock.seconds < 40.0


def test_a_stalled_server_is_not_waited_for(tmp_path: Path, clock: HandClock) -> None:
    """It answers, so that waiting alone would not help."""
    stuck = FakeServer(URL, clock, lambda _: 1e9)
    options = Options(wait_server_seconds=math.inf, stall_seconds=600.0)
    with pytest.raises(ServerStalled):
        Simulation(tmp_path, clock, [stuck], items=1, options=options).burst_to_end(1)


def test_a_silence_longer_than_all_patience_is_asked_again(clock: HandClock) -> None:
    server = FakeServer(URL, clock, lambda _: 10.0)
    silences = iter([True])

    def silent_once(said: str) -> Any:
        if next(silences, False):
            clock.seconds += 30.0
            return "late"
        return None

    server.fault = silent_once
    assert server.client().queue_remaining() == 0
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("asked", "patience", "waits"),
    [
        ({}, None, 0.0),
        ({"until_done": True}, None, math.inf),
        ({"wait_server_seconds": 0.0}, 0.0, 0.0),
        ({"wait_server_seconds": 5.0, "until_done": True}, 5.0, 0.0),
        ({"wait_server_seconds": 20.0, "until_done": True}, 20.0, 0.0),
        ({"wait_server_seconds": 300.0}, 20.0, 280.0),
    ],
)
def test_what_is_requested(asked: dict[str, Any], patience: float | None, waits: float) -> None:
    options = Request(**asked).checked().options(Settings(output_dir=Path("x")))
    assert (options.patience_seconds, options.wait_server_seconds) == (patience, waits)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_no_time_to_wait(seconds: float) -> None:
    with pytest.raises(UsageError, match="wait_server_seconds"):
        Request(wait_server_seconds=seconds).checked()


# A whole run


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ComfyUI.__init__.__kwdefaults__, "retry_seconds", 0.1)
    monkeypatch.setattr("orchestrator.cycle.pacing._RETRY_SECONDS", 0.2)
    monkeypatch.setattr("orchestrator.cycle.loop._MEANWHILE_SECONDS", 0.1)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(SandboxSettings(), directory=tmp_path / "server") as running:
        yield running


def state_of(tmp_path: Path, *, items: int) -> Path:
    path = tmp_path / "re_render_state.json"
    path.write_text(json.dumps({f"{n}": {"status": "pending", "prompt_text": "a fox"} for n in range(items)}))
    return path


def run(state: Path, url: str, **asked: Any) -> BurstReport:
    overrides = Overrides(template="smoke", servers=(url,))
    return Run(Request(state=state, overrides=overrides, poll_seconds=0.2, **asked)).execute()


@pytest.mark.usefixtures("quick")
def test_status_shows_what_is_waited_for_and_webhooks_go_out_meanwhile(
    tmp_path: Path, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a batch that somebody cancels while the server is away."""
    state = state_of(tmp_path, items=3)
    hook = Loopback(lambda request: request.reply(204))
    sandbox.restart(down_seconds=1e6)
    with hook, caplog.at_level(logging.WARNING), in_background(run, state, sandbox.url, until_done=True) as end:
        waits = wait_until(lambda: read_status(state).as_json()["waits_for"], what="what is waited for")
        assert sandbox.url in waits
        shown = read_status(state).as_text()
        assert f"It waits: {sandbox.url}" in shown
        assert any("waiting for it" in record.getMessage() for record in caplog.records)
        spec = BatchSpec(prompt="an owl", template="smoke", notify=(hook.url,))
        request = Request(state=state, overrides=Overrides(template="smoke", servers=(sandbox.url,)))
        made = generate(spec, request=request, queue_only=True)
        assert isinstance(made, Generated)
        cancel(state, [made.record.batch])
        wait_until(lambda: hook.requests, what="the webhook")
        assert json.loads(hook.requests[0].body)["kind"] == "batch.cancelled"
        assert read_status(state).as_json()["waits_for"], "the run still waits"
        sandbox.restart()
        report = end()
    assert (report.ended, report.exit_code, report.completed) == ("done", 0, 3)
    assert read_status(state).as_json()["waits_for"] is None


NOBODY = "http://127.0.0.1:1"


@pytest.mark.usefixtures("quick")
def test_its_time_may_end_while_it_waits(tmp_path: Path) -> None:
    state = state_of(tmp_path, items=1)
    report = run(state, NOBODY, until_done=True, max_seconds=1.0)
    assert (report.ended, report.exit_code, report.counts.pending) == ("deadline", 0, 1)
    assert parts_of(state).holders() == []
    one = run(state, NOBODY)
    assert (one.ended, one.exit_code) == ("error", 75)


@pytest.mark.usefixtures("quick")
def test_it_can_be_stopped_and_paused_while_it_waits(tmp_path: Path) -> None:
    state = state_of(tmp_path, items=1)
    overrides = Overrides(template="smoke", servers=(NOBODY,))
    for end_it, expected in ((Run.request_stop, "stopped"), (lambda _: pause(state), "paused")):
        waiting = Run(Request(state=state, overrides=overrides, until_done=True))
        with in_background(waiting.execute) as end:
            wait_until(lambda: read_status(state).as_json()["waits_for"], what="what is waited for")
            end_it(waiting)
            report = end()
        assert (report.ended, report.counts.pending) == (expected, 1)
