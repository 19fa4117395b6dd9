"""From one run to the next: what a prompt's Loaders took, what is done with it when the prompt ends, and whether the
prompt is queued once more.

All that follows from a prompt's end happens in `_finish`, once, whoever notices the end first: the thread that watches
the prompt, or the next prompt's Loader, which is to find the place as that end leaves it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import dataclass, field
from typing import Any

from . import queue
from .listing import CUSTOM
from .position import PositionUnreadable, Record
from .queue import Ending, How, Prompt
from .walk import Place, Walk

LOADER = "BatchImageLoader"
SAVER = "BatchImageSaver"

_LOOK_SECONDS = 0.05
_log = logging.getLogger("burst")


@dataclass(frozen=True)
class Order:
    """What one Loader is asked for."""

    walk: Walk
    reset: bool
    start_index: int
    skips_errors: bool


@dataclass
class Run:
    """One prompt on its way: which image each of its Loaders took, and what its Savers have saved."""

    prompt_id: str
    prompt: Prompt | None
    orders: list[Order] = field(default_factory=list)
    taken: list[tuple[Walk, str]] = field(default_factory=list)
    savers: set[str] = field(default_factory=set)
    outputs: list[Record] = field(default_factory=list)

    @property
    def is_press(self) -> bool:
        return self.prompt is None or not self.prompt.chained

    @property
    def is_saved(self) -> bool:
        """Every node that saves is a Batch Image Saver and has done so."""
        if self.prompt is None:
            return True
        classes = {node_id: self.prompt.graph[node_id]["class_type"] for node_id in self.prompt.outputs}
        saving = {node_id for node_id, name in classes.items() if not name.startswith("Preview")}
        return bool(saving) and saving <= self.savers


_lock = threading.RLock()
_runs: dict[str, Run] = {}
_late: set[str] = set()
"""Prompts that still waited when all they could have taken was done: presses of Queue that belong to that walk."""


def take(order: Order) -> Place | None:
    """The image for the prompt that runs, durably marked with its prompt_id; None: nothing is left for it.

    Errors: ValueError where the directory holds no such image; PositionUnreadable, OSError.
    """
    with _lock:
        prompt = queue.running()
        run = _begun(prompt)
        walk = order.walk
        if order not in run.orders:
            run.orders.append(order)
            walk.put_back_lost(_runs)
            if run.is_press and (order.reset or run.prompt_id not in _late):
                walk.press(reset=order.reset, start_index=order.start_index)
        place = walk.take(run.prompt_id)
        if place is not None and (walk, place.name) not in run.taken:
            run.taken.append((walk, place.name))
        return place


def give_up(order: Order, place: Place, message: str) -> None:
    """The image cannot be read: it has failed, and this run may take another one."""
    with _lock:
        run = _runs[_prompt_id(queue.running())]
        run.taken.remove((order.walk, place.name))
        order.walk.fail(place.name, run.prompt_id, message=message, node_id=None)


def current() -> Run | None:
    """What the prompt that runs has taken; None where it has no Loader."""
    with _lock:
        return _runs.get(_prompt_id(queue.running()))


def saved(node_id: str, outputs: list[Record]) -> None:
    """A Saver has placed its files. The last one of its prompt commits the image."""
    with _lock:
        run = current()
        if run is None:
            return
        run.savers.add(node_id)
        run.outputs += outputs
        if run.is_saved:
            for walk, name in run.taken:
                walk.commit(name, run.prompt_id, run.outputs)


def _begun(prompt: Prompt | None) -> Run:
    """This prompt's run, after all earlier ones have been seen to their end."""
    prompt_id = _prompt_id(prompt)
    for other in [run for run in _runs.values() if run.prompt_id != prompt_id]:
        how = queue.ending(other.prompt_id)
        if how is not None:
            _finish(other, how)
    if prompt_id not in _runs:
        run = _runs[prompt_id] = Run(prompt_id, prompt)
        if prompt is not None:
            threading.Thread(target=_watch, args=(run,), name=f"burst-{prompt_id}", daemon=True).start()
    return _runs[prompt_id]


def _prompt_id(prompt: Prompt | None) -> str:
    return "" if prompt is None else prompt.prompt_id


def _watch(run: Run) -> None:
    never = threading.Event()
    while (how := queue.ending(run.prompt_id)) is None:
        never.wait(_LOOK_SECONDS)
    with _lock:
        _finish(run, how)


def _finish(run: Run, ended: Ending) -> None:
    """Note what became of its images, then see to the next run: in this order, so that a kill between the two only
    costs a press of Queue."""
    if _runs.pop(run.prompt_id, None) is not run:
        return
    _late.discard(run.prompt_id)
    try:
        for walk, name in run.taken:
            _note(walk, name, run, ended)
        _go_on(run, ended)
    except (OSError, PositionUnreadable) as error:
        _log.error("no further image is queued: %s", error)


def _note(walk: Walk, name: str, run: Run, ended: Ending) -> None:
    if ended.how is How.WELL:
        walk.commit(name, run.prompt_id, run.outputs)
    elif ended.how is How.FAILED:
        walk.fail(name, run.prompt_id, message=ended.message, node_id=ended.node_id)
    else:
        walk.put_back(name, run.prompt_id)


def _go_on(run: Run, ended: Ending) -> None:
    """Queue its prompt once more, if it ended well, each Loader has an image left, and no other prompt takes it."""
    prompt = run.prompt
    if prompt is None or not _may_go_on(run, ended):
        return
    paths = _paths(prompt.graph)
    rivals = [other for other in queue.others(run.prompt_id) if paths & _paths(other.graph)]
    if not all(order.walk.is_left() for order in run.orders):
        _late.update(other.prompt_id for other in rivals)
    elif not rivals:
        queue.queue_again(prompt)


def _may_go_on(run: Run, ended: Ending) -> bool:
    # A run that took no image would be followed by another such run, without end.
    if not run.taken:
        return False
    if ended.how is How.FAILED:
        return all(order.skips_errors for order in run.orders)
    return ended.how is How.WELL or (ended.how is How.UNKNOWN and run.is_saved)


def _paths(graph: dict[str, Any]) -> set[str]:
    """What its Loaders are told of directory and filter. Where that comes from other nodes, the whole graph tells."""
    found = set()
    for node in graph.values():
        if node.get("class_type") == LOADER:
            inputs = node["inputs"]
            told = [inputs.get("directory"), inputs.get("filter_preset"), inputs.get("custom_pattern")]
            if all(value is None or isinstance(value, str) for value in told):
                told = [os.path.normpath(str(told[0]).strip()), told[1], told[2] if told[1] == CUSTOM else None]
                found.add(json.dumps(told))
            else:
                found.add(json.dumps(graph, sort_keys=True))
    return found
