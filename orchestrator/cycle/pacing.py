"""How many, how often, how long: pure functions of what was seen."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from state.burst_record import BurstRecord

DEFAULT_SIZE = 15
LADDER = (1, 5, 15)
"""The protocol's sizes: a killed burst goes down one, a clean one up one."""
DEFAULT_POLL_SECONDS = 5.0
ABANDON_AFTER_SECONDS = 3600.0
"""Without a sign of life for so long, another host is taken for dead, and what its server had is due again."""
IN_DOUBT_SECONDS = 10.0
"""How long an intent without a noted answer may still be on its way to the server."""
STALL_SECONDS = 1800.0
SWEEP_SECONDS = 15.0
"""Without a completion for this long, every outstanding prompt is looked up."""
FIRST_TICK_SECONDS = 0.05
"""The first wait for a prompt of which nothing is known."""
SHORTEST_TICK_SECONDS = 0.01
TICK_GROWTH = 1.5
LONGEST_STRETCH_SECONDS = 60.0
SHORTEST_WATCHDOG_SECONDS = 5.0
"""A run that was killed younger than this met no watchdog: none is that short."""
_BELIEVED_RUNS = 5
"""How many runs one kill is believed for; each further one that agrees makes it four times as many."""
_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 60.0


def seconds_per_item(records: Sequence[BurstRecord]) -> float | None:
    """Seconds of a burst's life for each item it completed, over the last ten bursts that completed any."""
    useful = [record for record in records if record.completed][-10:]
    completed = sum(record.completed for record in useful)
    return sum(record.seconds for record in useful) / completed if completed else None


def automatic_size(records: Sequence[BurstRecord], *, seconds: float | None = None) -> int:
    """What `--size auto` is after these bursts, oldest first: 15, with kills 5 and 1, with clean ones up again.

    `seconds`: what the burst may take. It is never given more items than fit into that at the pace of the records, but
    always one. Ended by its deadline, by Ctrl-C or by an error, a burst says nothing about its size.
    """
    step = LADDER.index(DEFAULT_SIZE)
    for record in records:
        if _ended_from_outside(record):
            step = max(step - 1, 0)
        elif record.ended == "done":
            step = min(step + 1, len(LADDER) - 1)
    per_item = seconds_per_item(records)
    if seconds is None or not per_item:
        return LADDER[step]
    return max(1, min(LADDER[step], int(min(seconds / per_item, DEFAULT_SIZE))))


def _ended_from_outside(record: BurstRecord) -> bool:
    """Killed, or told to stop by something. Old records do not say which signal it was; a person's is the rarer one."""
    signal_unknown = record.signal is None and record.alive_seconds is None
    return record.ended == "killed" or (record.ended == "stopped" and (record.signal == "SIGTERM" or signal_unknown))


class LearnedLimit(msgspec.Struct, frozen=True):
    """How old a run grows here before it is killed."""

    seconds: float
    kills: int
    """How many runs that lived about so long tell of it."""

    @property
    def usable_seconds(self) -> float:
        """The age at which a run should have ended: a second before the limit, a tenth before it where that is more."""
        return min(self.seconds - 1.0, 0.9 * self.seconds)


def learned_limit(records: Sequence[BurstRecord]) -> LearnedLimit | None:
    """The age at which something kills runs here, from how old killed runs grew; None where nothing tells of one.

    A run teaches by being killed, or stopped by SIGTERM, at an age of 5 s or more; Ctrl-C and a stop event teach
    nothing. The latest kill is held with the earlier ones of about its age (a fifth or 2 s apart), and the youngest of
    them is the limit. What a later run clearly outlived is forgotten. What no run can outlive, because all of them now
    end before it, is put to the test from time to time: one kill is believed for 5 runs that live half as long or
    longer, two that agree for 20, three for 80, and so on, and what is then not killed contradicts it. So a chance kill
    costs five shorter runs, and a watchdog is met ever more rarely. Ask once, when a run begins: the limit must not
    change under it.
    """
    kills: list[_Kill] = []
    for life in _lives(records):
        kills = [kill.seen_after(life) for kill in kills if not life.refutes(kill)]
        if life.killed and life.seconds >= SHORTEST_WATCHDOG_SECONDS:
            kills.append(_Kill(life.seconds))
    while kills:
        latest = kills[-1]
        agreeing = [kill for kill in kills if kill.agrees(latest)]
        if latest.runs_since < _BELIEVED_RUNS * 4 ** (len(agreeing) - 1):
            return LearnedLimit(min(kill.seconds for kill in agreeing), len(agreeing))
        kills = [kill for kill in kills if not kill.agrees(latest)]
    return None


