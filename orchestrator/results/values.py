"""The values that images are found by: what is compared, and what of a value is a number."""

from __future__ import annotations

import json


def storable(text: str | None) -> str | None:
    """As SQLite takes it."""
    return text.encode("utf-8", "replace").decode() if text is not None else None


def searchable(text: str) -> str:
    """Casefolded, as SQLite takes it: it reads no text beyond a NUL."""
    return (storable(text.casefold()) or "").replace("\0", " ")


def facts(value: object) -> list[tuple[str, str, float | None]]:
    """Value to search, value to show, and number; several for a list."""
    if isinstance(value, list | tuple):
        return [fact for one in value for fact in facts(one)]
    if isinstance(value, bool) or value is None:
        value = json.dumps(value)
    if isinstance(value, int | float):
        try:
            return [(str(value), str(value), float(value))]
        except OverflowError:
            return [(str(value), str(value), None)]
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return [(searchable(text), storable(text) or "", None)]
