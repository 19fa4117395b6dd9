"""Sizes, intervals and limits, as pure functions of what was measured."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from orchestrator.servers import host_name, same_server
from state.burst_record import BurstRecord, RecipePace, runs_of

DEFAULT_SIZE = 15
LADDER = (1, 5, 15)
"""The sizes of `--items auto`: one down after a killed burst, one up after a clean one."""
DEFAULT_POLL_SECONDS = 5.0
ABANDON_AFTER_SECONDS = 3600.0
"""After so long without a sign of life another host counts as dead, and what its server had is due again."""
IN_DOUBT_SECONDS = 10.0
"""How long the POST of an intent without a noted answer may still be in transit."""
STALL_SECONDS = 1800.0
"""No server is called stalled before this."""
_STALL_FACTOR = 10.0
UNKNOWN_STALL_SECONDS = 86400.0
SWEEP_SECONDS = 15.0
"""After so long without a completion, all submitted prompts are looked up."""
HEARD_POLL_SECONDS = 15.0
"""The longest wait for a prompt whose end the server's events should tell."""
CONNECTING_TICK_SECONDS = 0.15
"""The least wait for a prompt of unknown pace while the connection for events is being opened."""
FIRST_TICK_SECONDS = 0.05
"""The first wait for a prompt while no pace is known."""
SHORTEST_TICK_SECONDS = 0.01
TICK_GROWTH = 1.5
LONGEST_STRETCH_SECONDS = 60.0
SHORTEST_WATCHDOG_SECONDS = 5.0
"""A run that was killed younger than this was not killed by a watchdog: none is that short."""
_BELIEVED_RUNS = 20
"""For how many runs two kills that agree set the limit; each further one makes it four times as many."""
PATIENCE_SECONDS = 20.0
"""How long a server that does not answer is asked again, where nothing else was requested."""
_RECIPES_KEPT = 8
"""Of how many recipes a burst's record holds the pace: records are small."""
QUICK_SECONDS = 1.0
"""Of items below that, most of the time is not the server's."""
_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 60.0


def seconds_per_item(records: Sequence[BurstRecord]) -> float | None:
    """Seconds of burst time per completed item, over the last ten bursts that completed any."""
    useful = [record for record in records if record.completed][-10:]
    completed = sum(record.completed for record in useful)
    return sum(record.seconds for record in useful) / completed if completed else None


def rendering_pace(records: Sequence[BurstRecord]) -> float | None:
    """Seconds per item while servers rendered, over the last ten bursts that completed any and measured it.

    Unlike `seconds_per_item`, neither what a burst found finished nor what it waited for changes it.
    """
    useful = [record for record in records if record.completed and record.seconds_per_item is not None][-10:]
    completed = sum(record.completed for record in useful)
    spent = sum((record.seconds_per_item or 0.0) * record.completed for record in useful)
    return spent / completed if completed else None


def measured_pace(records: Sequence[BurstRecord]) -> float | None:
    """As servers rendered. What bursts took counts where none measured that, and for items that are quicker than it."""
    rendered, spent = rendering_pace(records), seconds_per_item(records)
    if rendered is None or spent is None:
        return rendered if spent is None else spent
    return max(rendered, min(spent, QUICK_SECONDS))


def of_host(records: Sequence[BurstRecord], host: str) -> Sequence[BurstRecord]:
    """Those that teach what kills runs on this host; old records do not name theirs.

    All, where the host itself has had fewer than two runs: containers often have a new name each time.
    """
    own = [record for record in records if record.host is None or host_name(record.host) == host]
    return own if len(own) == len(records) or len(runs_of(own)) > 1 else records


def recipe_seconds(records: Sequence[BurstRecord], *, server: str | None = None) -> dict[str | None, float]:
    """What an item of each recipe takes on its server, as the last burst saw it that rendered any of that recipe.

    `server`: only on the one of this name.
    """
    found: dict[str | None, float] = {}
    for record in records:
        paces = record.recipe_paces if server is None else _paces_on(server, record)
        found.update((recipe or None, pace.median_seconds) for recipe, pace in paces.items())
    return found


def _paces_on(server: str, record: BurstRecord) -> Mapping[str, RecipePace]:
    if len(record.servers) == 1 and same_server(record.servers[0], server):
        return record.recipe_paces
    return next((paces for name, paces in record.server_paces.items() if same_server(name, server)), {})


