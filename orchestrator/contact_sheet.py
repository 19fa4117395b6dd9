"""A contact sheet: one self-contained HTML page with every picture, its prompt text, seconds and seed."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import templates
from orchestrator.errors import OutputRefused, PromptTextError, RecipeUnusable, TemplateError
from orchestrator.formatting import spoken_seconds
from orchestrator.outputs.pictures import embedded_graph
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import prompt_file, read_prompt
from orchestrator.sheet_style import STYLE
from state.disk import Disk
from state.item import Item, Status

PICTURES = {".png": "png", ".apng": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif"}
_EMBEDDED_WHOLE_BYTES = 150_000
"""Pictures up to this size are embedded as they are; larger ones as a smaller copy."""
_COPY_PIXELS = 640


@dataclass(frozen=True)
class Card:
    """One output on the sheet, or an item that has none."""

    key: str
    caption: str
    path: Path | None
    """Where the file lies; None for an item without one."""
    status: Status
    seconds: float | None = None
    seed: str | None = None
    error: str | None = None


def cards_of(items: Iterable[Item], *, placement: Placement, home: Path) -> list[Card]:
    """One card for each output of each item. `home`: the state file's directory, where prompt files are found from."""
    return [card for item in items for card in _cards(item, placement, home)]


def write_contact_sheet(
    target: Path, items: Iterable[Item], *, placement: Placement, home: Path, title: str, summary: str = ""
) -> Path:
    """Write the sheet of these items to `target`, and return it. Pictures are embedded and linked to their files.

    Safe to repeat. A picture that is gone or damaged gets a card that says so. Errors: DiskFull, OSError.
    """
    cards = cards_of(items, placement=placement, home=home)
    Disk().write_whole(target, render(cards, beside=target.parent, title=title, summary=summary).encode())
    return target


def render(cards: Iterable[Card], *, beside: Path, title: str, summary: str = "") -> str:
    """The page. Links to files are relative to `beside`, the directory that it will lie in."""
    figures = "\n".join(_figure(card, beside) for card in cards)
    below = f"<p>{escape(summary)}</p>" if summary else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{below}</header>
<main>
{figures}
</main>
</body>
</html>
"""


def _cards(item: Item, placement: Placement, home: Path) -> list[Card]:
    caption = _prompt_text(item, home)
    error = item.error.message if item.error and item.status is Status.FAILED else None
    if item.status is not Status.COMPLETED or not item.outputs:
        return [Card(item.key, caption, None, item.status, error=error)]
    cards = []
    for output in item.outputs:
        if output.path == item.sidecar:
            continue
        try:
            path = placement.path_of(item, output.path)
        except (OutputRefused, RecipeUnusable) as refused:
            cards.append(Card(item.key, caption, None, item.status, error=str(refused)))
            continue
        cards.append(Card(item.key, caption, path, item.status, seconds=item.seconds, seed=_seed(item, path)))
    return cards


def _prompt_text(item: Item, home: Path) -> str:
    """The record's text, its file's, or the key when neither says anything."""
    text = item.prompt_text or item.inputs.get("prompt")
    if text is None:
        try:
            text = read_prompt(home / prompt_file(item))
        except (OSError, PromptTextError):
            text = ""
    return str(text).strip() or item.key


def _seed(item: Item, path: Path) -> str | None:
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


def _figure(card: Card, beside: Path) -> str:
    facts = [PurePosixPath(card.key).name]
    facts += [spoken_seconds(card.seconds)] if card.seconds is not None else []
    facts += [f"seed {card.seed}"] if card.seed is not None else []
    error = f'<p class="error">{escape(card.error)}</p>' if card.error else ""
    small = " · ".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return (
        f'<figure class="{card.status}">{_picture(card, beside)}'
        f"<figcaption><p>{escape(card.caption)}</p>{error}<small>{small}</small></figcaption></figure>"
    )


def _picture(card: Card, beside: Path) -> str:
    if card.path is None:
        return f'<div class="blank">{escape(card.status)}</div>'
    if not card.path.is_file():
        return '<div class="blank">the file is missing</div>'
    link = escape(quote(Path(os.path.relpath(card.path, beside)).as_posix()))
    suffix = card.path.suffix.lower()
    if suffix not in PICTURES:
        return f'<a class="blank" href="{link}">{escape(suffix.removeprefix(".") or "file")}</a>'
    embedded = embedded_picture(card.path)
    if embedded is None:
        return '<div class="blank">does not decode</div>'
    source, width, height = embedded
    return f'<a href="{link}"><img src="{source}" width="{width}" height="{height}" alt="{escape(card.caption)}"></a>'


def embedded_picture(path: Path) -> tuple[str, int, int] | None:
    """A data URI of the picture, or of a smaller copy, with its width and height. None where it does not decode."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
            size = picture.size
            if path.stat().st_size <= _EMBEDDED_WHOLE_BYTES:
                return _data_uri(path.read_bytes(), PICTURES[path.suffix.lower()]), *size
            copy = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
            copy.thumbnail((_COPY_PIXELS, _COPY_PIXELS))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    stream = io.BytesIO()
    copy.save(stream, format="WEBP", quality=82)
    return _data_uri(stream.getvalue(), "webp"), *copy.size


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
