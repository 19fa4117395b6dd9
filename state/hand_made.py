"""What a file made by hand may hold and reading its records passes over: a key twice, bytes that are not UTF-8."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from state.records import Raw

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode


def may_hide_a_fault(data: bytes, raws: Mapping[str, Raw]) -> bool:
    """Whether a state file, of which `raws` are the records by key, is worth a close and slow look.

    False is certain: each member of an object has a colon of its own, so the file has a colon too many for each one
    that was dropped. All other colons stand in strings, where they are counted too, unless written as an escape.
    """
    try:
        if not data.isascii():
            data.decode()
        colons = data.count(b":")
        plain = colons == len(raws) + sum(map(len, map(_decode_fields, raws.values())))
        return not plain and colons != _colons_of_what_is_kept(data, raws)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True


def _colons_of_what_is_kept(data: bytes, raws: Mapping[str, Raw]) -> int | None:
    """None where a record surely dropped something, or where colons may be written in another way."""
    if b"\\" in data and (b"\\u003a" in data or b"\\u003A" in data):
        return None
    count = len(raws) + sum(key.count(":") for key in raws)
    for raw in raws.values():
        record = bytes(raw)
        colons = record.count(b":")
        if colons != len(_decode_fields(record)) and colons != msgspec.json.encode(_decode(record)).count(b":"):
            return None
        count += colons
    return count
