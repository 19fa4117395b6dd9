"""What stays in other output directories than the one that a command names."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import RecipeUnusable
from orchestrator.formatting import counted
from orchestrator.outputs.placement import Placement
from state.item import Status
from state.store import Store


def images_elsewhere(store: Store, placement: Placement, *, root: Path) -> Iterator[str]:
    """One note for each output directory but `root` that holds images of finished items, with their number.

    `placement`: where the items' images are, as it was before the command.
    """
    found: Counter[Path] = Counter()
    here = os.path.realpath(root)
    for item in store.items(Status.COMPLETED):
        with contextlib.suppress(RecipeUnusable):
            if item.outputs and os.path.realpath(there := placement.root_of(item)) != here:
                found[there] += 1
    for directory, count in found.items():
        yield f"the images of {counted(count, 'finished item')} stay in {directory}"
