"""Lines of CSV (RFC 4180) that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
from collections.abc import Iterable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet evaluates."""


class _Line:
    """What a writer writes to: holds the last line."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def csv_lines(rows: Iterable[Iterable[object]]) -> Iterable[str]:
    """Each with its end (CR LF). None is an empty cell. A text that begins like a formula has a `'` before it."""
    line = _Line()
    writer = csv.writer(line)
    for row in rows:
        writer.writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in row])
        yield line.text


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
