"""Where prompts come from: a flag, a file, a list with a prompt a line, CSV, JSONL."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from orchestrator.batches.a1111_lines import read_line
from orchestrator.batches.a1111_parameters import image_parameters, read_parameters
from orchestrator.batches.foreign_formats import (
    looks_like_parameters,
    refuse_binary,
    refuse_foreign_text,
    refuse_list,
)
from orchestrator.batches.layouts import refuse_unsafe
from orchestrator.batches.rows import Heading
from orchestrator.batches.spec import BatchSpec, PromptEntry, without_requested
from orchestrator.batches.values import clean
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.errors import UsageError, located
from orchestrator.formatting import folded
from orchestrator.text_files import decoded
from orchestrator.wording import named

STANDARD_INPUT = "-"
LARGEST_LIST_BYTES = 256 << 20
"""Of a list, which is held in memory."""
LARGEST_IMAGE_BYTES = 1 << 30
"""Of a file that is made again."""
_DELIMITERS = ",;\t"
"""Spreadsheets write CSV with semicolons where the comma is the decimal point's sign."""


def read_source(spec: BatchSpec, *, stdin: BinaryIO | None = None) -> bytes:
    """What the request's source of prompts holds: the text of `--prompt`, or the bytes of its file.

    `stdin` is read for a file called `-`. Pipes and the shell's `<(…)` are read to their end, and cannot be read again.
    Errors: UsageError.
    """
    source, said = spec.source, str(getattr(spec, spec.source))
    if source == "prompt":
        return clean(said, named("prompt")).strip().encode()
    most_bytes, advice = LARGEST_LIST_BYTES, "split it"
    if source == "from_file":
        most_bytes, advice = LARGEST_IMAGE_BYTES, "neither a sidecar nor an image of ComfyUI is so large"
    with located(f"{named(source, said)}: cannot be read", OSError, ValueError, into=UsageError):
        if said == STANDARD_INPUT:
            data = (stdin or sys.stdin.buffer).read(most_bytes + 1)
        else:
            with open(said, "rb") as stream:
                data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise UsageError(f"{_shown(said)}: over {most_bytes >> 20} MiB; {advice}")
    return data


def read_entries(spec: BatchSpec, *, vocabulary: Vocabulary, data: bytes | None = None) -> list[PromptEntry]:
    """The prompts that were asked for, in their order; at least one. Not for `from_file`, which is no list.

    `data`: what `read_source` has read; without it, that is read now. In a mirror layout each prompt has the name and
    subfolder that its row says; otherwise a list's own name is the subfolder, and a prompt file's directory and name
    are its.
    Errors: UsageError that names file, line and column.
    """
    source = spec.source
    said = str(getattr(spec, source))
    if source == "prompt":
        return [PromptEntry(clean(said, named("prompt")).strip(), {}, named("prompt"))]
    listed = _List(said, vocabulary, mirrored=spec.layout == "mirror")
    data = read_source(spec) if data is None else data
    refuse_unsafe("image", layout="mirror", subfolder=listed.subfolder or "", place=listed.shown)
    if source == "prompts_file":
        entries = list(_prompts(listed, data, spec))
    else:
        if source == "prompt_file":
            refuse_list(data, listed.shown, is_literal=spec.literal)
        read = {"prompt_file": _whole, "csv": _csv, "jsonl": _jsonl}[source]
        entries = list(read(listed, _text(data, listed.shown)))
    if not entries:
        raise UsageError(f"{listed.shown}: there is no prompt in it")
    _refuse_same_names(entries)
    return entries


@dataclass(frozen=True)
class _List:
    """A file with prompts."""

    path: str
    vocabulary: Vocabulary
    mirrored: bool

    @property
    def shown(self) -> str:
        return _shown(self.path)

    def line(self, number: int) -> str:
        return f"{self.shown} line {number}"

    @property
    def subfolder(self) -> str | None:
        """Where a mirror layout puts what its rows do not place; None in another layout."""
        if not self.mirrored:
            return None
        return "" if self.path == STANDARD_INPUT else Path(self.path).stem

    def heading(self, said: Iterable[str], where: str) -> Heading:
        return Heading.read(tuple(said), where, vocabulary=self.vocabulary, subfolder=self.subfolder)


