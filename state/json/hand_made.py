"""What a file made by hand may hold and reading its records passes over: a key twice, bytes that are not UTF-8."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from state.json.records import Raw

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode


def may_hide_a_fault(data: bytes, raws: Mapping[str, Raw]) -> bool:
    """Whether a state file, of which `raws` are the records by key, is worth a close and slow look.

    False is certain: each member of an object has a colon of its own, so the file has a colon too many for each one
    that was dropped. All other colons stand in strings: plain files have none there, in others they are counted too.
    """
    colons = data.count(b":")
    try:
        if data.isascii() and colons == len(raws) + sum(map(len, map(_decode_fields, raws.values()))):
            return False
        if b"\\" in data and (b"\\u003a" in data or b"\\u003A" in data):
            return True  # a colon written so is not in the count
        whole_records = map(msgspec.json.encode, map(_decode, raws.values()))
        kept = len(raws) + sum(key.count(":") for key in raws) + sum(record.count(b":") for record in whole_records)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return colons != kept
