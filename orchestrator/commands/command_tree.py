"""The command line about itself: every command, as click knows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands.exit_codes import OF_ONE_COMMAND
from orchestrator.commands.help import Group

if TYPE_CHECKING:
    from orchestrator.documents.commands import (
        ArgumentDocument,
        CommandDocument,
        ExitCodeDocument,
        OptionDocument,
    )


@dataclass(frozen=True)
class Node:
    """One command."""

    words: tuple[str, ...]
    """That call it, without `burst`."""
    command: click.Command
    heading: str
    """Of `burst --help`; of a command in a group, that of the group."""

    @property
    def name(self) -> str:
        return " ".join(self.words)


def commands_of(root: click.Group) -> Iterator[Node]:
    """Every command that can be called, in the order of `--help`; of a group, its commands in its place."""
    headings = root.headings if isinstance(root, Group) else {}
    by_name = {name: heading for heading, names in headings.items() for name in names}
    return _below(root, (), by_name)


def _below(group: click.Group, words: tuple[str, ...], headings: dict[str, str]) -> Iterator[Node]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        path = (*words, name)
        if isinstance(command, click.Group):
            yield from _below(command, path, headings)
        else:
            yield Node(path, command, headings.get(path[0], ""))


def describe(node: Node, *, schemas: list[str]) -> CommandDocument:
    """As `burst commands --json` prints it. `schemas`: what it prints."""
    command = node.command
    document: CommandDocument = {
        "command": f"burst {node.name}",
        "heading": node.heading,
        "summary": command.get_short_help_str(limit=200),
        "help": _plain(command.help or ""),
        "arguments": [_argument(one) for one in command.params if isinstance(one, click.Argument)],
        "options": [_option(one) for one in command.params if isinstance(one, click.Option)],
        "exit_codes": exit_codes_of(OF_ONE_COMMAND.get(node.name, {})),
        "schemas": schemas,
    }
    if command.hidden:
        document["hidden"] = True
    return document


def exit_codes_of(meanings: Mapping[int, str]) -> list[ExitCodeDocument]:
    return [{"code": code, "meaning": meaning} for code, meaning in sorted(meanings.items())]


def _plain(text: str) -> str:
    """A docstring: its paragraphs, each on one line."""
    import inspect

    parts = inspect.cleandoc(text.replace("\b", "")).split("\n\n")
    return "\n".join(" ".join(part.split()) for part in parts if part.strip())


def _argument(argument: click.Argument) -> ArgumentDocument:
    document: ArgumentDocument = {"name": argument.human_readable_name}
    if argument.required:
        document["required"] = True
    if argument.nargs != 1:
        document["repeatable"] = True
    return document


def _option(option: click.Option) -> OptionDocument:
    kind, found = option.type, option.to_info_dict()
    document: OptionDocument = {
        "names": [*option.opts, *option.secondary_opts],
        "type": "flag" if option.is_flag else kind.name,
        "help": option.help or "",
    }
    if option.metavar is not None:
        document["value"] = option.metavar
    if found["flag_value"] is not None and not option.is_flag:
        document["value_optional"] = True
    if isinstance(kind, click.Choice):
        document["choices"] = [str(choice) for choice in kind.choices]
    if (default := _plain_value(found["default"])) is not None and default is not False:
        document["default"] = default
    if option.required:
        document["required"] = True
    if option.multiple:
        document["repeatable"] = True
    if option.envvar is not None:
        document["environment"] = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar)
    if option.hidden:
        document["hidden"] = True
    return document


def _plain_value(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
