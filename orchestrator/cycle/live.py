"""What runs where: for the display of a run, and for others who watch its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from orchestrator.clock import Clock
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.hearing import Sight
from orchestrator.cycle.progress import RunningItem
from orchestrator.cycle.worker import Worker
from orchestrator.errors import BurstError
from orchestrator.preparation import Preparation
from state.burst_record import SetAsideRecord
from state.item import Item
from state.lease import Lease
from state.live import Live, Running

_SHOWN_SECONDS = 0.5
"""How often what has changed is written for others."""


class LiveView:
    """Used by the thread that watches over the workers."""

    def __init__(self, workers: Sequence[Worker], dispatch: Dispatch, lease: Lease, clock: Clock) -> None:
        """`workers`: more may join."""
        self._workers = workers
        self._dispatch = dispatch
        self._lease = lease
        self._clock = clock
        self._shown_at = float("-inf")
        self._shown: tuple[tuple[Running, ...], bytes | None, tuple[SetAsideRecord, ...]] = ((), None, ())
        self._titles: dict[tuple[str | None, str], str] = {}
        """By recipe and node."""

    def show(self, *, burst: str) -> None:
        """To the display of the run at once, to others at most twice a second, and only what is new."""
        found = list(self._running())
        self._dispatch.running([one for one, _ in found])
        now = self._clock.monotonic()
        if now - self._shown_at < _SHOWN_SECONDS:
            return
        seen = next(((one, sight.preview) for one, sight in found if sight is not None and sight.preview), None)
        image = seen[1].image if seen is not None and seen[1] is not None else None
        running = tuple(one.running for one, _ in found)
        set_aside = self._dispatch.set_aside.records()
        if (running, image, set_aside) == self._shown:
            return
        preview = image if image != self._shown[1] else None
        self._shown_at, self._shown = now, (running, image, set_aside)
        live = Live(
            burst=burst,
            at=self._clock.now(),
            running=running,
            preview_of=seen[0].item.key if seen is not None else None,
            set_aside=set_aside,
        )
        self._lease.show(live, preview=preview)

    def _running(self) -> Iterable[tuple[RunningItem, Sight | None]]:
        now, wall = self._clock.monotonic(), self._clock.now()
        for worker in self._workers:
            if worker.is_lost or (current := worker.current()) is None:
                continue
            item, began_at, sight = current
            node = sight.node if sight is not None else None
            running = Running(
                item=item.key,
                server=worker.context.server.name,
                # To the second: so what has not changed looks the same when it is looked at again.
                since=(wall - timedelta(seconds=now - began_at)).replace(microsecond=0),
                node=self._title(worker.context.preparation, item, node) if node is not None else None,
                step=sight.step if sight is not None else None,
                steps=sight.steps if sight is not None else None,
            )
            yield RunningItem(item, running, now - began_at), sight

    def _title(self, preparation: Preparation, item: Item, node: str) -> str:
        """What the workflow's author called it, else its class."""
        known = self._titles.get((item.recipe, node))
        if known is None:
            try:
                entry = preparation.recipe_of(item).graph.get(node, {})
            except BurstError:
                entry = {}
            meta = entry.get("_meta")
            title = meta.get("title") if isinstance(meta, dict) else None
            known = title if isinstance(title, str) and title else str(entry.get("class_type") or node)
            self._titles[item.recipe, node] = known
        return known
