"""How a container of video, audio, 3D or latents is built, walked without decoding: is its end there?

Each function takes an open file and its size in bytes, and returns what is wrong, in words that follow "the output", or
None where nothing is. What a format leaves open (a stream of unknown length) is no fault.
"""

from __future__ import annotations

import functools
import json
import struct
from typing import IO, NamedTuple

CUT = "is cut short"
_LONGEST_OGG_PAGE_BYTES = 65_307
_LONGEST_FLAC_FRAME_BYTES = 1 << 18
"""For a header without a size: more than any encoder makes of a block of the usual length."""
_FIRST_FRAME_WITHIN = 64 << 10
_MP3_BITRATES = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
"""In kbit/s, of MPEG 1 and of MPEG 2 (and 2.5), layer 3."""
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def mp4_fault(stream: IO[bytes], size: int) -> str | None:
    """An MP4 or QuickTime file: boxes to its end, among them the index, which is mostly written last."""
    return _boxes_fault(stream, size, needed=(b"moov",))


def avif_fault(stream: IO[bytes], size: int) -> str | None:
    return _boxes_fault(stream, size, needed=(b"meta", b"moov"))


def _boxes_fault(stream: IO[bytes], size: int, *, needed: tuple[bytes, ...]) -> str | None:
    at, kinds = 0, set[bytes]()
    while at < size:
        box = box_at(stream, at, size)
        if box is None or at + box[1] > size:
            return f"{CUT} or damaged at byte {at}"
        kinds.add(box[0])
        at += box[1]
    return None if kinds.intersection(needed) else f"{CUT}: it has no index"


def box_at(stream: IO[bytes], at: int, end: int) -> tuple[bytes, int, int] | None:
    """Kind of the box at `at`, its length, and that of its head; None without one. `end`: of what it lies in."""
    stream.seek(at)
    head = stream.read(16)
    if len(head) < 8:
        return None
    length, kind = struct.unpack(">I4s", head[:8])
    if length == 1:
        length = int.from_bytes(head[8:], "big") if len(head) == 16 else 0
        return (kind, length, 16) if length >= 16 else None
    length = end - at if length == 0 else length
    return (kind, length, 8) if length >= 8 else None


def matroska_fault(stream: IO[bytes], size: int) -> str | None:
    """A WebM or Matroska file: what its parts announce is there."""
    at, end = 0, size
    has_clusters = False
    while at < end:
        found = element_at(stream, at)
        if found is None:
            return f"{CUT} or damaged at byte {at}"
        kind, inner, length = found
        if kind == 0x18538067:  # the segment, which holds all that follows
            at = inner
            if length is not None and inner + length > size:
                return f"{CUT}: {inner + length} bytes announced, {size} there"
            continue
        has_clusters |= kind == 0x1F43B675
        if length is None:  # a stream: its end is nowhere announced
            return None
        at = inner + length
    if at > size:
        return f"{CUT}: {at} bytes announced, {size} there"
    return None if has_clusters else f"{CUT}: it has neither video nor audio"


def element_at(stream: IO[bytes], at: int) -> tuple[int, int, int | None] | None:
    """Id, first inner byte, and length (None: unknown) of the EBML element at `at`; None where there is none."""
    stream.seek(at)
    head = stream.read(12)
    id_length = 9 - head[0].bit_length() if head and head[0] else 9
    if id_length > 4 or len(head) <= id_length or not head[id_length]:
        return None
    width = 9 - head[id_length].bit_length()
    raw = head[id_length : id_length + width]
    if len(raw) < width:
        return None
    length = int.from_bytes(raw, "big") - (1 << 7 * width)
    return (
        int.from_bytes(head[:id_length], "big"),
        at + id_length + width,
        None if length == (1 << 7 * width) - 1 else length,
    )


class FlacFacts(NamedTuple):
    """What the header of a FLAC file says."""

    frames_at: int
    """The byte where the frames begin."""
    block_samples: int
    longest_frame_bytes: int
    samples: int
    """In all; 0 where the header does not know."""
    samples_per_second: int


