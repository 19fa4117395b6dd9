"""Where prompts come from: a flag, a file, a list with a prompt a line, CSV, JSONL, a workbook."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from orchestrator.batches.a1111_lines import are_plain, read_line
from orchestrator.batches.a1111_parameters import image_parameters, read_parameters
from orchestrator.batches.foreign_formats import (
    looks_like_parameters,
    refuse_binary,
    refuse_foreign_text,
    refuse_list,
)
from orchestrator.batches.layouts import refuse_unsafe
from orchestrator.batches.picks import entries_of
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.rows import Fault, Heading, Reading
from orchestrator.batches.spec import BatchSpec, without_requested
from orchestrator.batches.tables import Table, read_csv, read_workbook, text_of
from orchestrator.batches.values import clean
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.errors import UsageError, located
from orchestrator.formatting import folded
from orchestrator.wording import named

STANDARD_INPUT = "-"
LARGEST_LIST_BYTES = 256 << 20
"""Of a list, which is held in memory."""
LARGEST_IMAGE_BYTES = 1 << 30
"""Of a file that is made again."""


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


@dataclass(frozen=True)
class Listed:
    """The prompts of a request, in their order; `notes`: what was left out of their list, and the like."""

    entries: list[PromptEntry]
    notes: tuple[str, ...] = ()


def read_entries(spec: BatchSpec, *, vocabulary: Vocabulary, data: bytes | None = None) -> list[PromptEntry]:
    """The prompts alone of `read_list`."""
    return read_list(spec, vocabulary=vocabulary, data=data).entries


def read_list(
    spec: BatchSpec,
    *,
    vocabulary: Vocabulary,
    data: bytes | None = None,
    vocabulary_of: Callable[[str], Vocabulary] | None = None,
    names_are_ids: bool = False,
    takes_paths: bool = True,
) -> Listed:
    """The prompts that were asked for; at least one. Not for `from_file`, which is no list.

    `data`: what `read_source` has read (of `from_batch`: what was picked); without it, that is read now. In a mirror
    layout each prompt has the name and subfolder that its row says; otherwise a list's own name is the subfolder, and a
    prompt file's directory and name are its. `vocabulary_of`: that of a template that a row names. `names_are_ids`:
    take a column `name` in any layout, and where there is no `id`, as that. `takes_paths`: as of `Reading`.
    Errors: UsageError that names file, line and column.
    """
    source = spec.source
    said = str(getattr(spec, source))
    if source == "from_batch":
        assert data is not None
        return Listed(entries_of(spec, data, vocabulary))
    if source == "prompt":
        return Listed([PromptEntry(clean(said, named("prompt")).strip(), {}, named("prompt"))])
    listed = _List(said, spec, vocabulary, vocabulary_of, names_are_ids, takes_paths)
    data = read_source(spec) if data is None else data
    refuse_unsafe("image", layout="mirror", subfolder=listed.subfolder or "", place=listed.shown)
    if source == "prompts_file":
        entries = list(_prompts(listed, data, spec))
    elif source == "xlsx":
        entries = list(_table(listed, read_workbook(data, listed.shown, sheet=spec.sheet)))
    else:
        if source == "prompt_file":
            refuse_list(data, listed.shown, is_literal=spec.literal)
        read = {"prompt_file": _whole, "csv": _csv, "jsonl": _jsonl}[source]
        entries = list(read(listed, text_of(data, listed.shown)))
    if not entries:
        raise UsageError(f"{listed.shown}: it holds no prompt")
    _refuse_same_names(entries)
    _refuse_same_ids(entries)
    return Listed(entries, tuple(listed.notes))


@dataclass(frozen=True)
class _List:
    """A file with prompts."""

    path: str
    spec: BatchSpec
    vocabulary: Vocabulary
    vocabulary_of: Callable[[str], Vocabulary] | None
    names_are_ids: bool
    takes_paths: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def shown(self) -> str:
        return _shown(self.path)

    def line(self, number: int) -> str:
        return f"{self.shown} line {number}"

    @property
    def subfolder(self) -> str | None:
        """Where a mirror layout puts what its rows do not place; None in another layout."""
        if self.spec.layout != "mirror":
            return None
        return "" if self.path == STANDARD_INPUT else Path(self.path).stem

    def reading(self, *, has_decimal_commas: bool = False) -> Reading:
        return Reading(
            self.vocabulary,
            self.subfolder,
            folder=Path.cwd() if self.path == STANDARD_INPUT else Path(self.path).absolute().parent,
            has_decimal_commas=has_decimal_commas,
            ignores_columns=self.spec.ignore_columns,
            names_are_ids=self.names_are_ids,
            takes_paths=self.takes_paths,
            vocabulary_of=self.vocabulary_of,
        )

    def note_ignored(self, columns: Iterable[str]) -> None:
        if names := ", ".join(map(repr, dict.fromkeys(columns))):
            self.notes.append(f"{self.shown}: columns ignored, because nothing uses them: {names}")


def _shown(path: str) -> str:
    return "standard input" if path == STANDARD_INPUT else path


def _whole(listed: _List, text: str) -> Iterator[PromptEntry]:
    if not text.strip():
        return
    name, subfolder = "", ""
    if listed.spec.layout == "mirror" and listed.path != STANDARD_INPUT:
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
        text = text_of(data, listed.shown)
    if spec.literal:
        yield from _lines(listed, text)
    elif looks_like_parameters(text):
        left_out: dict[str, None] = {}
        for found in read_parameters(text, listed.shown, listed.vocabulary.binds):
            inputs, subfolder = without_requested(found.inputs, spec), listed.subfolder or ""
            left_out |= dict.fromkeys(found.left_out)
            yield PromptEntry(
                found.prompt, inputs, listed.shown, subfolder=subfolder, has_model_stem=True, line=found.line
            )
        if left_out:
            listed.notes.append(f"{listed.shown}: not used of the images' parameters: {', '.join(left_out)}")
    else:
        refuse_foreign_text(text, listed.shown, listed.path)
        entries = _lines(listed, text)
        yield from entries if are_plain(text) else (read_line(entry, listed.vocabulary) for entry in entries)


def _lines(listed: _List, text: str) -> Iterator[PromptEntry]:
    """Blank lines, and comments, which begin with #, are passed over; `\\#` begins a prompt with #."""
    comments = 0
    for number, line in enumerate(text.split("\n"), 1):
        entry, subfolder = line.strip(), listed.subfolder or ""
        comments += entry.startswith("#")
        if entry and not entry.startswith("#"):
            column = line.index(entry) + 1 + entry.startswith("\\#")
            entry = entry.removeprefix("\\") if entry.startswith("\\#") else entry
            yield PromptEntry(entry, {}, listed.line(number), subfolder=subfolder, column=column)
    if comments:
        are = "line begins with # and is a comment" if comments == 1 else "lines begin with # and are comments"
        listed.notes.append(f"{listed.shown}: {comments} {are}; `\\#` begins a prompt with #")


