"""`burst fleet`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import json_option, show, state_option
from orchestrator.commands.help import Command, Group


@click.group(cls=Group, short_help="Set up and watch workers on many hosts.")
def fleet() -> None:
    """Workers on many hosts, started by Procrastinate on the PostgreSQL of the state (docs/many-hosts.md)."""


@fleet.command(cls=Command, short_help="Make or update the tables that workers need.")
@state_option
@json_option
def up(state: Path, as_json: bool) -> None:
    """Make or update the tables of the state and of the engine in one database. Safe to repeat.

    Call it once before the first `burst worker`, and after an upgrade.
    """
    _needs_extra()
    from orchestrator.fleet.fleet_up import fleet_up

    show(fleet_up(state), as_json)


@fleet.command(cls=Command, short_help="Show workers, servers and what runs on them.")
@state_option
@json_option
def status(state: Path, as_json: bool) -> None:
    """Show how many workers are alive, and for each server what it does. Changes nothing."""
    _needs_extra()
    from orchestrator.fleet.standing import fleet_status

    show(fleet_status(state), as_json)


def _needs_extra() -> None:
    from orchestrator.fleet.extra import check_extra

    check_extra()
