"""Servers that this host's own command restarts: the dead, the stalled; seldom, and nobody is to blame for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.fake_faults import Fault, Page
from support.fake_queue import Prompt
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.clock import Clock
from orchestrator.cycle.context import Options
from orchestrator.errors import ServerStalled, ServerUnreachable
from orchestrator.host_config import HostConfig, RestartRule
from orchestrator.restarts import Restart, Restarts
from orchestrator.servers import Server
from state.facts import Pause
from state.item import Status

URL = "http://gpu:8188"
COMPLETED, SUBMITTED, PENDING = Status.COMPLETED, Status.SUBMITTED, Status.PENDING


@dataclass
class Mortal(FakeServer):
    """Dies at 15 s, or stands still, until somebody restarts it."""

    is_dead: bool = False
    dies: tuple[float, ...] = (15.0,)
    with_what: Fault = "refused"

    def __post_init__(self) -> None:
        self.fault = self._answer
        self._to_come = list(self.dies)

    def _answer(self, asked: str) -> Fault:
        if self._to_come and self.clock.seconds >= self._to_come[0]:
            self._to_come.pop(0)
            self.is_dead = True
        return self.with_what if self.is_dead else None

    def come_back(self) -> None:
        self.is_dead = False
        self.restart()


class Command(Restarts):
    """Restarts the server instead of running a program, and counts."""

    def __init__(self, server: Mortal, folder: Path, *, works: bool = True, **rule: float) -> None:
        config = HostConfig({URL: RestartRule(restart="unused", **rule)})  # type: ignore[arg-type]
        super().__init__(config, clock=server.clock, directory=folder / "host")
        self.server, self.works = server, works
        self.at: list[float] = []

    def _run(self, rule: RestartRule, server: Server, reason: str, halt: object) -> Restart | None:
        self.at.append(self.server.clock.seconds)
        if self.works:
            self.server.come_back()
        return Restart(rule.start_seconds, is_new=True)


def simulation_of(
    folder: Path, server: FakeServer, command: Restarts | None, *, items: int = 4, options: Options | None = None
) -> Simulation:
    simulation = Simulation(folder, server.clock, [server], items=items, options=options)
    for worker in simulation.workers:
        worker.context.restarts = command
    return simulation


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.mark.parametrize("fault", ["refused", "lost", Page(502)], ids=["refused", "silent", "502"])
def test_a_dead_server_is_restarted_once_and_the_same_burst_goes_on(
    tmp_path: Path, clock: HandClock, fault: Fault
) -> None:
    server = Mortal(URL, clock, lambda _: 10.0, with_what=fault)
    command = Command(server, tmp_path)
    simulation = simulation_of(tmp_path, server, command)
    simulation.burst_to_end(4)
    assert simulation.statuses() == [COMPLETED] * 4
    assert len(command.at) == 1
    assert command.at[0] == pytest.approx(35.0, abs=6.0), "when the patience of one burst is over"
    assert {item.attempts for item in simulation.store.items()} == {0}
    assert any("restarted by this host's command" in note for note in simulation.tally.notes)


def test_one_that_does_not_come_back_ends_the_burst_after_its_time(tmp_path: Path, clock: HandClock) -> None:
    server = Mortal(URL, clock, lambda _: 10.0)
    command = Command(server, tmp_path, works=False, start_seconds=90.0)
    simulation = simulation_of(tmp_path, server, command)
    with pytest.raises(ServerUnreachable):
        simulation.burst_to_end(4)
    assert len(command.at) == 1, "once for each time that it is lost"
    assert clock.seconds == pytest.approx(command.at[0] + 90.0, abs=2.0)
    assert SUBMITTED in simulation.statuses()


@pytest.mark.parametrize("fault", [Page(401), Page(200), Page(429)], ids=["a key", "a page", "too many"])
def test_what_a_restart_would_not_help_is_not_restarted(tmp_path: Path, clock: HandClock, fault: Page) -> None:
    server = Mortal(URL, clock, lambda _: 10.0, with_what=fault)
    command = Command(server, tmp_path)
    with pytest.raises(Exception, match="answered"):
        simulation_of(tmp_path, server, command).burst_to_end(4)
    assert command.at == []


def test_each_death_is_one_restart_as_long_as_there_are_not_too_many_in_an_hour(
    tmp_path: Path, clock: HandClock
) -> None:
    server = Mortal(URL, clock, lambda _: 10.0, dies=(15.0, 400.0, 800.0, 1200.0))
    command = Command(server, tmp_path, restarts_an_hour=3)
    simulation = simulation_of(tmp_path, server, command, items=200)
    with pytest.raises(ServerUnreachable):
        simulation.burst_to_end(200)
    assert len(command.at) == 3
    assert clock.seconds == pytest.approx(1220.0, abs=15.0)


def test_one_that_waits_without_end_restarts_it_again_when_the_hour_is_over(tmp_path: Path, clock: HandClock) -> None:
    server = Mortal(URL, clock, lambda _: 10.0, dies=(15.0, 400.0))
    command = Command(server, tmp_path, restarts_an_hour=1)
    options = Options(wait_server_seconds=1e9)
    simulation = simulation_of(tmp_path, server, command, items=60, options=options)
    simulation.burst_to_end(60)
    assert simulation.store.counts()[COMPLETED] == 60
    first, second = command.at
    assert first + 3599.9 <= second <= first + 3600.0 + 65.0


def test_one_that_dies_while_it_starts_is_restarted_when_that_time_is_over(tmp_path: Path, clock: HandClock) -> None:
    server = Mortal(URL, clock, lambda _: 1.0, dies=(15.0, 50.0))
    command = Command(server, tmp_path, start_seconds=120.0)
    simulation = simulation_of(tmp_path, server, command, items=60)
    simulation.burst_to_end(60)
    assert simulation.store.counts()[COMPLETED] == 60
    first, second = command.at
    assert first + 119.9 <= second <= first + 120.0 + 65.0


def test_another_run_on_this_host_restarted_it_just_now(tmp_path: Path, clock: HandClock) -> None:
    server = Mortal(URL, clock, lambda _: 10.0)
    theirs, ours = Command(server, tmp_path, works=False), Command(server, tmp_path)
    clock.seconds = 30.0
    assert theirs.restart(Server(URL, URL), "away") == Restart(120.0, is_new=True)
    clock.seconds = 40.0
    assert ours.restart(Server("other-name", f"{URL}/"), "away") == Restart(110.0, is_new=False)
    assert (len(theirs.at), len(ours.at)) == (1, 0)


def test_a_stalled_server_is_restarted_and_no_item_is_to_blame(tmp_path: Path, clock: HandClock) -> None:
    """Its running prompt is lost by the restart, however often."""
    stuck = Mortal(URL, clock, lambda number: 1e9 if number in (1, 3, 4) else 10.0, dies=())
    command = Command(stuck, tmp_path, restarts_an_hour=10)
    options = Options(stall_seconds=600.0, sweep_seconds=5.0)
    simulation = simulation_of(tmp_path, stuck, command, items=4, options=options)
    simulation.burst_to_end(4)
    assert simulation.statuses() == [COMPLETED] * 4
    assert len(command.at) == 3
    assert [(item.attempts, item.crashes) for item in simulation.store.items()] == [(0, 0)] * 4


def test_a_stall_that_a_restart_does_not_end_ends_the_burst(tmp_path: Path, clock: HandClock) -> None:
    stuck = Mortal(URL, clock, lambda _: 1e9, dies=())
    command = Command(stuck, tmp_path, works=False)
    options = Options(stall_seconds=600.0, wait_server_seconds=1e9)
    simulation = simulation_of(tmp_path, stuck, command, items=2, options=options)
    with pytest.raises(ServerStalled):
        simulation.burst_to_end(2)
    assert len(command.at) == 1


def test_a_sick_server_is_restarted_and_the_same_burst_completes_everything(tmp_path: Path, clock: HandClock) -> None:
    """What it had failed until then is charged to nobody."""

    @dataclass
    class Sick(Mortal):
        is_sick: bool = True

        def come_back(self) -> None:
            self.is_sick = False
            super().come_back()

    server = Sick(URL, clock, lambda _: 2.0, dies=())
    server.sickness = lambda prompt: (
        "torch.AcceleratorError: CUDA error" if server.is_sick and server.begun > 4 else None
    )
    command = Command(server, tmp_path)
    simulation = simulation_of(tmp_path, server, command, items=15)
    simulation.burst_to_end(15)
    assert simulation.statuses() == [COMPLETED] * 15
    assert len(command.at) == 1
    assert {(item.attempts, item.crashes) for item in simulation.store.items()} == {(0, 0)}


def test_an_item_that_brings_it_down_is_still_set_aside(tmp_path: Path, clock: HandClock) -> None:
    """That the server died is the item's doing; that it was started again is not."""

    @dataclass
    class Fragile(Mortal):
        def finish(self, prompt: Prompt, how: str) -> None:
            if prompt.extra_data["burst"]["item"] == "0000.txt":
                self.queue, self.history, self.is_dead = [], {}, True
            else:
                super().finish(prompt, how)

    server = Fragile(URL, clock, lambda _: 30.0, dies=())
    command = Command(server, tmp_path, restarts_an_hour=20, start_seconds=1.0)
    simulation = simulation_of(tmp_path, server, command, items=3, options=Options(sweep_seconds=5.0))
    simulation.burst_to_end(3)
    assert simulation.statuses() == [Status.FAILED, COMPLETED, COMPLETED]
    assert len(command.at) == 2


