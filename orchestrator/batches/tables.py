"""The rows of tables: CSV as spreadsheets write it, and sheets of workbooks."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.batches.workbooks import OLE, ZIP, read_sheet
from orchestrator.errors import UsageError, located
from orchestrator.text_files import decoded
from orchestrator.wording import named

_DELIMITERS = ",;\t"
"""Spreadsheets write CSV with semicolons where the comma is the decimal point's sign."""
_SEPARATOR = re.compile(r"sep=([,;\t|:^~])(\n|\Z)", re.IGNORECASE)
"""Excel's own line above the heading."""
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@dataclass(frozen=True)
class Row:
    """`where`: for messages, `list.csv line 7`. A cell is None where it is empty."""

    where: str
    cells: list[Any]


@dataclass(frozen=True)
class Table:
    """Rows that are not blank, the heading first."""

    rows: Iterator[Row]
    has_decimal_commas: bool = False
    notes: tuple[str, ...] = ()


def text_of(data: bytes, shown: str) -> str:
    """UTF-8, or UTF-16 where a byte order mark says so. Errors: UsageError."""
    if data.startswith((ZIP, OLE)):
        raise UsageError(f"{shown}: this is a workbook, not a text; give it with {named('xlsx', 'FILE')}")
    encoding = _UTF_16.get(data[:2])
    with located(shown, ValueError, into=UsageError):
        if encoding is None:
            return decoded(data)
        try:
            return decoded(data[2:].decode(encoding).encode())
        except UnicodeError as error:
            at = 2 + (error.start if isinstance(error, UnicodeDecodeError) else 0)
            raise ValueError(f"not UTF-16 at byte {at}, though it is marked so; save it as UTF-8") from error


def read_csv(text: str, shown: str) -> Table:
    """Errors, as its rows are read: UsageError."""
    marked = _SEPARATOR.match(text)
    first = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = marked[1] if marked else max(_DELIMITERS, key=first.count)
    return Table(_records(text, shown, delimiter, skipped=1 if marked else 0), delimiter != ",")


def read_workbook(data: bytes, shown: str, *, sheet: str | None) -> Table:
    """Errors: as `read_sheet`."""
    found = read_sheet(data, shown=shown, sheet=sheet)
    place = f"{shown} sheet {found.name!r} row"
    rows = (Row(f"{place} {number}", cells) for number, cells in enumerate(found.rows, 1) if any_filled(cells))
    return Table(rows, notes=found.notes)


def any_filled(cells: list[Any]) -> bool:
    return any(cell is not None for cell in cells)


def _records(text: str, shown: str, delimiter: str, *, skipped: int) -> Iterator[Row]:
    lines = io.StringIO(text)
    for _ in range(skipped):
        lines.readline()
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    count = skipped
    while True:
        number = skipped + rows.line_num + 1
        count += 1
        where = f"{shown} line {number}" + (f" (row {count})" if count != number else "")
        with located(f"{where}: this row is not valid CSV", csv.Error, into=UsageError, advice="see to its quotes"):
            cells = next(rows, None)
        if cells is None:
            return
        told = [cell if cell.strip() else None for cell in cells]
        if any_filled(told):
            yield Row(where, told)
