"""What the rows of a list say: a prompt, values for bindings and addresses, files to upload, and how it is made."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import templates
from orchestrator.batches.layouts import refuse_unsafe
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.spec import LARGEST_COUNT
from orchestrator.batches.values import RANDOM_SEED, clean, fitted, is_random_seed, parted, parts_of
from orchestrator.batches.vocabulary import PLACES, Vocabulary, spelled
from orchestrator.errors import UsageError, located
from orchestrator.places import ObjectPath, is_named_root, root_named
from state.item import Priority

OF_ROWS = ("id", "count", "template", "priority", "output")
"""Columns that say how a row is made, rather than what goes into its workflow."""
UPLOADED = frozenset({"image", "mask", "video", "audio"})
"""Bindings whose cell names a file to upload."""
_TEXTS = ("prompt", *PLACES)
_FILE_EXTENSION = re.compile(r"\.(png|jpe?g|webp|gif|mp4|webm|txt|json)\Z", re.IGNORECASE)
_ON_SERVER = "server:"
_ANNOTATED = re.compile(r"\[(input|output|temp)\]\Z")
_DECIMAL_COMMA = re.compile(r"\s*[+-]?[0-9]+,[0-9]+\s*")
_LORA_COMMA = re.compile(r"(:[+-]?[0-9]+),([0-9]+)\Z")
_OF_ROW = "@"
"""Before a name of `OF_ROWS`, which a binding may have too."""
_IGNORED = ""
"""In place of a name: the column is left out."""


@dataclass(frozen=True)
class Fault:
    """In place of a cell's value: why it has none. It matters only where something takes the cell."""

    why: str


@dataclass(frozen=True)
class Reading:
    """How the rows of one list are understood."""

    vocabulary: Vocabulary
    subfolder: str | None = None
    """Of rows that name none, in a mirror layout; None in another."""
    folder: Path = field(default_factory=Path.cwd)
    """Where relative paths in cells start."""
    has_decimal_commas: bool = False
    ignores_columns: bool = False
    """Leave out what nothing takes."""
    names_are_ids: bool = False
    """Whether `name` tells rows apart, whatever the layout."""
    takes_paths: bool = True
    """Whether cells may name files, templates and output directories of this host: not where others write the list."""
    vocabulary_of: Callable[[str], Vocabulary] | None = None
    """Of the template that a row names. Errors: UsageError."""