class _Kill(msgspec.Struct, frozen=True):
    """A run that was killed at this age. It is known to the second only, from the last touch of holder.json."""

    seconds: float
    runs_since: int = 0
    """Of those that lived long enough to be held back by this."""

    def agrees(self, other: _Kill) -> bool:
        return abs(self.seconds - other.seconds) <= max(2.0, 0.2 * max(self.seconds, other.seconds))

    def seen_after(self, life: _Life) -> _Kill:
        return _Kill(self.seconds, self.runs_since + (2 * life.seconds >= self.seconds))


class _Life(msgspec.Struct, frozen=True):
    """One run: how old it grew, and whether it was killed then."""

    seconds: float
    killed: bool

    def refutes(self, kill: _Kill) -> bool:
        """It outlived that age, by more than two kills by the same watchdog differ if it was killed itself."""
        if self.killed:
            return self.seconds > kill.seconds and not kill.agrees(_Kill(self.seconds))
        return self.seconds > kill.seconds + max(2.0, 0.1 * kill.seconds)


def _lives(records: Sequence[BurstRecord]) -> list[_Life]:
    """The runs behind these bursts: the bursts of one run agree on when it began, and the last tells how it ended."""
    lives: list[_Life] = []
    began = None
    for record in records:
        before, began = began, None
        if record.alive_seconds is not None:
            began = record.ended_at - timedelta(seconds=record.alive_seconds)
        if before is not None and began is not None and abs(began - before) < timedelta(seconds=1):
            lives.pop()
        killed = record.ended == "killed" or (record.ended == "stopped" and record.signal == "SIGTERM")
        lives.append(_Life(record.seconds if record.alive_seconds is None else record.alive_seconds, killed))
    return lives


class Strain(msgspec.Struct, frozen=True):
    """How hard a server finds it to answer: each level doubles every wait."""

    level: int = 0
    quiet: int = 0
    """Answers in a row without trouble, since the level changed."""

    def after(self, troubled: bool) -> Strain:
        """After one more answer. `troubled`: it was a 429 or did not come in time; five others undo one of these."""
        if troubled:
            return Strain(min(self.level + 1, 4))
        if self.level == 0 or self.quiet < 4:
            return Strain(self.level, self.quiet + 1 if self.level else 0)
        return Strain(self.level - 1)

    def stretch(self, seconds: float) -> float:
        """A wait of so long under this strain: at most 60 s, unless it was longer already."""
        return min(seconds * 2.0**self.level, max(seconds, LONGEST_STRETCH_SECONDS))


_CALM = Strain()


class Sight(msgspec.Struct, frozen=True):
    """The end of a prompt, as far as it was seen. A server goes on with the next at once.

    Both are readings of one monotonic clock: when the end was noticed, and when the server last said that this prompt,
    or one before it, was not finished yet.
    """

    noticed_at: float
    busy_at: float

    def next_may_be_done(self, seconds_per_item: float | None, now: float) -> bool:
        """Whether the next prompt is worth a question at once; where not, it is waited for as `next_tick` says."""
        return seconds_per_item is None or self.busy_at + seconds_per_item <= now

    def expected_seconds(self, seconds_per_item: float | None, now: float) -> float | None:
        """When the next should be done, from now; 0 when it is overdue, None where the pace is not known.

        What was found at the first question may have been done for long: looking a little earlier each time finds the
        true ends again.
        """
        if seconds_per_item is None:
            return None
        began_at = self.noticed_at - 0.1 * (self.noticed_at - self.busy_at)
        return max(0.0, began_at + seconds_per_item - now)


