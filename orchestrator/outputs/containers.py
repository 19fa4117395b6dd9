"""What a file is by its first bytes, and which extensions are right for it: images, videos, audio, 3D models, latents.

Only what is certain is named: a file of an unknown kind keeps the name that the server gave it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from posixpath import splitext
from typing import IO

from orchestrator.outputs import container_walks as walks

START_BYTES = 4096
_LONGEST_HEADER_BYTES = 100_000_000
"""Of a safetensors file, as its own library has it."""
_MARKUP = re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_MP4_BRANDS = {b"M4A ": ".m4a", b"M4B ": ".m4a", b"qt  ": ".mov"}
_IMAGE_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"}
_OF_ANY_BEGINNING = (".mp3",)
"""Extensions of files that may begin with bytes of no format known here."""


class Kind(StrEnum):
    """What a file is to a person."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    MODEL = "3d"
    LATENT = "latent"
    OTHER = "file"


@dataclass(frozen=True)
class Container:
    """A format that is known by its first bytes."""

    name: str
    extensions: tuple[str, ...]
    """Those that are right for it; the first one is its usual."""
    fault: Callable[[IO[bytes], int], str | None] | None = None
    """What its structure shows to be wrong, given its size; None for images, whose pixels are decoded."""
    media_type: str | None = None
    """Under which browsers show or play it; None for what they neither show nor play."""


_PNG = Container("PNG", (".png", ".apng"), media_type="image/png")
_JPEG = Container("JPEG", (".jpg", ".jpeg", ".jfif"), media_type="image/jpeg")
_GIF = Container("GIF", (".gif",), media_type="image/gif")
_WEBP = Container("WebP", (".webp",), media_type="image/webp")
_MP4 = Container(
    "MP4", (".mp4", ".m4v", ".mov", ".m4a", ".m4b", ".f4v", ".3gp"), walks.mp4_fault, media_type="video/mp4"
)
_AVIF = Container("AVIF", (".avif", ".heic", ".heif"), walks.avif_fault)
_MATROSKA = Container("Matroska", (".mkv", ".webm", ".mka"), walks.matroska_fault, media_type="video/x-matroska")
_WEBM = Container("WebM", (".webm", ".mkv", ".weba", ".mka"), walks.matroska_fault, media_type="video/webm")
_FLAC = Container("FLAC", (".flac",), walks.flac_fault, media_type="audio/flac")
_OGG = Container("Ogg", (".ogg", ".opus", ".oga", ".ogv", ".spx"), walks.ogg_fault, media_type="audio/ogg")
_OPUS = Container("Opus", (".opus", ".ogg", ".oga"), walks.ogg_fault, media_type="audio/ogg")
_WAV = Container("WAV", (".wav", ".wave", ".bwf"), walks.riff_fault, media_type="audio/wav")
_AVI = Container("AVI", (".avi",), walks.riff_fault)
_MP3 = Container("MP3", (".mp3",), walks.mp3_fault, media_type="audio/mpeg")
_GLB = Container("GLB", (".glb", ".vrm"), walks.glb_fault)
_SAFETENSORS = Container("safetensors", (".safetensors", ".latent", ".sft"), walks.safetensors_fault)
_SIGNED = (
    (b"\x89PNG\r\n\x1a\n", _PNG),
    (b"\xff\xd8\xff", _JPEG),
    (b"GIF87a", _GIF),
    (b"GIF89a", _GIF),
    (b"fLaC", _FLAC),
    (b"glTF", _GLB),
    (b"ID3", _MP3),
    (b"RF64", _WAV),
    (b"BW64", _WAV),
)
_IN_RIFF = {b"WEBP": _WEBP, b"WAVE": _WAV, b"AVI ": _AVI}
_MP4_WITHOUT_FTYP = (b"moov", b"mdat", b"wide", b"free", b"skip")
"""What old QuickTime files begin with."""

_ALL = (_PNG, _JPEG, _GIF, _WEBP, _MP4, _AVIF, _MATROSKA, _WEBM, _FLAC, _OGG, _OPUS, _WAV, _AVI, _MP3, _GLB)
KNOWN = frozenset(extension for one in (*_ALL, _SAFETENSORS) for extension in one.extensions)
"""Extensions that promise one of these formats."""
ENDS_SHOW = frozenset({".mp4", ".m4v", ".mov", ".m4a", ".flac", ".opus", ".ogg", ".glb", ".latent", ".safetensors"})
"""Of these a file that was not written to its end is always seen, as its format is written by ComfyUI."""

