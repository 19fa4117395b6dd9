"""A contact sheet: one self-contained HTML page with every picture, its prompt text, seconds and seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import templates
from orchestrator.errors import OutputRefused, PromptTextError, RecipeUnusable, TemplateError
from orchestrator.formatting import spoken_seconds
from orchestrator.outputs.media_tiles import has_tile
from orchestrator.outputs.pictures import embedded_graph
from orchestrator.outputs.placement import Placement
from orchestrator.places import Place
from orchestrator.preparation import prompt_file, read_prompt
from orchestrator.report_pages import render
from orchestrator.report_pages.figure import IMAGES, Figure, address, embedded, tile
from state.disk import Disk
from state.item import Item, Status


def write_contact_sheet(
    target: Path, items: Iterable[Item], *, placement: Placement, home: Path, title: str, summary: str = ""
) -> Path:
    """Write the sheet of these items to `target`, and return it. Pictures are embedded and linked to their files.

    Safe to repeat. A picture that is gone or damaged gets a card that says so. Errors: DiskFull, OSError.
    """
    figures = [figure for item in items for figure in _figures(item, placement, home, target.parent)]
    page = render("contact_sheet.html", title=title, summary=[summary] if summary else [], figures=figures)
    Disk().write_whole(target, page.encode())
    return target


def _figures(item: Item, placement: Placement, home: Path, beside: Path) -> Iterator[Figure]:
    """One for each output, or one for an item that has none."""
    name, caption = PurePosixPath(item.key).name, _prompt_text(item, home)
    plain = Figure(status=item.status, blank=item.status, caption=caption, alt=caption, facts=[name])
    if item.status is not Status.COMPLETED or not item.outputs:
        failed = item.error and item.status is Status.FAILED
        yield replace(plain, error=item.error.message if item.error and failed else "")
        return
    for output in item.outputs:
        if output.path == item.sidecar:
            continue
        try:
            path = placement.path_of(item, output.path)
        except (OutputRefused, RecipeUnusable) as refused:
            yield replace(plain, error=str(refused))
            continue
        seed = _seed(item, path)
        facts = [name]
        facts += [spoken_seconds(item.seconds)] if item.seconds is not None else []
        facts += [f"seed {seed}"] if seed is not None else []
        yield _shown(replace(plain, facts=facts), path, beside)


def _shown(figure: Figure, path: Place, beside: Path) -> Figure:
    if not path.is_file():
        return replace(figure, blank="the file is missing")
    link, suffix = address(path, beside), path.suffix.lower()
    if has_tile(path.name):
        return replace(figure, image=tile(path), link=link)
    if suffix not in IMAGES:
        return replace(figure, link=link, blank=suffix.removeprefix(".") or "file")
    image = embedded(path)
    if image is None:
        return replace(figure, blank="does not decode")
    return replace(figure, image=image, link=link)


def _prompt_text(item: Item, home: Path) -> str:
    """The record's text, its file's, or the key when neither says anything."""
    text = item.own_text or item.inputs.get("prompt")
    if text is None:
        try:
            text = read_prompt(home / prompt_file(item))
        except (OSError, PromptTextError):
            text = ""
    return str(text).strip() or item.key


def _seed(item: Item, path: Place) -> str | None:
    """The item's own seed, or the one in the graph that the picture carries."""
    if "seed" in item.inputs:
        return str(item.inputs["seed"])
    if path.suffix.lower() != ".png" or not path.is_file():
        return None
    try:
        graph = templates.parse_graph(embedded_graph(path), where=str(path))
        targets = templates.find_bindings(graph).get("seed", ())
    except TemplateError:
        return None
    values = [graph[target.node_id]["inputs"].get(target.input_name) for target in targets]
    return next((str(value) for value in values if isinstance(value, int)), None)
