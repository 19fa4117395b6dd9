"""A sick server costs no item: three different items that fail in a row, a probe, and what may accuse a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_queue import Prompt
from support.fake_transport import FakeServer
from support.hand_clock import HandClock
from support.simulated import Simulation

from orchestrator.cycle.context import Options
from orchestrator.errors import ServerSick
from state.facts import ServerHealth
from state.item import Item, Status

URL = "http://gpu:8188"
SUBMITTED, PENDING, COMPLETED, FAILED = Status.SUBMITTED, Status.PENDING, Status.COMPLETED, Status.FAILED
CUDA = "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"
MEMORY = "torch.OutOfMemoryError: Allocation on device 0 would exceed allowed memory. (out of memory)"


class Scene:
    """A server and a state; `run` is a run of one burst, or of one after the other."""

    def __init__(self, folder: Path, *, items: int, seconds: float = 2.0) -> None:
        self.folder, self.to_add = folder, items
        self.clock = HandClock()
        self.server = FakeServer(URL, self.clock, lambda _: seconds)
        self.sick = False
        self.bad: Callable[[str], bool] = lambda key: False
        self.said = CUDA
        self.server.sickness = self._sickness
        self.simulation: Simulation
        self.before = 0

    def _sickness(self, prompt: Prompt) -> str | None:
        return self.said if self.sick or self.bad(prompt.item) else None

    def sick_after(self, prompts: int) -> None:
        """The server is sick after so many more prompts."""
        left = iter(range(prompts))

        def sickness(prompt: Prompt) -> str | None:
            self.sick = self.sick or next(left, None) is None
            return self._sickness(prompt)

        self.server.sickness = sickness

    def restart(self) -> None:
        self.sick = False
        self.server.sickness = self._sickness
        self.server.restart()

    def run(self, size: int = 15, *, until_done: bool = False, max_attempts: int = 3) -> str | None:
        """Returns the diagnosis where the run ended by one."""
        self.before = len(self.server.accepted)
        self.simulation = simulation = Simulation(
            self.folder,
            self.clock,
            [self.server],
            items=self.to_add,
            options=Options(max_attempts=max_attempts),
            until_done=until_done,
        )
        self.to_add = 0
        try:
            while True:
                simulation.burst(size)
                if not until_done or not simulation.store.counts().remaining:
                    return None
        except ServerSick as sick:
            return str(sick)
        finally:
            simulation.close()

    def items(self) -> list[Item]:
        return list(self.simulation.store.items())

    def statuses(self) -> list[Status]:
        return [item.status for item in self.items()]

    def health(self) -> ServerHealth | None:
        return self.simulation.store.facts.read().health.get(URL)

    @property
    def sent(self) -> int:
        """How many prompts the last run sent."""
        return len(self.server.accepted) - self.before

    def lost(self) -> int:
        """How many prompts ended in an error."""
        return sum(prompt.ended_as == "error" for prompt in self.server.accepted.values())

    def check_nobody_charged(self) -> None:
        assert {item.attempts for item in self.items()} == {0}
        assert not any(item.error for item in self.items())
        assert FAILED not in self.statuses()

    def check_nothing_out(self) -> None:
        assert SUBMITTED not in self.statuses()
        assert not self.server.queue


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Scene]:
    return lambda **options: Scene(tmp_path, **options)


Make = Callable[..., Scene]


@pytest.mark.parametrize(("sick_seconds", "lost"), [(0.1, 14), (5.0, 6)], ids=["all failed when it is seen", "slow"])
def test_a_server_that_turns_sick_in_mid_burst_costs_no_item(make: Make, sick_seconds: float, lost: int) -> None:
    """What was charged in the row is given back, what waited is withdrawn, and the diagnosis says what to do."""
    scene = make(items=15)
    scene.server.sick_seconds = sick_seconds
    scene.sick_after(4)
    told = scene.run()
    assert told is not None
    for words in (URL, " different items in a row", "torch.AcceleratorError", "None is charged", "Restart ComfyUI"):
        assert words in told
    assert scene.statuses() == [COMPLETED] * 4 + [PENDING] * 11
    scene.check_nobody_charged()
    scene.check_nothing_out()
    assert scene.lost() <= lost
    assert scene.simulation.tally.failed == 0
    scene.restart()
    assert scene.run() is None
    assert scene.statuses() == [COMPLETED] * 15
    assert {item.crashes for item in scene.items()} == {0}


def test_a_thousand_items_on_a_server_that_turns_sick_lose_twenty_prompts_at_most(make: Make) -> None:
    """And none of them fails, also when cron goes on starting runs, each of which sends one probe."""
    scene = make(items=1000)
    scene.sick_after(40)
    assert scene.run(until_done=True) is not None
    first = scene.lost()
    for _ in range(3):
        assert scene.run(until_done=True) is not None
        assert scene.sent == 1
    counts = scene.simulation.store.counts()
    assert (counts.completed, counts.failed, counts.pending) == (40, 0, 960)
    assert first <= 17
    assert scene.lost() <= 20
    scene.check_nobody_charged()


@pytest.mark.parametrize("attempts_left", [1, 3])
def test_one_item_a_run_from_cron_counts_on_across_runs(make: Make, attempts_left: int) -> None:
    """Also what had failed for good by then is given back."""
    scene = make(items=30)
    assert scene.run(3) is None
    scene.sick = True
    ends = [scene.run(1, max_attempts=attempts_left) for _ in range(4)]
    assert [end is not None for end in ends].count(True) >= 1
    assert scene.lost() <= 9
    scene.check_nobody_charged()
    before = scene.lost()
    assert all(scene.run(1, max_attempts=attempts_left) for _ in range(5))
    assert scene.lost() == before + 5, "one probe a run"
    scene.check_nobody_charged()
    scene.restart()
    for _ in range(27):
        assert scene.run(1) is None
    assert set(scene.statuses()) == {COMPLETED}


def test_a_restart_clears_what_was_counted(make: Make) -> None:
    scene = make(items=30)
    scene.run(3)
    scene.sick = True
    assert scene.run(15) is not None
    health = scene.health()
    assert health is not None
    assert (health.health, len(health.failures)) == ("sick", 4)
    assert len(health.spared) >= 4
    scene.restart()
    assert scene.run(15) is None
    health = scene.health()
    assert health is not None
    assert (health.health, health.failures, health.spared, health.reason) == ("well", (), (), None)
    assert scene.sent == 15, "not one after the other"


def test_of_failures_before_and_after_a_restart_no_row_is_made(make: Make) -> None:
    scene = make(items=30)
    scene.run(3)
    scene.bad = lambda key: key in ("0003.txt", "0004.txt")
    scene.run(2, max_attempts=1)
    assert scene.statuses()[3:5] == [FAILED, FAILED]
    scene.restart()
    scene.bad = lambda key: key == "0005.txt"
    assert scene.run(3, max_attempts=1) is None
    assert scene.statuses()[3:8] == [FAILED] * 3 + [COMPLETED] * 2


@pytest.mark.parametrize("items", [5, 12])
def test_a_batch_whose_every_image_fails_ends_as_failed(make: Make, items: int) -> None:
    """Nothing of its recipe was ever completed there, so it cannot accuse the server."""
    scene = make(items=items)
    scene.bad = lambda key: True
    assert scene.run() is None
    assert scene.statuses() == [FAILED] * items
    assert {item.attempts for item in scene.items()} == {3}


@pytest.mark.parametrize("items", [5, 12])
def test_such_a_batch_fails_within_a_few_runs_where_its_recipe_was_completed_before(make: Make, items: int) -> None:
    """Nothing else is due that could tell. The first time each is spared, then they are charged."""
    scene = make(items=items + 2)
    assert scene.run(2) is None
    scene.bad = lambda key: True
    ends = []
    while PENDING in scene.statuses() and len(ends) < 20:
        ends.append(scene.run())
        assert all(item.attempts <= 3 for item in scene.items())
    assert ends[0] is not None
    assert ends[-1] is None
    assert scene.statuses() == [COMPLETED] * 2 + [FAILED] * items


def test_where_nothing_was_ever_completed_one_burst_s_size_is_charged_a_run(make: Make) -> None:
    scene = make(items=100)
    scene.sick = True
    told = scene.run(5, until_done=True)
    assert told is not None
    assert "nothing was completed there since it started" in told
    assert [item.attempts for item in scene.items()] == [3] * 5 + [0] * 95
    assert scene.statuses() == [FAILED] * 5 + [PENDING] * 95
    scene.check_nothing_out()
    scene.sick = False
    assert scene.run(5, until_done=True) is None
    assert scene.statuses() == [FAILED] * 5 + [COMPLETED] * 95


def test_where_a_probe_succeeds_the_failures_are_their_items_own(make: Make) -> None:
    """Six bad items of one recipe that was completed before; the probe is one that stands far from them."""
    scene = make(items=30)
    scene.run(3)
    scene.bad = lambda key: "0003.txt" <= key < "0009.txt"
    assert scene.run(15) is None
    assert scene.run(15, until_done=True) is None
    assert scene.statuses() == [COMPLETED] * 3 + [FAILED] * 6 + [COMPLETED] * 21
    assert {item.attempts for item in scene.items()[3:9]} == {3}


class TestAnotherRecipe:
    """Ten items of a first recipe, ten of another one, and five of the first."""

    @pytest.fixture
    def scene(self, make: Make) -> Scene:
        scene = make(items=0)
        scene.run(1)
        simulation = Simulation(scene.folder, scene.clock, [scene.server], items=0)
        simulation.add([f"a{number}" for number in range(10)])
        simulation.add([f"b{number}" for number in range(10)], recipe=simulation.add_recipe("other"))
        simulation.add([f"z{number}" for number in range(5)])
        simulation.close()
        return scene

    def test_is_the_probe_although_others_of_the_first_are_due(self, scene: Scene) -> None:
        scene.run(1)
        scene.sick = True
        assert scene.run(5) is not None
        *_, probe = scene.server.accepted.values()
        assert probe.item.startswith("b")
        scene.check_nobody_charged()

    def test_that_is_rendered_shows_that_the_failures_are_the_items_own(self, scene: Scene) -> None:
        scene.run(1)
        scene.bad = lambda key: key.startswith("a")
        assert scene.run(30) is None
        assert scene.statuses() == [COMPLETED] + [FAILED] * 9 + [COMPLETED] * 15

    @pytest.mark.parametrize("was_completed", [True, False])
    def test_accuses_where_the_first_cannot(self, scene: Scene, was_completed: bool) -> None:
        """Of the first nothing was ever completed here."""
        if was_completed:
            simulation = Simulation(scene.folder, scene.clock, [scene.server], items=0)
            simulation.add(["c"], priorities=["urgent"], recipe=simulation.store.get("b0").recipe)
            simulation.close()
            scene.run(1)
        scene.sick = True
        told = scene.run(30)
        assert scene.statuses().count(COMPLETED) == was_completed
        if was_completed:
            assert told is not None
            scene.check_nobody_charged()
            assert scene.lost() <= 30
        else:
            assert told is None
            assert scene.statuses() == [FAILED] * 25


def test_a_success_between_breaks_the_row(make: Make) -> None:
    scene = make(items=20)
    scene.run(2)
    scene.bad = lambda key: int(key[:4]) % 3 != 0 and key > "0002"
    assert scene.run(until_done=True) is None
    assert scene.simulation.tally.failed == len([n for n in range(2, 20) if n % 3])


def test_failures_of_different_kinds_make_no_row(make: Make) -> None:
    scene = make(items=10)
    scene.run(2)
    kinds = iter(["A: one", "B: two"] * 50)
    scene.server.sickness = lambda prompt: next(kinds)
    scene.run(3, max_attempts=1)
    assert scene.statuses()[2:5] == [FAILED] * 3


def test_what_runs_is_watched_to_its_end_and_is_no_loss_where_it_ends_well(make: Make) -> None:
    """The fourth was running well when the third failure was seen: the row is broken, and it is completed."""
    scene = make(items=8, seconds=30.0)
    scene.run(1)
    scene.server.sick_seconds = 1.0
    scene.bad = lambda key: key in ("0001.txt", "0002.txt", "0003.txt")
    assert scene.run(7, max_attempts=1) is None
    assert scene.statuses() == [COMPLETED] + [FAILED] * 3 + [COMPLETED] * 4
    assert not any(prompt.ended_as == "interrupted" for prompt in scene.server.accepted.values())


def test_a_second_trip_by_the_same_items_charges_them_and_moves_them_behind(make: Make) -> None:
    """The others go first, and are completed."""
    scene = make(items=40)
    scene.run(1)
    scene.bad = lambda key: "0001.txt" <= key < "0006.txt" or key > "0020.txt"
    assert scene.run(5) is not None
    scene.check_nobody_charged()
    spared = scene.health().spared  # type: ignore[union-attr]
    assert set(spared) >= {"0001.txt", "0002.txt", "0003.txt"}
    scene.bad = lambda key: "0001.txt" <= key < "0006.txt"
    # The probe of the next run is completed, so the server is well; the same items fail again.
    scene.run(6)
    charged = {item.key: item for item in scene.items() if item.attempts}
    assert charged.keys() <= {f"000{number}.txt" for number in range(1, 6)}
    assert charged
    assert scene.run(40) is None
    assert [item.status for item in scene.items()[1:6]] == [FAILED] * 5
    assert scene.statuses().count(COMPLETED) == 35


def test_items_that_were_spared_are_moved_behind_where_nothing_else_can_be_the_probe(make: Make) -> None:
    scene = make(items=5)
    scene.run(1)
    scene.sick = True
    assert scene.run(15, max_attempts=9) is not None
    scene.check_nobody_charged()
    assert set(scene.health().spared) == {f"000{number}.txt" for number in range(1, 5)}  # type: ignore[union-attr]
    scene.run(1, max_attempts=2)
    ranks = {item.key: (item.attempts, item.rank) for item in scene.items()}
    assert any(attempts and rank for attempts, rank in ranks.values())


class TestOutOfMemory:
    def test_the_rest_is_withdrawn_before_the_memory_is_freed(self, make: Make) -> None:
        """Of 15 prompts out; one alone is sent after that, and it is completed."""
        scene = make(items=15)
        scene.said = MEMORY
        first = iter([True])
        scene.server.sickness = lambda prompt: MEMORY if next(first, False) else None
        assert scene.run() is None
        ((_, queued),) = scene.server.freed
        assert queued <= 1, "what had begun by then"
        assert scene.statuses() == [COMPLETED] * 15
        assert scene.lost() == 1
        assert [item.attempts for item in scene.items()].count(0) == 14

    def test_where_it_lasts_no_item_fails(self, make: Make) -> None:
        """It was 15 of 15 with 30 prompts."""
        scene = make(items=15)
        scene.said = MEMORY
        scene.server.sick_seconds = 1.0
        scene.sick_after(2)
        told = scene.run()
        assert told is not None
        assert "End other programs that use the GPU's memory, or restart ComfyUI" in told
        assert scene.lost() <= 10
        scene.check_nobody_charged()
        scene.check_nothing_out()

    def test_it_ends_without_a_restart(self, make: Make) -> None:
        """Another program has ended: the next run's probe is completed, and it goes on."""
        scene = make(items=15)
        scene.said = MEMORY
        scene.sick_after(2)
        assert scene.run() is not None
        scene.sick = False
        scene.server.sickness = lambda prompt: None
        assert scene.run() is None
        assert scene.statuses() == [COMPLETED] * 15