def flac_facts(stream: IO[bytes]) -> FlacFacts | None:
    """None for a header that is cut."""
    at, is_last, facts = 4, False, None
    while not is_last:
        stream.seek(at)
        head = stream.read(4)
        if len(head) < 4:
            return None
        is_last, length = bool(head[0] & 0x80), int.from_bytes(head[1:], "big")
        at += 4 + length
        if head[0] & 0x7F == 0:
            body = stream.read(18)
            packed = int.from_bytes(body[10:], "big")
            block, samples = int.from_bytes(body[:2], "big"), packed & ((1 << 36) - 1)
            longest = int.from_bytes(body[7:10], "big") or _LONGEST_FLAC_FRAME_BYTES
            facts = FlacFacts(0, block, longest, samples, packed >> 44)
    return facts and facts._replace(frames_at=at)


def flac_fault(stream: IO[bytes], size: int) -> str | None:
    """The last frame is whole, and it is the last one by the count that the header gives."""
    facts = flac_facts(stream)
    if facts is None or facts.frames_at > size:
        return f"{CUT} within its header"
    stream.seek(max(facts.frames_at, size - facts.longest_frame_bytes))
    tail = stream.read()
    at = len(tail)
    # From behind: what looks like a frame's head further on is a part of the last frame, and its sum is wrong.
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        end = _flac_frame_end(tail[at : at + 17], facts.block_samples)
        if end is not None and _crc(tail[at:], 0x8005, 16) == 0:
            whole = end >= facts.samples
            return None if whole else f"{CUT}: {end} of {facts.samples} samples are there"
    return CUT


def _flac_frame_end(head: bytes, block_samples: int) -> int | None:
    """The number of the sample behind the frame that begins so; None for what is no head of a frame."""
    if len(head) < 6 or head[1] & 0xFC != 0xF8 or head[3] & 1:
        return None
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    width, code = max(1, ones), head[2] >> 4
    if ones in (1, 8) or code == 0:
        return None
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + width]:
        number = number << 6 | byte & 0x3F
    more = code - 5 if code in (6, 7) else 0
    at = 4 + width
    length = int.from_bytes(head[at : at + more], "big") + 1 if more else _flac_block(code)
    at += more + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if len(head) <= at or _crc(head[:at], 0x07, 8) != head[at]:
        return None
    return (number if head[1] & 1 else number * block_samples) + length


def _flac_block(code: int) -> int:
    return 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    table, value, mask = _crc_table(polynomial, bits), 0, (1 << bits) - 1
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> bits - 8 ^ byte]
    return value


@functools.cache
def _crc_table(polynomial: int, bits: int) -> list[int]:
    """What each byte adds."""
    table = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 else 0)
            value &= (1 << bits) - 1
        table.append(value)
    return table


def ogg_fault(stream: IO[bytes], size: int) -> str | None:
    """The last page is whole, and it says that it is the last."""
    page = last_ogg_page(stream, size)
    if page is None:
        return CUT
    end, flags, _ = page
    if end > size:
        return f"{CUT}: {end} bytes announced, {size} there"
    return None if flags & 4 else f"{CUT}: its last page is not there"


def last_ogg_page(stream: IO[bytes], size: int) -> tuple[int, int, int] | None:
    """Where the last page ends, its flags, and its position in samples; None where there is none."""
    begin = max(0, size - 2 * _LONGEST_OGG_PAGE_BYTES)
    stream.seek(begin)
    tail = stream.read()
    at = tail.rfind(b"OggS\0")
    if at < 0 or len(tail) < at + 27:
        return None
    segments = tail[at + 27 : at + 27 + tail[at + 26]]
    missing = tail[at + 26] - len(segments)
    return (
        begin + at + 27 + tail[at + 26] + sum(segments) + missing,
        tail[at + 5],
        int.from_bytes(tail[at + 6 : at + 14], "little"),
    )


