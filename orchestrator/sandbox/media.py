"""Small real files of the kinds that ComfyUI saves besides images: silence, and frames that players show."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

_FLAC_BLOCK = 4096
_OPUS_SILENCE = b"\xf8\xff\xfe"
"""A packet of 20 ms."""
_OPUS_SAMPLES = 960
_MP3_HEAD = b"\xff\xfb\x90\xc4"
"""MPEG 1, layer 3, 128 kbit/s, 44.1 kHz, one channel."""
_MP3_FRAME_BYTES = 417
_MP3_SAMPLES = 1152


def flac(seconds: float, *, samples_per_second: int = 44100) -> bytes:
    """Silence of one channel."""
    total = max(1, round(seconds * samples_per_second))
    frames = []
    for number, begin in enumerate(range(0, total, _FLAC_BLOCK)):
        length = min(_FLAC_BLOCK, total - begin)
        # Block length in 16 bits behind the number, rate as in the header, one channel of 16 bits.
        head = b"\xff\xf8\x70\x08" + _flac_number(number) + struct.pack(">H", length - 1)
        head += bytes([_crc(head, 0x07, 8)])
        frame = head + b"\x00\x00\x00"  # one subframe of a constant
        frames.append(frame + struct.pack(">H", _crc(frame, 0x8005, 16)))
    longest = max(map(len, frames))
    packed = samples_per_second << 44 | 0 << 41 | 15 << 36 | total
    info = struct.pack(">HH", _FLAC_BLOCK, _FLAC_BLOCK) + longest.to_bytes(3, "big") * 2 + packed.to_bytes(8, "big")
    return b"fLaC\x80" + len(info + bytes(16)).to_bytes(3, "big") + info + bytes(16) + b"".join(frames)


def mp3(seconds: float) -> bytes:
    """Silence of one channel at 44.1 kHz, with the frame that says how many follow."""
    count = max(1, round(seconds * 44100 / _MP3_SAMPLES))
    empty = _MP3_HEAD + bytes(_MP3_FRAME_BYTES - 4)
    about = _MP3_HEAD + bytes(17) + b"Info" + struct.pack(">II", 1, count)
    return about.ljust(_MP3_FRAME_BYTES, b"\0") + empty * count


def opus(seconds: float) -> bytes:
    """Silence of one channel in Ogg."""
    count = max(1, round(seconds * 48000 / _OPUS_SAMPLES))
    head = b"OpusHead" + struct.pack("<BBHIHB", 1, 1, 0, 48000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 5) + b"burst" + struct.pack("<I", 0)
    pages = [_ogg_page([head], 0, 0, 2), _ogg_page([tags], 1, 0, 0)]
    for number, begin in enumerate(range(0, count, 50)):
        packets = [_OPUS_SILENCE] * min(50, count - begin)
        end = begin + len(packets)
        pages.append(_ogg_page(packets, number + 2, end * _OPUS_SAMPLES, 4 if end == count else 0))
    return b"".join(pages)


def webm(frames: Sequence[Image], *, frames_per_second: float, tags: Mapping[str, str] | None = None) -> bytes:
    """A video of key frames in VP8, which is what a lossy WebP holds."""
    milliseconds = 1000 / frames_per_second
    info = _element(0x2AD7B1, (1_000_000).to_bytes(3, "big")) + _element(0x4D80, b"burst") + _element(0x5741, b"burst")
    info += _element(0x4489, struct.pack(">d", milliseconds * len(frames)))
    width, height = frames[0].size
    sizes = _element(0xB0, struct.pack(">H", width)) + _element(0xBA, struct.pack(">H", height))
    track = _element(0xD7, b"\1") + _element(0x73C5, b"\1") + _element(0x83, b"\1") + _element(0x86, b"V_VP8")
    blocks = [
        _element(0xA3, b"\x81" + struct.pack(">hB", round(number * milliseconds), 0x80) + _vp8(frame))
        for number, frame in enumerate(frames)
    ]
    named = [
        _element(0x67C8, _element(0x45A3, name.encode()) + _element(0x4487, text.encode()))
        for name, text in (tags or {}).items()
    ]
    parts = [
        _element(0x1549A966, info),
        _element(0x1654AE6B, _element(0xAE, track + _element(0xE0, sizes))),
        *([_element(0x1254C367, _element(0x7373, b"".join(named)))] if named else []),
        _element(0x1F43B675, _element(0xE7, b"\0") + b"".join(blocks)),
    ]
    head = _element(0x4282, b"webm") + _element(0x4287, b"\2") + _element(0x4285, b"\2")
    return _element(0x1A45DFA3, head) + _element(0x18538067, b"".join(parts))


def mp4(frames: Sequence[Image], *, frames_per_second: float, tags: Mapping[str, str] | None = None) -> bytes:
    """A video of JPEG images. Browsers do not play that; FFmpeg and most players do."""
    images = [_encoded(frame, "JPEG") for frame in frames]
    width, height = frames[0].size
    scale, each = 90_000, round(90_000 / frames_per_second)
    length = each * len(frames)
    data = _box(b"mdat", b"".join(images))
    head = _box(b"ftyp", b"isom\0\0\2\0isomiso2mp41")
    entry = struct.pack(">6xH16xHHIIIH32xHh", 1, width, height, 0x480000, 0x480000, 0, 1, 24, -1)
    described = b"\x03\x16\0\1\0\x04\x0e\x6c\x11" + bytes(11) + b"\x06\1\2"
    sizes = struct.pack(f">{len(images)}I", *map(len, images))
    table = (
        _full(b"stsd", struct.pack(">I", 1) + _box(b"mp4v", entry + _full(b"esds", described)))
        + _full(b"stts", struct.pack(">III", 1, len(images), each))
        + _full(b"stsc", struct.pack(">IIII", 1, 1, len(images), 1))
        + _full(b"stsz", struct.pack(">II", 0, len(images)) + sizes)
        + _full(b"stco", struct.pack(">II", 1, len(head) + 8))
    )
    found = _full(b"dref", struct.pack(">I", 1) + _full(b"url ", b"", flags=1))
    media = _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, scale, length, 0x55C4, 0))
    media += _full(b"hdlr", struct.pack(">I4s12x", 0, b"vide") + b"video\0")
    media += _box(b"minf", _full(b"vmhd", bytes(8), flags=1) + _box(b"dinf", found) + _box(b"stbl", table))
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    track = _full(
        b"tkhd",
        struct.pack(">IIIII8x8x", 0, 0, 1, 0, length) + matrix + struct.pack(">II", width << 16, height << 16),
        flags=3,
    )
    movie = _full(
        b"mvhd",
        struct.pack(">IIIIIH10x", 0, 0, scale, length, 0x10000, 0x100) + matrix + bytes(24) + struct.pack(">I", 2),
    )
    movie += _box(b"trak", track + _box(b"mdia", media)) + (_mp4_tags(tags) if tags else b"")
    return head + data + _box(b"moov", movie)


def glb() -> bytes:
    """A triangle in binary glTF."""
    points = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "buffers": [{"byteLength": len(points)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(points)}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}
        ],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(points), b"BIN\0") + points
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def latent(width: int, height: int, *, count: int = 1, graph: Any = None) -> bytes:
    """Zeros in safetensors, as SaveLatent has them; `width` and `height` of the images in pixels."""
    shape = [count, 4, height // 8, width // 8]
    length = 4 * count * 4 * (height // 8) * (width // 8)
    header = {
        "__metadata__": {"prompt": json.dumps(graph)},
        "latent_format_version_0": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]},
        "latent_tensor": {"dtype": "F32", "shape": shape, "data_offsets": [0, length]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(length)


def _encoded(image: Image, form: str) -> bytes:
    target = io.BytesIO()
    image.save(target, form, quality=80)
    return target.getvalue()


def _vp8(image: Image) -> bytes:
    """The frame inside a lossy WebP."""
    data = _encoded(image, "WEBP")
    at = data.index(b"VP8 ")
    return data[at + 8 : at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")]


def _element(kind: int, body: bytes) -> bytes:
    """EBML, its length in eight bytes."""
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + (1 << 56 | len(body)).to_bytes(8, "big") + body


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, body: bytes, *, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags) + body)


def _mp4_tags(tags: Mapping[str, str]) -> bytes:
    """Names of their own, as ComfyUI writes its graph."""
    handler = _full(b"hdlr", struct.pack(">I4s12x", 0, b"mdta") + b"\0")
    names = b"".join(_box(b"mdta", name.encode()) for name in tags)
    texts = [_box(b"data", struct.pack(">II", 1, 0) + text.encode()) for text in tags.values()]
    items = b"".join(_box(struct.pack(">I", number), text) for number, text in enumerate(texts, 1))
    return _box(
        b"udta", _full(b"meta", handler + _full(b"keys", struct.pack(">I", len(tags)) + names) + _box(b"ilst", items))
    )


def _ogg_page(packets: Sequence[bytes], number: int, position: int, flags: int) -> bytes:
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, position, 1, number, 0) + bytes([len(packets)])
    page = head + bytes(map(len, packets)) + b"".join(packets)
    return page[:22] + struct.pack("<I", _crc(page, 0x04C11DB7, 32)) + page[26:]


def _flac_number(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass")


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    top, mask, value = 1 << bits - 1, (1 << bits) - 1, 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
    return value
