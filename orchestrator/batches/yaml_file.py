"""A YAML file of the user's, read part by part; every fault is one message that names file, line and part."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.batches.suggestions import advice
from orchestrator.errors import UsageError
from orchestrator.formatting import one_line
from orchestrator.text_files import read_ordinary

if TYPE_CHECKING:
    from ruamel.yaml import YAML

_LARGEST_BYTES = 1 << 20


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

    def parts(self, known: tuple[str, ...] = ()) -> Iterator[tuple[Any, Part]]:
        """What is under each key; nothing where there is no value. Any key may be there unless some are `known`.

        Errors: UsageError.
        """
        if not isinstance(self.value, dict | None):
            raise self.error(f"names with values are wanted here, not {_kind(self.value)}")
        for key, value in (self.value or {}).items():
            if not isinstance(key, str | int) or _is_endless(key):
                raise self.error('a key here is neither a text nor a number; write it in quotes, "…"')
            part = replace(self, value=value, keys=(*self.keys, key))
            if known and key not in known:
                raise part.error(f"there is no such key; {advice(str(key), known)}")
            yield key, part

    def words(self) -> str:
        """The text that it is. Errors: UsageError."""
        if not isinstance(self.value, str):
            raise self.error(f"a text is wanted here, not {_kind(self.value)}")
        return self.value

    def amount(self) -> float:
        """The number over 0 that it is. Errors: UsageError."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise self.error("a number over 0 is wanted here")
        return value

    def single(self) -> Any:
        """Its value, surely no list and no mapping, which a few aliases can make endless. Errors: UsageError."""
        if not isinstance(self.value, str | int | float):
            raise self.error(f"a text or a number is wanted here, not {_kind(self.value)}")
        if _is_endless(self.value):
            raise self.error("a number of fewer digits is wanted here")
        return self.value


def read_yaml(path: Path) -> Part | None:
    """The whole file, None where there is none. Errors: UsageError."""
    try:
        data = read_ordinary(path, most_bytes=_LARGEST_BYTES + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise UsageError(f"{path}: {reason}; put a YAML file there, or nothing") from error
    if len(data) > _LARGEST_BYTES:
        raise UsageError(f"{path}: over {_LARGEST_BYTES >> 20} MiB; that is no file of settings, take it away")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    return Part(path, text, _loaded(path, text))


def _loaded(path: Path, text: str) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        with _reader() as yaml:
            return yaml.load(text)
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


def _is_endless(value: object) -> bool:
    """Python writes no number of some thousand digits, not even in a message."""
    return isinstance(value, int) and value.bit_length() > 64


def _kind(value: object) -> str:
    kinds = {dict: "names with values", list: "a list", str: "a text", int: "a number", float: "a number"}
    kinds |= {bool: "true or false", type(None): "nothing"}
    return kinds.get(type(value), f"a {type(value).__name__}")
