"""`docs/reference/commands.md`, from the commands as click knows them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from burst import _HEADINGS, cli
from orchestrator.commands.help import Options
from orchestrator.documents.registry import SCHEMAS

_HEAD = """\
# Commands

Every command with its arguments and options, as `burst COMMAND --help` prints them.

- Commands that work on a state take `--state`: a JSON file (`re_render_state.json` in this directory is the default), \
`sqlite:///FILE` or `postgresql://HOST/DATABASE`. `BURST_STATE` sets it for all of them.
- With `--json` a command prints one object, and on stderr only warnings and errors. Its fields: [JSON](json.md).
- What the process returns: [exit codes](exit-codes.md).
"""


def page() -> str:
    """The whole page."""
    context = click.Context(cli, info_name="burst")
    lines = [_HEAD]
    for heading, names in _HEADINGS.items():
        lines += [f"## {heading}", ""]
        for name in names:
            command = cli.get_command(context, name)
            assert command is not None
            lines += _command(command, click.Context(command, info_name=name, parent=context))
    return "\n".join(lines).rstrip("\n") + "\n"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    yield f"### {path}"
    yield ""
    yield from _paragraphs(command.help or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            if not inner.hidden:
                yield from _command(inner, click.Context(inner, info_name=name, parent=context))
        return
    yield from ("```text", " ".join([path, *command.collect_usage_pieces(context)]), "```", "")
    rows = list(_rows(command, context))
    if rows:
        yield from ("| option | |", "|---|---|", *rows, "")
    schemas = [name for name, schema in SCHEMAS.items() if _prints(schema.source, path)]
    if schemas:
        yield "With `--json`: " + ", ".join(f"[`{name}`](json.md#{_anchor(name)})" for name in schemas) + "."
        yield ""


def _paragraphs(text: str) -> Iterator[str]:
    """Prose as it is; what click is told to leave alone (`\\b`), as a block."""
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("\b"):
            yield from ("```text", part.removeprefix("\b").strip("\n"), "```", "")
        else:
            yield from (_escaped(" ".join(part.split())), "")


def _rows(command: click.Command, context: click.Context) -> Iterator[str]:
    order = ["", *(heading.value for heading in Options)]
    shown = [
        (order.index(getattr(getattr(parameter, "heading", None), "value", "")), *record)
        for parameter in command.params
        if (record := parameter.get_help_record(context)) is not None
    ]
    for _, names, text in sorted((row for row in shown if row[2]), key=lambda row: row[0]):
        yield f"| `{_cell(names)}` | {_escaped(_cell(text))} |"


def _prints(source: str, path: str) -> bool:
    """Whether a document's source, such as `burst pause|resume` or `burst run --dry-run`, is this command."""
    first, *rest = source.removeprefix("burst ").split()
    words = path.split()[1:]
    rest = [word for word in rest if word.islower() and word[0] != "-"]
    given = [first, *rest]
    return source.startswith("burst ") and all(
        word in part.split("|") for word, part in zip(words, given, strict=False)
    )


def _anchor(name: str) -> str:
    return re.sub(r"[^\w -]", "", name.lower())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _escaped(text: str) -> str:
    """Text in which Markdown takes no underscore, star or angle bracket for its own; code stays."""
    parts = text.split("`")
    return "`".join(part if number % 2 else re.sub(r"([*_<>{}])", r"\\\1", part) for number, part in enumerate(parts))
