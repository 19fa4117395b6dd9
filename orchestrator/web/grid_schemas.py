"""What the calls about a sweep's grid answer."""

from __future__ import annotations

from pydantic import BaseModel

from orchestrator.web.batch_schemas import Image


class GridAxis(BaseModel):
    """One axis of a sweep; its prompts are one too, where there are several."""

    name: str
    values: list[str]
    """As they are read by people."""


class Grid(BaseModel):
    """A sweep as a table: two of its axes, at one value of each other one."""

    batchId: str
    name: str | None
    title: str
    axes: list[GridAxis]
    rows: int | None
    """Which axis goes down; null where there is only one."""
    columns: int
    """Which axis goes across."""
    at: list[int]
    """Which value of each axis it is for; those of `rows` and `columns` mean nothing."""
    cells: list[list[list[Image]]]
    """By row and column: one image for each seed, and the place of each that is not there."""
    others: int
    """Items of the batch that are in no cell of any table: their inputs were changed since."""
    remaining: int
    """Items of the batch that are not done yet."""
