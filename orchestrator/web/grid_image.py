"""A table of images as one PNG, with the heads of its rows and columns. Pillow is imported where it is used."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

LARGEST_SIDE, MOST_PIXELS = 12_000, 30_000_000
"""Of the whole image: what browsers and image viewers open, and about 100 MB while it is drawn."""
_LARGEST_CELL, _SMALLEST_CELL = 288, 48
_GAP, _MARGIN = 6, 24
_BACK, _INK, _SOFT, _BLANK, _BAD = (255, 255, 255), (35, 33, 29), (99, 95, 87), (235, 232, 225), (168, 50, 31)
_LINE = 20
_TEXT = 15
_LETTER = 8
"""About as wide as a letter."""


@dataclass(frozen=True)
class Tile:
    """An image of a cell, or the word that stands for it."""

    word: str
    load: Callable[[], bytes | None] = lambda: None
    """An encoded image; None where there is none."""


@dataclass(frozen=True)
class Sheet:
    """What is drawn. `corner`: what rows and columns are."""

    title: str
    notes: Sequence[str]
    corner: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Sequence[Tile]]]


def grid_png(sheet: Sheet) -> bytes:
    """Errors: UsageError for a table that is too large for one image."""
    from PIL import Image, ImageDraw

    layout = _Layout.of(sheet)
    image = Image.new("RGB", (layout.width, layout.height), _BACK)
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(layout.top):
        _write(pen, (_MARGIN, _MARGIN + number * _LINE), line, _INK if number == 0 else _SOFT)
    _write(pen, (_MARGIN, layout.head_top), _shortened(sheet.corner, layout.head_width), _SOFT)
    for column, head in enumerate(sheet.columns):
        _write_lines(pen, (layout.left(column), layout.head_top), head, layout.cell, lines=layout.head_lines)
    for row, (head, cells) in enumerate(zip(sheet.rows, sheet.cells, strict=True)):
        _write_lines(pen, (_MARGIN, layout.upper(row)), head, layout.head_width - _GAP, lines=layout.high // _LINE)
        for column, tiles in enumerate(cells):
            _draw_cell(image, (layout.left(column), layout.upper(row)), (layout.cell, layout.high), tiles)
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


@dataclass(frozen=True)
class _Layout:
    """All in pixels."""

    cell: int
    high: int
    """A cell, which has the shape of the images."""
    head_width: int
    head_lines: int
    top: Sequence[str]
    width: int
    height: int

    @classmethod
    def of(cls, sheet: Sheet) -> _Layout:
        """With cells as large as may be. Errors: UsageError."""
        across, down = len(sheet.columns), len(sheet.rows)
        longest = max((len(head) for head in sheet.rows), default=0)
        head_width = max(_letters_wide(sheet.corner), min(220, longest * _LETTER)) + _GAP
        shape = _shape(sheet)
        for cell in range(_LARGEST_CELL, _SMALLEST_CELL - 1, -8):
            width = 2 * _MARGIN + head_width + across * (cell + _GAP)
            top = [sheet.title, *sheet.notes]
            wrapped = [part for line in top for part in textwrap.wrap(line, max(20, width // _LETTER - 6))[:2]]
            lines = min(3, max(1, *(math.ceil(_letters_wide(head) / cell) for head in sheet.columns)))
            high = round(cell * shape)
            height = 2 * _MARGIN + (len(wrapped) + lines + 1) * _LINE + down * (high + _GAP)
            if max(width, height) <= LARGEST_SIDE and width * height <= MOST_PIXELS:
                return cls(cell, high, head_width, lines, wrapped, width, height)
        raise UsageError(
            f"{across} × {down} cells are too many for one image, which has at most {MOST_PIXELS // 1_000_000} "
            "megapixels; choose axes with fewer values, or the HTML file"
        )

    @property
    def head_top(self) -> int:
        return _MARGIN + len(self.top) * _LINE + _LINE // 2

    def left(self, column: int) -> int:
        return _MARGIN + self.head_width + column * (self.cell + _GAP)

    def upper(self, row: int) -> int:
        return self.head_top + self.head_lines * _LINE + row * (self.high + _GAP)


def _shape(sheet: Sheet) -> float:
    """Height by width of the first image that is there: mostly all have the same."""
    from PIL import Image

    for tile in (tile for row in sheet.cells for cell in row for tile in cell):
        if (data := tile.load()) is not None:
            with Image.open(io.BytesIO(data)) as found:
                return min(2.0, max(0.5, found.height / found.width))
    return 1.0


def _draw_cell(image: Picture, place: tuple[int, int], size: tuple[int, int], tiles: Sequence[Tile]) -> None:
    """Several images of a cell share its place."""
    across = max(1, math.ceil(math.sqrt(len(tiles))))
    each = tuple((side - (across - 1) * 2) // across for side in size)
    for number, tile in enumerate(tiles or [Tile("empty")]):
        left = place[0] + number % across * (each[0] + 2)
        upper = place[1] + number // across * (each[1] + 2)
        _draw_tile(image, (left, upper), (each[0], each[1]), tile)


def _draw_tile(image: Picture, place: tuple[int, int], size: tuple[int, int], tile: Tile) -> None:
    from PIL import Image, ImageDraw, ImageOps

    data = tile.load()
    if data is None:
        pen = ImageDraw.Draw(image)
        pen.rectangle((*place, place[0] + size[0] - 1, place[1] + size[1] - 1), fill=_BLANK)
        word = _shortened(tile.word, size[0])
        at = (place[0] + (size[0] - pen.textlength(word, font=_font())) / 2, place[1] + size[1] / 2 - _TEXT / 2)
        pen.text(at, word, fill=_BAD if tile.word == "failed" else _SOFT, font=_font())
        return
    with Image.open(io.BytesIO(data)) as found:
        small = ImageOps.contain(found.convert("RGB"), size)
    image.paste(small, (place[0] + (size[0] - small.width) // 2, place[1] + (size[1] - small.height) // 2))


def _write_lines(pen: ImageDraw, place: tuple[int, int], text: str, width: int, *, lines: int) -> None:
    wrapped = textwrap.wrap(text, max(4, width // _LETTER)) or [""]
    if len(wrapped) > max(1, lines):
        wrapped = [*wrapped[: max(1, lines)]]
        wrapped[-1] = f"{wrapped[-1][:-1]}…"
    for number, line in enumerate(wrapped):
        _write(pen, (place[0], place[1] + number * _LINE), line, _INK)


def _write(pen: ImageDraw, place: tuple[int, int], text: str, color: tuple[int, int, int]) -> None:
    from PIL import features

    if not features.check("freetype2"):  # the one small font there is then has Latin letters alone
        text = text.encode("latin-1", "replace").decode("latin-1")
    pen.text(place, text, fill=color, font=_font())


def _font() -> FreeTypeFont | ImageFont:
    from PIL import ImageFont as Fonts

    try:
        return Fonts.load_default(_TEXT)
    except ImportError:
        return Fonts.load_default()


def _shortened(text: str, width: int) -> str:
    most = max(3, width // _LETTER)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _letters_wide(text: str) -> int:
    return len(text) * _LETTER
