"""What an item is made from, where that is an output of another item: its file, and why there is none."""

from __future__ import annotations

import shlex
from pathlib import Path

from orchestrator.errors import UploadError
from orchestrator.outputs.names import inside
from orchestrator.outputs.numbering import numbered
from orchestrator.places import Place
from state.item import Item, ItemOutput, Status


def source_file(source: ItemOutput, item: Item | None, root: Place) -> Place:
    """The file of an output. `item`: its record, None where it was removed; `root`: its output directory.

    Errors: UploadError where there is no such output (any more), OutputRefused, OSError.
    """
    if item is None:
        raise UploadError(f"it is made from an output of {source.item}, which was removed")
    again = f"`burst retry {shlex.quote(source.item)}` makes it again"
    if item.status is not Status.COMPLETED:
        raise UploadError(f"it waits for output {source.output} of {source.item}, which is {item.status}")
    outputs = numbered(item)
    if (output := outputs.get(source.output)) is not None:
        file = inside(root, output.path)
        if not file.exists() and isinstance(root, Path) and not root.is_dir():
            raise UploadError(f"the output directory {root} is not there; bring it back, then `burst retry`")
        if not file.exists():
            raise UploadError(f"output {source.output} of {source.item} was removed: {file} is gone; {again}")
        return file
    if not outputs or source.output < max(outputs):
        raise UploadError(f"output {source.output} of {source.item} was removed; {again}")
    outputs_there = "1 output" if len(outputs) == 1 else f"{len(outputs)} outputs"
    raise UploadError(
        f"{source.item} has no output {source.output}, only {outputs_there}: it was removed, or its workflow makes no "
        f"such output; {again}"
    )
