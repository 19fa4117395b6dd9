"""A table that a browser brings: checked as `burst generate` reads it, and told by its columns and rows."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

from orchestrator.batches.generate_report import Planned
from orchestrator.batches.rows import Heading, Reading
from orchestrator.batches.sources import STANDARD_INPUT
from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.tables import read_csv, read_workbook, text_of
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.cycle.request import Request
from orchestrator.errors import UsageError
from orchestrator.generation import generate
from orchestrator.web.batch_start import with_template
from orchestrator.web.create_schemas import Column, Table
from orchestrator.web.error_responses import Refused
from orchestrator.web.states import WatchedState
from orchestrator.web.uploads import keep_table, table_name

_SHOWN_PROMPTS = 3
_LARGEST_UNPACKED_BYTES = 256 << 20
_SHOWN = "table"


def bring_table(state: WatchedState, data: bytes, *, template: str | None = None) -> Table:
    """Keep it, if it can be used with this template. Errors: Refused that names row and column."""
    name = table_name(data)
    try:
        found = _read(state, data, name, template)
    except UsageError as error:
        said = str(error).replace("standard input ", "").replace("standard input", "this table")
        raise Refused(400, said.removeprefix(f"{_SHOWN} "), "table") from error
    keep_table(state, data)
    return found


def _read(state: WatchedState, data: bytes, name: str, template: str | None) -> Table:
    is_workbook = name.endswith(".xlsx")
    if is_workbook:
        _refuse_large(data)
    spec = BatchSpec(layout="gallery", literal=True)
    planned = generate(
        replace(spec, xlsx=STANDARD_INPUT) if is_workbook else replace(spec, csv=STANDARD_INPUT),
        stdin=io.BytesIO(data),
        request=Request(state=state.path, overrides=with_template(state, template)),
        takes_paths=False,
        pin_servers=False,
        ask_servers=False,
        dry_run=True,
        always_new=True,
    )
    assert isinstance(planned, Planned)
    plan = planned.plan
    firsts = [one for one in plan.variations if one.number == 1]
    return Table(
        table=name,
        columns=_columns(data, Vocabulary(plan.recipes[0].graph, plan.recipes[0].bindings), is_workbook=is_workbook),
        rows=len(firsts),
        prompts=[one.prompt for one in firsts[:_SHOWN_PROMPTS]],
        notes=[note.replace("standard input: ", "") for note in plan.notes],
    )


def _columns(data: bytes, vocabulary: Vocabulary, *, is_workbook: bool) -> list[Column]:
    """What the heading says, and what that sets."""
    table = read_workbook(data, _SHOWN, sheet=None) if is_workbook else read_csv(text_of(data, _SHOWN), _SHOWN)
    first = next(table.rows)
    said = ["" if cell is None else str(cell) for cell in first.cells]
    heading = Heading.read(said, first.where, Reading(vocabulary), is_first_row=True)
    return [
        Column(title=title, binds=(name or "").removeprefix("@") or None)
        for title, name in zip(said, heading.names, strict=True)
    ]


def _refuse_large(data: bytes) -> None:
    """Errors: Refused for what is small only while it is packed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(one.file_size for one in archive.infolist())
    except (zipfile.BadZipFile, ValueError) as error:
        raise Refused(400, "This workbook is damaged; save it again as .xlsx", "table") from error
    if unpacked > _LARGEST_UNPACKED_BYTES:
        raise Refused(413, "This workbook is too large for the browser; use `burst generate --xlsx`", "table")