_KINDS = {
    Kind.IMAGE: (".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff", ".svg"),
    Kind.VIDEO: (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".f4v", ".3gp", ".ogv", ".mpg", ".mpeg"),
    Kind.AUDIO: (
        ".flac", ".mp3", ".opus", ".ogg", ".oga", ".spx", ".wav", ".wave", ".bwf", ".m4a", ".m4b", ".aac", ".weba",
        ".mka",
    ),
    Kind.MODEL: (
        ".glb", ".gltf", ".vrm", ".obj", ".fbx", ".stl", ".ply", ".splat", ".ksplat", ".spz", ".usdz", ".usd", ".dae",
    ),
    Kind.LATENT: (".latent", ".safetensors", ".sft"),
}  # fmt: skip
KIND_OF = {extension: kind for kind, extensions in _KINDS.items() for extension in extensions}
"""By extension."""


def kind_of(path: str) -> Kind:
    """By the name of a file that was recorded: its extension was right by then."""
    return KIND_OF.get(splitext(path)[1].lower(), Kind.OTHER)


def container_of(start: bytes) -> Container | None:
    """By the first `START_BYTES` of a file; None for what is not known for certain."""
    for signature, container in _SIGNED:
        if start.startswith(signature):
            return container
    if start.startswith(b"RIFF"):
        return _IN_RIFF.get(start[8:12])
    if start.startswith(b"\x1aE\xdf\xa3"):
        return _WEBM if b"webm" in start[:80] else _MATROSKA
    if start.startswith(b"OggS"):
        return _OPUS if b"OpusHead" in start[:64] else _OGG
    if start[4:8] == b"ftyp":
        return _AVIF if start[8:12] in _IMAGE_BRANDS else _MP4
    if start[4:8] in _MP4_WITHOUT_FTYP:
        return _MP4
    if 2 <= int.from_bytes(start[:8], "little") <= _LONGEST_HEADER_BYTES and start[8:9] == b"{":
        return _SAFETENSORS
    return _MP3 if walks.begins_as_mp3(start) else None


def promises(served: str) -> bool:
    """Whether a file of this extension is of a format known here, or of any (`.bin`): others are not looked into."""
    return served in KNOWN or served == ".bin"


def extension_of(served: str, start: bytes) -> str:
    """The extension for a file that the server calls `served` (its extension, `.bin` for none): mostly that one.

    It is replaced where the bytes are certainly of another format than it promises, or where it promises none.
    `start`: its first `START_BYTES`.
    """
    if not promises(served):
        return served
    container = container_of(start)
    if container is None or served in container.extensions:
        return served
    return _MP4_BRANDS.get(start[8:12], container.extensions[0]) if container is _MP4 else container.extensions[0]


def fault_of(served: str, start: bytes, opened: Callable[[], IO[bytes]], size: int) -> str | None:
    """What is wrong with a file of this extension as far as its structure shows, in words that follow "the output".

    None for a whole one, for images (`pictures.decodes` says it of them), and for formats that are not known here.
    `start`: its first `START_BYTES`; `opened` is called where the rest is needed too. Errors: OSError.
    """
    if not promises(served):
        return None
    container = container_of(start)
    if container is not None:
        if container.fault is None:
            return None
        with opened() as stream:
            return container.fault(stream, size)
    if _MARKUP.match(start):
        return "is a web page: something between burst and the server answered in its place"
    return _unknown(served, start) if served in KNOWN else None


def is_image(start: bytes) -> bool:
    """Whether these first bytes are of an image that `pictures.decodes` reads."""
    return container_of(start) in (_PNG, _JPEG, _GIF, _WEBP)


def _unknown(served: str, start: bytes) -> str | None:
    if not start:
        return "is empty"
    if start.lstrip()[:1] == b"{":
        return f"is a JSON text, no {served} file"
    return None if served in _OF_ANY_BEGINNING else f"does not begin as a {served} file does"
