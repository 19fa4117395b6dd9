"""The sheet of an Excel workbook as rows of cells."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from xml.etree import ElementTree

from orchestrator.batches.rows import Fault
from orchestrator.batches.suggestions import advice
from orchestrator.errors import UsageError
from orchestrator.wording import named

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How a workbook begins; and one with a password, or of before 2007."""
_LARGEST_BYTES = 2 << 30
"""Of what is packed in it."""
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_FORMULA_OR_ERROR = re.compile(rb"<(?:\w+:)?f[\s/>]|\bt=[\"']e[\"']")


@dataclass(frozen=True)
class Sheet:
    """`rows`: from the first row and column on. A cell is a text, true/false, a `Fault`, or None where it is empty."""

    name: str
    rows: list[list[Any]]
    notes: tuple[str, ...]


def read_sheet(data: bytes, *, shown: str, sheet: str | None) -> Sheet:
    """The first visible sheet, or the one called `sheet`. Numbers become the texts that spell them.

    Of formulas the values are taken that were saved last. Errors: UsageError for what is not an .xlsx workbook, has a
    password or no such sheet, and where the package is missing that reads workbooks.
    """
    _refuse_others(data, shown)
    calamine = _calamine(shown)
    try:
        with calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
            kinds = calamine.SheetTypeEnum.WorkSheet, calamine.SheetVisibleEnum.Visible
            seen = [one.name for one in book.sheets_metadata if (one.typ, one.visible) == kinds]
            name = _chosen(seen, book.sheet_names, sheet, shown)
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise UsageError(f"{shown}: not an Excel workbook that can be read: {error}; save it again as .xlsx") from error
    others = [other for other in seen if other != name]
    notes = []
    if others and sheet is None:
        notes.append(
            f"{shown}: sheet {name!r} was read, not {', '.join(map(repr, others))}; {named('sheet')} picks one"
        )
    cells = [[_cell(value) for value in row] for row in rows]
    formulas = _put_faults(cells, data, name)
    if formulas:
        what = (
            "1 cell is a formula: its value, as saved last, was"
            if formulas == 1
            else (f"{formulas} cells are formulas: their values, as saved last, were")
        )
        notes.append(f"{shown}: {what} taken")
    return Sheet(name, cells, tuple(notes))


def _refuse_others(data: bytes, shown: str) -> None:
    if data.startswith(OLE):
        if _ENCRYPTED in data:
            raise UsageError(f"{shown}: this workbook has a password; save it without one")
        raise UsageError(f"{shown}: a workbook of before Excel 2007 (.xls); save it as .xlsx")
    if not data.startswith(ZIP):
        raise UsageError(f"{shown}: not an Excel workbook; a text list goes with {named('csv', 'FILE')}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            names = set(packed.namelist())
            size = sum(one.file_size for one in packed.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UsageError(f"{shown}: this workbook is damaged: {error}; save it again") from error
    if not any(name.casefold() == "[content_types].xml" for name in names):
        raise UsageError(f"{shown}: not an Excel workbook (.xlsx); save it as one, or as CSV")
    if size > _LARGEST_BYTES:
        raise UsageError(f"{shown}: unpacked over {_LARGEST_BYTES >> 30} GiB; split it")


def _calamine(shown: str) -> Any:
    try:
        import python_calamine
    except ImportError as error:
        raise UsageError(
            f"{shown}: reading workbooks needs python-calamine: `pip install 'comfyui-burst[tables]'`, or save the "
            "sheet as CSV"
        ) from error
    return python_calamine


def _chosen(seen: list[str], names: list[str], sheet: str | None, shown: str) -> str:
    if sheet is None:
        if not seen:
            raise UsageError(f"{shown}: the workbook has no visible sheet; name one with {named('sheet', 'NAME')}")
        return seen[0]
    for name in names:
        if name.casefold() == sheet.casefold():
            return name
    raise UsageError(f"{shown}: no sheet is called {sheet!r}; {advice(sheet, names)}")


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _put_faults(cells: list[list[Any]], data: bytes, sheet: str) -> int:
    """Mark what only looks empty: a formula without a value, and an error. Returns the number of formulas."""
    formulas = 0
    for row, column, fault in _special(data, sheet):
        formulas += fault is None
        if fault is not None:
            while len(cells) <= row:
                cells.append([])
            cells[row] += [None] * (column + 1 - len(cells[row]))
            cells[row][column] = fault
    return formulas


def _special(data: bytes, sheet: str) -> Iterator[tuple[int, int, Fault | None]]:
    """Row and column, from 0, of each formula and error."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        xml = packed.read(_part_of(packed, sheet))
    if not _FORMULA_OR_ERROR.search(xml):
        return
    row = column = -1
    for event, element in ElementTree.iterparse(io.BytesIO(xml), ("start", "end")):
        tag = element.tag.rpartition("}")[2]
        if event == "start":
            if tag == "row":
                row, column = int(element.get("r", row + 2)) - 1, -1
            elif tag == "c":
                column = _column(element.get("r"), column + 1)
        elif tag == "c":
            found = {child.tag.rpartition("}")[2]: child for child in element}
            text = found["v"].text if "v" in found else None
            where = f"cell {_letters(column)}{row + 1}"
            if element.get("t") == "e":
                yield row, column, Fault(f"{where} holds the error {text}; correct it, or clear the cell")
            elif "f" in found and (text or element.get("t") == "str"):
                yield row, column, None
            elif "f" in found:
                yield (
                    row,
                    column,
                    Fault(
                        f"{where} is a formula without a saved value; open the workbook in Excel or LibreOffice, save "
                        "it there, and try again"
                    ),
                )
        elif tag == "row":
            element.clear()


def _part_of(packed: zipfile.ZipFile, sheet: str) -> str:
    """Where the package keeps a sheet."""
    main = next(target for kind, _, target in _relations(packed, "") if kind.endswith("/officeDocument"))
    book = ElementTree.fromstring(packed.read(main))
    targets = {key: target for _, key, target in _relations(packed, main)}
    for element in book.iter():
        if element.tag.endswith("}sheet") and element.get("name") == sheet:
            key = next(value for name, value in element.attrib.items() if name.endswith("}id"))
            return targets[key]
    raise KeyError(sheet)


def _relations(packed: zipfile.ZipFile, part: str) -> Iterator[tuple[str, str, str]]:
    """Type, id and target of what a part refers to."""
    folder, name = posixpath.split(part)
    for one in ElementTree.fromstring(packed.read(posixpath.join(folder, "_rels", f"{name}.rels"))):
        target = posixpath.normpath(posixpath.join("/", folder, one.get("Target", ""))).lstrip("/")
        yield one.get("Type", ""), one.get("Id", ""), target


def _column(reference: str | None, otherwise: int) -> int:
    """Of `AB12`, from 0."""
    letters = re.match(r"[A-Z]+", reference or "")
    if letters is None:
        return otherwise
    number = 0
    for letter in letters[0]:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _letters(column: int) -> str:
    text, number = "", column + 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(65 + rest) + text
    return text
