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
    if b"\\" in data and (b"\\u003a" in data or b"\\u003A" in data):
        return True
    expected = len(raws) + sum(key.count(":") for key in raws)
    try:
        if not data.isascii():
            data.decode()
        for raw in raws.values():
            record = bytes(raw)
            colons = record.count(b":")
            if colons != len(_decode_fields(record)) and colons != _colons_of_what_is_kept(record):
                return True
            expected += colons
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return data.count(b":") != expected


def _colons_of_what_is_kept(record: bytes) -> int:
    return msgspec.json.encode(_decode(record)).count(b":")
