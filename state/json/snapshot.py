"""The state file: one JSON object, item key → record, checked when read and written with one record per line."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.errors import StateError
from orchestrator.wording import named
from state.disk import Disk, Handle
from state.item import Status, decode_record
from state.json.places import PLAIN, Order, order_of
from state.json.records import Raw, Records

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_WRITE_BYTES = 1 << 20
_SHOWN_ERRORS = 5
_FORMATTED_RECORDS = 256
_QUICK_BYTES = 1 << 17
"""Hashed in less time than a thread takes to start."""


def start_digest(data: bytes) -> Callable[[], str]:
    """Start hashing, in another thread where there is much; the returned function waits for the digest."""
    if len(data) <= _QUICK_BYTES:
        quick = hashlib.sha256(data).hexdigest()
        return lambda: quick
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(hashlib.sha256(data).hexdigest()), name="digest")
    thread.start()

    def result() -> str:
        thread.join()
        return found[0]

    return result


def read_raws(path: Path, data: bytes) -> Mapping[str, Raw]:
    """The records of a state file by key, not yet decoded. Errors: StateError with line and column."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data or data.isspace():
        raise StateError(
            path, "the file is empty; an empty state is {}. Restore it from a backup. Nothing was changed."
        )
    try:
        return _decode_object(data)
    except _UNREADABLE as error:
        raise StateError(path, f"{_why_unreadable(data, error)}. Nothing was changed.") from error


def read_records(path: Path, data: bytes, raws: Mapping[str, Raw], *, by_hand: bool) -> Records:
    """Check and index the records of a state file. `by_hand` also checks for faults that only people make.

    Errors: StateError with the invalid items and fields.
    """
    if by_hand and needs_thorough_check(data, raws):
        _check_thoroughly(path, data)
    statuses: dict[str, Status] = {}
    orders: dict[str, Order] = {}
    batches: dict[str, dict[str, None]] = {}
    recipes: Counter[tuple[Status, str]] = Counter()
    problems = []
    for key, raw in raws.items():
        try:
            record = decode_record(raw)
        except _UNREADABLE as error:
            problems.append(_describe(data, key, error))
            continue
        statuses[key] = record.status
        # Nearly no record has any of these, and a call for each would be noticed.
        has_own = record.priority != "normal" or record.rank or record.uploads
        if has_own and (order := order_of(record)) is not PLAIN:
            orders[key] = order
        if record.batch is not None:
            batches.setdefault(record.batch, {})[key] = None
        if record.recipe is not None:
            recipes[record.status, record.recipe] += 1
    if problems:
        more = f" (and {len(problems) - _SHOWN_ERRORS} more)" if len(problems) > _SHOWN_ERRORS else ""
        raise StateError(
            path, "; ".join(problems[:_SHOWN_ERRORS]) + f"{more}. Fix it and run again. Nothing was changed."
        )
    return Records.of(raws, statuses, orders, batches, recipes)


def _why_unreadable(data: bytes, error: Exception) -> str:
    try:
        whole = json.loads(data, parse_int=str)
    except json.JSONDecodeError as place:
        return f"not JSON at line {place.lineno}, column {place.colno} (byte {_byte_of(data, place)}): {place.msg}"
    except UnicodeDecodeError as place:
        return f"not UTF-8 at byte {place.start}"
    except RecursionError:
        return "nested too deeply"
    if isinstance(whole, dict):
        return f"{_unreadable_item(whole)}cannot be read: {error}"
    return f"expected one object of item key → record, found a {type(whole).__name__}"


def _unreadable_item(whole: dict[str, Any]) -> str:
    """The item that Python's parser accepts and msgspec does not, such as NaN or half a surrogate pair."""
    for key, value in whole.items():
        try:
            msgspec.json.decode(json.dumps({key: value}))
        except _UNREADABLE:
            return f"item {key!a} "
    return ""


def _byte_of(data: bytes, place: json.JSONDecodeError) -> int:
    return len(data.decode("utf-8", errors="replace")[: place.pos].encode())


def _describe(data: bytes, key: str, error: Exception) -> str:
    at = re.search(re.escape(json.dumps(key, ensure_ascii=False).encode()) + rb"\s*:", data)
    newline = b"\n"
    line = f" (line {data.count(newline, 0, at.start()) + 1})" if at else ""
    message = str(error).replace(" - at `$", " at `")
    if "`.status`" in message:
        message += f"; a status is one of {', '.join(Status)}"
    return f"item {key!r}{line}: {message}"


def needs_thorough_check(data: bytes, raws: Mapping[str, Raw]) -> bool:
    """Whether decoding a file, with `raws` as its records by key, may drop a member; False is certain.

    Of a duplicate key in one object the first member is dropped. Decoding also finds bytes that are not UTF-8.
    """
    try:
        # Flat records as a script writes them: each member has a colon, and their strings mostly have none.
        if data.isascii() and data.count(b"{") == len(raws) + 1 and data.count(b":") == _member_count(raws):
            return False
        # Formatted, an object or a list has one line for each member and one more, so each dropped member is missing.
        kept = 1
        decoded = map(msgspec.json.encode, map(_decode, raws.values()))
        while chunk := b",".join(islice(decoded, _FORMATTED_RECORDS)):
            kept += _line_count(b"[%b]" % chunk) - 1
        return _line_count(data) != kept
    except _UNREADABLE:
        return True


def _member_count(raws: Mapping[str, Raw]) -> int:
    """Of the file's object and of each record, without what is nested in them."""
    return len(raws) + sum(map(len, map(_decode_object, raws.values())))


def _line_count(data: bytes) -> int:
    return msgspec.json.format(data, indent=1).count(b"\n")


def _check_thoroughly(path: Path, data: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            double = next(name for name in names if names.count(name) > 1)
            raise StateError(path, f"the key {double!r} occurs twice in one object. Keep one. Nothing was changed.")
        return found

    try:
        json.loads(data, object_pairs_hook=unique, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise StateError(path, f"{_why_unreadable(data, error)}. Nothing was changed.") from error


def write_records(handle: Handle, records: Records) -> str:
    """Write all records and sync; returns the digest of the written bytes. Errors: DiskFull."""
    hashed = hashlib.sha256()
    for chunk in _chunks(records):
        hashed.update(chunk)
        handle.write(chunk)
    handle.sync()
    return hashed.hexdigest()


def _chunks(records: Records) -> Iterator[bytes]:
    parts: list[Raw] = []
    size = 0
    before = b"{\n"
    for key, raw in records.one_line_each().items():
        parts += (before, msgspec.json.encode(key), b": ", raw)
        before = b",\n"
        size += len(raw)
        if size > _WRITE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    parts.append(b"\n}\n" if records.raws else b"{}\n")
    yield b"".join(parts)


def read_snapshot(disk: Disk, path: Path, *, journal: Path | None) -> bytes:
    """The bytes of the state file. `journal`: path of its journal, if there is one. Errors: StateError."""
    try:
        return disk.read(path)
    except IsADirectoryError as error:
        raise StateError(path, "a directory, not a state file; name the file.") from error
    except PermissionError as error:
        raise StateError(path, "permission denied; make it readable.") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        other = named("state", "FILE")
        advice = f"there is no state here. Start one with `burst init DIRECTORY`, or choose one with {other}."
        if journal is not None:
            advice = (
                f"the file is missing, but its journal {journal} exists. Restore the file from a backup, "
                "or move that folder away to start from scratch."
            )
        raise StateError(path, advice) from error
