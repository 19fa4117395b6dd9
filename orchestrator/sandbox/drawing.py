"""Placeholder images: cheap to draw, recognizable as placeholders, visibly different for another seed or text."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from orchestrator.sandbox.landscape import landscape

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

MARK = "PLACEHOLDER · burst sandbox"
_LINE = 1.3
"""Height of a line of text, in sizes of its letters."""
_READABLE_PIXELS = 96
"""Landscapes of a smaller width or height have no text, which nobody could read."""


@dataclass(frozen=True)
class Frames:
    """A batch of images not drawn yet: represents latents and images in the sandbox."""

    width: int
    height: int
    count: int = 1
    lines: tuple[str, ...] = ()
    """The text on each image."""
    color: int | None = None
    """The background as 0xRRGGBB; None: a landscape that a hash of `lines` gives."""
    source: Path | None = None
    """An image to draw onto."""
    inverted: bool = False
    captioned: bool = True
    """Whether the text is written on it."""

    def with_line(self, line: str) -> Frames:
        return dataclasses.replace(self, lines=(*self.lines, line))

    def resized(self, width: int, height: int) -> Frames:
        """Like ImageScale: 0 keeps the aspect ratio."""
        if width == 0 and height == 0:
            return self
        width = width or max(1, round(self.width * height / self.height))
        height = height or max(1, round(self.height * width / self.width))
        return dataclasses.replace(self, width=width, height=height)


def draw(frames: Frames, index: int) -> Image:
    """The image at `index` of the batch, as RGB."""
    from PIL import Image, ImageChops, ImageDraw

    size = (frames.width, frames.height)
    captioned = frames.captioned and (frames.color is not None or min(size) >= _READABLE_PIXELS)
    letters = max(8, min(size) // 26)
    text = _text(frames, index, letters) if captioned else ""
    rows = text.count("\n") + 1
    margin = letters // 2
    if frames.color is None:
        digest = hashlib.sha256(f"{frames.lines} {index}".encode()).digest()
        written = (rows * letters * _LINE + 3 * margin) / size[1] if captioned else 0.1
        foreground = min(1.0, written + 0.1)
        picture, ground = landscape(size, digest, foreground=foreground)
    else:
        ground = (frames.color >> 16 & 0xFF, frames.color >> 8 & 0xFF, frames.color & 0xFF)
        picture = Image.new("RGB", size, ground)
    if frames.source is not None:
        with Image.open(frames.source) as opened:
            picture = Image.blend(opened.convert("RGB").resize(size), picture, 0.3)
    if frames.inverted:
        picture = ImageChops.invert(picture)
    if not captioned:
        return picture
    pen, font = ImageDraw.Draw(picture), _font(letters)
    place = (margin, size[1] - margin - rows * letters * _LINE)
    if frames.source is not None:
        pen.rectangle(pen.multiline_textbbox(place, text, font=font), fill=ground)
    is_light = (sum(ground) > 382) != (frames.inverted and frames.source is None)
    pen.multiline_text(place, text, fill=(0, 0, 0) if is_light else (255, 255, 255), font=font)
    return picture


@functools.lru_cache(maxsize=128)
def latent_preview(share: float) -> bytes:
    """A latent preview as JPEG, which comes out of noise step by step; `share`: of the steps that are done."""
    from PIL import Image

    size = (64, 64)
    noise = Image.merge("RGB", [Image.effect_noise(size, 90) for _ in range(3)])
    buffer = io.BytesIO()
    Image.blend(noise, landscape(size, bytes(range(60, 76)), foreground=0.2)[0], share).save(buffer, format="JPEG")
    return buffer.getvalue()


def save_png(frames: Frames, index: int, path: Path, *, graph: Any, extra_pnginfo: Any, share: float = 1.0) -> None:
    """Write an image directly to its final name, as ComfyUI does, with its graph in the text chunk `prompt`.

    `share` below 1 leaves the file incomplete, like a server that is killed while writing.
    """
    if share >= 1.0:
        _save(frames, index, path, graph=graph, extra_pnginfo=extra_pnginfo)
        return
    whole = io.BytesIO()
    _save(frames, index, whole, graph=graph, extra_pnginfo=extra_pnginfo)
    path.write_bytes(whole.getvalue()[: int(len(whole.getvalue()) * share)])


def _save(frames: Frames, index: int, target: Path | IO[bytes], *, graph: Any, extra_pnginfo: Any) -> None:
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("prompt", json.dumps(graph))
    for name, value in (extra_pnginfo if isinstance(extra_pnginfo, dict) else {}).items():
        texts.add_text(name, json.dumps(value))
    draw(frames, index).save(target, format="PNG", pnginfo=texts, compress_level=1)


@functools.cache
def example() -> bytes:
    """The image that a server's input folder comes with, as PNG."""
    whole = io.BytesIO()
    _save(Frames(512, 512, lines=("example input",)), 0, whole, graph={}, extra_pnginfo=None)
    return whole.getvalue()


def save_webp(frames: Frames, path: Path, *, frames_per_second: float, lossless: bool, quality: int) -> None:
    """Write the batch as an animated WebP."""
    first, *rest = [draw(frames, index) for index in range(frames.count)]
    duration_ms = int(1000 / frames_per_second)
    first.save(
        path, format="WEBP", save_all=True, append_images=rest, duration=duration_ms, lossless=lossless, quality=quality
    )


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image file. Errors: OSError if it is not an image."""
    from PIL import Image

    with Image.open(path) as opened:
        return opened.size


def preview(path: Path, *, form: str, quality: int) -> bytes:
    """The thumbnail of GET /view?preview=, as WebP or JPEG."""
    from PIL import Image

    found = io.BytesIO()
    with Image.open(path) as opened:
        picture = opened.convert("RGB") if form == "jpeg" else opened
        picture.save(found, format=form, quality=quality)
    return found.getvalue()


def channel_png(path: Path, *, channel: str) -> bytes:
    """GET /view?channel=rgb or a: the image without its alpha channel, or only the alpha channel."""
    from PIL import Image

    found = io.BytesIO()
    with Image.open(path) as opened:
        if channel == "rgb":
            opened.convert("RGB").save(found, format="PNG")
        else:
            alone = Image.new("RGBA", opened.size)
            alone.putalpha(opened.convert("RGBA").getchannel("A"))
            alone.save(found, format="PNG")
    return found.getvalue()


def _text(frames: Frames, index: int, letters: int) -> str:
    """The mark and the lines, wrapped to the image's width and truncated to its height."""
    columns = max(8, int(frames.width / (letters * 0.55)))
    number = (f"picture {index + 1} of {frames.count}",) if frames.count > 1 else ()
    wrapped = [row for line in (MARK, *frames.lines, *number) for row in textwrap.wrap(line, columns)]
    return _drawable("\n".join(wrapped[: max(1, int(frames.height / (letters * _LINE)))]), _font(letters))


@functools.lru_cache(maxsize=32)
def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except ImportError:
        return ImageFont.load_default()


def _drawable(text: str, font: object) -> str:
    """Pillow's fallback bitmap font only supports Latin-1."""
    from PIL import ImageFont

    if isinstance(font, ImageFont.ImageFont):
        return text.encode("latin-1", "replace").decode("latin-1")
    return text
