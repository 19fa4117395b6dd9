"""Bringing records up to date with journal lines, and what an edit by hand means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from state.item import Item, Status, decode_record
from state.journal_lines import JournalChange, Line
from state.snapshot import Records


@dataclass
class Replay:
    """What replaying changed, and what is to be said about edits by hand."""

    keys: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def replay(records: Records, lines: Iterable[Line], *, edited: bool) -> Replay:
    """Apply the lines to `records`, the last one winning; repeating it changes nothing.

    With `edited` the JSON is neither the one that the journal extends nor the one it was handed over to. A record whose
    status is then neither what a line replaced nor what it set was edited by hand: a journalled `submitted` is looked
    up first, a journalled `completed` stands, every other edit wins.
    """
    done = Replay()
    for line in lines:
        for change in line.changes:
            raw = bytes(change.record)
            record = decode_record(raw)
            current = records.statuses.get(change.key)
            if edited and current not in (change.was, record.status):
                kept = _settle_edit(change, raw, record.status, current, done.notes)
                if kept is None:
                    continue
                raw = kept
            records.put(change.key, raw, decode_record(raw))
            done.keys.append(change.key)
    return done


def _settle_edit(
    change: JournalChange, raw: bytes, journalled: Status, current: Status | None, notes: list[str]
) -> bytes | None:
    """The record that stands in spite of the edit, or None where the edit wins."""
    said = f"{change.key}: {f'set to {current}' if current else 'removed'} by hand"
    if journalled is Status.COMPLETED:
        notes.append(f"{said}, but it was completed meanwhile; redo it with `burst retry`")
        return raw
    if journalled is Status.SUBMITTED:
        notes.append(f"{said}, but it was submitted meanwhile; the server is asked first")
        if current is Status.CANCELLED:
            return Item.from_record(change.key, raw).request_cancel().to_record()
        return raw
    notes.append(f"{said}; the edit stands")
    return None
