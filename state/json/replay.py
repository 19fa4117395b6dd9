"""Applying journal lines to records, and merging edits by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from state.item import Item, Record, Status, decode_record
from state.json.journal_lines import Line
from state.json.records import Records


class Replay(msgspec.Struct):
    """What a replay changed, and messages about edits by hand."""

    keys: list[str] = msgspec.field(default_factory=list)
    """In the order of their last changes."""
    notes: list[str] = msgspec.field(default_factory=list)


class _History(msgspec.Struct):
    """What the journal says about one item: its last record, and every status it had, including the first."""

    raw: bytes | None
    """None if it was removed."""
    record: Record | None
    statuses: set[Status | None]
    changed_last: int
    """The place of its last change among all."""
    came_back: bool = False
    """Whether it was removed and added again, and so comes last."""


def replay(records: Records, lines: Iterable[Line], *, edited: bool) -> Replay:
    """Apply the lines to `records`; the last one wins. Safe to repeat.

    With `edited` the JSON is neither the one that the journal extends nor the one it was handed over to. A record with
    a status that the journal never gave it was then edited by hand: a journalled `submitted` is looked up first, a
    journalled `completed` stands, every other edit wins.
    """
    done, histories = Replay(), _histories(lines)
    for key, history in histories.items():
        current = records.statuses.get(key)
        if edited and current not in history.statuses:
            stands, note = _settle_edit(key, history, current)
            done.notes.append(note)
            if stands is None:
                continue
            history = stands
        if history.raw is None or history.came_back:
            records.remove(key)
        if history.raw is not None and history.record is not None:
            records.put(key, history.raw, history.record)
        done.keys.append(key)
    done.keys.sort(key=lambda key: histories[key].changed_last)
    return done


def _histories(lines: Iterable[Line]) -> dict[str, _History]:
    histories: dict[str, _History] = {}
    changes = (change for line in lines for change in line.changes or ())
    for at, change in enumerate(changes):
        raw = change.new_record
        record = decode_record(raw) if raw is not None else None
        status = record.status if record is not None else None
        before = histories.get(change.key)
        if before is None:
            histories[change.key] = _History(raw, record, {change.was, status}, at)
        elif before.raw is None:
            del histories[change.key]
            histories[change.key] = _History(raw, record, before.statuses | {status}, at, came_back=True)
        else:
            before.raw, before.record, before.changed_last = raw, record, at
            before.statuses.add(status)
    return histories


def _settle_edit(key: str, history: _History, current: Status | None) -> tuple[_History | None, str]:
    """What remains in spite of the edit, or None if the edit wins; and the message about it."""
    edit = f"{key}: {f'set to {current}' if current else 'removed'} by hand"
    record = history.record
    if record is None or history.raw is None:
        return None, f"{edit}, but it was removed in the meantime; the edit is kept"
    if record.status is Status.COMPLETED:
        return history, f"{edit}, but it was completed in the meantime; redo it with `burst retry`"
    if record.status is Status.SUBMITTED:
        if current is Status.CANCELLED:
            raw = Item.from_record(key, history.raw).request_cancel().to_record()
            history = _History(raw, decode_record(raw), history.statuses, history.changed_last)
        return history, f"{edit}, but it was submitted in the meantime; it is looked up on the server first"
    return None, f"{edit}; the edit is kept"


def already_holds(records: Records, lines: Sequence[Line]) -> bool:
    """Whether these records, edited since, come from a JSON that already contained these lines.

    Proved by one record that is unchanged since the lines and has a prompt_id: an older JSON cannot contain that id.
    """
    for key, history in _histories(lines).items():
        raw = records.raws.get(key)
        if raw is None or history.record is None or len(history.statuses) == 1:
            continue
        names_prompt = history.record.prompt_id is not None or history.record.previous_prompt_ids
        if names_prompt and decode_record(raw) == history.record:
            return True
    return False