@dataclass(frozen=True)
class Heading:
    """The columns of a list, or the keys of an object: as they are written, and what each one means."""

    said: tuple[str, ...]
    names: tuple[str | None, ...]
    """None for a column without a heading."""
    reading: Reading
    untaken: Mapping[int, UsageError] = field(default_factory=dict)
    """Columns that nothing in this template takes, where rows name templates of their own: they stay empty."""
    says_how: bool = False
    """Whether it has a column of `OF_ROWS`."""
    _others: dict[str, Heading] = field(default_factory=dict)
    """By a row's template."""

    @classmethod
    def read(cls, said: Sequence[str], where: str, reading: Reading, *, is_first_row: bool = False) -> Heading:
        """Errors: UsageError for a column that nothing takes, one that is there twice, and no `prompt`."""
        meant = [spelled(name) for name in said]
        if "prompt" not in meant and reading.vocabulary.binds("prompt"):
            raise UsageError(_without_prompt(said, meant, where, reading, is_first_row=is_first_row))
        names: list[str | None] = []
        untaken: dict[int, UsageError] = {}
        for number, name in enumerate(said):
            try:
                names.append(_meaning(name, f"{where}, column {name!r}", reading))
            except UsageError as error:
                if not reading.ignores_columns and "template" not in meant:
                    raise
                names.append(_IGNORED)
                untaken[number] = error
        told: dict[str, str] = {}
        for written, meaning in zip(said, names, strict=True):
            for part in parts_of(meaning) if meaning else ():
                if part in told:
                    raise UsageError(
                        f"{where}: {told[part]!r} and {written!r} both set {part.removeprefix(_OF_ROW)}; take one out"
                    )
                told[part] = written
        says_how = any(name.startswith(_OF_ROW) for name in names if name)
        return cls(tuple(said), tuple(names), reading, untaken, says_how)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The columns that are left out."""
        return tuple(self.said[number] for number in self.untaken) if self.reading.ignores_columns else ()

    def entry(self, values: Sequence[Any], where: str) -> PromptEntry:
        """What one row asks for; None is an empty cell. Errors: UsageError that names the column."""
        said = self._of_row(values, where) if self.says_how else {}
        if said.get("template") and self.reading.vocabulary_of is not None:
            return self._by(said["template"], where)._entry(values, where, said)
        return self._entry(values, where, said)

    def _by(self, template: str, where: str) -> Heading:
        """This heading in the words of another template."""
        assert self.reading.vocabulary_of is not None
        if template not in self._others:
            with located(f"{where}, column 'template'", UsageError):
                vocabulary = self.reading.vocabulary_of(template)
            self._others[template] = Heading.read(self.said, where, replace(self.reading, vocabulary=vocabulary))
        return self._others[template]

    def _of_row(self, values: Sequence[Any], where: str) -> dict[str, Any]:
        found = {}
        for written, name, value in zip(self.said, self.names, values, strict=True):
            if name and name.startswith(_OF_ROW) and value is not None:
                word = name.removeprefix(_OF_ROW)
                with located(f"{where}, column {written!r}", UsageError):
                    found[word] = _ROW_VALUES[word](_sound(value), self.reading)
        return found

    def _entry(self, values: Sequence[Any], where: str, said: Mapping[str, Any]) -> PromptEntry:
        inputs: dict[str, Any] = {}
        uploads: dict[str, str] = {}
        for number, (written, name, value) in enumerate(zip(self.said, self.names, values, strict=True)):
            if value is None or (name and name.startswith(_OF_ROW)):
                continue
            if name == _IGNORED:
                if self.reading.ignores_columns:
                    continue
                raise self.untaken[number]
            if name is None and self.reading.ignores_columns:
                continue
            if name is None:
                raise UsageError(f"{where}: {value!r} stands in a column without a heading; quote a text with commas")
            with located(f"{where}, column {written!r}", UsageError):
                fitting = self._fitting(name, _sound(value))
                if name in UPLOADED and not _is_on_server(fitting):
                    uploads[name] = _file(fitting, self.reading)
                else:
                    inputs |= parted(name, fitting.removeprefix(_ON_SERVER) if name in UPLOADED else fitting)
        prompt, name, subfolder = (inputs.pop(text, "") for text in _TEXTS)
        if not prompt and self.reading.vocabulary.binds("prompt"):
            raise UsageError(f"{where}: the prompt is empty; write one, or take the row out")
        is_named = self.reading.names_are_ids or self.reading.subfolder is not None
        row = said.get("id", "") or (name if is_named else "")
        entry = PromptEntry(
            prompt,
            inputs,
            where,
            uploads=uploads,
            id=row,
            count=said.get("count"),
            template=said.get("template", ""),
            priority=said.get("priority"),
            output=said.get("output", ""),
        )
        return self._placed(entry, name, subfolder)

    def _placed(self, entry: PromptEntry, name: str, subfolder: str) -> PromptEntry:
        if self.reading.subfolder is None:
            return entry
        inside, slash, stem = _FILE_EXTENSION.sub("", name).rpartition("/")
        place = "/".join(part for part in (subfolder or ("" if slash else self.reading.subfolder), inside) if part)
        refuse_unsafe(stem or "image", layout="mirror", subfolder=place, place=entry.where)
        return replace(entry, name=stem, subfolder=place)

    def _fitting(self, name: str, value: Any) -> Any:
        """Errors: UsageError."""
        if name in _TEXTS:
            return clean(value, name).strip()
        if name == "seed" and is_random_seed(value):
            return RANDOM_SEED
        return fitted(name, self._with_points(name, value))

    def _with_points(self, name: str, value: Any) -> Any:
        """A number that was written with a decimal comma, where the list is of a spreadsheet that writes so."""
        if not self.reading.has_decimal_commas or not isinstance(value, str):
            return value
        if name == "lora":
            return _LORA_COMMA.sub(r"\1.\2", value.strip())
        is_one = _DECIMAL_COMMA.fullmatch(value) and self.reading.vocabulary.is_number(name)
        return value.replace(",", ".") if is_one else value


def _without_prompt(
    said: Sequence[str], meant: Sequence[str], where: str, reading: Reading, *, is_first_row: bool
) -> str:
    shown = ", ".join(map(repr, said)) or "nothing"
    known = (*OF_ROWS, *PLACES, "size")
    is_heading = any(name in known or reading.vocabulary.binds(name) or _is_address(name) for name in meant)
    if is_first_row and not is_heading:
        return (
            f"{where} is not a heading row ({shown}); put a row above it that names the columns, such as `prompt`, or "
            "`prompt` and `seed`"
        )
    return f"{where}: no column is called `prompt`, only {shown}"


def _is_address(name: str) -> bool:
    return re.fullmatch(r"[0-9:]+\.\w+|(title|class)=.+\.\w+", name) is not None


def _meaning(said: str, place: str, reading: Reading) -> str | None:
    if not said.strip():
        return None
    name, vocabulary = spelled(said), reading.vocabulary
    if name == "prompt" or (name in PLACES and reading.subfolder is not None):
        return name
    if name == "name" and reading.names_are_ids:
        return name
    word = said.strip().casefold()
    if word in OF_ROWS and not vocabulary.binds(said.strip()):
        return _OF_ROW + word
    with located(place, UsageError):
        return vocabulary.meaning(said)


def _sound(value: Any) -> Any:
    """Errors: UsageError for a cell without a value."""
    if isinstance(value, Fault):
        raise UsageError(value.why)
    return value


def _is_on_server(name: str) -> bool:
    """By a mark of ours, or by ComfyUI's own."""
    return name.startswith(_ON_SERVER) or _ANNOTATED.search(name) is not None


