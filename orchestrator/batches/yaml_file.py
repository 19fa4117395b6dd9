"""A YAML file of the user's, read part by part; every fault is one message that names file, line and part."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.batches.suggestions import advice
from orchestrator.errors import UsageError, located
from orchestrator.formatting import one_line
from orchestrator.shapes import WrongShape, shaped
from orchestrator.text_files import decoded, read_ordinary

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import Node

_LARGEST_BYTES = 1 << 20
_T = TypeVar("_T")


@dataclass(frozen=True)
class Part:
    """A value in a file, and the keys that lead to it."""

    path: Path
    text: str
    """Of the whole file."""
    value: Any
    keys: tuple[Any, ...] = ()

    def error(self, message: str) -> UsageError:
        """To be raised: what is wrong with this part."""
        place = f"{self.path}, line {_line(self.text, self.keys)}"
        return UsageError(
            one_line(": ".join([place, *([", ".join(map(str, self.keys))] if self.keys else []), message]))
        )

    def read_as(self, shape: type[_T], *, expected: str = "") -> _T:
        """The value as a `shape`; no value is an empty mapping. A Struct has no Struct inside.

        Errors: UsageError, which says what is `expected`.
        """
        try:
            return shaped({} if self.value is None else self.value, shape)
        except WrongShape as error:
            reason = f"expected {expected}" if expected else error.reason
            if error.is_unknown:
                reason = f"there is no such key; {advice(error.place, getattr(shape, '__struct_fields__', ()))}"
            part = replace(self, keys=(*self.keys, error.place)) if error.place else self
            raise part.error(reason) from error

    def at(self, key: str | int, value: object) -> Part:
        """What this mapping holds under a key."""
        return replace(self, value=value, keys=(*self.keys, key))

    def entries(self) -> Iterator[tuple[Any, Part]]:
        """What is under each key, whatever the keys are. Errors: UsageError."""
        for key, value in self.read_as(dict[Any, Any]).items():
            if not isinstance(key, str | int) or is_endless(key):
                raise self.error('a key here is neither text nor a number; write it in quotes, "…"')
            yield key, self.at(key, value)


def read_yaml(path: Path) -> Part | None:
    """The whole file, None where there is none. Errors: UsageError."""
    with located(path, OSError, ValueError, into=UsageError, advice="put a YAML file there, or nothing"):
        try:
            data = read_ordinary(path, most_bytes=_LARGEST_BYTES + 1)
        except FileNotFoundError:
            return None
    if len(data) > _LARGEST_BYTES:
        raise UsageError(f"{path}: over {_LARGEST_BYTES >> 20} MiB; not a settings file, remove it")
    with located(path, ValueError, into=UsageError):
        text = decoded(data)
    return Part(path, text, _loaded(path, text))


def composed(path: Path, text: str) -> Node | None:
    """The nodes of a text, which know their places; None where it holds nothing. Errors: UsageError."""
    found: Node | None = _understood(path, lambda yaml: yaml.compose(text))
    return found


def _loaded(path: Path, text: str) -> Any:
    return _understood(path, lambda yaml: yaml.load(text))


def _understood(path: Path, read: Callable[[YAML], Any]) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        with _reader() as yaml:
            return read(yaml)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise UsageError(one_line(f"{place}: not YAML: {error.problem or error.context}")) from error
    except (YAMLError, ValueError, TypeError, LookupError, RecursionError) as error:
        # What the reader itself trips over: a NUL, a date that is none, a list as a key, `!!int` before nothing, [[[[….
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(one_line(f"{path}: not YAML that can be read: {type(error).__name__} {reason}")) from error


def _line(text: str, keys: tuple[Any, ...]) -> int:
    """The line, from 1, of the key that these lead to, or of the nearest above it where an alias brought it."""
    from ruamel.yaml.nodes import MappingNode

    with _reader() as yaml:
        node, line = yaml.compose(text), 1
    for wanted in keys:
        pairs = node.value if isinstance(node, MappingNode) else ()
        key, node = next(((key, value) for key, value in pairs if key.value == str(wanted)), (None, None))
        line = key.start_mark.line + 1 if key else line
    return line


@contextlib.contextmanager
def _reader() -> Iterator[YAML]:
    """A reader of YAML 1.2 that makes plain values only."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLWarning

    with warnings.catch_warnings():
        # What it warns of, such as an anchor that is there twice, it then reads as YAML says.
        warnings.simplefilter("ignore", YAMLWarning)
        # Its parser in C reads YAML 1.1, where `on` is true and 16:9 is 969.
        yield YAML(typ="safe", pure=True)


def is_endless(value: object) -> bool:
    """Python writes no number of some thousand digits, not even in a message."""
    return isinstance(value, int) and value.bit_length() > 64
