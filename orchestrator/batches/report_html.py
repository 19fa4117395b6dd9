"""A batch as one HTML page: every picture with its seed and parameters, a sweep as a grid with its axes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, product
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from orchestrator.batches.batch_status import BatchView, view_of
from orchestrator.batches.report_style import GRID_STYLE
from orchestrator.batches.values import parted, parts_of
from orchestrator.contact_sheet import PICTURES, embedded_picture
from orchestrator.errors import DiskFull, OutputRefused, RecipeUnusable, UsageError
from orchestrator.formatting import counted, spoken_seconds
from orchestrator.outputs.placement import Placement, placement_of
from orchestrator.settings import Overrides, load_settings
from orchestrator.sheet_style import STYLE
from state.disk import Disk
from state.item import Item, OutputRecord, Status
from state.open_store import open_store

Axes = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class ReportWritten:
    """Where the page lies, and what is on it."""

    batch: str
    path: Path
    items: int
    pictures: int

    def as_json(self) -> dict[str, Any]:
        """Stable keys under the schema name `burst.batch-report/1`."""
        return {
            "schema": "burst.batch-report/1",
            "batch": self.batch,
            "path": str(self.path),
            "items": self.items,
            "images": self.pictures,
        }

    def as_text(self) -> str:
        """One line for a person."""
        return f"{self.path}: {counted(self.pictures, 'picture')} of batch {self.batch}"


def write_report(
    state: Path, wanted: str, target: Path | None = None, *, embed: bool = False, overrides: Overrides | None = None
) -> ReportWritten:
    """Write the page of one batch, by default `report_BATCH.html` beside the state. Safe to repeat.

    Pictures are linked by relative paths, or with `embed` put into the page, large ones as smaller copies. Errors:
    UsageError for a batch that is not there, or a file that cannot be written; StateError, SettingsError.
    """
    settings = load_settings(state, overrides)
    with open_store(state, read_only=True) as store:
        view = view_of(store, wanted)
        items = sorted(store.items(batch=view.id), key=lambda item: item.index or 0)
        placement = placement_of(store, settings)
    target = (target or state.resolve().parent / f"report_{view.id}.html").absolute()
    page = _Page(placement, beside=target.parent, embed=embed)
    text = page.render(view, items)
    try:
        Disk().write_whole(target, text.encode("utf-8", "backslashreplace"))
    except (OSError, DiskFull) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise UsageError(f"{target} cannot be written: {why or error}; name another with --html") from error
    return ReportWritten(view.id, target, len(items), page.pictures)


def cell_of(item: Item, axes: Axes) -> tuple[int, ...] | None:
    """Which value of each axis an item was made with; None where its inputs are not those of any cell."""
    cell = []
    for name, values in axes.items():
        places = (
            place
            for place, value in enumerate(values)
            if all(item.inputs.get(part) == wanted for part, wanted in parted(name, value).items())
        )
        place = next(places, None)
        if place is None:
            return None
        cell.append(place)
    return tuple(cell)


class _Page:
    def __init__(self, placement: Placement, *, beside: Path, embed: bool) -> None:
        self._placement, self._beside, self._embed = placement, beside, embed
        self.pictures = 0

    def render(self, view: BatchView, items: Sequence[Item]) -> str:
        """Everything that is not ours to say is escaped. No request leaves the page for another host."""
        title = f"Batch {view.id}"
        axes: Axes = {name: values for name, values in view.record.axes.items() if values}
        body = self._grids(items, axes) if axes else f"<main>{self._figures(items, hidden=())}</main>"
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{STYLE}{GRID_STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{_summary(view)}</header>
{body}
</body>
</html>
"""

    def _grids(self, items: Sequence[Item], axes: Axes) -> str:
        """One block for each prompt and each choice of the third axis and those after it."""
        found = [(item, cell_of(item, axes)) for item in items]
        inside_grid = [(item, cell) for item, cell in found if cell is not None]
        outside = [item for item, cell in found if cell is None]
        blocks = []
        for prompt, group in groupby(inside_grid, key=lambda pair: _prompt_of(pair[0])):
            cells: dict[tuple[int, ...], list[Item]] = {}
            for item, cell in group:
                cells.setdefault(cell, []).append(item)
            blocks.append(f'<h2 class="prompt">{escape(prompt)}</h2>{self._blocks(cells, axes)}')
        if outside:
            blocks.append(f"<h2>Others</h2><main>{self._figures(outside, hidden=())}</main>")
        return "\n".join(blocks)

    def _blocks(self, cells: Mapping[tuple[int, ...], Sequence[Item]], axes: Axes) -> str:
        further = list(axes)[2:]
        blocks = []
        for chosen in product(*(range(len(axes[name])) for name in further)):
            words = [_said(name, axes[name][place]) for name, place in zip(further, chosen, strict=True)]
            head = f"<h3>{escape(', '.join(words))}</h3>" if words else ""
            blocks.append(head + self._table(cells, axes, chosen))
        return "\n".join(blocks)

    def _table(self, cells: Mapping[tuple[int, ...], Sequence[Item]], axes: Axes, chosen: tuple[int, ...]) -> str:
        """The first axis down and the second across; one alone goes across."""
        *down, across = list(axes)[:2]
        heads = "".join(f'<th scope="col">{escape(_said(across, value))}</th>' for value in axes[across])
        rows = []
        for row in range(len(axes[down[0]])) if down else (None,):
            head = f'<th scope="row">{escape(_said(down[0], axes[down[0]][row]))}</th>' if row is not None else ""
            start = () if row is None else (row,)
            filled = "".join(
                f"<td>{self._figures(cells.get((*start, column, *chosen), ()), hidden=list(axes))}</td>"
                for column in range(len(axes[across]))
            )
            rows.append(f"<tr>{head}{filled}</tr>")
        corner = "<td></td>" if down else ""
        table = f"<thead><tr>{corner}{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
        return f'<div class="scroll"><table>{table}</table></div>'

    def _figures(self, items: Iterable[Item], *, hidden: Iterable[str]) -> str:
        """`hidden`: what the heads of a grid say already; the prompt too is shown only outside of one."""
        known = {part for name in hidden for part in _parts(name)}
        return "\n".join(figure for item in items for figure in self._of_one(item, known))

    def _of_one(self, item: Item, known: set[str]) -> list[str]:
        shown = [output for output in item.outputs if _suffix(output) in PICTURES]
        beside = [output for output in item.outputs if output not in shown]
        caption = _caption(item, known, " · ".join(self._link(item, output) for output in beside))
        pictures = [self._picture(item, output) for output in shown]
        if not pictures:
            word = "no picture" if item.status is Status.COMPLETED else item.status
            pictures = [f'<div class="blank">{escape(word)}</div>']
        return [f'<figure class="{item.status}">{picture}{caption}</figure>' for picture in pictures]

    def _picture(self, item: Item, output: OutputRecord) -> str:
        path = self._path(item, output)
        if path is None or not path.is_file():
            return '<div class="blank">the file is missing</div>'
        link = source = self._address(path)
        size = ""
        if self._embed:
            embedded = embedded_picture(path)
            if embedded is None:
                return '<div class="blank">does not decode</div>'
            source, width, height = embedded
            size = f' width="{width}" height="{height}"'
        self.pictures += 1
        alt = escape(_prompt_of(item))
        return f'<a href="{link}"><img src="{source}"{size} loading="lazy" alt="{alt}"></a>'

    def _link(self, item: Item, output: OutputRecord) -> str:
        path = self._path(item, output)
        name = escape(PurePosixPath(output.path).name)
        return f'<a href="{self._address(path)}">{name}</a>' if path is not None else name

    def _path(self, item: Item, output: OutputRecord) -> Path | None:
        try:
            return self._placement.path_of(item, output.path)
        except (OutputRefused, RecipeUnusable):
            return None

    def _address(self, path: Path) -> str:
        """Relative to the page; `./` before it, so that a colon in a name does not make a scheme of what is before."""
        return escape("./" + quote(Path(os.path.relpath(path, self._beside)).as_posix()))