def test_it_is_not_restarted_while_runs_are_paused_or_when_the_run_ends(tmp_path: Path, clock: HandClock) -> None:
    server = Mortal(URL, clock, lambda _: 10.0)
    command = Command(server, tmp_path)
    simulation = simulation_of(tmp_path, server, command)
    (worker,) = simulation.workers
    simulation.work.pause = Pause(paused=True, at=clock.now())
    assert worker.context.restart("away", is_alive=False) is None
    simulation.work.pause = None
    worker.context.halt.set()
    assert worker.context.restart("away", is_alive=False) is None
    assert command.at == []
    worker.context.halt.clear()
    assert worker.context.restart("away", is_alive=False) is not None


def test_a_server_without_a_command_is_left_alone(tmp_path: Path, clock: HandClock) -> None:
    server = Mortal("http://other:8188", clock, lambda _: 10.0)
    command = Command(server, tmp_path)
    simulation = simulation_of(tmp_path, server, command)
    with pytest.raises(ServerUnreachable):
        simulation.burst_to_end(4)
    assert command.at == []
    assert not (tmp_path / "host").exists()


# The command itself


def real(folder: Path, restart: str | tuple[str, ...], **rule: float) -> Restarts:
    config = HostConfig({"gpu1": RestartRule(restart=restart, **rule)})  # type: ignore[arg-type]
    return Restarts(config, clock=Clock(), directory=folder / "host")


