"""Calls about a sweep as a grid: the table itself, as one image, and as one HTML file."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from orchestrator.batches.batch_status import view_of
from orchestrator.batches.report_html import report_page
from orchestrator.outputs.media_tiles import has_tile
from orchestrator.statistics import pictures_of
from orchestrator.web.batch_routes import Found
from orchestrator.web.error_responses import Refused, errors
from orchestrator.web.grid_image import Sheet, Tile, grid_png
from orchestrator.web.grid_schemas import Grid
from orchestrator.web.grids import Sweep, Table, grid_of, sweep_of, table_of
from orchestrator.web.image_files import disposition
from orchestrator.web.image_routes import LibraryOf
from orchestrator.web.library import Library
from orchestrator.web.states import WatchedState
from state.item import Item, Status

router = APIRouter(prefix="/api", tags=["grids"])

MOST_EMBEDDED = 500
"""Images of one HTML file, each of which takes up to about 150 kB in it."""
_WORDS = {Status.PENDING: "queued", Status.SUBMITTED: "rendering", Status.COMPLETED: "no image"}

AxisNumber = Annotated[int | None, Query(ge=0, le=100, description="which axis, from 0; by default the first ones")]


def table(
    found: Found,
    rows: AxisNumber = None,
    columns: AxisNumber = None,
    at: Annotated[
        str, Query(max_length=1000, pattern=r"^([0-9]{1,6}(,[0-9]{1,6})*)?$", description="a value of each axis")
    ] = "",
) -> Table:
    """Errors: Refused."""
    places = [int(place) for place in re.findall("[0-9]+", at)]
    return table_of(sweep_of(found[1]), rows=rows, columns=columns, at=places)


TableOf = Annotated[Table, Depends(table)]


@router.get("/batches/{batchId}/grid", operation_id="getGrid", responses=errors(400, 404))
def grid(chosen: TableOf) -> Grid:
    """A sweep as a table of two of its axes, at one value of each other one."""
    return grid_of(chosen)


@router.get(
    "/batches/{batchId}/grid.png",
    operation_id="getGridImage",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **errors(400, 404)},
)
def grid_image(found: Found, chosen: TableOf, library: LibraryOf) -> Response:
    """The same as one image, with the heads of its rows and columns."""
    state, batch = found
    data = grid_png(_sheet(chosen, state, library))
    name = disposition("inline", f"grid_{batch.record.name or batch.id}.png")
    return Response(data, media_type="image/png", headers={"Content-Disposition": name, "Cache-Control": "no-store"})


@router.get(
    "/batches/{batchId}/grid.html",
    operation_id="getGridPage",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}, **errors(400, 404)},
)
def grid_page(found: Found, chosen: TableOf) -> Response:
    """All of the sweep as one HTML file that needs nothing else: a table for each value of the other axes."""
    state, batch = found
    count = sum(len(pictures_of(item)) for item, _ in chosen.sweep.items if item.status is Status.COMPLETED)
    if count > MOST_EMBEDDED:
        raise Refused(
            400,
            f"One HTML file has up to {MOST_EMBEDDED} images, and this batch has {count:,}; "
            f"burst report {batch.record.name or batch.id} writes a page that links to them",
        )
    store = state.store
    assert store is not None
    text = report_page(view_of(store, batch.id), list(batch.items()), state.placement, order=chosen.order)
    name = disposition("attachment", f"grid_{batch.record.name or batch.id}.html")
    headers = {"Content-Disposition": name, "Cache-Control": "no-store"}
    return Response(text.encode("utf-8", "backslashreplace"), media_type="text/html", headers=headers)


def _sheet(chosen: Table, state: WatchedState, library: Library) -> Sheet:
    sweep, (rows, columns) = chosen.sweep, chosen.heads
    record = sweep.batch.record
    return Sheet(
        title=record.name or "; ".join(record.prompts[:1]) or record.batch,
        notes=[", ".join(chosen.fixed)] if chosen.fixed else [],
        corner=_corner(sweep, chosen),
        rows=rows,
        columns=columns,
        cells=[
            [[tile for item in cell for tile in _tiles(item, state, library)] for cell in row] for row in chosen.cells
        ],
    )


def _corner(sweep: Sweep, chosen: Table) -> str:
    across = sweep.axes[chosen.columns].name
    return across if chosen.rows is None else f"{sweep.axes[chosen.rows].name} \\ {across}"


def _tiles(item: Item, state: WatchedState, library: Library) -> list[Tile]:
    """An image is read when it is drawn, so that only one is in memory."""
    outputs = pictures_of(item) if item.status is Status.COMPLETED else []
    if not outputs:
        return [Tile(_WORDS.get(item.status, str(item.status)))]

    def load(path: str, digest: str) -> bytes | None:
        file = state.placement.found(item, path)
        if file is None or has_tile(path):
            return None
        try:
            return library.thumbnails(state).get(file, digest)
        except OSError:
            return None

    return [
        Tile("not shown" if has_tile(one.path) else "missing", lambda one=one: load(one.path, one.sha256))  # type: ignore[misc]
        for one in outputs
    ]