def _summary(view: BatchView) -> str:
    facts = [view.progress(), f"asked for {view.record.created_at:%Y-%m-%d %H:%M:%S} UTC"]
    facts += [f"template {view.record.template}"] if view.record.template else []
    shared = [_said(name, value) for name, value in view.record.parameters.items()]
    return "".join(f"<p>{escape(line)}</p>" for line in (" · ".join(facts), " · ".join(shared)) if line)


def _caption(item: Item, known: set[str], links: str) -> str:
    said = {name: value for name, value in item.inputs.items() if name not in known | {"prompt", "seed"}}
    facts = [f"seed {item.inputs['seed']}"] if "seed" in item.inputs else []
    facts += [_said(name, value) for name, value in said.items()]
    facts += [spoken_seconds(item.seconds)] if item.seconds is not None else []
    prompt = f"<p>{escape(_prompt_of(item))}</p>" if not known else ""
    failed = item.error is not None and item.status is Status.FAILED
    error = f'<p class="error">{escape(item.error.message)}</p>' if item.error and failed else ""
    number = f"<b>{item.index}</b> " if item.index is not None else ""
    small = " · ".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return f"<figcaption>{prompt}{error}<small>{number}{small} {links}</small></figcaption>"


def _prompt_of(item: Item) -> str:
    return str(item.prompt_text or item.inputs.get("prompt") or item.key).strip()


def _said(name: str, value: Any) -> str:
    return f"{name} {value}"


def _parts(name: str) -> tuple[str, ...]:
    return (name, *parts_of(name))


def _suffix(output: OutputRecord) -> str:
    return PurePosixPath(output.path).suffix.lower()
