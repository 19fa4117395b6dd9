"""Does a picture decode to its last pixel, which graph does it carry, and what does it look like made smaller?

The format is read from the first bytes, never from a name. Pillow is imported where it is used.
"""

from __future__ import annotations

import importlib
import io
import json
import struct
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any, TypeVar

from orchestrator.places import ObjectPath, Place
from state import operating_system

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_T = TypeVar("_T")

EXTENSIONS = frozenset({".png", ".apng", ".jpg", ".jpeg", ".webp", ".gif"})
"""Files of these names must decode before they are accepted."""

WELL_KNOWN = EXTENSIONS | {".bmp", ".tif", ".tiff"}
"""What Pillow reads wherever it is installed."""

LARGEST_DECODED_PIXELS = 200_000_000
"""Above this a picture's chunks are checked but its pixels are not, and it is not made smaller: decoding would take
gigabytes."""

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, MemoryError, struct.error)
"""What Pillow raises for a picture that does not decode."""

_ORIENTATION = 0x0112
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})


@dataclass(frozen=True)
class Smaller:
    """A picture made smaller."""

    image: Image
    """Decoded, upright; `RGBA` where it is transparent, else `RGB`."""
    original_size: tuple[int, int]
    """Width and height of the original in pixels, upright."""


class _Reading:
    """One thread reads pictures for all. A lock would not do: the C library keeps what was freed, for each thread anew.
    Nor may two threads set the filters of `warnings`. A forked child has no such thread, so it begins its own."""

    def __init__(self) -> None:
        self.begin()
        operating_system.in_forked_child(self.begin)

    def begin(self) -> None:
        self._here = threading.local()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures", initializer=self._mark)

    def _mark(self) -> None:
        self._here.is_reader = True

    def answer(self, question: Callable[[Place | bytes], _T], source: Place | bytes) -> _T:
        """A question from that thread itself is answered there and then."""
        if getattr(self._here, "is_reader", False):
            return question(source)
        return self._thread.submit(question, source).result()


_READING = _Reading()

_READERS = (
    (b"\x89PNG\r\n\x1a\n", "PngImagePlugin", "PngImageFile"),
    (b"\xff\xd8\xff", "JpegImagePlugin", "JpegImageFile"),
    (b"GIF8", "GifImagePlugin", "GifImageFile"),
    (b"RIFF", "WebPImagePlugin", "WebPImageFile"),
)


def decodes(source: Place | bytes) -> bool:
    """Is it a PNG, JPEG, WebP or GIF whose every frame decodes and whose end is there?

    Threads may ask at once; memory holds one decoded picture, whoever asks: 4 bytes a pixel, 17 for a WebP and for what
    moves.
    """
    return _READING.answer(_is_whole, source)


def fault_of(data: bytes) -> str | None:
    """Why Pillow, and so ComfyUI, cannot read a picture of any format to its last pixel; None where it can.

    Laxer than `decodes`: what phones write behind a picture's end is no fault of it.
    """
    return _READING.answer(_fault, data)


def embedded_graph(source: Place | bytes) -> dict[str, Any] | None:
    """The API-format graph that SaveImage writes into a PNG as the text `prompt`; None where there is none."""
    return _READING.answer(_graph, source)


def on_reading_thread(question: Callable[[Place | bytes], _T], source: Place | bytes) -> _T:
    """The answer of the one thread that reads pictures for all; what `question` raises comes here."""
    return _READING.answer(question, source)


def smaller(source: Place | bytes, *, longest_side: int) -> Smaller | None:
    """The first frame, upright, with at most `longest_side` pixels a side; it is never enlarged.

    None where it does not decode, is no PNG, JPEG, WebP or GIF, or has more than `LARGEST_DECODED_PIXELS`. Threads may
    ask at once. Errors: OSError where the file cannot be opened.
    """
    # What comes over a network is not waited for on the one thread that reads pictures.
    data = source.read_bytes() if isinstance(source, ObjectPath) else source
    return _READING.answer(partial(_smaller, longest_side=longest_side), data)