def recipe_paces(rendered: Mapping[str | None, Sequence[float]]) -> dict[str, RecipePace]:
    """For the record of a burst. `rendered`: the seconds of each item, by recipe."""
    most = sorted((recipe for recipe in rendered if rendered[recipe]), key=lambda one: -len(rendered[one]))
    return {
        recipe or "": RecipePace(items=len(rendered[recipe]), median_seconds=round(_median(rendered[recipe]), 3))
        for recipe in most[:_RECIPES_KEPT]
    }


def server_paces(
    rendered: Mapping[str, Mapping[str | None, Sequence[float]]],
) -> tuple[tuple[str, ...], dict[str, dict[str, RecipePace]]]:
    """For the record of a burst: the servers that rendered anything; and the paces of each, where there are several."""
    paces = {server: recipe_paces(by_recipe) for server, by_recipe in rendered.items()}
    paces = {server: own for server, own in paces.items() if own}
    return tuple(paces), paces if len(paces) > 1 else {}


def automatic_size(records: Sequence[BurstRecord], *, seconds: float | None = None) -> int:
    """The size of `--items auto` after these bursts, oldest first: 15, then 5 and 1 after kills, up after clean ones.

    `seconds`: the time for the burst. It gets no more items than fit into that at the recorded pace, but at least one.
    Bursts that were ended by a deadline or limit, Ctrl-C or an error do not change the size.
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
    """Killed, or stopped by SIGTERM. Old records do not name the signal; Ctrl-C is the rarer one."""
    signal_unknown = record.signal is None and record.alive_seconds is None
    return record.ended == "killed" or (record.ended == "stopped" and (record.signal == "SIGTERM" or signal_unknown))


class LearnedLimit(msgspec.Struct, frozen=True):
    """The age at which runs are killed here."""

    seconds: float
    kills: int
    """How many runs were killed at about this age: two or more."""

    @property
    def usable_seconds(self) -> float:
        """The age by which a run should end: a second before the limit, or a tenth of it where that is more."""
        return min(self.seconds - 1.0, 0.9 * self.seconds)


def learned_limit(records: Sequence[BurstRecord]) -> LearnedLimit | None:
    """The age at which runs are killed here, learned from killed runs; None where none is known.

    A run counts if it was killed, or stopped by SIGTERM, at an age of 5 s or more; Ctrl-C and a stop event do not
    count. Kills of about the same age (a fifth or 2 s apart) agree. One alone is chance; the latest group of two or
    more sets the limit, which is the lowest age of the group. A kill that a later run clearly outlived is forgotten.
    Since runs then end before the limit, it is tested at intervals: two kills hold for 20 runs that live at least half
    as long, three for 80, and so on; a run that is not killed then contradicts it. So a watchdog is met more and more
    rarely. Call it once, when a run begins: the limit must not change during the run.
    """
    kills: list[_Kill] = []
    for life in _lives(records):
        kills = [kill.seen_after(life) for kill in kills if not life.refutes(kill)]
        if life.killed and life.seconds >= SHORTEST_WATCHDOG_SECONDS:
            kills.append(_Kill(life.seconds))
    while kills:
        latest = kills[-1]
        agreeing = [kill for kill in kills if kill.agrees(latest)]
        if len(agreeing) > 1 and latest.runs_since < _BELIEVED_RUNS * 4 ** (len(agreeing) - 2):
            return LearnedLimit(min(kill.seconds for kill in agreeing), len(agreeing))
        kills = [kill for kill in kills if not kill.agrees(latest)]
    return None


class _Kill(msgspec.Struct, frozen=True):
    """A run that was killed at this age, which is known to the second, from the last touch of holder.json."""

    seconds: float
    runs_since: int = 0
    """Later runs that lived at least half as long."""

    def agrees(self, other: _Kill) -> bool:
        return abs(self.seconds - other.seconds) <= max(2.0, 0.2 * max(self.seconds, other.seconds))

    def seen_after(self, life: _Life) -> _Kill:
        return _Kill(self.seconds, self.runs_since + (2 * life.seconds >= self.seconds))


class _Life(msgspec.Struct, frozen=True):
    """One run: its age at its end, and whether it was killed."""

    seconds: float
    killed: bool

    def refutes(self, kill: _Kill) -> bool:
        """Whether it outlived that age; if it was killed itself, by more than kills by one watchdog differ."""
        if self.killed:
            return self.seconds > kill.seconds and not kill.agrees(_Kill(self.seconds))
        return self.seconds > kill.seconds + max(2.0, 0.1 * kill.seconds)


def _lives(records: Sequence[BurstRecord]) -> list[_Life]:
    """The runs of these bursts; the last burst of a run has the run's end."""
    return [
        _Life(
            last.seconds if last.alive_seconds is None else last.alive_seconds,
            last.ended == "killed" or (last.ended == "stopped" and last.signal == "SIGTERM"),
        )
        for *_, last in runs_of(records)
    ]


