"""A sweep's batch as a table: which axes it has, and which items stand in which cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.batches.differences import axis_words, title_of, written_prompt
from orchestrator.batches.report_html import cell_of
from orchestrator.batches.text_axis import text_axis
from orchestrator.web.error_responses import Refused
from orchestrator.web.grid_schemas import Grid, GridAxis
from orchestrator.web.progress import images_of
from orchestrator.web.watched_batch import WatchedBatch
from state.item import Item

LARGEST_BATCH = 10_000
"""Items: of a larger batch, every look at it would take more than a second."""
MOST_CELLS = 4_000
PROMPTS = "prompt"
"""What the axis of several prompts is called."""
_NO_SWEEP = "This batch is not a sweep, so it has no grid"


@dataclass(frozen=True)
class Axis:
    """`values` as the batch has them."""

    name: str
    values: Sequence[Any]

    @property
    def labels(self) -> list[str]:
        """For people: without the axis's name, where that is no part of them."""
        if self.name == PROMPTS:
            return [str(value) for value in self.values]
        is_text = text_axis(self.name) is not None
        return [axis_words(self.name, value) if is_text else _spelled(value) for value in self.values]


@dataclass(frozen=True)
class Sweep:
    """The items of a batch by what they were made with."""

    batch: WatchedBatch
    axes: tuple[Axis, ...]
    items: tuple[tuple[Item, tuple[int, ...]], ...]
    """Each with its place on every axis, in the batch's order."""
    others: int
    """Items that have none."""


@dataclass(frozen=True)
class Table:
    """Two axes of a sweep, at one value of each other one."""

    sweep: Sweep
    rows: int | None
    columns: int
    at: tuple[int, ...]
    cells: tuple[tuple[tuple[Item, ...], ...], ...]

    @property
    def heads(self) -> tuple[list[str], list[str]]:
        """Of its rows, empty texts where no axis goes down, and of its columns."""
        axes = self.sweep.axes
        return axes[self.rows].labels if self.rows is not None else [""], axes[self.columns].labels

    @property
    def fixed(self) -> list[str]:
        """What the other axes are at: `cfg 7`."""
        shown = (self.rows, self.columns)
        axes = enumerate(self.sweep.axes)
        return [f"{axis.name} {axis.labels[self.at[number]]}" for number, axis in axes if number not in shown]

    @property
    def order(self) -> list[str]:
        """The names of the axes that go down and across."""
        return [self.sweep.axes[number].name for number in (self.rows, self.columns) if number is not None]


def sweep_of(batch: WatchedBatch) -> Sweep:
    """Errors: Refused for a batch without axes, and for one that is too large."""
    swept = {name: values for name, values in batch.record.axes.items() if values}
    if not swept:
        raise Refused(400, _NO_SWEEP, "batchId")
    if (total := batch.counts.total) > LARGEST_BATCH:
        raise Refused(400, f"A grid has up to {LARGEST_BATCH:,} items, and this batch has {total:,}; use burst report")
    found = [(item, cell_of(item, swept), _prompt_of(item)) for item in batch.items()]
    prompts = list(dict.fromkeys(prompt for _, cell, prompt in found if cell is not None))
    axes = [Axis(name, values) for name, values in swept.items()]
    has_prompts = len(prompts) > 1
    if has_prompts:
        axes.insert(0, Axis(PROMPTS, prompts))
    places = {prompt: (number,) if has_prompts else () for number, prompt in enumerate(prompts)}
    inside = tuple((item, (*places[prompt], *cell)) for item, cell, prompt in found if cell is not None)
    return Sweep(batch, tuple(axes), inside, len(found) - len(inside))


def table_of(sweep: Sweep, *, rows: int | None, columns: int | None, at: Sequence[int]) -> Table:
    """`rows`, `columns`: which axes, by default the first ones of values. Errors: Refused."""
    rows, columns = _chosen(sweep, rows, columns)
    count = len(sweep.axes)
    places = tuple(at) or (0,) * count
    sizes = [len(axis.values) for axis in sweep.axes]
    if len(places) != count or not all(0 <= place < size for place, size in zip(places, sizes, strict=True)):
        raise Refused(400, f"at: give the number of a value, from 0, for each of {count} axes", "at")
    height, width = sizes[rows] if rows is not None else 1, sizes[columns]
    if height * width > MOST_CELLS:
        raise Refused(400, f"A grid has up to {MOST_CELLS:,} cells, and this one {height} × {width}; choose other axes")
    cells: list[list[list[Item]]] = [[[] for _ in range(width)] for _ in range(height)]
    for item, cell in sweep.items:
        if all(cell[axis] == places[axis] for axis in range(count) if axis not in (rows, columns)):
            cells[cell[rows] if rows is not None else 0][cell[columns]].append(item)
    return Table(sweep, rows, columns, places, tuple(tuple(map(tuple, row)) for row in cells))


def grid_of(table: Table) -> Grid:
    """As the API has it."""
    batch = table.sweep.batch
    return Grid(
        batchId=batch.id,
        name=batch.record.name,
        title=title_of(batch.record.prompts),
        axes=[GridAxis(name=axis.name, values=axis.labels) for axis in table.sweep.axes],
        rows=table.rows,
        columns=table.columns,
        at=list(table.at),
        cells=[[[image for item in cell for image in images_of(batch, item)] for cell in row] for row in table.cells],
        others=table.sweep.others,
        remaining=batch.counts.remaining,
    )


def _chosen(sweep: Sweep, rows: int | None, columns: int | None) -> tuple[int | None, int]:
    """Of a single axis it goes across, and several prompts down. Errors: Refused."""
    count = len(sweep.axes)
    for name, number in (("rows", rows), ("columns", columns)):
        if number is not None and not 0 <= number < count:
            raise Refused(400, f"{name}: this batch has {count} axes, numbered from 0", name)
    # Prompts go down only where there is nothing else to.
    order = [number for number in range(count) if count <= 2 or sweep.axes[number].name != PROMPTS]
    if columns is None:
        left = [number for number in order if number != rows]
        columns = left[0] if rows is not None or len(left) < 2 else left[1]
    if rows is None and count > 1:
        rows = next(number for number in order if number != columns)
    if rows == columns:
        raise Refused(400, "rows and columns are the same axis; choose two", "columns")
    return rows, columns


def _prompt_of(item: Item) -> str:
    return written_prompt(item) or str(item.own_text or item.inputs.get("prompt") or item.key).strip()


def _spelled(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
