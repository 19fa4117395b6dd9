"""The lines of the journal, as bytes and as values.

A line is a JSON object that starts with the CRC-32 of the rest of it:
    {"crc":"89abcdef","version":2,"seq":41,"extends":"<sha256 of the JSON>","stamp":[…]}              first line
        "stamp" is that JSON's inode, size and time: if the file differs, it is read before it is replaced
        also "merged":true if that JSON contains edits by hand, which no journal holds
    {"crc":"89abcdef","seq":42,"changes":[{"key":"a.txt","was":"pending","record":{…}}]}              a change set
        "record":null removes the item
        also "batch":{…} before "changes": the line of batches.jsonl for the batch that these items are added to
    {"crc":"89abcdef","seq":43,"snapshot":"<sha256 of the JSON about to be renamed in>"}              a hand-over
A line of any other kind, written by a newer burst of this format version, changes no item, and every hand-over copies
it to the new journal. Unknown fields on a line of these three kinds are dropped with that line.
docs/state.md describes every field.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from orchestrator.errors import StateError, StateVersionError
from state.disk import Stamp
from state.item import Status
from state.store import FORMAT_VERSION, READABLE_VERSIONS

_PREFIX = b'{"crc":"'
_BODY_AT = len(_PREFIX) + 8 + len(b'",')
_FRAME = frozenset({"crc", "seq"})
_REMOVED = b"null"


class JournalChange(msgspec.Struct, frozen=True):
    """A change of one item: the status before (None: added) and the complete new record."""

    key: str
    was: Status | None
    record: msgspec.Raw

    @property
    def new_record(self) -> bytes | None:
        """None if the item was removed."""
        raw = bytes(self.record)
        return None if raw == _REMOVED else raw


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line as read. One of `extends`, `changes` and `snapshot` is set; none of them on an `UnknownLine`."""

    seq: int
    changes: tuple[JournalChange, ...] | None = None
    snapshot: str | None = None
    extends: str | None = None
    stamp: tuple[int, int, int] | None = None
    merged: bool = False
    version: int | None = None
    batch: msgspec.Raw = msgspec.Raw()
    """With a change set that adds items of a batch: the line for batches.jsonl; empty otherwise."""


class UnknownLine(Line, frozen=True):
    """A complete line of an unknown kind."""

    fields: dict[str, msgspec.Raw] = {}
    """All but `crc` and `seq`."""


_decode_line = msgspec.json.Decoder(Line).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _framed(body: bytes) -> bytes:
    return b'%s%08x",%s\n' % (_PREFIX, zlib.crc32(body), body)


def header_line(*, seq: int, extends: str, stamp: Stamp, merged: bool) -> bytes:
    numbers = (FORMAT_VERSION, seq, extends.encode(), stamp.inode, stamp.size_bytes, stamp.mtime_ns)
    tail = b',"merged":true}' if merged else b"}"
    return _framed(b'"version":%d,"seq":%d,"extends":"%s","stamp":[%d,%d,%d]' % numbers + tail)


def snapshot_line(*, seq: int, snapshot: str) -> bytes:
    return _framed(b'"seq":%d,"snapshot":"%s"}' % (seq, snapshot.encode()))


def change_line(
    *, seq: int, changes: Iterable[tuple[str, Status | None, bytes | None]], batch: bytes | None = None
) -> bytes:
    """`changes`: key, the status before (None: added), the new record as JSON (None: removed).

    `batch`: the line for batches.jsonl that belongs to them.
    """
    parts = (
        b'{"key":%s,"was":%s,"record":%s}' % (msgspec.json.encode(key), msgspec.json.encode(was), record or _REMOVED)
        for key, was, record in changes
    )
    of_batch = b'"batch":%s,' % batch if batch is not None else b""
    return _framed(b'"seq":%d,%s"changes":[%s]}' % (seq, of_batch, b",".join(parts)))


def carried_line(line: UnknownLine, *, seq: int) -> bytes:
    """The same line for another journal."""
    fields = (b",%s:%s" % (msgspec.json.encode(name), bytes(value)) for name, value in line.fields.items())
    return _framed(b'"seq":%d%s}' % (seq, b"".join(fields)))


def _parse(line: bytes) -> Line | None:
    """None if the bytes are not a complete line. Errors: msgspec.DecodeError for a complete line of another shape."""
    if not line.startswith(_PREFIX) or line[_BODY_AT - 2 : _BODY_AT] != b'",':
        return None
    try:
        expected = int(line[len(_PREFIX) : len(_PREFIX) + 8], 16)
    except ValueError:
        return None
    if zlib.crc32(line[_BODY_AT:]) != expected:
        return None
    parsed = _decode_line(line)
    if parsed.changes is not None or parsed.snapshot is not None or parsed.extends is not None:
        return parsed
    fields = _decode_fields(line).items()
    return UnknownLine(
        parsed.seq, version=parsed.version, fields={name: value for name, value in fields if name not in _FRAME}
    )


class Tail(msgspec.Struct, frozen=True):
    """Complete lines read from an offset on, and where the last one ends in the file."""

    lines: Sequence[Line]
    end: int


def _ends_in_whole_line(broken: bytes) -> bool:
    """Whether the newline between two lines is damaged: no crash does that, so the second line was acknowledged."""
    at = broken.find(_PREFIX, 1)
    while at >= 0:
        with contextlib.suppress(msgspec.DecodeError):
            if _parse(broken[at:]) is not None:
                return True
        at = broken.find(_PREFIX, at + 1)
    return False


def read_lines(path: Path, data: bytes, *, offset: int = 0, after_seq: int | None = None) -> Tail:
    """Read the lines of `data`, which starts at `offset` of the journal at `path`, after the line `after_seq`.

    What follows the last complete line was torn by a crash and is left out. A damaged line *before* a complete one is
    not a torn tail, and neither is a missing line: StateError with the byte.
    """
    lines: list[Line] = []
    at = end = 0
    broken_at: int | None = None
    while (newline := data.find(b"\n", at)) >= 0:
        try:
            line = _parse(data[at:newline])
        except msgspec.DecodeError as error:
            raise _unreadable(path, offset + at, f"the line is complete but has an unknown form ({error})") from error
        if line is None and broken_at is None:
            broken_at = at
        if broken_at is not None and (line is not None or _ends_in_whole_line(data[at:newline])):
            raise _unreadable(path, offset + broken_at, "a damaged line, followed by complete lines")
        if line is not None:
            if after_seq is not None and line.seq != after_seq + 1:
                raise _unreadable(path, offset + at, f"found line {line.seq}, expected line {after_seq + 1}")
            lines.append(line)
            after_seq = line.seq
            end = newline + 1
        at = newline + 1
    return Tail(lines=lines, end=offset + end)


def _unreadable(path: Path, byte: int, why: str) -> StateError:
    return StateError(
        path,
        f"the journal cannot be read at byte {byte}: {why}. Nothing was changed. Restore this file and the state file "
        "from a backup, or move the journal away to continue from the state file alone.",
    )


def header_of(path: Path, lines: Sequence[Line]) -> Line:
    """The first line, checked. Errors: StateError, StateVersionError."""
    version = lines[0].version if lines else None
    if version is not None and version not in READABLE_VERSIONS:
        raise StateVersionError(
            path,
            f"written in format version {version}; this burst knows version {FORMAT_VERSION}. "
            "Use the burst that wrote it, or a newer one.",
        )
    if version is None or lines[0].extends is None:
        raise StateError(
            path,
            "the journal's first line (byte 0) is damaged. Nothing was changed. Restore it from a backup, or move it "
            "away to continue from the state file alone.",
        )
    return lines[0]
