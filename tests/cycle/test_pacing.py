"""Pacing: pure functions, by table, by property, and by small simulations of watchdogs, prompts and servers."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cycle.pacing import (
    FIRST_TICK_SECONDS,
    LADDER,
    LearnedLimit,
    Load,
    Pace,
    Sight,
    Strain,
    automatic_size,
    learned_limit,
    next_tick,
    pause_before_retry,
    seconds_per_item,
    stall_limit,
    takes_another,
    window,
)
from state.burst_record import BurstRecord, Ending

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


# Size


def bursts(*endings: Ending, signal: str | None = None, alive_seconds: float | None = None) -> list[BurstRecord]:
    return [
        BurstRecord(
            burst=str(at),
            started_at=MOMENT,
            ended_at=MOMENT,
            ended=ending,
            size=15,
            signal=signal,
            alive_seconds=alive_seconds,
        )
        for at, ending in enumerate(endings)
    ]


@pytest.mark.parametrize(
    ("endings", "size"),
    [
        ((), 15),
        (("done",), 15),
        (("killed",), 5),
        (("killed", "killed"), 1),
        (("killed", "killed", "killed"), 1),
        (("killed", "killed", "done"), 5),
        (("killed", "done", "done"), 15),
        (("killed", "error", "deadline"), 5),
        (("killed", "limit", "done"), 15),
    ],
)
def test_automatic_size_goes_15_5_1_and_grows_back(endings: tuple[Ending, ...], size: int) -> None:
    assert automatic_size(bursts(*endings)) == size


@pytest.mark.parametrize(
    ("signal", "alive_seconds", "size"),
    [("SIGTERM", 9.0, 5), ("SIGINT", 9.0, 15), (None, 9.0, 15), (None, None, 5)],
    ids=["watchdog", "person", "stop event", "old record"],
)
def test_only_what_a_watchdog_may_have_stopped_makes_bursts_smaller(
    signal: str | None, alive_seconds: float | None, size: int
) -> None:
    assert automatic_size(bursts("stopped", signal=signal, alive_seconds=alive_seconds)) == size


def worked(completed: int, seconds: float, *, ended: Ending = "done") -> BurstRecord:
    return BurstRecord(
        burst="b", started_at=MOMENT, ended_at=MOMENT, ended=ended, size=15, completed=completed, seconds=seconds
    )


@pytest.mark.parametrize(
    ("seconds", "size"), [(None, 15), (1000.0, 15), (30.0, 15), (29.9, 14), (7.0, 3), (1.0, 1), (-3.0, 1)]
)
def test_automatic_size_is_never_above_what_fits(seconds: float | None, size: int) -> None:
    assert automatic_size([worked(15, 30.0)], seconds=seconds) == size


@pytest.mark.parametrize("records", [[], [worked(0, 9.0)], [worked(4, 0.0)]])
def test_nothing_measured_is_no_bound(records: list[BurstRecord]) -> None:
    assert automatic_size(records, seconds=0.5) == 15


def test_kills_count_although_more_would_fit() -> None:
    assert automatic_size([worked(15, 30.0), *bursts("killed")], seconds=1000.0) == 5


@given(st.lists(st.sampled_from(["done", "killed", "stopped", "error", "deadline"])), st.none() | st.floats(0, 1e9))
def test_automatic_size_is_one_of_the_protocols_or_what_fits(endings: list[Ending], seconds: float | None) -> None:
    free = automatic_size(bursts(*endings))
    assert free in LADDER
    fitting = automatic_size([*bursts(*endings), worked(1, 7.0, ended="deadline")], seconds=seconds)
    assert fitting == (free if seconds is None else max(1, min(free, int(seconds // 7))))


def test_the_pace_of_the_records_is_that_of_the_last_ten_that_completed_any() -> None:
    assert seconds_per_item([]) is None
    assert seconds_per_item([worked(0, 5.0)]) is None
    late = [worked(2, 6.0), worked(0, 50.0)] * 10
    assert seconds_per_item([worked(1, 1000.0), *late]) == 3.0


# The watchdog's limit


class Runs:
    """The record of runs, one after the other."""

    def __init__(self) -> None:
        self.records: list[BurstRecord] = []
        self._now = MOMENT

    def run(self, seconds: float, ended: Ending, *, signal: str | None = None, parts: int = 1) -> None:
        """One run that lived so long, in so many bursts."""
        began = self._now
        for part in range(1, parts + 1):
            age = seconds * part / parts
            self.records.append(
                BurstRecord(
                    burst=f"b{len(self.records)}",
                    started_at=began + timedelta(seconds=seconds * (part - 1) / parts),
                    ended_at=began + timedelta(seconds=age),
                    ended=ended if part == parts else "done",
                    size=15,
                    seconds=seconds / parts,
                    alive_seconds=age,
                    signal=signal if part == parts else None,
                )
            )
        self._now = began + timedelta(seconds=seconds + 5)

    @property
    def limit(self) -> LearnedLimit | None:
        return learned_limit(self.records)


Life = tuple[float, Ending]


@pytest.mark.parametrize(
    ("lives", "limit", "kills"),
    [
        ([], None, 0),
        ([(300, "done")], None, 0),
        ([(60, "killed")], None, 0),
        ([(60, "killed"), (60, "killed")], 60, 2),
        ([(60, "killed"), (20, "done"), (60, "killed")], 60, 2),
        ([(4.9, "killed"), (4.9, "killed")], None, 0),
        ([(5, "killed"), (5, "killed")], 5, 2),
        ([(60, "killed"), (60, "killed"), (54, "limit")], 60, 2),
        ([(61, "killed"), (60, "killed"), (61.5, "killed")], 60, 3),
        ([(40, "killed"), (42, "killed"), (50, "killed")], 40, 3),
        ([(7.9, "killed"), (6, "killed")], 6, 2),
        ([(8.1, "killed"), (6, "killed")], None, 0),
        # A run that was not killed clearly later.
        ([(60, "killed"), (60, "killed"), (65, "done")], 60, 2),
        ([(60, "killed"), (60, "killed"), (67, "done")], None, 0),
        ([(60, "killed"), (60, "killed"), (67, "error")], None, 0),
        ([(60, "killed"), (67, "done"), (60, "killed")], None, 0),
        # Another watchdog than before, or chance.
        ([(20, "killed"), (20, "killed"), (60, "killed")], None, 0),
        ([(60, "killed"), (60, "killed"), (20, "killed")], 60, 2),
        ([(20, "killed"), (60, "killed"), (20, "killed")], None, 0),
        ([(60, "killed"), (20, "killed"), (60, "killed")], 60, 2),
        ([(60, "killed"), (60, "killed"), (20, "killed"), (20, "killed")], 20, 2),
        ([(60, "killed"), (60, "killed"), (20, "killed"), (20, "killed"), *[(18, "limit")] * 20], 60, 2),
        # How long it is believed.
        ([(60, "killed"), (60, "killed"), *[(54, "limit")] * 19], 60, 2),
        ([(60, "killed"), (60, "killed"), *[(54, "limit")] * 20], None, 0),
        ([*[(60, "killed")] * 2, *[(54, "limit")] * 20, (60, "killed"), *[(54, "limit")] * 79], 60, 3),
        ([*[(60, "killed")] * 2, *[(54, "limit")] * 20, (60, "killed"), *[(54, "limit")] * 80], None, 0),
        ([(60, "killed"), (60, "killed"), *[(2, "done")] * 50], 60, 2),
    ],
)
def test_the_limit_is_learned_from_the_ages_of_killed_runs(lives: list[Life], limit: float | None, kills: int) -> None:
    runs = Runs()
    for seconds, ended in lives:
        runs.run(seconds, ended)
    assert runs.limit == (None if limit is None else LearnedLimit(limit, kills))


@pytest.mark.parametrize(("signal", "kills"), [("SIGTERM", 2), ("SIGINT", 0), (None, 0)])
def test_sigterm_is_a_watchdog_and_ctrl_c_is_a_person(signal: str | None, kills: int) -> None:
    runs = Runs()
    for _ in range(2):
        runs.run(60, "stopped", signal=signal)
    assert runs.limit == (LearnedLimit(60, 2) if kills else None)


def test_a_run_of_many_bursts_is_one_run_as_old_as_its_last_burst() -> None:
    runs = Runs()
    runs.run(60, "killed", parts=12)
    assert runs.limit is None
    runs.run(60, "killed", parts=12)
    for _ in range(19):
        runs.run(54, "limit", parts=12)
    assert runs.limit == LearnedLimit(60, 2)
    runs.run(54, "limit", parts=12)
    assert runs.limit is None


def test_runs_in_which_each_grows_older_than_the_one_before_are_still_several() -> None:
    runs = Runs()
    for seconds in (60, 61, 62):
        runs.run(seconds, "killed")
    assert runs.limit == LearnedLimit(60, 3)


def test_old_records_without_an_age_teach_by_their_length() -> None:
    lives = [(40.0, "killed"), (42.0, "killed"), (30.0, "stopped")]
    records = [worked(0, seconds, ended=ended) for seconds, ended in lives]  # type: ignore[arg-type]
    assert learned_limit(records) == LearnedLimit(40, 2)


@pytest.mark.parametrize(("seconds", "usable"), [(5, 4), (6, 5), (10, 9), (60, 54), (3600, 3240)])
def test_a_run_ends_a_second_or_a_tenth_before_the_limit(seconds: float, usable: float) -> None:
    assert LearnedLimit(seconds, 1).usable_seconds == pytest.approx(usable)


@settings(max_examples=settings.default.max_examples // 4)
@given(st.floats(6, 10_000), st.randoms(use_true_random=False), st.integers(1, 8), st.booleans())
def test_a_watchdog_is_met_ever_more_rarely(limit: float, chance: random.Random, parts: int, sigterm: bool) -> None:
    runs, killed_at = Runs(), []
    for number in range(100):
        learned = runs.limit
        # Ending takes a moment; a kill is dated by the last touch before it, a stop by its record just after it.
        wanted = learned.usable_seconds + chance.uniform(0, 0.5) if learned else 2 * limit
        if wanted < limit:
            runs.run(wanted, "limit", parts=parts)
            continue
        killed_at.append(number)
        if sigterm:
            runs.run(limit + chance.uniform(0, 0.3), "stopped", signal="SIGTERM", parts=parts)
        else:
            runs.run(limit - chance.uniform(0, 1), "killed", parts=parts)
    assert killed_at == [0, 1, 22]


@settings(deadline=None)
@given(st.floats(5, 10_000), st.lists(st.floats(0.1, 20_000), max_size=20))
def test_without_a_watchdog_one_chance_kill_costs_nothing_and_two_cost_twenty_runs(
    age: float, before: list[float]
) -> None:
    runs = Runs()
    for seconds in before:
        runs.run(seconds, "done")
    runs.run(age, "killed")
    assert runs.limit is None
    runs.run(age, "stopped", signal="SIGTERM")
    held_back = 0
    while (learned := runs.limit) is not None:
        runs.run(learned.usable_seconds, "limit")
        held_back += 1
    assert held_back == 20


@settings(deadline=None)
@given(st.lists(st.floats(5, 10_000), max_size=12))
def test_chance_kills_are_forgotten_however_old_the_runs_were(ages: list[float]) -> None:
    runs = Runs()
    for age in ages:
        runs.run(age, "killed")
    for _ in range(20 * 4 ** max(0, len(ages) - 2) * len(ages)):
        if (learned := runs.limit) is None:
            break
        if learned.kills > 3:
            return  # four that agree are no chance
        runs.run(learned.usable_seconds, "limit")
    assert runs.limit is None


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5),
            st.sampled_from(["done", "killed", "stopped", "error", "deadline"]),
            st.sampled_from([None, "SIGTERM", "SIGINT"]),
        ),
        max_size=40,
    )
)
def test_a_limit_is_the_age_of_a_killed_run_that_no_later_one_outlived(lives: list[tuple[float, Ending, str]]) -> None:
    runs = Runs()
    for seconds, ended, signal in lives:
        runs.run(seconds, ended, signal=signal)
    learned = runs.limit
    if learned is None:
        return
    assert 0 < learned.usable_seconds < learned.seconds
    kills = [
        at
        for at, (seconds, ended, signal) in enumerate(lives)
        if ended == "killed" or (ended == "stopped" and signal == "SIGTERM")
    ]
    alike = [at for at in kills if abs(lives[at][0] - learned.seconds) <= max(2, 0.2 * lives[at][0])]
    assert min(lives[at][0] for at in alike) <= learned.seconds + 1e-6
    assert learned.kills <= len(alike)
    outlived = [at for at, (seconds, _, _) in enumerate(lives) if seconds > learned.seconds * 1.1 + 2]
    assert all(at in kills or at < alike[-1] for at in outlived)


# Ticks


def ticks(expected: float | None, poll: float, count: int) -> list[float]:
    found: list[float] = []
    previous: float | None = None
    for _ in range(count):
        previous = next_tick(previous, expected_seconds=expected, poll_seconds=poll)
        found.append(previous)
    return found


@pytest.mark.parametrize("expected", [None, 0.0])
def test_ticks_start_short_and_stretch_to_the_polling_interval(expected: float | None) -> None:
    found = ticks(expected, 5.0, 20)
    assert found[0] <= FIRST_TICK_SECONDS
    assert found == sorted(found)
    assert found[-1] == 5.0


class Watch:
    """One server that runs prompts back to back, and somebody who looks at them as `Sight` and `next_tick` say."""

    def __init__(self, prompts: Sequence[float], *, hasty: bool = True) -> None:
        self.asked = 0
        self.late: list[float] = []
        self._hasty = hasty
        self._now = self._busy_at = end = 0.0
        pace, sight = Pace(), Sight(0.0, 0.0)
        for seconds in prompts:
            end += seconds
            self._follow(end, pace.seconds_per_item, sight)
            sight = Sight(self._now, self._busy_at)
            self.late.append(self._now - end)
            pace.note(seconds)

    def _follow(self, end: float, pace: float | None, sight: Sight) -> None:
        if self._hasty and sight.next_may_be_done(pace, self._now) and self._finished(end):
            return
        tick: float | None = None
        while tick is None or not self._finished(end):
            tick = next_tick(tick, expected_seconds=sight.expected_seconds(pace, self._now), poll_seconds=5.0)
            self._now += tick

    def _finished(self, end: float) -> bool:
        self.asked += 1
        if self._now >= end:
            return True
        self._busy_at = self._now
        return False


def jittered(seconds: float, *, share: float, count: int) -> list[float]:
    chance = random.Random(7)
    return [seconds * chance.uniform(1 - share, 1 + share) for _ in range(count)]


@pytest.mark.parametrize(
    ("prompts", "asks", "late_share"),
    [
        ([2.0] * 200, 2.3, 0.15),
        ([0.1] * 200, 2.3, 0.15),
        ([0.2] * 200, 2.3, 0.15),
        ([20.0] * 200, 5.2, 0.15),
        ([300.0] * 20, 61.5, 0.15),
        ([0.01] * 200, 2.0, 0.15),
        (jittered(2.0, share=0.01, count=200), 2.3, 0.15),
        (jittered(20.0, share=0.01, count=200), 5.5, 0.15),
        (jittered(2.0, share=0.05, count=200), 2.5, 0.2),
        (jittered(2.0, share=0.3, count=200), 2.5, 1.0),
        (jittered(0.1, share=0.3, count=200), 2.5, 1.0),
        (jittered(20.0, share=0.3, count=200), 6.5, 0.3),
    ],
)
def test_questions_for_each_prompt_and_how_late_its_end_is_seen(
    prompts: list[float], asks: float, late_share: float
) -> None:
    watch = Watch(prompts)
    usual = sum(prompts) / len(prompts)
    assert watch.asked / len(prompts) <= asks
    settled = watch.late[5:]
    assert max(settled) <= min(5.0, late_share * usual)
    assert sum(settled) / len(settled) <= 0.15 * usual


def test_a_burst_of_15_that_knows_nothing_asks_at_most_three_times_for_each() -> None:
    # With its POST and its picture: five requests.
    assert Watch([2.0] * 15).asked / 15 <= 3


def test_a_first_prompt_that_also_loads_the_model_delays_the_sight_of_few() -> None:
    assert max(Watch([30.0] + [2.0] * 30).late[8:]) <= 0.5


def test_what_finished_while_nobody_looked_is_found_at_once() -> None:
    prompts = [2.0] * 10 + [0.01] * 300
    assert Watch(prompts).late[-1] < 0.1
    assert Watch(prompts, hasty=False).late[-1] > 1


@given(st.none() | st.floats(0, 1e6), st.none() | st.floats(0, 1e6), st.floats(0.01, 100), st.integers(0, 4))
def test_no_tick_is_nothing_or_longer_than_the_polling_interval_and_its_stretch(
    previous: float | None, expected: float | None, poll: float, level: int
) -> None:
    tick = next_tick(previous, expected_seconds=expected, poll_seconds=poll, strain=Strain(level))
    assert 0 < tick <= max(poll, min(poll * 2**level, 60.0))


# Strain


def test_trouble_doubles_every_wait_four_times_at_most_and_five_good_answers_undo_one_doubling() -> None:
    strain = Strain()
    levels = []
    for troubled in [True] * 6 + [False] * 21:
        strain = strain.after(troubled)
        levels.append(strain.level)
    assert levels == [1, 2, 3, 4, 4, 4] + [4] * 4 + [3] * 5 + [2] * 5 + [1] * 5 + [0] * 2
    assert strain == Strain()


def test_trouble_starts_the_count_of_good_answers_anew() -> None:
    strain = Strain(2)
    for _ in range(10):
        for troubled in (False, False, False, False, True):
            strain = strain.after(troubled)
    assert strain.level == 4


@pytest.mark.parametrize(
    ("level", "seconds", "stretched"),
    [(0, 5, 5), (1, 5, 10), (3, 5, 40), (4, 5, 60), (4, 0.05, 0.8), (2, 90, 90), (0, 90, 90)],
)
def test_waits_are_stretched_to_a_minute_and_never_shortened(level: int, seconds: float, stretched: float) -> None:
    assert Strain(level).stretch(seconds) == pytest.approx(stretched)


@pytest.mark.parametrize("expected", [None, 0.0, 0.3, 4.0, 20.0])
def test_all_ticks_are_stretched_by_the_same(expected: float | None) -> None:
    calm: float | None = None
    strained: float | None = None
    for _ in range(12):
        calm = next_tick(calm, expected_seconds=expected, poll_seconds=5.0)
        strained = next_tick(strained, expected_seconds=expected, poll_seconds=5.0, strain=Strain(2))
        assert strained == pytest.approx(4 * calm)


@given(st.lists(st.booleans()))
def test_strain_stays_in_its_bounds_and_always_recovers(answers: list[bool]) -> None:
    strain = Strain()
    for troubled in answers:
        strain = strain.after(troubled)
        assert 0 <= strain.level <= 4
    for _ in range(20):
        strain = strain.after(False)
    assert strain == Strain()


# Several servers


@pytest.mark.parametrize(
    ("size", "tick", "pace", "prompts"),
    [
        (15, 0.5, None, 2),
        (1, 0.5, None, 1),
        (15, 0.5, 0.0, 15),
        (15, 0.5, 5e-324, 15),
        (15, 0.5, 10.0, 2),
        (15, 5.0, 2.0, 5),
        (15, 5.0, 0.1, 15),
        (1, 5.0, 0.1, 1),
        (15, 0.25, 0.2, 3),
    ],
)
def test_a_window_outlasts_two_ticks(size: int, tick: float, pace: float | None, prompts: int) -> None:
    assert window(size=size, tick_seconds=tick, seconds_per_item=pace) == prompts


@pytest.mark.parametrize(("failures", "seconds"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (10_000, 60)])
def test_a_silent_server_is_asked_ever_more_rarely(failures: int, seconds: float) -> None:
    assert pause_before_retry(failures) == seconds


def test_a_slow_server_leaves_the_last_items_to_the_fast() -> None:
    fast, slow = Load(1, 1.0), Load(0, 10.0)
    # Ten more would keep the fast one busy for longer than the slow one needs for one; eight would not.
    assert takes_another(slow, [fast, slow], 10)
    assert not takes_another(slow, [fast, slow], 8)
    assert takes_another(fast, [fast, slow], 8)


def test_a_server_of_unknown_pace_gets_one_item_to_be_measured_by() -> None:
    known = Load(2, 1.0)
    assert takes_another(Load(0, None), [known, Load(0, None)], 50)
    assert not takes_another(Load(1, None), [known, Load(1, None)], 50)
    assert not takes_another(Load(1, None), [Load(1, None), Load(0, None)], 50)


def test_a_server_alone_takes_whatever_there_is() -> None:
    for load in (Load(0, None), Load(7, None), Load(7, 60.0)):
        assert takes_another(load, [load], 1)


LOADS = st.lists(
    st.builds(Load, st.integers(0, 5), st.none() | st.floats(0, 1e4) | st.sampled_from([0.1, 0.3, 0.7])),
    min_size=1,
    max_size=6,
)


@given(LOADS, st.integers(1, 300))
def test_somebody_takes_the_next_item_or_everybody_is_at_work(loads: list[Load], pending: int) -> None:
    willing = [load for load in loads if takes_another(load, loads, pending)]
    assert willing or all(load.out for load in loads)
    measured = [load for load in loads if load.seconds_per_item is not None]
    assert willing or not measured


def best_seconds(speeds: Sequence[float], count: int) -> float:
    """No schedule is shorter: each item where it would end soonest."""
    ends = [(seconds, seconds) for seconds in speeds]
    heapq.heapify(ends)
    last = 0.0
    for _ in range(count):
        last, seconds = ends[0]
        heapq.heapreplace(ends, (last + seconds, seconds))
    return last


Taking = Callable[[Load, Sequence[Load], int], bool]


class Farm:
    """Servers of these speeds working off so many items, taken by each as `takes_another` and its window say."""

    def __init__(self, speeds: Sequence[float], count: int, *, known: bool, taking: Taking = takes_another) -> None:
        self._speeds = speeds
        self._taking = taking
        self._count = self._pending = count
        self._paces = [Pace() for _ in speeds]
        self._out = [0 for _ in speeds]
        self._busy_until = [0.0 for _ in speeds]
        self._ends: list[tuple[float, int]] = []
        self.seconds = 0.0
        for pace, speed in zip(self._paces, speeds, strict=True):
            if known:
                pace.note(speed)
        self._fill()
        while self._ends:
            self.seconds, server = heapq.heappop(self._ends)
            self._out[server] -= 1
            self._paces[server].note(speeds[server])
            self._fill()
        assert self._pending == 0

    def _fill(self) -> None:
        while sum(self._take(server) for server in range(len(self._speeds))):
            pass

    def _take(self, server: int) -> bool:
        speed = self._speeds[server]
        loads = [Load(out, pace.seconds_per_item) for out, pace in zip(self._out, self._paces, strict=True)]
        tick = min(max(0.1 * speed, 0.01), 5.0)
        room = window(size=self._count, tick_seconds=tick, seconds_per_item=loads[server].seconds_per_item)
        if not self._pending or loads[server].out >= room or not self._taking(loads[server], loads, self._pending):
            return False
        self._pending -= 1
        self._out[server] += 1
        self._busy_until[server] = max(self._busy_until[server], self.seconds) + speed
        heapq.heappush(self._ends, (self._busy_until[server], server))
        return True


UNEQUAL = [[1, 2, 4, 8], [0.5, 1, 3, 10], [1, 1.3, 1.7, 2.2], [2, 2, 2, 30], [0.2, 0.25, 0.4, 2], [0.05, 0.05, 5, 5]]


@pytest.mark.parametrize("speeds", UNEQUAL)
@pytest.mark.parametrize("known", [True, False])
def test_200_items_on_four_unequal_servers_take_a_tenth_more_than_the_best_at_most(
    speeds: list[float], known: bool
) -> None:
    assert Farm(speeds, 200, known=known).seconds <= 1.1 * best_seconds(speeds, 200)


def test_without_the_rule_a_slow_server_hoards() -> None:
    speeds = [0.2, 0.25, 0.4, 60]
    best = best_seconds(speeds, 200)
    assert Farm(speeds, 200, known=True).seconds <= 1.1 * best
    assert Farm(speeds, 200, known=True, taking=lambda *_: True).seconds > 6 * best


SPEEDS = st.lists(st.floats(0.05, 60), min_size=1, max_size=6)


@settings(deadline=None)
@given(SPEEDS, st.integers(1, 60) | st.just(200), st.booleans())
def test_servers_of_any_speed_end_within_one_item_of_the_best(speeds: list[float], count: int, known: bool) -> None:
    best = best_seconds(speeds, count)
    slowest_used = max(speed for speed in speeds if speed <= best)
    # Nobody can know of a slow one before its first item is done, and that one is not taken back.
    measured = max(speeds[:count]) if not known and len(speeds) > 1 else 0.0
    assert Farm(speeds, count, known=known).seconds <= max(best, measured) + slowest_used


def test_pace_is_the_middle_of_the_last_five_and_never_negative() -> None:
    pace = Pace()
    assert pace.seconds_per_item is None
    found = []
    for seconds in (30.0, 2.0, 2.2, 0.0, 2.1, 2.3, 9.0, 9.0, 9.0):
        pace.note(seconds)
        found.append(pace.seconds_per_item)
    assert found == [30.0, 2.0, 2.2, 2.0, 2.1, 2.1, 2.2, 2.3, 9.0]
    negative = Pace()
    negative.note(-5.0)
    assert negative.seconds_per_item == 0.0


def test_a_server_is_stalled_after_ten_times_the_longest_or_a_day_where_nothing_is_known() -> None:
    assert stall_limit(None, runs=True) == 86_400.0
    assert stall_limit(1.0, runs=True) == stall_limit(None, runs=False) == 1800.0
    assert stall_limit(600.0, runs=True) == 6000.0