def _csv(listed: _List, text: str) -> Iterator[PromptEntry]:
    return _table(listed, read_csv(text, listed.shown))


def _table(listed: _List, table: Table) -> Iterator[PromptEntry]:
    first = next(table.rows, None)
    if first is None:
        return
    with located(first.where, UsageError):
        said = [_title(cell) for cell in first.cells]
    reading = listed.reading(has_decimal_commas=table.has_decimal_commas)
    heading = Heading.read(said, first.where, reading, is_first_row=True)
    for row in table.rows:
        more = [cell for cell in row.cells[len(said) :] if cell is not None]
        if more:
            raise UsageError(
                f"{row.where}: {len(row.cells)} cells under {len(said)} columns, the first too many is {more[0]!r}; "
                'put "…" around a text that holds a comma'
            )
        yield heading.entry([*row.cells[: len(said)], *[None] * (len(said) - len(row.cells))], row.where)
    listed.notes.extend(table.notes)
    listed.note_ignored(heading.ignored)


def _title(cell: object) -> str:
    """What a column is called. Errors: UsageError."""
    if isinstance(cell, Fault):
        raise UsageError(cell.why)
    return "" if cell is None else str(cell)


def _jsonl(listed: _List, text: str) -> Iterator[PromptEntry]:
    """Objects whose keys are columns; a text alone is a prompt."""
    headings: dict[tuple[str, ...], Heading] = {}
    reading = listed.reading()
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
            headings[keys] = Heading.read(keys, where, reading)
        yield headings[keys].entry(list(document.values()), where)
    listed.note_ignored(name for heading in headings.values() for name in heading.ignored)


def _parsed(line: str, where: str) -> object:
    try:
        return json.loads(line, object_pairs_hook=_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}, character {error.colno}: not JSON: {error.msg}") from error
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


def _refuse_same_ids(entries: Iterable[PromptEntry]) -> None:
    """Errors: UsageError for two rows that could not be told apart when the list has changed."""
    rows: dict[str, PromptEntry] = {}
    for entry in entries:
        if entry.id and (other := rows.setdefault(entry.id, entry)) is not entry:
            raise UsageError(f"{other.where} and {entry.where} both have the id {entry.id!r}; give each its own")