def _shown(path: str) -> str:
    return "standard input" if path == STANDARD_INPUT else path


def _text(data: bytes, shown: str) -> str:
    """Errors: UsageError."""
    with located(shown, ValueError, into=UsageError):
        return decoded(data)


def _whole(listed: _List, text: str) -> Iterator[PromptEntry]:
    if not text.strip():
        return
    name, subfolder = "", ""
    if listed.mirrored and listed.path != STANDARD_INPUT:
        path = Path(listed.path).absolute()
        name, subfolder = path.stem, path.parent.name
        refuse_unsafe(name, layout="mirror", subfolder=subfolder, place=listed.shown)
    before = text[: len(text) - len(text.lstrip())]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    yield PromptEntry(text.strip(), {}, listed.shown, name=name, subfolder=subfolder, line=line, column=column)


def _prompts(listed: _List, data: bytes, spec: BatchSpec) -> Iterator[PromptEntry]:
    """A prompt a line, or with options on each line; or the `parameters` of the web UI's images, also out of one."""
    text = image_parameters(data, listed.shown)
    if text is None:
        refuse_binary(data, listed.shown)
        text = _text(data, listed.shown)
    if spec.literal:
        yield from _lines(listed, text)
    elif looks_like_parameters(text):
        for found in read_parameters(text, listed.shown, listed.vocabulary.binds):
            inputs, subfolder = without_requested(found.inputs, spec), listed.subfolder or ""
            yield PromptEntry(found.prompt, inputs, listed.shown, subfolder=subfolder, line=found.line)
    else:
        refuse_foreign_text(text, listed.shown, listed.path)
        yield from (read_line(entry, listed.vocabulary) for entry in _lines(listed, text))


def _lines(listed: _List, text: str) -> Iterator[PromptEntry]:
    """Blank lines, and those that begin with #, are passed over."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            entry, subfolder = line.strip(), listed.subfolder or ""
            yield PromptEntry(entry, {}, listed.line(number), subfolder=subfolder, column=line.index(entry) + 1)


def _csv(listed: _List, text: str) -> Iterator[PromptEntry]:
    heading: Heading | None = None
    for number, cells in _records(listed, text):
        where = listed.line(number)
        if heading is None:
            heading = listed.heading(cells, where)
            continue
        told = [cell if cell.strip() else None for cell in cells]
        more = [cell for cell in told[len(heading.said) :] if cell is not None]
        if more:
            raise UsageError(
                f"{where}: {len(cells)} cells under {len(heading.said)} columns, the first too many is {more[0]!r}; "
                'put "…" around a text that holds a comma'
            )
        missing = len(heading.said) - len(told)
        yield heading.entry([*told[: len(heading.said)], *[None] * missing], where)


def _records(listed: _List, text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line where it begins."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    while True:
        number = rows.line_num + 1
        with located(
            f"{listed.line(number)}: this row is no CSV", csv.Error, into=UsageError, advice="see to its quotes"
        ):
            cells = next(rows, None)
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield number, cells


def _jsonl(listed: _List, text: str) -> Iterator[PromptEntry]:
    """Objects whose keys are columns; a text alone is a prompt."""
    headings: dict[tuple[str, ...], Heading] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = listed.line(number)
        document = _parsed(line, where)
        if isinstance(document, str):
            document = {"prompt": document}
        if not isinstance(document, dict):
            raise UsageError(f"{where}: an object or a text stands on each line, not {line.strip()[:40]!r}")
        keys = tuple(document)
        if keys not in headings:
            headings[keys] = listed.heading(keys, where)
        yield headings[keys].entry(list(document.values()), where)


def _parsed(line: str, where: str) -> object:
    try:
        return json.loads(line, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}, character {error.colno}: no JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice; take one out")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _refuse_same_names(entries: Iterable[PromptEntry]) -> None:
    """Two of one name would overwrite each other in a mirror layout. Errors: UsageError."""
    places: dict[tuple[str, str], PromptEntry] = {}
    for entry in entries:
        if not entry.name:
            continue
        other = places.setdefault((folded(entry.subfolder), folded(entry.name)), entry)
        if other is not entry:
            name = f"{entry.subfolder}/{entry.name}".lstrip("/")
            raise UsageError(f"{other.where} and {entry.where} are both called {name}; rename one")
