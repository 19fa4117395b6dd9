"""The workflow that ComfyUI writes into its PNG, WebP, MP4, MOV, WebM and MKV files, read without decoding them.

PNG: texts `prompt` and `workflow`. WebP: in its EXIF, `prompt:…` and `workflow:…`. Videos: tags of the container called
so, or (Video Helper Suite) one tag `comment` with an object of both. `prompt` is the API graph, `workflow` the file of
the editor.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import IO, Any

_PNG = b"\x89PNG\r\n\x1a\n"
_EBML = b"\x1aE\xdf\xa3"
_NAMES = ("prompt", "workflow")
_LARGEST = 64 * 1024 * 1024
"""Bytes of one text or box; none of ComfyUI's comes near."""


def embedded_documents(stream: IO[bytes]) -> dict[str, Any]:
    """`prompt` and `workflow`, decoded, as far as they are there. What cannot be read of a damaged file is left out."""
    stream.seek(0)
    start = stream.read(12)
    stream.seek(0)
    read = _png if start.startswith(_PNG) else _matroska if start.startswith(_EBML) else _mp4
    read = _webp if start[:4] == b"RIFF" else read
    found: dict[str, Any] = {}
    try:
        for name, text in read(stream):
            _note(found, name, text)
    except (struct.error, ValueError, zlib.error, IndexError, RecursionError):
        pass
    return found


def embedded_text(data: bytes, name: str) -> str | None:
    """A text of a PNG file by its name; None where there is none, or the file is damaged before it."""
    stream = io.BytesIO(data)
    try:
        return next((text for _, text in _png(stream, (name,))), None) if data.startswith(_PNG) else None
    except (struct.error, ValueError, zlib.error):
        return None


def _note(found: dict[str, Any], name: str, text: str) -> None:
    document = _decoded(text)
    if name in _NAMES and isinstance(document, dict):
        found.setdefault(name, document)
    elif name.lower() == "comment" and isinstance(document, dict):
        for inner in _NAMES:
            value = document.get(inner)
            value = _decoded(value) if isinstance(value, str) else value
            if isinstance(value, dict):
                found.setdefault(inner, value)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _png(stream: IO[bytes], names: Collection[str] = _NAMES) -> Iterator[tuple[str, str]]:
    stream.seek(len(_PNG))
    while len(head := stream.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind not in (b"tEXt", b"zTXt", b"iTXt") or size > _LARGEST:
            stream.seek(size + 4, 1)
            continue
        name, _, rest = stream.read(size).partition(b"\0")
        stream.seek(4, 1)
        if name.decode("latin-1") in names:
            yield name.decode("latin-1"), _png_text(kind, rest)


def _png_text(kind: bytes, rest: bytes) -> str:
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        return _inflated(rest[1:]).decode("latin-1")
    is_compressed = rest[:1] == b"\1"
    _language, _, more = rest[2:].partition(b"\0")
    _translated, _, text = more.partition(b"\0")
    return (_inflated(text) if is_compressed else text).decode()


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, _LARGEST)


def _webp(stream: IO[bytes]) -> Iterator[tuple[str, str]]:
    stream.seek(12)
    while len(head := stream.read(8)) == 8:
        kind, size = struct.unpack("<4sI", head)
        if kind == b"EXIF" and size <= _LARGEST:
            yield from _exif(stream.read(size))
            return
        stream.seek(size + size % 2, 1)


def _exif(data: bytes) -> Iterator[tuple[str, str]]:
    """The texts of the first directory: `name:text`, whatever their tag."""
    data = data.removeprefix(b"Exif\0\0")
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        _, kind, size, place = struct.unpack_from(f"{order}HHII", data, entry)
        if kind != 2:
            continue
        raw = data[place : place + size] if size > 4 else data[entry + 8 : entry + 8 + size]
        name, colon, text = raw.rstrip(b"\0").decode("utf-8", "replace").partition(":")
        if colon:
            yield name.strip().lower(), text


def _mp4(stream: IO[bytes]) -> Iterator[tuple[str, str]]:
    stream.seek(0, 2)
    yield from _boxes(stream, 0, stream.tell(), keys=[])


