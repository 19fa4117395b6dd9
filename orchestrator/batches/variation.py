"""A variation: one prompt as it is sent, with the values that it is made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.batches.prompt_entry import PromptEntry


class Variation(msgspec.Struct, frozen=True):
    """What one item of a batch is to be made with."""

    index: int
    """From 1, in the whole batch."""
    prompt: str
    inputs: Mapping[str, Any]
    """Complete, by binding or address; the seed included where the template takes one."""
    axes: Mapping[str, Any] = {}
    """What the sweeps chose for it."""
    number: int = 1
    """From 1, among those of its prompt."""
    of: int = 1
    """How many its prompt has."""
    name: str = ""
    """What a mirror layout calls it; empty where nobody named it."""
    subfolder: str = ""
    seed_is_drawn: bool = False
    """Whether nobody said its seed."""
    asked: Mapping[str, Any] = {}
    """Its prompt and inputs as they were written, without what was drawn, chosen or looked up: of a batch with a name,
    which can follow its list."""
    entry: PromptEntry | None = None
    """The prompt that it is one of."""
    dynamic: Mapping[str, Any] = {}
    """As of the item, where it was a dynamic prompt."""
