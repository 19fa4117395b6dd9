"""The figures as a table for people, in Markdown, and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.figures import Figure

SCHEMA = "burst.benchmarks/1"
_HEAD = ("measure", "median", "min–max", "target", "reached", "from")


def as_text(figures: Sequence[Figure], *, judged: bool) -> str:
    """Columns for a terminal. Without `judged` nothing is said of what was reached."""
    rows = [_HEAD, *(_row(figure, judged=judged) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_markdown(figures: Sequence[Figure], *, judged: bool) -> str:
    """A table for the README."""
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(figure, judged=judged) for figure in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json(
    figures: Sequence[Figure], *, machine: dict[str, Any], about: dict[str, Any], judged: bool
) -> dict[str, Any]:
    """Every value of every round, with the machine that they were taken on. `about` says how."""
    return {
        "schema": SCHEMA,
        "machine": machine,
        **about,
        "figures": [
            {
                "measure": figure.measure,
                "unit": figure.unit,
                "median": figure.median,
                "values": list(figure.values),
                "target": str(figure.target),
                "reached": figure.reached if judged else None,
                "parts": {name: list(values) for name, values in figure.parts.items()},
            }
            for figure in figures
        ],
    }


def _row(figure: Figure, *, judged: bool) -> tuple[str, ...]:
    unit = f" {figure.unit}" if figure.unit else ""
    low, high = min(figure.values), max(figure.values)
    parts = [f"{name} {_short(statistics.median(values))}" for name, values in figure.parts.items()]
    return (
        figure.measure,
        f"{_short(figure.median)}{unit}",
        f"{_short(low)}–{_short(high)}",
        str(figure.target) + (unit if figure.target.kind != "shown" else ""),
        _verdict(figure.reached if judged else None),
        ", ".join(parts),
    )


def _verdict(reached: bool | None) -> str:
    return {True: "yes", False: "NO", None: "–"}[reached]


def _short(value: float) -> str:
    """Three places below ten, one below a thousand, none above."""
    if abs(value) < 10:
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"
