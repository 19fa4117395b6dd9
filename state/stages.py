"""Stages: items that are made from another item's output, its source. What becomes of one when its source changes.

Every store applies this rule in the change set that changes the source, so that no kill comes between the two:
    a source failed, was cancelled or removed   its pending stages fail or are cancelled with it
    a source that had ended is due again        its stages are too; one that is submitted, as soon as its prompt ends
A pending stage is due once each of its sources is completed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.errors import UsageError
from state.item import TRANSITIONS, ErrorRecord, Item, Status

LOST_SOURCE = "source"
"""The kind of the error of an item that failed with its source."""
CANCELLED_SOURCE = "source_cancelled"
"""That of one that was cancelled with its source."""

Sources = Callable[[str], Iterable[str]]
"""The keys of an item's sources, by its own key; none for an item that is not there."""


def followed(
    changed: Mapping[str, Item | None],
    *,
    before: Callable[[str], Item | None],
    stages_of: Callable[[str], Iterable[str]],
) -> dict[str, Item | None]:
    """All items that change, the given ones first: those changes (None: removed) and what follows from them.

    `before`: an item as it is without these changes, None where it is not there. `stages_of`: the keys of the items
    that are made from one, as they are without these changes.
    """
    now = dict(changed)
    queue = deque(now)

    def look(key: str) -> Item | None:
        return now[key] if key in now else before(key)

    while queue:
        key = queue.popleft()
        was = before(key)
        item = now[key] = _settled(was, now[key], look)
        for stage_key in stages_of(key):
            stage = look(stage_key)
            if stage is not None and (new := _with_source(stage, key, was, item)) is not stage:
                now[stage_key] = new
                queue.append(stage_key)
    return now


def refuse_impossible(items: Sequence[Item], *, there: Callable[[str], Status | None], sources_of: Sources) -> None:
    """Before items are added. `there`: the status of an item that is there already.

    Errors: UsageError for an item that could never be due.
    """
    new = {item.key: item for item in items}
    for item in items:
        for source in item.awaits:
            status = Status.PENDING if source.item in new else there(source.item)
            if source.output < 1:
                raise UsageError(f"{item.key}: output {source.output} of {source.item}: outputs are numbered from 1")
            if status is None:
                raise UsageError(f"{item.key} waits for an output of {source.item}, which is not an item of this state")
            if status in (Status.FAILED, Status.CANCELLED):
                raise UsageError(
                    f"{item.key} waits for an output of {source.item}, which "
                    f"{'failed' if status is Status.FAILED else 'was cancelled'}; `burst retry` it first"
                )
        if item.awaits and (circle := circle_of(item.key, lambda key: _sources_in(key, new, sources_of))):
            raise UsageError(f"{item.key} waits for itself: {circle}")


def circle_of(key: str, sources_of: Sources) -> str:
    """`a → b → a` where an item waits for itself through others; empty where it does not."""
    paths: deque[tuple[str, ...]] = deque([(key,)])
    seen: set[str] = set()
    while paths:
        path = paths.popleft()
        for source in sources_of(path[-1]):
            if source == key:
                return " → ".join((*path, key))
            if source not in seen:
                seen.add(source)
                paths.append((*path, source))
    return ""


def _sources_in(key: str, new: Mapping[str, Item], sources_of: Sources) -> Iterable[str]:
    return new[key].sources if key in new else sources_of(key)


def _settled(was: Item | None, item: Item | None, look: Callable[[str], Item | None]) -> Item | None:
    """A changed item, by its own sources."""
    if item is None or not item.uploads:
        return item
    if was is not None and was.source_redone and item.status in (Status.COMPLETED, Status.FAILED):
        item = item.start_over()
    if item.status is Status.PENDING:
        lost = _by_sources(item, look)
        # What had ended may not fail at once; it is found at the next change.
        return lost if lost.status in TRANSITIONS[was.status if was is not None else None] else item
    return item


def _by_sources(item: Item, look: Callable[[str], Item | None]) -> Item:
    """A pending item; failed or cancelled where its sources can never all be completed."""
    for source in item.awaits:
        if source.output < 1:
            return _failed(item, f"output {source.output} of {source.item}: outputs are numbered from 1")
        if (lost := _lost(item, source.item, look(source.item))) is not item:
            return lost

    def sources_of(key: str) -> Iterable[str]:
        found = look(key)
        return found.sources if found is not None else ()

    circle = circle_of(item.key, sources_of) if item.awaits else ""
    return _failed(item, f"it waits for itself: {circle}") if circle else item


def _with_source(stage: Item, key: str, was: Item | None, source: Item | None) -> Item:
    """A stage, after a change of its source."""
    if source is None or source.status in (Status.FAILED, Status.CANCELLED):
        return _lost(stage, key, source)
    is_redone = was is not None and was.has_ended and source.status is Status.PENDING
    if not is_redone:
        return stage
    if stage.status is Status.SUBMITTED:
        return stage if stage.source_redone else stage.expect_source()
    is_own_end = stage.status is Status.CANCELLED and not _is_because_of(stage, CANCELLED_SOURCE)
    return stage.start_over() if stage.has_ended and not is_own_end else stage


def _lost(stage: Item, key: str, source: Item | None) -> Item:
    """A stage, whose source is as given; itself where that may still be completed."""
    is_given_up = stage.status is Status.FAILED and _is_because_of(stage, LOST_SOURCE)
    if is_given_up and source is not None and source.status is Status.CANCELLED:
        stage = stage.start_over()
    if stage.status is not Status.PENDING:
        return stage
    if source is None:
        return _failed(stage, f"it is made from an output of {key}, which was removed")
    if source.status is Status.FAILED:
        why = f": {source.error.message}" if source.error is not None else ""
        return _failed(stage, f"it is made from an output of {key}, which failed{why}")
    if source.status is Status.CANCELLED:
        message = f"it is made from an output of {key}, which was cancelled"
        return stage.cancel(reason=ErrorRecord(kind=CANCELLED_SOURCE, message=message))
    return stage


def _failed(stage: Item, message: str) -> Item:
    return stage.fail(error=ErrorRecord(kind=LOST_SOURCE, message=message), charge=False)


def _is_because_of(stage: Item, kind: str) -> bool:
    return stage.error is not None and stage.error.kind == kind