GPU1 = Server("gpu1", URL)


def test_the_command_is_told_which_server_and_why(tmp_path: Path) -> None:
    told = tmp_path / "told"
    restarts = real(tmp_path, f'echo "$BURST_SERVER|$BURST_SERVER_URL|$BURST_REASON" >{told}; cat')
    assert restarts.restart(GPU1, 'it\'s "away"; $(touch no)') == Restart(120.0, is_new=True)
    assert told.read_text() == f'gpu1|{URL}|it\'s "away"; $(touch no)\n'
    assert not (tmp_path / "no").exists()


def test_a_program_with_arguments_is_run_without_a_shell(tmp_path: Path) -> None:
    restarts = real(tmp_path, ("touch", f"{tmp_path}/a b; c"))
    assert restarts.restart(GPU1, "away") is not None
    assert (tmp_path / "a b; c").exists()


@pytest.mark.parametrize("command", ["echo secret-path; exit 3", ("no-such-program-anywhere",)], ids=str)
def test_a_command_that_fails_is_said_without_showing_it(
    tmp_path: Path, command: str | tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert real(tmp_path, command).restart(GPU1, "away") is None
    said = caplog.records[-1].getMessage()
    assert "gpu1" in said
    assert "secret-path" not in said


def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    restarts = real(tmp_path, f"sleep 60 & echo $! >{pid}; echo started")
    assert restarts.restart(GPU1, "away") is not None
    os.kill(int(pid.read_text()), 9)
    assert (tmp_path / "host" / "restart.log").read_text() == "started\n"


def test_one_that_stays_in_the_foreground_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    restarts = real(tmp_path, "sleep 60", timeout_seconds=0.2)
    assert restarts.restart(GPU1, "away") is None
    assert "must not stay in the foreground" in caplog.records[-1].getMessage()


def test_a_damaged_list_of_restarts_keeps_none_from_working(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "restarts.jsonl").write_bytes(b'{"server": 3}\nnonsense\n\xff\n[]\n{"server": "x", "at": 1}\n')
    assert real(tmp_path, "true").restart(GPU1, "away") is not None


def test_models_are_unloaded_after_every_n_prompts(tmp_path: Path, clock: HandClock) -> None:
    server = FakeServer(URL, clock, lambda _: 10.0)
    simulation = Simulation(tmp_path, clock, [server], items=10, options=Options(free_every=3))
    simulation.burst(10)
    freed = [at for at, said in server.requests if said == "POST /api/free"]
    assert [round(at / 10.0) for at in freed] == [3, 6, 9]
    assert simulation.statuses() == [COMPLETED] * 10


def test_a_server_that_cannot_unload_costs_no_item(tmp_path: Path, clock: HandClock) -> None:
    refuses = iter([Page(500)] * 3)
    server = FakeServer(
        URL, clock, lambda _: 10.0, fault=lambda said: next(refuses, None) if said == "POST /api/free" else None
    )
    simulation = Simulation(tmp_path, clock, [server], items=4, options=Options(free_every=2))
    simulation.burst(4)
    assert simulation.statuses() == [COMPLETED] * 4
    assert {item.attempts for item in simulation.store.items()} == {0}
