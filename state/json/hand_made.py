"""Detection of faults in a file written by hand that decoding overlooks: duplicate keys, bytes that are not UTF-8."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from state.json.records import Raw

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode


def needs_thorough_check(data: bytes, raws: Mapping[str, Raw]) -> bool:
    """Whether a state file, with `raws` as its records by key, needs the thorough and slow check.

    False is certain: each member of an object has a colon, so each member that decoding dropped leaves one colon too
    many. All other colons are in strings: plain files have none there, in other files they are counted as well.
    """
    colons = data.count(b":")
    try:
        if data.isascii() and colons == len(raws) + sum(map(len, map(_decode_fields, raws.values()))):
            return False
        if b"\\" in data and (b"\\u003a" in data or b"\\u003A" in data):
            return True  # a colon escaped like this is not counted
        whole_records = map(msgspec.json.encode, map(_decode, raws.values()))
        kept = len(raws) + sum(key.count(":") for key in raws) + sum(record.count(b":") for record in whole_records)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return colons != kept
