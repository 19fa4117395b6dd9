"""A sidecar as text for people: `key: value` lines that are read back exactly as they were written.

    prompt: |
      a lighthouse,
      its lamp lit
    negative: blurry
    seed: 7
    ---
    template: txt2img-sd15

A value is JSON where it reads as JSON; anything else is a text as it stands. A text of several lines follows `|`, each
line two spaces in. A text that would not come back so (it reads as a number, has spaces at an end, a carriage return)
is quoted as JSON does. `---` divides the sections.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_DIVIDER = "---"
_BLOCK = "|"
_INDENT = "  "
_PLAIN_KEY = re.compile(r"\w[\w .,=:/-]*")
_ODD = re.compile(r"[\r\0]")
"""What no reader of text files is sure to keep."""


class _Block(list[str]):
    """The lines of one text."""


def as_text(sections: Sequence[Mapping[str, Any]]) -> str:
    """The sections as lines."""
    written = ["".join(f"{_key(key)}: {_value(value)}\n" for key, value in section.items()) for section in sections]
    return f"{_DIVIDER}\n".join(written)


def from_text(text: str) -> list[dict[str, Any]]:
    """The sections; at least one. Errors: ValueError that names the line."""
    sections: list[dict[str, Any]] = [{}]
    block: _Block | None = None
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        if block is not None and (line.startswith(_INDENT) or not line):
            block.append(line.removeprefix(_INDENT))
        elif line == _DIVIDER:
            block = None
            sections.append({})
        elif line:
            key, value = _parted(line, number)
            block = _Block() if value == _BLOCK else None
            sections[-1][key] = _meant(value) if block is None else block
    return [{key: _joined(value) for key, value in section.items()} for section in sections]


def _key(key: str) -> str:
    is_plain = _PLAIN_KEY.fullmatch(key) and ": " not in key and key == key.strip()
    return key if is_plain else _quoted(key)


def _value(value: Any) -> str:
    if not isinstance(value, str) or _ODD.search(value):
        return _quoted(value)
    if "\n" in value:
        return "\n".join([_BLOCK, *(f"{_INDENT}{line}" if line else "" for line in value.split("\n"))])
    is_plain = value and value == value.strip() and value != _BLOCK and value[0] not in '"[{'
    return value if is_plain and _meant(value) == value else _quoted(value)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _meant(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _parted(line: str, number: int) -> tuple[str, str]:
    if line.startswith('"'):
        try:
            key, end = json.JSONDecoder().raw_decode(line)
        except ValueError as error:
            raise ValueError(f"line {number}: the quotes of {line[:40]!r} do not end") from error
        mark, value = line[end : end + 2], line[end + 2 :]
    else:
        key, mark, value = line.partition(": ")
    if mark != ": ":
        raise ValueError(f"line {number}: {line[:40]!r} is not `key: value`")
    return key, value.strip()


def _joined(value: Any) -> Any:
    return "\n".join(value) if isinstance(value, _Block) else value
