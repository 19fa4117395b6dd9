"""How long the remaining work takes: one rule for reports, `status` and the browser. Times in seconds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from orchestrator.cycle import pacing
from orchestrator.errors import RecipeUnusable
from orchestrator.servers import canonical_name, host_name, same_server
from state.burst_record import BurstRecord
from state.counts import BatchFigures
from state.holder import Holder
from state.item import DUE, Status
from state.live import Running
from state.store import Store

_TIMED_ITEMS = 100
_MOST_DONE = 0.95


class Paces(msgspec.Struct, frozen=True):
    """Seconds per item while all servers work."""

    usual: float | None
    """Of an item of which nothing else is known; None where nothing was rendered yet."""
    recipes: Mapping[str | None, float] = msgspec.field(default_factory=dict)
    servers: float = 1.0
    """How many work side by side."""
    at_work: frozenset[str] = frozenset()
    """The names of those that the runs at work use, as far as that is known."""

    @classmethod
    def of(
        cls,
        store: Store,
        records: Sequence[BurstRecord],
        *,
        without: float | None = None,
        at_work: Sequence[Holder] = (),
    ) -> Paces:
        """As the last bursts measured them. `without`: the usual one where they measured nothing. `at_work`: the runs
        that share what remains."""
        usual = pacing.measured_pace(records)
        if usual is None:
            usual = pace_of(store, records) if without is None else without
        own = pacing.recipe_seconds(records)
        last = next((record for record in reversed(records) if record.recipe_paces and record.seconds_per_item), None)
        servers = 1.0
        if last is not None and last.seconds_per_item:
            items = sum(pace.items for pace in last.recipe_paces.values())
            spent = sum(pace.items * pace.median_seconds for pace in last.recipe_paces.values())
            servers = max(1.0, round(spent / items / last.seconds_per_item))
        # Of quick items the server's part is small: what comes between two of them counts then, and is in `usual`.
        least = usual if usual is not None and usual <= pacing.QUICK_SECONDS else 0.0
        recipes = {recipe: max(seconds / servers, least) for recipe, seconds in own.items()}
        names = servers_at_work(at_work)
        return cls(usual, recipes, servers, names)._shared(bursts_at_work(records, at_work, usual))

    def _shared(self, bursts: float) -> Paces:
        """While so many such bursts work side by side."""
        if bursts == 1.0:
            return self
        usual = None if self.usual is None else self.usual / bursts
        recipes = {recipe: pace / bursts for recipe, pace in self.recipes.items()}
        return Paces(usual, recipes, self.servers * bursts, self.at_work)

    def of_recipe(self, recipe: str | None) -> float | None:
        return self.recipes.get(recipe, self.usual)

    def mean(self, counts: Mapping[str | None, int]) -> float | None:
        """Of so many items of each recipe."""
        known = [(self.of_recipe(recipe), count) for recipe, count in counts.items()]
        total = sum(count for pace, count in known if pace is not None)
        return sum(pace * count for pace, count in known if pace is not None) / total if total else self.usual


def pace_of(store: Store, records: Sequence[BurstRecord], *, at_work: Sequence[Holder] = ()) -> float | None:
    """Seconds per item as the last bursts rendered; before any has ended, of the first items that were completed.

    `at_work`: the runs that render side by side.
    """
    pace = pacing.measured_pace(records)
    if pace is None:
        took = [seconds for recipe in _sample(store).values() for seconds in recipe]
        pace = sum(took) / len(took) if took else None
    return None if pace is None else pace / bursts_at_work(records, at_work, pace)


def bursts_at_work(records: Sequence[BurstRecord], at_work: Sequence[Holder], usual: float | None) -> float:
    """How many bursts of the `usual` pace the runs at work come to, each by the pace of its own bursts; 1 at least."""
    if len(at_work) < 2:
        return 1.0
    paces = [pacing.measured_pace(_bursts_of(holder, records)) or usual for holder in at_work]
    if not usual:
        return float(len(at_work))
    return max(1.0, sum(usual / pace for pace in paces if pace))


def _bursts_of(holder: Holder, records: Sequence[BurstRecord]) -> list[BurstRecord]:
    host = host_name(holder.host)
    return [
        record
        for record in records
        if record.pid == holder.pid and record.host is not None and host_name(record.host) == host
    ]


def recipe_seconds(store: Store, records: Sequence[BurstRecord], *, server: str) -> dict[str | None, float]:
    """What an item of each recipe takes on this server: as the last bursts measured it there, else on any server.

    Before any has, as the first completed items took.
    """
    known = pacing.recipe_seconds(records) or {
        recipe: sorted(seconds)[(len(seconds) - 1) // 2] for recipe, seconds in _sample(store).items()
    }
    return known | pacing.recipe_seconds(records, server=server)


def _sample(store: Store) -> dict[str | None, list[float]]:
    """By recipe: what some completed items took."""
    found: dict[str | None, list[float]] = {}
    for item in store.items(Status.COMPLETED, limit=_TIMED_ITEMS):
        if item.seconds is not None:
            found.setdefault(item.recipe, []).append(item.seconds)
    return found


def seconds_left(
    store: Store,
    paces: Paces,
    *,
    renderable: int,
    running: Sequence[Running] = (),
    at: datetime | None = None,
) -> float | None:
    """Until everything that can be rendered is done. None if that is nothing of what remains, or no pace is known.

    `renderable`: how many of the remaining items have a recipe that can be used. `running`: what is being rendered
    `at` this moment; what is done of that is not left.
    """
    left = _seconds_left(store, paces, renderable=renderable)
    if left is None or at is None:
        return left
    return max(0.0, left - sum(_done_seconds(store, paces, one, at) for one in running))


def _done_seconds(store: Store, paces: Paces, one: Running, at: datetime) -> float:
    """By its steps, else by its time; never all of it, since it is still running."""
    (item,) = store.get_many([one.item]) or (None,)
    pace = paces.of_recipe(item.recipe) if item is not None else None
    if not pace:
        return 0.0
    share = (at - one.since).total_seconds() / (pace * paces.servers)
    if one.steps and one.steps > 1:
        share = (one.step or 0) / one.steps
    return pace * min(max(share, 0.0), _MOST_DONE)


def _seconds_left(store: Store, paces: Paces, *, renderable: int) -> float | None:
    pace = paces.mean(store.recipe_counts(*DUE))
    remaining = store.counts().remaining
    if not remaining:
        return 0.0
    if renderable <= 0:
        return None
    total, others = 0.0, remaining
    for batch, counts in store.counts_by_batch().items():
        if not counts.remaining:
            continue
        own = _own_pace(store, store.batch_figures(batch), pace, at_work=paces.at_work)
        if own is None:
            return None
        total, others = total + own * counts.remaining, others - counts.remaining
    if others and pace is None:
        return None
    return (total + others * (pace or 0.0)) * renderable / remaining


def batch_seconds_left(
    store: Store,
    batch: str,
    *,
    pace: float | None,
    waiting: Mapping[str, str | None],
    at_work: Sequence[Holder] = (),
) -> float | None:
    """Until the last item of a batch that can be rendered is done, what is rendered before it included.

    None if none of what remains can be rendered, or no pace is known. `waiting`: keys of the due items whose recipe
    is set aside, with their batches. `at_work`: the runs that share what remains.
    """
    figures = store.batch_figures(batch, without=waiting)
    counts = figures.counts
    if not counts.remaining:
        return 0.0
    pending = figures.due - sum(other == batch for other in waiting.values())
    own = _own_pace(store, figures, pace, at_work=servers_at_work(at_work))
    if own is None or not (pending or counts.submitted):
        return None
    others = 0
    if pending:
        # Servers render what they have before anything pending.
        others = max(0, figures.due_up_to - pending) + store.counts().submitted - counts.submitted
    return own * (pending + counts.submitted) + (own if pace is None else pace) * others


def added_seconds_left(store: Store, items: int, *, pace: float | None, waiting: int) -> float | None:
    """Until so many items that were added now are done, with all that is queued before them; None without a pace.

    `waiting`: how many of the due items have a recipe that is set aside.
    """
    if pace is None:
        return None
    return pace * (items + max(0, store.counts().remaining - waiting))


def servers_at_work(runs: Iterable[Holder]) -> frozenset[str]:
    """The names of the servers that these runs use, as far as they say."""
    return frozenset(canonical_name(name) for run in runs for name in run.servers)


def _own_pace(store: Store, figures: BatchFigures, pace: float | None, *, at_work: Collection[str]) -> float | None:
    """Seconds per item of a batch: what its completed items took, on as many servers as may render it now.

    While no run is at work, on as many as have rendered it; `pace` before any has.
    """
    if not figures.mean_seconds:
        return pace
    able = [name for name in at_work if _may_render(store, figures.recipes, name)]
    return figures.mean_seconds / (len(able) or len({canonical_name(server) for server in figures.servers}))


def _may_render(store: Store, recipes: Iterable[str | None], server: str) -> bool:
    """Whether any of these recipes may go to a server of this name."""
    for recipe in recipes:
        try:
            named = store.recipes.get(recipe).servers if recipe is not None else ()
        except RecipeUnusable:
            continue
        if not named or any(same_server(name, server) for name in named):
            return True
    return False
