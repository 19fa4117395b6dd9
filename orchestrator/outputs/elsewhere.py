"""What stays in other output directories than the one that a command names."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from orchestrator.errors import RecipeUnusable
from orchestrator.formatting import counted
from orchestrator.outputs.placement import Placement
from orchestrator.places import Place, real_root
from state.item import Status
from state.store import Store


def images_elsewhere(store: Store, placement: Placement, *, root: Place) -> Iterator[str]:
    """One note for each output directory but `root` that holds images of finished items, with their number.

    `placement`: where the items' images are, as it was before the command.
    """
    found: Counter[Place] = Counter()
    here = real_root(root)
    for item in store.items(Status.COMPLETED):
        with contextlib.suppress(RecipeUnusable):
            if item.outputs and real_root(there := placement.root_of(item)) != here:
                found[there] += 1
    for directory, count in found.items():
        yield f"the images of {counted(count, 'finished item')} stay in {directory}"