def on_white(image: Image) -> Image:
    """As `RGB`, on white where it is transparent: for a JPEG."""
    from PIL import Image as Pillow

    if image.mode != "RGBA":
        return image.convert("RGB")
    ground = Pillow.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def read_picture(stream: IO[bytes]) -> ImageFile | None:
    """Pillow's reader by signature: `Image.open` would refuse large pictures and load every plugin.

    None for what is no PNG, JPEG, WebP or GIF. Errors: whatever Pillow raises, see `UNREADABLE`.
    """
    stream.seek(0)
    start = stream.read(12)
    stream.seek(0)
    for signature, module, name in _READERS:
        if start.startswith(signature):
            reader = getattr(importlib.import_module(f"PIL.{module}"), name)
            image: ImageFile = reader(stream)
            return image
    return None


def _smaller(source: Place | bytes, *, longest_side: int) -> Smaller | None:
    from PIL import ImageOps

    with _opened(source) as stream, warnings.catch_warnings():
        # Pillow warns of odd metadata, which the copy does not have.
        warnings.simplefilter("ignore")
        try:
            found = read_picture(stream)
            if found is None or found.width * found.height > LARGEST_DECODED_PIXELS:
                return None
            width, height = found.size
            is_on_its_side = found.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
            image = _smooth(found)
            image.thumbnail((longest_side, longest_side))
            ImageOps.exif_transpose(image, in_place=True)
            shown = image.convert("RGBA" if image.has_transparency_data else "RGB")
        except UNREADABLE:
            return None
    return Smaller(shown, (height, width) if is_on_its_side else (width, height))


def _smooth(image: Image) -> Image:
    """As it is, where its mode can be made smaller by averaging: a JPEG is then never decoded at its full size."""
    if image.mode in ("1", "P", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value * (1 / 257)).convert("L")
    return image


def _is_whole(source: Place | bytes) -> bool:
    with _opened(source) as stream:
        return _ends_well(stream) and _every_frame_loads(stream)


def _fault(source: Place | bytes) -> str | None:
    from PIL import Image, UnidentifiedImageError

    with _opened(source) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(stream) as image:
                image.load()
        except UnidentifiedImageError:
            return "not an image"
        except Image.DecompressionBombError:
            return None  # the server may take more pixels at once than Pillow does unasked
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError, struct.error):
            return "cut short or damaged"
    return None


def _graph(source: Place | bytes) -> dict[str, Any] | None:
    with _opened(source) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = read_picture(stream)
            graph = json.loads(image.info["prompt"]) if image is not None and image.format == "PNG" else None
        except (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, RecursionError, struct.error):
            return None
    return graph if isinstance(graph, dict) else None


def _opened(source: Place | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _every_frame_loads(stream: IO[bytes]) -> bool:
    with warnings.catch_warnings():
        # Pillow warns of odd metadata; whether pixels are there is all that counts here.
        warnings.simplefilter("ignore")
        try:
            image = read_picture(stream)
            if image is None:
                return False
            if image.width * image.height > LARGEST_DECODED_PIXELS:
                image.verify()
                return True
            for frame in range(getattr(image, "n_frames", 1)):
                image.seek(frame)
                image.load()
        except UNREADABLE:
            return False
    return True


def _ends_well(stream: IO[bytes]) -> bool:
    """What Pillow lets pass: a PNG, JPEG or GIF without its end marker, a WebP shorter than it says."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    start = stream.read(12)
    stream.seek(max(0, size - 64))
    tail = stream.read(64)
    if start.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" in tail
    if start.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" in tail
    if start.startswith(b"GIF8"):
        return tail.rstrip(b"\0").endswith(b"\x3b")
    if start.startswith(b"RIFF"):
        return start[8:12] == b"WEBP" and size >= int.from_bytes(start[4:8], "little") + 8
    return True
