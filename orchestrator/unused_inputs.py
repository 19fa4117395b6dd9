"""Copies that a state took in and that no item names any more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import msgspec

from orchestrator.clock import Clock
from orchestrator.outputs.inputs_folder import SPARED, InputsFolder, kept_place
from orchestrator.outputs.placement import Placement
from orchestrator.places import Place, UnknownRoot
from state.store import Store


class _TakenIn(msgspec.Struct, frozen=True, gc=False):
    """What of an item's record is read."""

    taken_in: dict[str, str] = {}


@dataclass(frozen=True)
class RemovedInputs:
    """What was removed, or would be."""

    files: tuple[str, ...] = ()
    """Relative to their output directories."""
    bytes: int = 0


def remove_unused(
    store: Store, placement: Placement, *, before: datetime, dry_run: bool, clock: Clock
) -> RemovedInputs:
    """Remove the copies that no item names and that were put there `before`, and at least a day ago.

    Safe to repeat, and while others add items. Roots that this host does not know are left alone.
    Errors: OutputRootUnusable, DiskFull, OSError.
    """
    if (folder := store.facts.read().inputs_id) is None:
        return RemovedInputs()
    named = {copy for _, one in store.parts(_TakenIn) for copy in one.taken_in.values()}
    files, size_bytes = [], 0
    for root, used in _used_by_root(named, placement).items():
        inputs = InputsFolder(root, folder, clock=clock)
        for one in inputs.files():
            is_old = one.modified_at < min(before, clock.now() - SPARED)
            if one.inside not in used and is_old and (dry_run or inputs.remove(one)):
                files.append(one.inside)
                size_bytes += one.bytes
    return RemovedInputs(tuple(files), size_bytes)


def _used_by_root(named: Collection[str], placement: Placement) -> dict[Place, set[str]]:
    """What is named below each root that the state knows; a root has one entry, whichever ways lead to it."""
    found: dict[str, tuple[Place, set[str]]] = {}
    for root in placement.roots():
        found.setdefault(placement.real_root(root), (root, set()))
    for copy in named:
        if (place := kept_place(copy, placement.recipes.home)) is not None:
            root, inside = place
            found.setdefault(placement.real_root(root), (root, set()))[1].add(inside)
    return {root: used for root, used in found.values() if not isinstance(root, UnknownRoot)}