def riff_fault(stream: IO[bytes], size: int) -> str | None:
    """WAV and AVI. One that was written as a stream announces no length."""
    stream.seek(0)
    announced = int.from_bytes(stream.read(8)[4:], "little") + 8
    if size < 12:
        return CUT
    if announced in (8, 0xFFFFFFFF + 8) or announced <= size:
        return None
    return f"{CUT}: {announced} bytes announced, {size} there"


def begins_as_mp3(start: bytes) -> bool:
    """Whether a frame begins here, and another one behind it as far as the start goes."""
    length = _mp3_frame(start[:4])
    return bool(length) and (len(start) < length + 4 or bool(_mp3_frame(start[length : length + 4])))


class Mp3Facts(NamedTuple):
    """What an MP3 file is made of."""

    end: int
    """Where its last frame ends, or should end."""
    frames: int
    announced_frames: int
    """0 where the file says nothing of it."""
    seconds: float


def mp3_facts(stream: IO[bytes], size: int) -> Mp3Facts | None:
    """None where there is no frame."""
    stream.seek(0)
    head = stream.read(10)
    at = 0
    if head[:3] == b"ID3":
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    stream.seek(at)
    data = stream.read()
    place = next(
        (one for one in range(min(len(data), _FIRST_FRAME_WITHIN)) if begins_as_mp3(data[one : one + 4096])), None
    )
    if place is None:
        return None
    announced = _mp3_announced(data[place : place + 256])
    frames, seconds = 0, 0.0
    while length := _mp3_frame(data[place : place + 4]):
        frames += 1
        seconds += _mp3_seconds(data[place + 1])[data[place + 2] >> 2 & 3]
        place += length
    return Mp3Facts(at + place, frames, announced, seconds)


def mp3_fault(stream: IO[bytes], size: int) -> str | None:
    """Frames to the end of the file, or to its tags, as many as the first one announces."""
    facts = mp3_facts(stream, size)
    if facts is None:
        return f"{CUT}: it has no audio"
    if facts.end > size:
        return f"{CUT}: {facts.end} bytes announced, {size} there"
    missing = facts.announced_frames - facts.frames
    return f"{CUT}: {facts.frames} of {facts.announced_frames} frames are there" if missing > 0 else None


def _mp3_frame(head: bytes) -> int:
    """The length in bytes of the layer 3 frame with this head of four bytes; 0 for what is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return 0
    is_first = version == 3
    bits = _MP3_BITRATES[0 if is_first else 1][bitrate] * 1000
    return (144 if is_first else 72) * bits // _MP3_RATES[version][rate] + (head[2] >> 1 & 1)


def _mp3_seconds(second_byte: int) -> tuple[float, ...]:
    """What a frame lasts, by the code of its rate."""
    version = second_byte >> 3 & 3
    return tuple((1152 if version == 3 else 576) / rate for rate in _MP3_RATES[version])


def _mp3_announced(frame: bytes) -> int:
    """How many frames follow, by what encoders write into the first one."""
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not 0 < at < 48 or not frame[at + 7] & 1:
        return 0
    return int.from_bytes(frame[at + 8 : at + 12], "big")


def glb_fault(stream: IO[bytes], size: int) -> str | None:
    """Binary glTF: the length in its header."""
    stream.seek(0)
    announced = int.from_bytes(stream.read(12)[8:], "little")
    if size < 20:
        return f"{CUT} within its header"
    return f"{CUT}: {announced} bytes announced, {size} there" if announced > size else None


def safetensors_fault(stream: IO[bytes], size: int) -> str | None:
    """Latents: the header is JSON, and the tensors that it lists fill the rest."""
    stream.seek(0)
    length = int.from_bytes(stream.read(8), "little")
    if 8 + length > size:
        return f"{CUT} within its header"
    try:
        header = json.loads(stream.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        announced = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return "is damaged: its header cannot be read"
    return f"{CUT}: {announced} bytes announced, {size} there" if announced > size else None
