"""Is what was printed what its type says?"""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.documents.registry import SCHEMAS


def checked(document: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    """The same document. Fails for a field that is missing, of another type, or not in the reference."""
    known = SCHEMAS[name or document["schema"]].type
    assert msgspec.to_builtins(msgspec.convert(document, known)) == document, "a field that is not documented"
    return document
