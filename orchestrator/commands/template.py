"""`burst template`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.commands.common import NamedPath, json_option, overrides, parse_headers, show, state_option
from orchestrator.commands.help import Group


@click.group(cls=Group, short_help="List, show, check and export workflows.")
def template() -> None:
    """List, show, check and export the workflows that prompts are made from."""


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
    help="Bind a name to a node input, such as prompt=98:6.text. Repeatable.",
)


header_option = click.option(
    "--header",
    "headers",
    multiple=True,
    callback=parse_headers,
    metavar="'NAME: VALUE'",
    help="HTTP header for the server. Repeatable.",
)
describing_option = click.option(
    "--server",
    multiple=True,
    metavar="URL",
    help="Server that describes the nodes of a file in the editor's format (default: the usual one).",
)


@template.command("show", short_help="Show nodes, bindings and save nodes of a workflow.")
@click.argument("name", required=False, metavar="[NAME|FILE]")
@describing_option
@bind_option
@header_option
@state_option
@json_option
def templateshow(
    name: str | None,
    server: tuple[str, ...],
    bindings: tuple[str, ...],
    headers: tuple[tuple[str, str], ...],
    state: Path,
    as_json: bool,
) -> None:
    """Show nodes, bindings and save nodes of a workflow; without a name, of the one that the state uses."""
    from orchestrator.template_inspection import show_template

    given = overrides(server=server, bindings=bindings, headers=headers)
    show(show_template(name, state=state, overrides=given), as_json)


@template.command("export", short_help="Write a workflow in API format.")
@click.argument("name", metavar="NAME|FILE")
@click.option("-o", "--output", required=True, type=NamedPath(), metavar="FILE", help="File to write.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists and differs.")
@describing_option
@header_option
@state_option
@json_option
def template_export(
    name: str,
    output: Path,
    overwrite: bool,
    server: tuple[str, ...],
    headers: tuple[tuple[str, str], ...],
    state: Path,
    as_json: bool,
) -> None:
    """Write a workflow in API format.

    FILE is a workflow as ComfyUI saves it, an image or video that it made, or the body of a job.
    """
    from orchestrator.template_inspection import export_template

    given = overrides(server=server, headers=headers)
    show(export_template(name, output, state=state, overrides=given, overwrite=overwrite), as_json)


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
@header_option
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
