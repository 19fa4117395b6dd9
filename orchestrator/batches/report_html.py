"""A batch as one HTML page: every picture with its seed and parameters, a sweep as a grid with its axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from orchestrator.batches.batch_status import BatchView, view_of
from orchestrator.batches.differences import axis_words, texts_of, written_prompt
from orchestrator.batches.values import parted, parts_of
from orchestrator.errors import DiskFull, OutputRefused, RecipeUnusable, UsageError
from orchestrator.formatting import counted, spoken_seconds
from orchestrator.outputs.media_tiles import has_tile
from orchestrator.outputs.placement import Placement, placement_of
from orchestrator.places import ObjectPath, Place
from orchestrator.report_pages import render
from orchestrator.report_pages.figure import IMAGES, Figure, File, Image, address, embedded, tile
from orchestrator.settings import Overrides, load_settings
from orchestrator.wording import named
from state.disk import Disk
from state.item import Item, OutputRecord, Status
from state.open_store import open_store

if TYPE_CHECKING:
    from orchestrator.documents.batches import BatchReportDocument

Axes = Mapping[str, Sequence[Any]]
Cells = Mapping[tuple[int, ...], Sequence[Item]]
"""Items by the values of the axes that they are made with."""


@dataclass(frozen=True)
class ReportWritten:
    """Where the page lies, and what is on it."""

    batch: str
    path: Path
    items: int
    pictures: int

    def as_json(self) -> BatchReportDocument:
        return {
            "schema": "burst.batch-report/1",
            "batch": self.batch,
            "path": str(self.path),
            "items": self.items,
            "images": self.pictures,
        }

    def as_text(self) -> str:
        """One line for a person."""
        return f"{self.path}: {counted(self.pictures, 'image')} of batch {self.batch}"


def write_report(
    state: Path, wanted: str, target: Path | None = None, *, embed: bool = False, overrides: Overrides | None = None
) -> ReportWritten:
    """Write the page of one batch, by default `report_BATCH.html` beside the state. Safe to repeat.

    Pictures are linked by relative paths, or with `embed` put into the page, large ones as smaller copies; those in
    object storage always are, since no browser opens them there. Errors:
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
    _refuse_other_file(target)
    try:
        Disk().write_whole(target, text.encode("utf-8", "backslashreplace"))
    except (OSError, DiskFull) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise UsageError(
            f"{target} cannot be written: {why or error}; name another with {named('target', 'FILE')}"
        ) from error
    return ReportWritten(view.id, target, len(items), page.pictures)


def report_page(view: BatchView, items: Sequence[Item], placement: Placement, *, order: Sequence[str] = ()) -> str:
    """The page as one file that needs nothing else: images are in it, and nothing leads to a file of this host.

    `order`: the names of the axes that go down and across, where these are others than the first ones.
    """
    page = _Page(placement, beside=None, embed=True)
    return page.render(view, items, order=order)


def _refuse_other_file(target: Path) -> None:
    """Errors: UsageError for a file that is not a page: the state, an image, a prompt."""
    try:
        with target.open("rb") as file:
            is_page = file.read(64).lstrip()[:9].lower() in (b"", b"<!doctype")
    except OSError:
        return  # it is not there; or writing will tell
    if not is_page:
        raise UsageError(
            f"{target} is a file that is not a page, and is kept; name another with {named('target', 'FILE')}"
        )


def cell_of(item: Item, axes: Axes) -> tuple[int, ...] | None:
    """Which value of each axis an item was made with; None where its inputs are not those of any cell."""
    cell = []
    texts = texts_of(item)
    for name, values in axes.items():
        made = texts if name in texts else item.inputs
        places = (
            place
            for place, value in enumerate(values)
            if all(made.get(part) == wanted for part, wanted in parted(name, value).items())
        )
        place = next(places, None)
        if place is None:
            return None
        cell.append(place)
    return tuple(cell)


