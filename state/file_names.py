"""What the outputs of an item are named after."""

from __future__ import annotations

import re

_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,15}\Z")


def stem_of(filename: str) -> str:
    """The name of an item's file without its extension."""
    return _SUFFIX.sub("", filename)