def next_tick(
    previous_seconds: float | None,
    *,
    expected_seconds: float | None,
    poll_seconds: float,
    strain: Strain = _CALM,
) -> float:
    """How long to wait before `/history` is asked for a prompt, again or for the first time.

    `previous_seconds`: the last wait for it, None for the first; `expected_seconds`: when it should be done, counted
    from now, 0 when it is overdue, None where no prompt has finished yet. The first wait ends a little before the
    expected end and the second a little behind it, so that a steady prompt costs two questions; then the ticks grow to
    `poll_seconds`, which none exceeds unless the server is strained.
    """
    before = 0.0 if previous_seconds is None else previous_seconds / 2.0**strain.level
    if expected_seconds:
        far_off = previous_seconds is None or before >= poll_seconds
        tick = expected_seconds * (0.92 if far_off else 1.25)
    elif expected_seconds is None and previous_seconds is None:
        tick = FIRST_TICK_SECONDS
    else:
        tick = before * TICK_GROWTH
    return strain.stretch(min(max(tick, SHORTEST_TICK_SECONDS), poll_seconds))


def window(*, size: int, tick_seconds: float, seconds_per_item: float | None) -> int:
    """How many prompts a server has at a time: enough that it never waits for us to look, never fewer than two.

    `size`: the most there may be; `tick_seconds`: the longest wait between two looks; None: nothing is measured yet.
    """
    if seconds_per_item is None:
        return min(size, 2)
    if 2 * tick_seconds >= size * seconds_per_item:
        return size
    return min(size, max(2, math.ceil(2 * tick_seconds / seconds_per_item)))


class Load(msgspec.Struct, frozen=True):
    """What one of several servers has to do: prompts out on it, and seconds for each; None until one has finished."""

    out: int
    seconds_per_item: float | None

    def one_more_seconds(self, usual_seconds: float) -> float:
        """When it would be done with one more, from now."""
        return (self.out + 1) * self._pace(usual_seconds)

    def room_before(self, seconds: float, usual_seconds: float) -> int:
        """How many more it would finish earlier than `seconds` from now."""
        if self.one_more_seconds(usual_seconds) >= seconds:
            return 0
        if self.seconds_per_item is None:
            return 0 if self.out else 1
        return math.ceil(seconds / self._pace(usual_seconds)) - 1 - self.out

    def _pace(self, usual_seconds: float) -> float:
        return max(usual_seconds if self.seconds_per_item is None else self.seconds_per_item, 0.001)


def takes_another(own: Load, loads: Sequence[Load], pending: int) -> bool:
    """Whether a server with room in its window should take one more of the `pending` items; `loads` includes it.

    It should unless the others, without it, would be done with all of them before it was done with this one: so no
    server waits while there is work for it, and a slow one leaves the last items to the fast. A server of unknown pace
    gets one item to be measured by, and is taken to be like the others until then. As long as anything is pending,
    some server says yes or each has something out.
    """
    if len(loads) == 1:
        return True
    if own.seconds_per_item is None and own.out:
        return False
    known = [load.seconds_per_item for load in loads if load.seconds_per_item is not None]
    usual_seconds = sum(known) / len(known) if known else 1.0
    soonest = own.one_more_seconds(usual_seconds)
    return sum(load.room_before(soonest, usual_seconds) for load in loads) < pending


def pause_before_retry(failures: int) -> float:
    """Seconds until a server that did not answer so many times in a row is asked again: 5, 10, 20, 40, 60, 60…"""
    return min(_RETRY_SECONDS * 2.0 ** min(failures - 1, 4), _LONGEST_RETRY_SECONDS)


class Pace:
    """Seconds a prompt takes on its server: the middle one of the last five, so that one that also loaded the model,
    or came from the server's cache, misleads nobody."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=5)

    @property
    def seconds_per_item(self) -> float | None:
        """None until a prompt has finished."""
        ordered = sorted(self._latest)
        return ordered[(len(ordered) - 1) // 2] if ordered else None

    def note(self, seconds: float) -> None:
        """One more prompt took this long on the server."""
        self._latest.append(max(0.0, seconds))
