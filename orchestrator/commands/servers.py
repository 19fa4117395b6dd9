"""`burst servers`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.common import (
    LARGEST_COUNT,
    Between,
    NamedPath,
    OutputRoot,
    all_option,
    json_option,
    overrides,
    refuse_file,
    show,
    show_listing,
    state_option,
)
from orchestrator.commands.help import Command, Group

if TYPE_CHECKING:
    from orchestrator.places import Place

_names = click.argument("names", nargs=-1, required=True, metavar="SERVER...")


@click.group(cls=Group, short_help="Register ComfyUI servers in a state, for its runs on every host.")
def servers() -> None:
    """Register ComfyUI servers in a state: `burst run` without --server uses those that its host reaches."""


@servers.command(cls=Command, short_help="Register servers, or change their settings.")
@click.argument("addresses", nargs=-1, required=True, metavar="[NAME=]URL...")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL",
    help="Label that items can require (--needs). Repeatable; replaces all labels.",
)
@click.option(
    "--window",
    type=int,
    metavar="N",
    callback=Between(0, LARGEST_COUNT),
    help="Send it at most N prompts at a time (0: no limit).",
)
@click.option(
    "--abandon-after",
    type=float,
    metavar="SECONDS",
    callback=Between(0, LARGEST_COUNT, " seconds"),
    help="Give up items submitted to it after this time without a sign of life (0: never).",
)
@state_option
@json_option
def add(
    addresses: tuple[str, ...],
    labels: tuple[str, ...],
    window: int | None,
    abandon_after: float | None,
    state: Path,
    as_json: bool,
) -> None:
    """Register ComfyUI servers. One that is registered at another address has moved and keeps its name.

    A loopback address is that of this host: runs on other hosts do not use it.
    """
    from orchestrator.registration import add_servers

    report = add_servers(
        state,
        addresses,
        labels=labels or None,
        window=window,
        abandon_after_seconds=abandon_after,
    )
    show(report, as_json)


@servers.command(name="list", cls=Command, short_help="List registered servers, their items and their health.")
@state_option
@json_option
def list_command(state: Path, as_json: bool) -> None:
    """List the registered servers: labels, who uses them, items submitted to them, their health."""
    from orchestrator.server_list import list_servers

    show(list_servers(state), as_json)


@servers.command(cls=Command, short_help="Remove servers from the state.")
@_names
@state_option
@json_option
def remove(names: tuple[str, ...], state: Path, as_json: bool) -> None:
    """Take servers out of the state. Refused while items are submitted to one."""
    from orchestrator.registration import remove_servers

    show(remove_servers(state, names), as_json)


@servers.command(cls=Command, short_help="Send servers nothing new, but collect what they have.")
@_names
@state_option
@json_option
def drain(names: tuple[str, ...], state: Path, as_json: bool) -> None:
    """Send servers nothing new, also from runs at work, within 2 s. What they have is collected."""
    from orchestrator.registration import drain_servers

    show(drain_servers(state, names), as_json)


@servers.command(cls=Command, short_help="Use drained servers again.")
@_names
@state_option
@json_option
def enable(names: tuple[str, ...], state: Path, as_json: bool) -> None:
    """Use servers again that were drained."""
    from orchestrator.registration import enable_servers

    show(enable_servers(state, names), as_json)


@servers.command(cls=Command, short_help="Give up items submitted to a server that will not come back.")
@click.argument("name", metavar="SERVER")
@state_option
@json_option
def abandon(name: str, state: Path, as_json: bool) -> None:
    """Make items submitted to SERVER due again; what it still renders of them is rendered twice.

    Refused while a run uses the server. It gets nothing new until `burst servers enable`.
    """
    from orchestrator.registration import abandon_server

    show(abandon_server(state, name), as_json)


@servers.command(cls=Command, short_help="Remove from servers' output folders what is downloaded.")
@click.argument("names", nargs=-1, metavar="[SERVER...]")
@click.option("--dry-run", is_flag=True, help="Show what would be removed; change nothing.")
@click.option(
    "--folder", type=NamedPath(), metavar="DIR", help="The output folder of the one SERVER, where this host has it."
)
@click.option(
    "--leftovers", is_flag=True, help="Remove other files of completed items too, which are kept nowhere else."
)
@click.option("--output", "output_dir", type=OutputRoot(), help="Directory of images whose items have no recipe.")
@state_option
@all_option
@json_option
def clean(
    names: tuple[str, ...],
    dry_run: bool,
    folder: Path | None,
    leftovers: bool,
    output_dir: Place | None,
    state: Path,
    everything: bool,
    as_json: bool,
) -> None:
    """Remove the copies of this state's finished images from the output folders of servers, by default of all that a
    run uses, where the folder is on this host.

    Only files whose bytes are recorded and in place here. Files of other states, and of items that are not completed,
    stay. Works while a burst runs.
    """
    from orchestrator.server_copies.cleaning import clean_servers

    refuse_file(output_dir)
    report = clean_servers(
        state,
        names,
        folder=folder,
        leftovers=leftovers,
        dry_run=dry_run,
        overrides=overrides(output_dir=output_dir),
    )
    show_listing(report, as_json, everything)
    sys.exit(report.exit_code)