class Strain(msgspec.Struct, frozen=True):
    """How overloaded a server seems: each level doubles every wait."""

    level: int = 0
    quiet: int = 0
    """Normal responses in a row since the level changed."""

    def after(self, troubled: bool) -> Strain:
        """After one more response. `troubled`: a 429 or a time-out; five normal responses undo one of these."""
        if troubled:
            return Strain(min(self.level + 1, 4))
        if self.level == 0 or self.quiet < 4:
            return Strain(self.level, self.quiet + 1 if self.level else 0)
        return Strain(self.level - 1)

    def stretch(self, seconds: float) -> float:
        """This wait, lengthened: to at most 60 s, unless it was longer already."""
        return min(seconds * 2.0**self.level, max(seconds, LONGEST_STRETCH_SECONDS))


_CALM = Strain()


class Sight(msgspec.Struct, frozen=True):
    """The end of a prompt as it was observed; a server then begins the next one at once.

    Both are readings of one monotonic clock: when the end was noticed, and when the server last reported this prompt,
    or one before it, as not finished.
    """

    noticed_at: float
    busy_at: float

    def next_may_be_done(self, seconds_per_item: float | None, now: float) -> bool:
        """Whether to poll for the next prompt at once; otherwise `next_tick` gives the wait."""
        return seconds_per_item is None or self.busy_at + seconds_per_item <= now

    def expected_seconds(self, seconds_per_item: float | None, now: float) -> float | None:
        """Seconds until the next should be finished; 0 when it is overdue, None where the pace is not known.

        A prompt that was found finished at the first poll may have ended long before: polling a little earlier each
        time finds the true ends again.
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
    """How long to wait before the next poll of `/history` for a prompt.

    `previous_seconds`: the last wait for it, None before the first poll; `expected_seconds`: the time until it should
    be finished, 0 when it is overdue, None where no prompt has finished yet. The first wait ends a little before the
    expected end and the second a little after it, so that a prompt of steady pace costs two polls; then the waits grow
    to `poll_seconds`, which they exceed only under `strain`.
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


def heard_tick(tick_seconds: float, *, expected_seconds: float | None, poll_seconds: float) -> float:
    """How long to wait instead of `tick_seconds` for a prompt whose end the server's events should tell.

    The poll is only for the case that they do not: a little after the expected end, else at long intervals.
    """
    longest = max(poll_seconds, HEARD_POLL_SECONDS)
    late = expected_seconds * 1.25 + 0.25 if expected_seconds else max(poll_seconds, TICK_GROWTH * tick_seconds)
    return max(tick_seconds, min(late, longest))


def window(*, size: int, tick_seconds: float, seconds_per_item: float | None) -> int:
    """How many prompts a server has at a time: enough that it is never idle between two polls, and at least two.

    `size`: the maximum; `tick_seconds`: the longest wait between two polls; `seconds_per_item`: None before any has
    finished.
    """
    if seconds_per_item is None:
        return min(size, 2)
    if 2 * tick_seconds >= size * seconds_per_item:
        return size
    return min(size, max(2, math.ceil(2 * tick_seconds / seconds_per_item)))


class Load(msgspec.Struct, frozen=True):
    """The load of one of several servers: its submitted prompts, and seconds for each; None until one has finished."""

    out: int
    seconds_per_item: float | None

    def one_more_seconds(self, usual_seconds: float) -> float:
        """Seconds until it would be finished with one more."""
        return (self.out + 1) * self._pace(usual_seconds)

    def room_before(self, seconds: float, usual_seconds: float) -> int:
        """How many more it would finish within `seconds`."""
        if self.one_more_seconds(usual_seconds) >= seconds:
            return 0
        if self.seconds_per_item is None:
            return 0 if self.out else 1
        return math.ceil(seconds / self._pace(usual_seconds)) - 1 - self.out

    def _pace(self, usual_seconds: float) -> float:
        return max(usual_seconds if self.seconds_per_item is None else self.seconds_per_item, 0.001)


