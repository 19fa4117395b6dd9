"""What a row of a list asked for, as a digest: by it a later list is compared with the items of its batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from state.item import Item, ItemOutput

_LENGTH = 16


def row_digest(
    asked: Mapping[str, Any], *, uploads: Mapping[str, str | ItemOutput], template: str = "", output: str = ""
) -> str:
    """The same whenever the row, and what was said for all, ask for the same.

    `asked`: as of a `Variation`. `uploads`, `template` and `output` (of its own) are named as the state names files.
    """
    stripped = {name: value.strip() if isinstance(value, str) else value for name, value in asked.items()}
    asked_for = [stripped, msgspec.to_builtins(uploads), template, output]
    text = json.dumps(asked_for, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def digests_of(item: Item) -> tuple[str, ...]:
    """Those that an item may have: its own; of one that was made before there were any, with and without its seed."""
    if item.row_digest:
        return (item.row_digest,)
    asked = {**item.inputs, "prompt": (item.prompt_text or "").strip(), **item.dynamic.get("texts", {})}
    if item.batch_size_auto:
        asked.pop("batch_size", None)
    without_seed = {name: value for name, value in asked.items() if name != "seed"}
    return tuple(row_digest(one, uploads=item.uploads) for one in (asked, without_seed))