def _boxes(stream: IO[bytes], at: int, end: int, *, keys: list[str]) -> Iterator[tuple[str, str]]:
    """`keys`: the names that a `keys` box gave to the numbered items of the `ilst` box behind it."""
    while at + 8 <= end:
        stream.seek(at)
        size, kind = struct.unpack(">I4s", stream.read(8))
        head = 8
        if size == 1:
            (size,) = struct.unpack(">Q", stream.read(8))
            head = 16
        size = end - at if size == 0 else size
        if size < head:
            return
        inner, inner_end = at + head, min(at + size, end)
        if kind in (b"moov", b"udta"):
            yield from _boxes(stream, inner, inner_end, keys=keys)
        elif kind == b"meta":
            stream.seek(inner + 4)
            # In a QuickTime file this box has no version, so that the next box begins at once.
            full = 0 if stream.read(4) == b"hdlr" else 4
            yield from _boxes(stream, inner + full, inner_end, keys=[])
        elif kind == b"keys" and size <= _LARGEST:
            stream.seek(inner)
            keys[:] = _keys(stream.read(inner_end - inner))
        elif kind == b"ilst" and size <= _LARGEST:
            stream.seek(inner)
            yield from _items(stream.read(inner_end - inner), keys)
        at += size


def _keys(data: bytes) -> list[str]:
    (count,) = struct.unpack_from(">I", data, 4)
    names, at = [], 8
    for _ in range(count):
        (size,) = struct.unpack_from(">I", data, at)
        if size < 8:
            break
        names.append(data[at + 8 : at + size].decode("utf-8", "replace"))
        at += size
    return names


def _items(data: bytes, keys: list[str]) -> Iterator[tuple[str, str]]:
    at = 0
    while at + 24 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        inner, data_kind = struct.unpack_from(">I4s", data, at + 8)
        if size < 8:
            return
        number = int.from_bytes(kind, "big")
        name = keys[number - 1] if 0 < number <= len(keys) else "comment" if kind == b"\xa9cmt" else ""
        if data_kind == b"data" and name:
            yield name, data[at + 24 : at + 8 + inner].decode("utf-8", "replace")
        at += size


_SEGMENT, _TAGS, _TAG, _SIMPLE, _NAME, _STRING = 0x18538067, 0x1254C367, 0x7373, 0x67C8, 0x45A3, 0x4487


def _matroska(stream: IO[bytes]) -> Iterator[tuple[str, str]]:
    stream.seek(0, 2)
    end = stream.tell()
    for kind, at, to in _elements(stream, 0, end):
        if kind == _SEGMENT:
            for inner, start, stop in _elements(stream, at, to):
                if inner == _TAGS and stop - start <= _LARGEST:
                    yield from _tags(stream, start, stop)


def _tags(stream: IO[bytes], at: int, end: int) -> Iterator[tuple[str, str]]:
    for kind, start, stop in _elements(stream, at, end):
        if kind == _TAG:
            yield from _tags(stream, start, stop)
        elif kind == _SIMPLE:
            texts: dict[int, str] = {}
            for inner, text_at, text_end in _elements(stream, start, stop):
                stream.seek(text_at)
                texts[inner] = stream.read(text_end - text_at).rstrip(b"\0").decode("utf-8", "replace")
            # Written in capitals by some programs.
            yield texts.get(_NAME, "").lower(), texts.get(_STRING, "")


def _elements(stream: IO[bytes], at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Kind, begin and end of each element's content between two places."""
    while at < end:
        stream.seek(at)
        kind, head = _number(stream, keep_marker=True)
        size, more = _number(stream, keep_marker=False)
        start = at + head + more
        unknown = size == (1 << (7 * more)) - 1
        stop = end if unknown else min(start + size, end)
        yield kind, start, stop
        at = stop


def _number(stream: IO[bytes], *, keep_marker: bool) -> tuple[int, int]:
    """A number of variable length, and how many bytes it has. Errors: IndexError at the end, ValueError."""
    first = stream.read(1)[0]
    size = 9 - first.bit_length()
    if size > 8:
        raise ValueError("no number of this format")
    value = first if keep_marker else first & ((1 << (8 - size)) - 1)
    return int.from_bytes(bytes([value]) + stream.read(size - 1), "big"), size
