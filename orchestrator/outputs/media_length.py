"""How long a video or audio file plays, by its own header."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

from orchestrator.outputs import container_walks as walks
from orchestrator.outputs.containers import START_BYTES, container_of
from orchestrator.places import Place

_OGG_HEAD_BYTES = 64


def seconds_of(path: Place) -> float | None:
    """None where the file does not hold it, or cannot be read. Errors: OSError."""
    with path.open("rb") as stream:
        container = container_of(stream.read(START_BYTES))
        read = _READERS.get(container.name) if container is not None else None
        try:
            seconds = read(stream, path.stat().st_size) if read is not None else None
        except (struct.error, ValueError, ZeroDivisionError, IndexError):
            return None
    return seconds if seconds is not None and 0 < seconds < 1e7 else None


def _mp4(stream: IO[bytes], size: int) -> float | None:
    for kind, begin, end in _boxes(stream, 0, size):
        if kind == b"moov":
            for inner, at, _ in _boxes(stream, begin, end):
                if inner == b"mvhd":
                    stream.seek(at)
                    head = stream.read(32)
                    scale, length = struct.unpack_from(
                        ">IQ" if head[0] == 1 else ">II", head, 20 if head[0] == 1 else 12
                    )
                    return float(length / scale)
    return None


def _boxes(stream: IO[bytes], at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, first inner byte and end of each box."""
    while at < end and (box := walks.box_at(stream, at, end)) is not None:
        kind, length, head = box
        yield kind, at + head, at + length
        at += length


def _matroska(stream: IO[bytes], size: int) -> float | None:
    at, scale, end = 0, 1_000_000, size
    while at < end and (found := walks.element_at(stream, at)) is not None:
        kind, inner, length = found
        if kind == 0x1F43B675:  # the clusters: all of the header has been
            return None
        if kind in (0x18538067, 0x1549A966):  # the segment, and its information
            at = inner
            continue
        if length is None:
            return None
        stream.seek(inner)
        if kind == 0x2AD7B1:
            scale = int.from_bytes(stream.read(length), "big")
        elif kind == 0x4489:
            (duration,) = struct.unpack(">f" if length == 4 else ">d", stream.read(length))
            return float(duration * scale / 1e9)
        at = inner + length
    return None


def _flac(stream: IO[bytes], size: int) -> float | None:
    facts = walks.flac_facts(stream)
    return facts.samples / facts.samples_per_second if facts is not None else None


def _ogg(stream: IO[bytes], size: int) -> float | None:
    stream.seek(0)
    head = stream.read(_OGG_HEAD_BYTES)
    page = walks.last_ogg_page(stream, size)
    if page is None:
        return None
    _, _, samples = page
    if head[28:36] == b"OpusHead":
        return (samples - int.from_bytes(head[38:40], "little")) / 48000
    return samples / int.from_bytes(head[40:44], "little") if head[28:35] == b"\1vorbis" else None


def _wav(stream: IO[bytes], size: int) -> float | None:
    at, bytes_per_second = 12, 0
    while at + 8 <= size:
        stream.seek(at)
        kind, length = struct.unpack("<4sI", stream.read(8))
        if kind == b"fmt ":
            bytes_per_second = struct.unpack("<8xI", stream.read(12))[0]
        if kind == b"data":
            return float(min(length, size - at - 8) / bytes_per_second)
        at += 8 + length + length % 2
    return None


def _mp3(stream: IO[bytes], size: int) -> float | None:
    facts = walks.mp3_facts(stream, size)
    return facts.seconds if facts is not None else None


_READERS = {
    "MP4": _mp4,
    "WebM": _matroska,
    "Matroska": _matroska,
    "FLAC": _flac,
    "Ogg": _ogg,
    "Opus": _ogg,
    "WAV": _wav,
    "MP3": _mp3,
}
