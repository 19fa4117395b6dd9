"""Advice in the words of an agent: what a message has a person type is a tool here, or for that person to type.

Messages name commands in backticks, `burst retry`, or are a command as a whole; no message is written twice.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from orchestrator.documents.registry import SCHEMAS

_FIELDS = frozenset({"message", "next", "notes", "reason"})
"""What burst itself wrote; prompts and names are somebody else's."""
_COMMAND = re.compile(r"`(burst [^`]+)`")
_STATE = "--state"


@dataclass(frozen=True)
class _Tool:
    """What does the same as a command."""

    name: str
    field: str | None = None
    """What takes the command's arguments."""
    takes_several: bool = False
    options: Collection[str] = ()
    """Of the command, which the tool has, or does without."""


_TOOLS: Mapping[str, _Tool] = {
    "run": _Tool("run_burst", options=("-n", "--until-done", "--max-seconds")),
    "retry": _Tool("retry", "names", takes_several=True, options=("--cancelled",)),
    "cancel": _Tool("cancel", "names", takes_several=True),
    "status": _Tool("status", "batch", options=("--json", "--watch")),
    "report": _Tool("report", "batch"),
    "doctor": _Tool("doctor"),
    "batches list": _Tool("list_batches"),
    "template list": _Tool("list_workflows"),
    "generate": _Tool("add_prompts", options=("--dynamic",)),
    "init": _Tool("add_images", "directory"),
}
"""By command."""


def for_agent(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same document; where it advises commands, an agent reads what it can do."""
    return {
        name: _advice(value) if name in _FIELDS and isinstance(value, str | list | tuple) else _inner(value)
        for name, value in document.items()
    }


def _inner(value: Any) -> Any:
    if isinstance(value, Mapping):
        return for_agent(value)
    return [_inner(one) for one in value] if isinstance(value, list | tuple) else value


def _advice(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_advice(one) if isinstance(one, str) else _inner(one) for one in value]
    if not _is_command(value):
        return _COMMAND.sub(lambda found: _called(found[1]), value)
    return _called(value) if _tool_of(value) is not None else f"ask the person who runs this host to type `{value}`"


def _is_command(text: str) -> bool:
    """As a whole, such as `burst verify --repair`: no sentence about a burst."""
    first, _, rest = text.partition(" ")
    return first == "burst" and rest.split(" ")[0] in commands() and not re.search(r"[;:,.] |`", text)


@cache
def commands() -> frozenset[str]:
    """The first words of all that print a document."""
    return frozenset(name.split()[0] for schema in SCHEMAS.values() for name in schema.commands)


def _called(command: str) -> str:
    tool, arguments = _tool_of(command) or (None, [])
    if tool is None:
        return f"`{command}` (ask the person who runs this host to type it)"
    if not arguments or tool.field is None:
        return f"the tool {tool.name}"
    return f"the tool {tool.name} with {tool.field}={arguments if tool.takes_several else arguments[0]!r}"


def _tool_of(command: str) -> tuple[_Tool, list[str]] | None:
    """The tool and its arguments; None where no tool does all that the command does."""
    words = _words(command)[1:]
    if _STATE in words:
        del words[words.index(_STATE) : words.index(_STATE) + 2]
    count = 2 if " ".join(words[:2]) in _TOOLS else 1
    tool, rest = _TOOLS.get(" ".join(words[:count])), words[count:]
    if tool is None or any(word.startswith("-") and word not in tool.options for word in rest):
        return None
    arguments = [word for word in rest if not word.startswith("-")]
    return tool, arguments if tool.field is not None else []


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()
