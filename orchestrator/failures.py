"""Failed items by the kind of their error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from state.item import Item

if TYPE_CHECKING:
    from orchestrator.documents.parts import FailureDocument


@dataclass(frozen=True)
class Failures:
    """The failed items of one kind."""

    count: int
    example: str
    """The key of the first one."""
    message: str
    """Its error."""


def failures_by_kind(failed: Iterable[Item]) -> dict[str, Failures]:
    """Kind of error → the items that failed with it; `unknown` where no error is recorded."""
    found: dict[str, Failures] = {}
    for item in failed:
        kind = item.error.kind if item.error else "unknown"
        message = item.error.message if item.error else "no reason is recorded"
        before = found.get(kind, Failures(0, item.key, message))
        found[kind] = replace(before, count=before.count + 1)
    return found


def failure_documents(failed: Iterable[Item]) -> list[FailureDocument]:
    """In JSON, in the same order; `unknown` where no error is recorded."""
    return [
        {"item": item.key, "kind": item.error.kind, "message": item.error.message}
        if item.error
        else {"item": item.key, "kind": "unknown", "message": "no reason is recorded"}
        for item in failed
    ]