def test_one_of_several_servers_that_is_sick_leaves_all_to_the_others(tmp_path: Path) -> None:
    clock = HandClock()
    sick, well = (FakeServer(f"http://{name}:8188", clock, lambda _: 2.0) for name in ("sick", "well"))
    simulation = Simulation(tmp_path, clock, [sick, well], items=60)
    begun = iter(range(3))
    sick.sickness = lambda prompt: None if next(begun, None) is not None else CUDA
    simulation.burst(60)
    simulation.close()
    assert simulation.statuses() == [COMPLETED] * 60
    assert {item.attempts for item in simulation.store.items()} == {0}
    assert isinstance(simulation.workers[0].lost, ServerSick)
    assert sum(prompt.ended_as == "error" for prompt in sick.accepted.values()) <= 6


def test_a_cancelled_item_that_is_withdrawn_is_cancelled(make: Make) -> None:
    scene = make(items=15)
    scene.run(1)
    scene.sick_after(2)
    last = scene.items()[-1].key

    def cancel(prompt: Prompt) -> str | None:
        if prompt.item == "0004.txt":
            store = scene.simulation.store
            (item,) = store.get_many([last])
            from state.change import Change

            if item.status is SUBMITTED:
                store.apply([Change(last, SUBMITTED, lambda now: now.request_cancel())])
        return CUDA if prompt.item > "0003.txt" else None

    scene.server.sickness = cancel
    scene.server.sick_seconds = 5.0
    simulation = Simulation(scene.folder, scene.clock, [scene.server], items=0)
    scene.simulation = simulation
    with pytest.raises(ServerSick):
        simulation.burst(14)
    simulation.close()
    assert simulation.store.get(last).status is Status.CANCELLED
