"""Bringing records up to date with journal lines, and what an edit by hand means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from state.item import Item, Record, Status, decode_record
from state.json.journal_lines import Line
from state.json.records import Records


@dataclass
class Replay:
    """What replaying changed, and what is to be said about edits by hand."""

    keys: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Course:
    """What happened to one item in the journal: its last record, and every status on the way, the first one too."""

    raw: bytes | None
    """None: it was removed."""
    record: Record | None
    statuses: set[Status | None]
    came_back: bool = False
    """Whether it was removed and added again, which puts it behind the others."""


def replay(records: Records, lines: Iterable[Line], *, edited: bool) -> Replay:
    """Apply the lines to `records`, the last one winning; repeating it changes nothing.

    With `edited` the JSON is neither the one that the journal extends nor the one it was handed over to. A record whose
    status is then none that the journal saw was edited by hand: a journalled `submitted` is looked up first, a
    journalled `completed` stands, every other edit wins.
    """
    done = Replay()
    for key, course in _courses(lines).items():
        current = records.statuses.get(key)
        if edited and current not in course.statuses:
            stands, note = _settle_edit(key, course, current)
            done.notes.append(note)
            if stands is None:
                continue
            course = stands
        if course.raw is None or course.came_back:
            records.remove(key)
        if course.raw is not None and course.record is not None:
            records.put(key, course.raw, course.record)
        done.keys.append(key)
    return done


def _courses(lines: Iterable[Line]) -> dict[str, _Course]:
    courses: dict[str, _Course] = {}
    for line in lines:
        for change in line.changes or ():
            raw = change.new_record
            record = decode_record(raw) if raw is not None else None
            status = record.status if record is not None else None
            before = courses.get(change.key)
            if before is None:
                courses[change.key] = _Course(raw, record, {change.was, status})
            elif before.raw is None:
                del courses[change.key]
                courses[change.key] = _Course(raw, record, before.statuses | {status}, came_back=True)
            else:
                before.raw, before.record = raw, record
                before.statuses.add(status)
    return courses


def _settle_edit(key: str, course: _Course, current: Status | None) -> tuple[_Course | None, str]:
    """What stands in spite of the edit, or None where the edit wins; and what is to be said."""
    said = f"{key}: {f'set to {current}' if current else 'removed'} by hand"
    record = course.record
    if record is None or course.raw is None:
        return None, f"{said}, and removed meanwhile; the edit stands"
    if record.status is Status.COMPLETED:
        return course, f"{said}, but it was completed meanwhile; redo it with `burst retry`"
    if record.status is Status.SUBMITTED:
        if current is Status.CANCELLED:
            raw = Item.from_record(key, course.raw).request_cancel().to_record()
            course = _Course(raw, decode_record(raw), course.statuses)
        return course, f"{said}, but it was submitted meanwhile; the server is asked first"
    return None, f"{said}; the edit stands"


def had_taken_in(records: Records, lines: Sequence[Line]) -> bool:
    """Whether these records, edited since, came from a JSON that already held what the lines say.

    Shown by one record that is still as the lines left it and names its prompt: an older JSON cannot know that id.
    """
    for key, course in _courses(lines).items():
        raw = records.raws.get(key)
        if raw is None or course.record is None or len(course.statuses) == 1:
            continue
        names_prompt = course.record.prompt_id is not None or course.record.previous_prompt_ids
        if names_prompt and decode_record(raw) == course.record:
            return True
    return False
