"""Events wake a worker, and never decide anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.comfyui.events import Event, Preview
from orchestrator.cycle.context import Options
from orchestrator.cycle.hearing import HISTORY_DELAY_SECONDS, Hearing
from state.item import Status

URL = "http://127.0.0.1:8188"
ITEM = object()


class Idle:
    """Brings no events."""

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


class Wakes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


class TestHearing:
    @pytest.fixture
    def wakes(self) -> Wakes:
        return Wakes()

    @pytest.fixture
    def hearing(self, clock: HandClock, wakes: Wakes) -> Hearing:
        found = Hearing(clock, wakes)
        found.connected()
        return found

    def due(self, hearing: Hearing, *ours: str) -> bool:
        return hearing.due(lambda prompt_id: ITEM if prompt_id in ours else None) is ITEM  # type: ignore[arg-type,return-value]

    def test_a_prompt_is_heard_once_something_is_said_of_it(self, hearing: Hearing) -> None:
        assert not hearing.is_heard("a")
        hearing.hear(Event("began", "a"))
        assert hearing.is_heard("a")
        assert not hearing.is_heard("b")

    def test_the_node_that_runs_when_it_comes_back_is_one_of_ours(self, hearing: Hearing) -> None:
        hearing.hear(Event("node", None, "3"))
        assert hearing.is_heard("a")

    def test_nothing_is_heard_while_it_is_not_connected(self, hearing: Hearing, wakes: Wakes) -> None:
        hearing.hear(Event("began", "a"))
        hearing.disconnected()
        assert not hearing.is_heard("a")
        assert wakes.count == 1
        hearing.connected()
        assert not hearing.is_heard("a"), "what it said before says nothing of this connection"

    def test_an_end_is_due_when_the_history_has_it(self, hearing: Hearing, clock: HandClock, wakes: Wakes) -> None:
        hearing.hear(Event("ended", "a"))
        assert wakes.count == 1
        assert not self.due(hearing, "a")
        assert hearing.seconds_until_due() == HISTORY_DELAY_SECONDS
        hearing.hear(Event("over", "a"))
        assert wakes.count == 2
        assert self.due(hearing, "a")

    def test_an_end_is_due_soon_without_the_last_message(self, hearing: Hearing, clock: HandClock) -> None:
        hearing.hear(Event("ended", "a"))
        clock.seconds += HISTORY_DELAY_SECONDS
        assert self.due(hearing, "a")

    def test_an_end_that_is_repeated_wakes_once(self, hearing: Hearing, wakes: Wakes) -> None:
        for _ in range(1000):
            hearing.hear(Event("over", "a"))
        assert wakes.count == 1

    def test_a_lie_is_looked_at_once(self, hearing: Hearing, wakes: Wakes) -> None:
        hearing.hear(Event("began", "a"))
        hearing.hear(Event("over", "a"))
        hearing.looked("a", has_ended=False)
        assert not hearing.is_heard("a"), "its true end may be a lie too"
        for _ in range(1000):
            hearing.hear(Event("ended", "a"))
            hearing.hear(Event("over", "a"))
        assert wakes.count == 1
        assert not self.due(hearing, "a")

    def test_an_end_said_too_early_is_believed_when_it_is_over(self, hearing: Hearing, clock: HandClock) -> None:
        hearing.hear(Event("ended", "a"))
        clock.seconds += HISTORY_DELAY_SECONDS
        hearing.looked("a", has_ended=False)
        hearing.hear(Event("over", "a"))
        assert self.due(hearing, "a")

    def test_ends_of_others_are_forgotten(self, hearing: Hearing) -> None:
        for number in range(100):
            hearing.hear(Event("over", f"other {number}"))
        assert not self.due(hearing, "a")
        assert hearing.seconds_until_due() is None

    def test_a_connection_that_tells_no_end_is_given_up(self, hearing: Hearing, clock: HandClock) -> None:
        clock.seconds += 60
        hearing.looked("a", has_ended=True)
        assert not hearing.wants_another_connection, "the first may have overtaken its event"
        hearing.looked("b", has_ended=True)
        assert hearing.wants_another_connection

    def test_one_that_tells_ends_late_is_kept(self, hearing: Hearing, clock: HandClock) -> None:
        clock.seconds += 60
        for one in "abc":
            hearing.looked(one, has_ended=True)
            hearing.hear(Event("over", one))
        assert not hearing.wants_another_connection

    def test_the_sight_of_what_runs(self, hearing: Hearing, clock: HandClock) -> None:
        hearing.hear(Event("began", "a"))
        clock.seconds = 2
        hearing.hear(Event("node", "a", "3"))
        clock.seconds = 5
        hearing.hear(Event("step", "a", "3", 4, 20))
        hearing.hear(Preview("image/jpeg", b"jpeg"))
        sight = hearing.sight
        assert sight is not None
        assert (sight.prompt_id, sight.began_at, sight.node, sight.node_began_at) == ("a", 0, "3", 2)
        assert (sight.step, sight.steps, sight.changed_at) == (4, 20, 5)
        assert sight.preview == Preview("image/jpeg", b"jpeg")
        hearing.hear(Event("node", "a", "8"))
        assert hearing.sight is not None
        assert hearing.sight.step is None
        hearing.hear(Event("ended", "a"))
        assert hearing.sight is None

    def test_a_preview_of_another_prompt_is_not_shown(self, hearing: Hearing) -> None:
        hearing.hear(Event("began", "a"))
        hearing.hear(Preview("image/jpeg", b"jpeg", "b"))
        assert hearing.sight is not None
        assert hearing.sight.preview is None

    def test_the_last_sign_of_a_prompt_and_of_the_server(self, hearing: Hearing, clock: HandClock) -> None:
        assert hearing.last_sign() is None
        clock.seconds = 3
        hearing.hear(Event("began", "a"))
        clock.seconds = 7
        hearing.hear(Event("other"))
        assert (hearing.last_sign("a"), hearing.last_sign("b"), hearing.last_sign()) == (3, None, 7)


class TestWorker:
    """One server, prompts of 9.5 seconds."""

    @pytest.fixture
    def server(self, clock: HandClock) -> FakeServer:
        return FakeServer(URL, clock, lambda number: 9.5)

    @pytest.fixture
    def simulation(self, tmp_path: Path, clock: HandClock, server: FakeServer) -> Iterator[Simulation]:
        made = Simulation(tmp_path, clock, [server], items=2, options=Options(poll_seconds=5.0))
        made.work.begin(2)
        yield made
        made.close()

    def looks(self, server: FakeServer) -> int:
        return sum("GET /api/history/" in asked for _, asked in server.requests)

    def run_until(self, simulation: Simulation, seconds: float) -> None:
        """Step the worker whenever it wants to, up to this time."""
        (worker,) = simulation.workers
        while True:
            wait = max(worker.turn(), 0.002)
            if simulation.clock.seconds + wait > seconds:
                simulation.clock.seconds = seconds
                return
            simulation.clock.seconds += wait

    def test_while_it_connects_it_asks_less(self, simulation: Simulation, server: FakeServer, clock: HandClock) -> None:
        (worker,) = simulation.workers
        worker.hearing.listen_with(Idle())
        self.run_until(simulation, 0.44)
        assert self.looks(server) <= 3
        worker.hearing.disconnected()
        before = self.looks(server)
        self.run_until(simulation, 2.0)
        assert self.looks(server) >= before + 3, "it could not connect: as without events"

    def test_an_event_makes_it_look_at_once(self, simulation: Simulation, server: FakeServer, clock: HandClock) -> None:
        (worker,) = simulation.workers
        hearing = worker.hearing
        worker.turn()
        first, second = server.accepted
        hearing.connected()
        hearing.hear(Event("began", first))
        self.run_until(simulation, 9.5)
        before = self.looks(server)
        assert before <= 3, "it waits for the event"
        hearing.hear(Event("ended", first))
        hearing.hear(Event("over", first))
        assert worker.wake.is_set()
        worker.turn()
        worker.turn()
        assert simulation.statuses()[0] is Status.COMPLETED
        assert self.looks(server) == before + 1
        hearing.hear(Event("began", second))
        self.run_until(simulation, 19.0)
        hearing.hear(Event("over", second))
        worker.turn()
        worker.turn()
        assert simulation.statuses() == [Status.COMPLETED] * 2
        assert self.looks(server) == before + 2

    def test_prompts_of_a_steady_pace_that_are_told_cost_one_look_each(
        self, tmp_path: Path, server: FakeServer, clock: HandClock
    ) -> None:
        """The next one is heard of only after the end of the one before was found."""
        (tmp_path / "steady").mkdir()
        steady = Simulation(tmp_path / "steady", clock, [server], items=8)
        steady.work.begin(8)
        (worker,) = steady.workers
        worker.turn()
        worker.hearing.connected()
        for number, prompt_id in enumerate(list(server.accepted), 1):
            worker.hearing.hear(Event("began", prompt_id))
            self.run_until(steady, 9.5 * number)
            before = self.looks(server)
            worker.hearing.hear(Event("over", prompt_id))
            worker.turn()
            worker.turn()
            assert self.looks(server) == before + 1
        assert steady.statuses() == [Status.COMPLETED] * 8
        assert self.looks(server) <= 8 + 3, "and what the first one of unknown pace costs"
        steady.close()

    def test_an_end_in_another_order_is_looked_at_too(
        self, simulation: Simulation, server: FakeServer, clock: HandClock
    ) -> None:
        (worker,) = simulation.workers
        worker.turn()
        _, second = server.accepted.values()
        server.queue.reverse()
        self.run_until(simulation, 10.0)
        worker.hearing.connected()
        worker.hearing.hear(Event("over", second.prompt_id))
        worker.turn()
        worker.turn()
        assert simulation.statuses() == [Status.SUBMITTED, Status.COMPLETED]

    @pytest.fixture
    def polls(self, tmp_path: Path) -> int:
        """How often the first prompt is asked for without any event."""
        clock = HandClock()
        server = FakeServer(URL, clock, lambda number: 9.5)
        (tmp_path / "plain").mkdir()
        plain = Simulation(tmp_path / "plain", clock, [server], items=2)
        plain.work.begin(2)
        self.run_until(plain, 9.4)
        plain.close()
        return self.looks(server)

    def test_a_server_that_lies_all_the_time_costs_one_request_a_prompt(
        self, simulation: Simulation, server: FakeServer, clock: HandClock, polls: int
    ) -> None:
        (worker,) = simulation.workers
        worker.turn()
        worker.hearing.connected()
        first = next(iter(server.accepted))
        while clock.seconds < 9.4:
            worker.hearing.hear(Event("began", first))
            worker.hearing.hear(Event("ended", first))
            worker.hearing.hear(Event("over", first))
            wait = max(worker.turn(), 0.002)
            clock.seconds += wait
        assert simulation.statuses() == [Status.SUBMITTED] * 2
        assert self.looks(server) <= polls + 2

    def test_a_connection_that_breaks_brings_back_the_usual_polling(
        self, simulation: Simulation, server: FakeServer, clock: HandClock
    ) -> None:
        (worker,) = simulation.workers
        worker.turn()
        worker.hearing.connected()
        worker.hearing.hear(Event("began", next(iter(server.accepted))))
        self.run_until(simulation, 4.0)
        heard = self.looks(server)
        worker.hearing.disconnected()
        assert worker.wake.is_set()
        self.run_until(simulation, 5.0)
        assert self.looks(server) >= heard + 4

    def test_a_server_that_falls_silent_is_polled_all_the_same(
        self, simulation: Simulation, server: FakeServer, clock: HandClock
    ) -> None:
        (worker,) = simulation.workers
        worker.turn()
        worker.hearing.connected()
        worker.hearing.hear(Event("began", next(iter(server.accepted))))
        simulation.burst(2)
        assert simulation.statuses() == [Status.COMPLETED] * 2
        assert clock.seconds < 19.0 + 5.0