def _file(text: str, reading: Reading) -> str:
    """The path of a file to upload. Errors: UsageError."""
    if not reading.takes_paths:
        raise UsageError(
            f"{text!r}: this list cannot name files of this host; write {_ON_SERVER}{text} for a file that is on the "
            "server already"
        )
    path = _path(text, reading.folder)
    if not os.path.isfile(path):
        raise UsageError(
            f"there is no file {path}; correct the path (relative ones start at the list's folder), or write "
            f"{_ON_SERVER}{text} for a file that is on the server already"
        )
    return path


def _path(text: str, folder: Path) -> str:
    return os.path.normpath(folder / os.path.expanduser(text))


def _count(value: Any, reading: Reading) -> int:
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]{1,9}(\.0+)?", text) or not 1 <= int(float(text)) <= LARGEST_COUNT:
        raise UsageError(f"a row has from 1 to {LARGEST_COUNT} variations; {value!r} is not")
    return int(float(text))


def _priority(value: Any, reading: Reading) -> Priority:
    word = str(value).strip().casefold()
    if word not in get_args(Priority):
        raise UsageError(f"{value!r} is not one of {', '.join(get_args(Priority))}")
    return cast("Priority", word)


def _template(value: Any, reading: Reading) -> str:
    """A file beside the list, or a name as `--template` takes it."""
    text = clean(value, "template").strip()
    if not reading.takes_paths:
        shipped = templates.shipped_workflows()
        if text not in shipped:
            raise UsageError(f"{text!r} does not come with burst; write one of {', '.join(shipped)}")
        return text
    path = _path(text, reading.folder)
    return path if os.path.isfile(path) else text


def _output(value: Any, reading: Reading) -> str:
    text = clean(value, "output").strip()
    if not reading.takes_paths:
        raise UsageError("this list cannot set an output directory; take the column out")
    root = root_named(text)
    if isinstance(root, ObjectPath) or is_named_root(text):
        return str(root)
    path = _path(text, reading.folder)
    if os.path.isfile(path):
        raise UsageError(f"a file stands at {path}; name a directory")
    return path


def _id(value: Any, reading: Reading) -> str:
    return clean(str(value) if isinstance(value, int) else value, "id").strip()


_ROW_VALUES: Mapping[str, Callable[[Any, Reading], Any]] = {
    "id": _id,
    "count": _count,
    "template": _template,
    "priority": _priority,
    "output": _output,
}
