"""What runs where: for the display of a run, and for others who watch its state."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import templates
from orchestrator.clock import Clock
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.hearing import Sight
from orchestrator.cycle.progress import RunningItem
from orchestrator.cycle.worker import Worker
from orchestrator.errors import BurstError, ServerBusy, ServerUnreachable
from orchestrator.preparation import Preparation
from state.item import Item
from state.lease import Lease
from state.live import Line, Live, Running, Trouble

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
        self._shown: tuple[Hashable, ...] = ((), None, (), (), ())
        self._troubles: dict[str, Trouble] = {}
        """By server, as they were when they began."""
        self._nodes: dict[tuple[str | None, str], _Node] = {}
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
        troubles, lines = self._current_troubles(), tuple(self._lines())
        looks = running, image, set_aside, troubles, lines
        if looks == self._shown:
            return
        preview = image if image != self._shown[1] else None
        self._shown_at, self._shown = now, looks
        live = Live(
            burst=burst,
            at=self._clock.now(),
            running=running,
            preview_of=seen[0].item.key if seen is not None else None,
            set_aside=set_aside,
            troubles=troubles,
            lines=lines,
        )
        self._lease.show(live, preview=preview)

    def _running(self) -> Iterable[tuple[RunningItem, Sight | None]]:
        now, wall = self._clock.monotonic(), self._clock.now()
        for worker in self._workers:
            if worker.is_lost or (current := worker.current()) is None:
                continue
            item, began_at, sight = current
            node = sight.node if sight is not None else None
            known = self._node(worker.context.preparation, item, node) if node is not None else None
            running = Running(
                item=item.key,
                server=worker.context.server.name,
                # To the second: so what has not changed looks the same when it is looked at again.
                since=(wall - timedelta(seconds=now - began_at)).replace(microsecond=0),
                node=known.title if known is not None else None,
                loads=known is not None and known.loads,
                step=sight.step if sight is not None else None,
                steps=sight.steps if sight is not None else None,
            )
            yield RunningItem(item, running, now - began_at), sight

    def _current_troubles(self) -> tuple[Trouble, ...]:
        found = {}
        for worker in self._workers:
            if (error := worker.trouble) is None:
                continue
            name, kind, message = worker.context.server.name, _kind_of(error), str(error)
            before = self._troubles.get(name)
            if before is None or before.kind != kind:
                before = Trouble(
                    server=name, kind=kind, since=self._clock.now().replace(microsecond=0), message=message
                )
            found[name] = before
        self._troubles = found
        return tuple(found.values())

    def _lines(self) -> Iterable[Line]:
        for worker in self._workers:
            if not worker.is_lost and (ahead := worker.ahead):
                yield Line(server=worker.context.server.name, ahead=ahead)

    def _node(self, preparation: Preparation, item: Item, node: str) -> _Node:
        """Called as the workflow's author called it, else by its class."""
        known = self._nodes.get((item.recipe, node))
        if known is None:
            try:
                graph = preparation.recipe_of(item).graph
            except BurstError:
                graph = {}
            entry = graph.get(node, {})
            loads = any(target.node_id == node for target in templates.model_files(graph))
            meta = entry.get("_meta")
            title = meta.get("title") if isinstance(meta, dict) else None
            kind = str(entry.get("class_type") or "")
            known = _Node(title if isinstance(title, str) and title else kind or node, loads)
            self._nodes[item.recipe, node] = known
        return known


@dataclass(frozen=True)
class _Node:
    title: str
    loads: bool
    """A model, which may take minutes."""


def _kind_of(error: BurstError) -> Literal["away", "busy", "stopped"]:
    if isinstance(error, ServerBusy):
        return "busy"
    return "away" if isinstance(error, ServerUnreachable) else "stopped"
