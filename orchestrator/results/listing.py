"""`burst query`: the images that a search finds, as a table, JSON or CSV, one line an image."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.csv_lines import csv_lines
from orchestrator.documents.lists import FIRST
from orchestrator.documents.results import ImageDocument, QueryDocument
from orchestrator.formatting import counted, in_pieces, more_lines, one_line, spoken_seconds
from orchestrator.results.rendered import Rendered
from orchestrator.results.selection import Selection, open_selection
from orchestrator.results.varying import cells, columns
from orchestrator.settings import Overrides

_PROMPT_SHOWN = 60


@dataclass(frozen=True)
class Listing:
    """What a search finds in an open state: the last ten, or all, which are then read as they are printed."""

    selection: Selection
    last: int | None = FIRST
    """How many are listed; None: all."""

    def csv_pieces(self) -> Iterator[str]:
        """RFC 4180, with the names of the JSON's fields as header; lists are joined by `, `."""
        yield from csv_lines([ImageDocument.__annotations__])
        yield from in_pieces(csv_lines(map(self._cells, self._found)), alone=FIRST)

    def json_pieces(self, *, ensure_ascii: bool) -> Iterator[str]:
        """The text of a `burst.query/1`, which is never in memory as a whole."""
        head = {"schema": "burst.query/1", "state": self.selection.state, "query": self.selection.text}
        yield f'{json.dumps(head, ensure_ascii=ensure_ascii)[:-1]}, "images": ['
        counter, rows = self._rows()
        documents = (json.dumps(self.document(one), ensure_ascii=ensure_ascii) for one in rows)
        yield from in_pieces(documents, between=", ", alone=FIRST)
        yield f'], "images_total": {counter.count}}}\n'

    def text_pieces(self) -> Iterator[str]:
        """One line each with what tells them apart, then how many; times local."""
        counter, rows = self._rows()
        if self.last is not None:
            before = counter.count - min(counter.count, self.last)
            yield from (f"{line}\n" for line in more_lines(before, "images before these"))
        names = columns(rows) if isinstance(rows, deque) else None
        yield from in_pieces((f"{one_line(self._line(one, names))}\n" for one in rows), alone=FIRST)
        yield f"{counted(counter.count, 'image')}\n"

    def as_json(self) -> QueryDocument:
        document: QueryDocument = json.loads("".join(self.json_pieces(ensure_ascii=True)))
        return document

    def document(self, one: Rendered) -> ImageDocument:
        """An image as JSON."""
        return {
            "file": self.selection.walk.shown_file(one),
            "prompt": one.prompt,
            "negative": one.text("negative"),
            "model": one.text("model"),
            "loras": [{"name": lora.name, "strength": lora.strength} for lora in one.loras],
            "seed": one.seed,
            "sampler": one.text("sampler"),
            "scheduler": one.text("scheduler"),
            "steps": one.number("steps"),
            "cfg": one.number("cfg"),
            "denoise": one.number("denoise"),
            "width": one.number("width"),
            "height": one.number("height"),
            "inputs": {name: value for name, value in one.item.inputs.items() if name != "prompt"},
            "seconds": one.item.seconds,
            "completed_at": one.at.isoformat() if one.at is not None else None,
            "bytes": one.output.bytes,
            "sha256": one.output.sha256,
            "favorite": one.favorite,
            "tags": list(one.item.tags),
            "template": one.template,
            "server": one.item.server,
            "batch": one.item.batch,
            "batch_name": one.batch.name if one.batch is not None else None,
            "item": one.item.key,
        }

    @property
    def _found(self) -> Iterator[Rendered]:
        return iter(self.selection)

    def _rows(self) -> tuple[_Counter, Iterable[Rendered]]:
        """Those that are listed, and the counter of all, which has counted them once the rows are read."""
        counter = _Counter()
        rows = counter.counting(self._found)
        return counter, rows if self.last is None else deque(rows, maxlen=self.last)

    def _cells(self, one: Rendered) -> Iterable[object]:
        row = {**self.document(one)}
        row |= {"loras": ", ".join(lora.as_text() for lora in one.loras), "tags": ", ".join(one.item.tags)}
        row |= {"inputs": json.dumps(row["inputs"])}
        return row.values()

    def _line(self, one: Rendered, names: Sequence[str] | None) -> str:
        """`2026-11-30 06:01:07  out/a.png  seed 7  sdxl  ink:0.5  cfg 7  3.2 s  a red fox`."""
        prompt = " ".join(one.prompt.split())
        said = [
            f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}" if one.at is not None else f"{'?':19}",
            self.selection.walk.shown_file(one),
            f"seed {one.seed}" if one.seed is not None else "",
            one.text("model") or "",
            ", ".join(lora.as_text() for lora in one.loras),
            *cells(one, names),
            spoken_seconds(one.item.seconds) if one.item.seconds is not None else "",
            prompt if len(prompt) <= _PROMPT_SHOWN else f"{prompt[: _PROMPT_SHOWN - 1]}…",
        ]
        return "  ".join(filter(None, said))


@dataclass
class _Counter:
    count: int = 0

    def counting(self, rows: Iterable[Rendered]) -> Iterator[Rendered]:
        for row in rows:
            self.count += 1
            yield row


@contextlib.contextmanager
def open_listing(
    state: Path, words: Sequence[str] = (), *, last: int | None = FIRST, overrides: Overrides | None = None
) -> Iterator[Listing]:
    """What a search finds, for printing; without words, everything. Takes no lock and writes nothing.

    Errors: UsageError for a term that means nothing; StateError.
    """
    with open_selection(state, words, overrides=overrides) as selection:
        yield Listing(selection, last)


def query_images(state: Path, words: Sequence[str] = (), *, last: int | None = None) -> QueryDocument:
    """The images that a search finds, as `burst query --json` prints them; `last`: how many of them, None for all.

    Errors: UsageError for a term that means nothing; StateError.
    """
    with open_listing(state, words, last=last) as listing:
        return listing.as_json()