@dataclass(frozen=True)
class _Grid:
    """One table of figures. `heading` says which values of further axes it is for."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Sequence[Figure]]]]
    """The head of each row, empty where there is one axis, and its cells."""
    has_row_heads: bool


@dataclass(frozen=True)
class _Block:
    prompt: str
    grids: Sequence[_Grid]


class _Page:
    def __init__(self, placement: Placement, *, beside: Path | None, embed: bool) -> None:
        """`beside`: where the page lies; None where nothing on it leads to files."""
        self._placement, self._beside, self._embed = placement, beside, embed
        self.pictures = 0

    def render(self, view: BatchView, items: Sequence[Item], *, order: Sequence[str] = ()) -> str:
        """No request leaves the page for another host."""
        axes: Axes = {name: values for name, values in view.record.axes.items() if values}
        axes = {name: axes[name] for name in (*order, *axes) if name in axes}
        found = [(item, cell_of(item, axes)) for item in items] if axes else []
        others = [item for item, cell in found if cell is None] if axes else items
        return render(
            "batch.html",
            title=f"Batch {view.record.label}",
            summary=_summary(view),
            blocks=list(self._blocks(found, axes)),
            others=self._figures(others, hidden=()),
            others_heading="Others" if axes else "",
        )

    def _blocks(self, found: Iterable[tuple[Item, tuple[int, ...] | None]], axes: Axes) -> Iterator[_Block]:
        """One for each prompt, which holds a grid for each choice of the third axis and those after it.

        Of one axis, several prompts are the rows of one grid.
        """
        inside = [(item, cell) for item, cell in found if cell is not None]
        written = groupby(inside, key=lambda pair: written_prompt(pair[0]) or _prompt_of(pair[0]))
        groups = [(prompt, _by_cell(group)) for prompt, group in written]
        if len(axes) == 1 and len(groups) > 1:
            yield _Block("", [self._of_prompts(groups, axes)])
            return
        for prompt, cells in groups:
            choices = product(*(range(len(axes[name])) for name in list(axes)[2:]))
            yield _Block(prompt, [self._grid(cells, axes, chosen) for chosen in choices])

    def _of_prompts(self, groups: Iterable[tuple[str, Cells]], axes: Axes) -> _Grid:
        """The prompts down, the values of the only axis across."""
        ((name, values),) = axes.items()
        rows = [
            (prompt, [self._figures(cells.get((column,), ()), hidden=axes) for column in range(len(values))])
            for prompt, cells in groups
        ]
        return _Grid("", [axis_words(name, value) for value in values], rows, has_row_heads=True)

    def _grid(self, cells: Cells, axes: Axes, chosen: tuple[int, ...]) -> _Grid:
        """The first axis down and the second across; one alone goes across."""
        *down, across = list(axes)[:2]
        starts = [(row,) for row in range(len(axes[down[0]]))] if down else [()]
        heads = [axis_words(down[0], value) for value in axes[down[0]]] if down else [""]
        rows = [
            [
                self._figures(cells.get((*start, column, *chosen), ()), hidden=axes)
                for column in range(len(axes[across]))
            ]
            for start in starts
        ]
        words = [axis_words(name, axes[name][place]) for name, place in zip(list(axes)[2:], chosen, strict=True)]
        columns = [axis_words(across, value) for value in axes[across]]
        return _Grid(", ".join(words), columns, list(zip(heads, rows, strict=True)), has_row_heads=bool(down))

    def _figures(self, items: Iterable[Item], *, hidden: Iterable[str]) -> list[Figure]:
        """`hidden`: what the heads of a grid say already; the prompt too is shown only outside of one."""
        known = {part for name in hidden for part in (name, *parts_of(name))}
        return [figure for item in items for figure in self._of_one(item, known)]

    def _of_one(self, item: Item, known: set[str]) -> Iterator[Figure]:
        shown = [output for output in item.outputs if _is_shown(output.path)]
        failed = item.error is not None and item.status is Status.FAILED
        plain = Figure(
            status=item.status,
            alt=_prompt_of(item),
            blank="no image" if item.status is Status.COMPLETED else item.status,
            caption="" if known and not item.dynamic.get("chosen") else _prompt_of(item),
            error=item.error.message if item.error and failed else "",
            number=item.index,
            facts=_facts(item, known),
            files=[self._file(item, output) for output in item.outputs if output not in shown],
        )
        yield from (self._picture(plain, item, output) for output in shown)
        if not shown:
            yield plain

    def _picture(self, plain: Figure, item: Item, output: OutputRecord) -> Figure:
        path = self._path(item, output)
        if path is None or not path.is_file():
            return replace(plain, blank="the file is missing")
        link = self._address(path)
        if has_tile(path.name):
            self.pictures += 1
            return replace(plain, image=tile(path), link=link, facts=[*plain.facts, path.name])
        is_embedded = self._embed or isinstance(path, ObjectPath) or link is None
        image = embedded(path) if is_embedded else Image(link or "")
        if image is None:
            return replace(plain, blank="does not decode")
        self.pictures += 1
        return replace(plain, image=image, link=link)

    def _file(self, item: Item, output: OutputRecord) -> File:
        path = self._path(item, output)
        return File(PurePosixPath(output.path).name, None if path is None else self._address(path))

    def _address(self, path: Place) -> str | None:
        return None if self._beside is None else address(path, self._beside)

    def _path(self, item: Item, output: OutputRecord) -> Place | None:
        try:
            return self._placement.path_of(item, output.path)
        except (OutputRefused, RecipeUnusable):
            return None


def _is_shown(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in IMAGES or has_tile(path)


def _summary(view: BatchView) -> list[str]:
    facts = [view.progress(), f"requested {view.record.created_at:%Y-%m-%d %H:%M:%S} UTC"]
    facts += [f"template {view.record.template}"] if view.record.template else []
    shared = [axis_words(name, value) for name, value in view.record.parameters.items()]
    return [line for line in (" · ".join(facts), " · ".join(shared)) if line]


def _facts(item: Item, known: set[str]) -> list[str]:
    facts = [f"seed {item.inputs['seed']}"] if "seed" in item.inputs else []
    hidden = known | {"prompt", "seed"}
    facts += [axis_words(name, value) for name, value in item.inputs.items() if name not in hidden]
    return facts + ([spoken_seconds(item.seconds)] if item.seconds is not None else [])


def _prompt_of(item: Item) -> str:
    return str(item.own_text or item.inputs.get("prompt") or item.key).strip()


def _by_cell(group: Iterable[tuple[Item, tuple[int, ...]]]) -> Cells:
    cells: dict[tuple[int, ...], list[Item]] = {}
    for item, cell in group:
        cells.setdefault(cell, []).append(item)
    return cells
