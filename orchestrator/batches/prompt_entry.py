"""One prompt of a request, before it is varied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from state.item import ItemOutput, Priority


@dataclass(frozen=True)
class PromptEntry:
    """One prompt, with what its row of a list says beside it."""

    prompt: str
    inputs: Mapping[str, Any]
    """By binding or address."""
    where: str
    """For messages: `prompts.csv line 7`."""
    name: str = ""
    """What a mirror layout calls its pictures; empty where nobody named it."""
    subfolder: str = ""
    uploads: Mapping[str, str | ItemOutput] = field(default_factory=dict)
    """Binding → path of a file to upload, or an output of an item."""
    id: str = ""
    """What tells its row from others, whatever else the row says; empty where nothing does."""
    count: int | None = None
    """Variations, in place of the batch's."""
    template: str = ""
    """A path or a name, in place of the batch's; empty where the row names none."""
    priority: Priority | None = None
    output: str = ""
    """The path of its output directory; empty for the batch's."""
    has_model_stem: bool = False
    """Whether another program named its model, without folder and extension."""
    line: int = field(default=0, compare=False)
    """In its file, of the text's first one, from 1; 0: `where` says it, or there is no file."""
    column: int = field(default=1, compare=False)
    """Of the text's first character."""
