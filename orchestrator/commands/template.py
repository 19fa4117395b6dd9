"""`burst template`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.commands.common import json_option, overrides, parse_headers, show, state_option
from orchestrator.commands.help import Group


@click.group(cls=Group, short_help="List, show and check workflows.")
def template() -> None:
    """List, show and check the workflows that prompts are made from."""


@template.command("list", short_help="List the workflows that come with burst.")
@json_option
def template_list(as_json: bool) -> None:
    """List the workflows that come with burst."""
    from orchestrator.template_inspection import list_templates

    show(list_templates(), as_json)


bind_option = click.option(
    "--bind",
    "bindings",
    multiple=True,
    metavar="NAME=ADDRESS",
    help="Node input for a name, such as prompt=98:6.text. Repeatable.",
)


@template.command("show", short_help="Show nodes, bindings and save nodes of a workflow.")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@bind_option
@state_option
@json_option
def templateshow(name: str | None, bindings: tuple[str, ...], state: Path, as_json: bool) -> None:
    """Show nodes, bindings and save nodes of a workflow; without a name, of the one that the state uses."""
    from orchestrator.template_inspection import show_template

    show(show_template(name, state=state, overrides=overrides(bindings=bindings)), as_json)


@template.command("check", short_help="Check a workflow for errors.")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@click.option(
    "--server",
    multiple=True,
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    help="Check against this server too; without URL, the usual one.",
)
@bind_option
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=parse_headers,
    metavar="'NAME: VALUE'",
    help="HTTP header for the server. Repeatable.",
)
@state_option
@json_option
def template_check(
    name: str | None,
    server: tuple[str, ...],
    bindings: tuple[str, ...],
    headers: tuple[tuple[str, str], ...],
    state: Path,
    as_json: bool,
) -> None:
    """Check a workflow for errors; with --server for missing nodes and models too.

    Without a name, the workflow that the state uses. Exits 1 when there are errors.
    """
    from orchestrator.template_inspection import check_template

    said = overrides(server=tuple(filter(None, server)), bindings=bindings, headers=headers)
    report = check_template(name, state=state, overrides=said, ask_server=bool(server))
    show(report, as_json)
    sys.exit(report.exit_code)
