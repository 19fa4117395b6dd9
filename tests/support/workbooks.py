"""Excel workbooks, written as a spreadsheet writes them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import xlsxwriter


def workbook(*sheets: Sequence[Sequence[Any]], names: Sequence[str] = ("Prompts", "Notes"), hide: int = -1) -> bytes:
    """A sheet for each list of rows. A cell that begins with = is a formula; a pair is one with its saved value.

    `hide`: the number of a sheet that is hidden.
    """
    stream = io.BytesIO()
    with xlsxwriter.Workbook(stream, {"in_memory": True}) as book:
        for number, (rows, name) in enumerate(zip(sheets, names, strict=False)):
            sheet = book.add_worksheet(name)
            if number == hide:
                sheet.hide()
            for row, column, value in _cells(rows):
                if isinstance(value, tuple):
                    sheet.write_formula(row, column, value[0], None, value[1])
                elif isinstance(value, str):
                    sheet.write_string(row, column, value)
                elif value is not None:
                    sheet.write(row, column, value)
        if 0 <= hide < len(sheets):
            book.worksheets()[1 - hide].activate()
            book.worksheets()[1 - hide].set_first_sheet()
    return stream.getvalue()


def _cells(rows: Iterable[Sequence[Any]]) -> Iterable[tuple[int, int, Any]]:
    return ((row, column, value) for row, cells in enumerate(rows) for column, value in enumerate(cells))
