"""Wildcards: the lists in a folder that `__name__` in a dynamic prompt chooses from.

A `.txt` file is a list, an entry a line, called by its path without the ending (`people/jobs`); lines that begin with
# and blank ones are passed over. In a `.yaml`, `.yml` or `.json` file each list is called by its keys, in the file's
folder (`colours/warm`); one that is a list itself is called like a `.txt`. An entry may begin with a weight,
`2::blue`, and is a dynamic prompt itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.batches import dynamic_syntax as syntax
from orchestrator.batches.dynamic_syntax import Choice, DynamicFault, Options
from orchestrator.batches.suggestions import advice
from orchestrator.batches.yaml_file import composed
from orchestrator.errors import UsageError, located
from orchestrator.prompt_directories import natural_key, refuse_undecodable, walk
from orchestrator.text_files import decoded, read_ordinary
from orchestrator.wording import named

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

FOLDER = "wildcards"
"""Beside the state: used where no other folder is named."""
_IN_OTHER_UIS = ("wildcards", "scripts/wildcards", "extensions/*/wildcards", "custom_nodes/*/*wildcards")
"""Where the folders of A1111, Forge and ComfyUI have them."""
_STRUCTURED = (".yaml", ".yml", ".json")
_LARGEST_BYTES = 64 << 20


@dataclass(frozen=True)
class _Entry:
    text: str
    path: Path
    line: int
    column: int = 1
    """Of its first character, from 1."""
    weight: float | None = None
    """Where it is not written before the text."""

    def place(self, *offsets: int) -> str:
        return f"{self.path} line {self.line}, column {self.column + sum(offsets)}"


@dataclass
class _List:
    """A wildcard; a text file is read when it is first used."""

    path: Path
    entries: list[_Entry] | None = None

    def read(self) -> list[_Entry]:
        if self.entries is None:
            self.entries = list(_lines(self.path, _text(self.path)))
        return self.entries


@dataclass
class Wildcards:
    """The lists in some folders, by name. Errors of all methods: UsageError that names file, line and column."""

    folders: Sequence[Path]
    used: dict[str, str] = field(default_factory=dict)
    """Of each wildcard that was looked up, and those in its entries: a digest of what it holds."""
    _lists: dict[str, list[_List]] | None = None
    _choices: dict[str, Choice] = field(default_factory=dict)
    _syntax: syntax.Syntax | None = None
    _open: list[str] = field(default_factory=list)
    """Those whose entries are being read now, each named by an entry of the one before it."""

    @classmethod
    def found(cls, folders: Sequence[str], *, home: Path) -> Wildcards:
        """Those in the named folders; without any, in `wildcards` in `home`, if it is there.

        A folder may be that of another UI: its folders of wildcards are used then. Errors: UsageError.
        """
        if not folders:
            return cls([home / FOLDER] if (home / FOLDER).is_dir() else [])
        return cls([folder for name in folders for folder in _folders(Path(name))])

    @property
    def syntax(self) -> syntax.Syntax:
        """That of texts with these wildcards."""
        if self._syntax is None:
            self._syntax = syntax.Syntax(self.choice)
        return self._syntax

    def choice(self, name: str, at: int) -> Choice:
        """The wildcard that goes by a name, which may be a pattern: `*` within a folder, `**` over folders.

        Errors also: DynamicFault for what is wrong with the name itself, which stands at `at`.
        """
        wanted = name.casefold().strip("/")
        if wanted in self._choices:
            return self._choices[wanted]
        if wanted in self._open:
            circle = " → ".join(f"__{one}__" for one in [*self._open[self._open.index(wanted) :], wanted])
            raise DynamicFault(f"wildcards in a circle: {circle}; take one out of its file", at)
        if len(self._open) >= syntax.LARGEST_DEPTH:
            raise DynamicFault(f"over {syntax.LARGEST_DEPTH} wildcards within wildcards", at)
        entries = [entry for one in self._matching(name, wanted, at) for entry in one.read()]
        self._open.append(wanted)
        choice = self._of(name, entries, at)
        self._open.pop()
        self._choices[wanted] = choice
        held = json.dumps([[entry.text, entry.weight] for entry in entries])
        self.used[wanted] = hashlib.sha256(held.encode()).hexdigest()
        return choice

    def _of(self, name: str, entries: Iterable[_Entry], at: int) -> Choice:
        options: dict[str, tuple[float, syntax.Sequence]] = {}
        for entry in entries:
            weight, text = (entry.weight, entry.text) if entry.weight is not None else syntax.weight_of(entry.text)
            skipped = len(entry.text) - len(text)
            place = partial(entry.place, skipped)
            try:
                parsed = self.syntax.parse(text)
            except DynamicFault as fault:
                raise UsageError(f"{place(fault.at)}: {fault}") from fault
            if parsed.literal is None:
                parsed = replace(parsed, place=place)
            options.setdefault(text, (weight, parsed))
        found = Options(tuple(options.values()))
        if not found.usable:
            raise DynamicFault(f"the wildcard __{name}__ has no entries", at)
        return Choice(f"__{name}__", found)

    def _matching(self, name: str, wanted: str, at: int) -> list[_List]:
        lists = self._all()
        if wanted in lists:
            return lists[wanted]
        if "*" in wanted or "?" in wanted:
            pattern = _pattern(wanted)
            found = [one for known in lists if pattern.fullmatch(known) for one in lists[known]]
            if found:
                return found
        below = [known for known in lists if known.endswith(f"/{wanted}")]
        if len(below) == 1:
            return lists[below[0]]
        if below:
            raise DynamicFault(
                f"the wildcard __{name}__ is one of {', '.join(f'__{known}__' for known in below[:5])}; "
                f"name one, or __**/{name}__ for all",
                at,
            )
        if not self.folders:
            raise DynamicFault(
                f"the wildcard __{name}__: there is no folder of wildcards; give {named('wildcards', 'DIR')}",
                at,
            )
        where = ", ".join(map(str, self.folders))
        raise DynamicFault(f"there is no wildcard __{name}__ in {where}; {advice(wanted, lists)}", at)

    def _all(self) -> dict[str, list[_List]]:
        if self._lists is None:
            self._lists = {}
            for folder in self.folders:
                for path in sorted(walk(folder), key=natural_key):
                    for name, one in _lists_of(path, folder.absolute()):
                        self._lists.setdefault(name.casefold(), []).append(one)
        return self._lists


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        what = "a file, not a directory; name the folder that it is in" if path.exists() else "not there"
        raise UsageError(f"{named('wildcards', str(path))}: {what}")
    if not any((path / sign).is_dir() for sign in ("extensions", "custom_nodes")):
        return [path]
    found = [inner for pattern in _IN_OTHER_UIS for inner in sorted(path.glob(pattern)) if inner.is_dir()]
    if not found:
        raise UsageError(f"{named('wildcards', str(path))}: there are no wildcards in this UI; name their folder")
    return found


def _lists_of(path: Path, folder: Path) -> Iterator[tuple[str, _List]]:
    ending = path.suffix.casefold()
    if ending != ".txt" and ending not in _STRUCTURED:
        return
    refuse_undecodable(path)
    inside = path.relative_to(folder).with_suffix("")
    if ending == ".txt":
        yield inside.as_posix(), _List(path)
        return
    text = _text(path)
    with located(path, RecursionError, into=UsageError, advice="nested too deep to be read"):
        if ending == ".json":
            yield from _of_json(path, text, inside)
        else:
            yield from _of_yaml(path, composed(path, text), inside.parent.parts, inside.name)


def _text(path: Path) -> str:
    with located(path, OSError, ValueError, into=UsageError):
        data = read_ordinary(path, most_bytes=_LARGEST_BYTES + 1)
        if len(data) > _LARGEST_BYTES:
            raise ValueError(f"over {_LARGEST_BYTES >> 20} MiB; split it")
        return decoded(data)


def _lines(path: Path, text: str) -> Iterator[_Entry]:
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            yield _Entry(entry, path, number, line.index(entry) + 1)


def _of_yaml(path: Path, node: Node | None, keys: tuple[str, ...], own: str) -> Iterator[tuple[str, _List]]:
    """`own`: what a file is called that is a list itself."""
    from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

    if node is None or (isinstance(node, ScalarNode) and not node.value):
        return
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _of_yaml(path, value, (*keys, str(key.value)), "")
        return
    nodes = node.value if isinstance(node, SequenceNode) else [node]
    name = "/".join((*keys, own) if own else keys)
    yield name, _List(path, [entry for one in nodes for entry in _yaml_entry(path, one)])


def _yaml_entry(path: Path, node: Node) -> Iterator[_Entry]:
    from ruamel.yaml.nodes import MappingNode, ScalarNode

    mark = node.start_mark
    line, column = mark.line + 1, mark.column + 1
    if isinstance(node, ScalarNode):
        if text := str(node.value).strip():
            yield _Entry(text, path, line, column + (node.style in ("'", '"')))
    elif isinstance(node, MappingNode):
        said = {key.value: value.value for key, value in node.value if isinstance(value, ScalarNode)}
        yield _weighted(said, path, line, column)
    else:
        raise UsageError(f"{path} line {line}, column {column}: an entry is a text here, not a list")


def _weighted(said: dict[str, Any], path: Path, line: int, column: int) -> _Entry:
    """`{text: blue, weight: 2}`, or `content` for `text`."""
    text, weight = said.get("text", said.get("content")), said.get("weight", 1)
    if not isinstance(text, str) or not text.strip() or set(said) - {"text", "content", "weight"}:
        raise UsageError(f"{path} line {line}, column {column}: an entry is a text, or {{text: …, weight: 2}}")
    if not re.fullmatch(r"\d{1,9}(\.\d{0,9})?|\.\d{1,9}", str(weight)):
        raise UsageError(f"{path} line {line}, column {column}: a weight is a number from 0, not {weight!r}")
    return _Entry(text.strip(), path, line, column, float(weight))


def _of_json(path: Path, text: str, inside: Path) -> Iterator[tuple[str, _List]]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    keys = inside.parent.parts if isinstance(whole, dict) else inside.parts
    yield from _Json(path, text).lists(whole, keys)


@dataclass
class _Json:
    """A JSON file; its entries are found again in its text, in their order."""

    path: Path
    text: str
    at: int = 0
    line: int = 1

    def lists(self, value: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, _List]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from self.lists(inner, (*keys, key))
        elif value is not None:
            values = value if isinstance(value, list) else [value]
            yield "/".join(keys), _List(self.path, [self._entry(one) for one in values if one not in (None, "")])

    def _entry(self, value: Any) -> _Entry:
        said = value.get("text", value.get("content")) if isinstance(value, dict) else value
        line, column = self._found(said)
        if isinstance(value, dict):
            return _weighted(value, self.path, line, column)
        if isinstance(value, list):
            raise UsageError(f"{self.path} line {line}: an entry is a text here, not a list")
        return _Entry(str(value).strip(), self.path, line, column)

    def _found(self, value: Any) -> tuple[int, int]:
        """Line and column of the text's first character, or of where the search began."""
        written = (json.dumps(value, ensure_ascii=False), json.dumps(value))
        at = next((at for form in written if (at := self.text.find(form, self.at)) >= 0), self.at)
        self.line += self.text.count("\n", self.at, at)
        self.at = at
        return self.line, at - self.text.rfind("\n", 0, at) + isinstance(value, str)


def _pattern(wanted: str) -> re.Pattern[str]:
    forms = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", wanted)
    return re.compile("".join(forms.get(piece) or re.escape(piece) for piece in pieces))