def takes_another(own: Load, loads: Sequence[Load], pending: int) -> bool:
    """Whether a server with room in its window should take one more of the `pending` items; `loads` includes it.

    It should, unless the others would finish all of them before it finished this one: so no server is idle while there
    is work for it, and a slow one leaves the last items to the fast ones. A server of unknown pace gets one item to be
    measured by, and is assumed to be as fast as the others until then. As long as anything is pending, some server
    takes another item or each has one.
    """
    if len(loads) == 1:
        return True
    if own.seconds_per_item is None and own.out:
        return False
    known = [load.seconds_per_item for load in loads if load.seconds_per_item is not None]
    usual_seconds = sum(known) / len(known) if known else 1.0
    soonest = own.one_more_seconds(usual_seconds)
    return sum(load.room_before(soonest, usual_seconds) for load in loads) < pending


def stall_limit(longest_seconds: float | None, *, runs: bool) -> float:
    """After how many seconds without a sign of life a server is called stalled.

    `longest_seconds`: what the recipe of the running prompt has taken at most; None where nothing of it was completed,
    or the prompt is another's: then a day. `runs`: whether anything runs at all; if not, nothing can take so long.
    """
    if not runs:
        return STALL_SECONDS
    if longest_seconds is None:
        return UNKNOWN_STALL_SECONDS
    return max(STALL_SECONDS, _STALL_FACTOR * longest_seconds)


def pause_before_retry(failures: int) -> float:
    """Seconds until a server that failed to answer so many times in a row is tried again: 5, 10, 20, 40, 60, 60…"""
    return _doubled(_RETRY_SECONDS, failures, most=_LONGEST_RETRY_SECONDS)


def pause_after_vain_burst(bursts: int) -> float:
    """Seconds until the next burst after so many in a row that got no clear answer about any item: 20, 40, 80, 160,
    300, 300… Each charges the item an attempt, and a server or proxy that is starting must not use all of them up."""
    return _doubled(20.0, bursts, most=300.0)


def pause_before_reconnection(failures: int) -> float:
    """Seconds until a database is tried again that did not answer so many times: 0.5, 1, 2, 4, 5, 5… A restart is
    short, and every worker stands still meanwhile."""
    return _doubled(0.5, failures, most=5.0)


def _doubled(seconds: float, times: int, *, most: float) -> float:
    """These seconds the first time, and twice as many each further time."""
    return min(seconds * 2.0 ** min(times - 1, 4), most)


class Pace:
    """Seconds a prompt takes on its server: the median of the last five, so that one that also loaded the model, or
    came from the server's cache, has no effect."""

    def __init__(self, earlier: Callable[[], Mapping[str | None, float]] = dict) -> None:
        """`earlier`: what items of each recipe took in earlier bursts; called when it is first needed."""
        self._latest: deque[float] = deque(maxlen=5)
        self._by_recipe: dict[str | None, deque[float]] = {}
        self._earlier = earlier
        self._known: Mapping[str | None, float] | None = None
        self._rendered: dict[str | None, list[float]] = {}

    @property
    def seconds_per_item(self) -> float | None:
        """None until a prompt has finished."""
        return _median(self._latest) if self._latest else None

    def expected_seconds(self, recipe: str | None) -> float | None:
        """What an item of this recipe will take: as its last five did, else as in earlier bursts, else as others do."""
        if own := self._by_recipe.get(recipe):
            return _median(own)
        if self._known is None:
            self._known = self._earlier()
        return self._known.get(recipe, self.seconds_per_item)

    def note(self, seconds: float, *, recipe: str | None = None) -> None:
        """Add the execution time of one more prompt."""
        seconds = max(0.0, seconds)
        self._latest.append(seconds)
        self._by_recipe.setdefault(recipe, deque(maxlen=5)).append(seconds)
        self._rendered.setdefault(recipe, []).append(seconds)

    def take_rendered(self) -> Mapping[str | None, Sequence[float]]:
        """All execution times since the last call, by recipe."""
        taken, self._rendered = self._rendered, {}
        return taken


def _median(seconds: Collection[float]) -> float:
    ordered = sorted(seconds)
    return ordered[(len(ordered) - 1) // 2]
