"""How often all records of a JSON state are walked over."""

from __future__ import annotations

from typing import Any

import pytest

from state.json.store import JsonStore


def counted_walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each walk from now on."""
    found: list[str] = []
    walk = JsonStore.parts

    def counted(store: JsonStore, kind: type[Any]) -> Any:
        found.append(kind.__name__)
        return walk(store, kind)

    monkeypatch.setattr(JsonStore, "parts", counted)
    return found
