"""`burst commands`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.commands.command_tree import Node, commands_of, describe, exit_codes_of
from orchestrator.commands.common import json_option, print_json
from orchestrator.commands.exit_codes import OF_EVERY_COMMAND
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.documents.commands import CommandsDocument


@click.command(short_help="List every command with options, exit codes and schemas.")
@click.argument("names", nargs=-1, metavar="[COMMAND...]")
@json_option
@click.pass_context
def commands(context: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """List every command, or the named ones, such as `run` or `batches list`; a group's name means all of it.

    With --json: their options, defaults, exit codes and schemas, and every kind of error.
    """
    root = context.find_root().command
    assert isinstance(root, click.Group)
    chosen = _chosen(list(commands_of(root)), names)
    if as_json:
        print_json(_document(chosen, whole=not names))
        return
    shown = [node for node in chosen if not node.command.hidden or names]
    width = max(len(node.name) for node in shown)
    for node in shown:
        click.echo(f"burst {node.name.ljust(width)}  {node.command.get_short_help_str(limit=200)}")


def _chosen(nodes: Sequence[Node], names: Sequence[str]) -> Sequence[Node]:
    """Errors: UsageError for a name that is none of them."""
    if not names:
        return nodes
    wanted = [tuple(name.split()) for name in _joined(nodes, names)]
    for words in wanted:
        if not any(node.words[: len(words)] == words for node in nodes):
            from orchestrator.batches.suggestions import advice

            known = dict.fromkeys(name for node in nodes for name in (node.words[0], node.name))
            raise UsageError(f"no command {' '.join(words)!r}; {advice(' '.join(words), known)}")
    return [node for node in nodes if any(node.words[: len(words)] == words for words in wanted)]


def _joined(nodes: Sequence[Node], names: Sequence[str]) -> Sequence[str]:
    """`batches list` may be typed as two words."""
    whole = " ".join(names)
    return [whole] if len(names) > 1 and any(node.name == whole for node in nodes) else names


def _document(nodes: Sequence[Node], *, whole: bool) -> CommandsDocument:
    """`whole`: with what is true of every command."""
    from importlib.metadata import PackageNotFoundError, version

    from orchestrator.error_kinds import API_KINDS, COMMAND_KINDS, ITEM_KINDS

    try:
        installed = version("comfyui-burst")
    except PackageNotFoundError:
        installed = ""
    document: CommandsDocument = {
        "schema": "burst.commands/1",
        "version": installed,
        "commands": [describe(node, schemas=_schemas_of(node)) for node in nodes],
        "exit_codes": exit_codes_of(OF_EVERY_COMMAND),
    }
    if whole:
        document["error_kinds"] = [
            {"kind": name, "exit_code": kind.exit_code, "meaning": kind.meaning} for name, kind in COMMAND_KINDS.items()
        ]
        document["item_error_kinds"] = [{"kind": name, "meaning": meaning} for name, meaning in ITEM_KINDS.items()]
        document["api_error_kinds"] = [
            {"kind": name, "status": kind.status, "meaning": kind.meaning} for name, kind in API_KINDS.items()
        ]
    return document


def _schemas_of(node: Node) -> list[str]:
    """A group may have one for all of its commands."""
    from orchestrator.documents.registry import SCHEMAS

    names = {node.name, node.words[0]}
    return [schema.name for schema in SCHEMAS.values() if names & set(schema.commands)]
