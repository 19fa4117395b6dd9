"""`burst state`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import json_option, show, state_option
from orchestrator.commands.help import Command, Group


@click.group(cls=Group, short_help="Move a state between JSON, SQLite and PostgreSQL, or upgrade it.")
def state() -> None:
    """Move a whole state between a JSON file, SQLite (sqlite:///burst.db) and PostgreSQL (postgresql://…)."""


@state.command(cls=Command, short_help="Copy a state to another address, and mark the old one as moved.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
def copy(source: str, target: str, as_json: bool) -> None:
    """Copy items, batches, recipes, workflows, settings and logs, and compare them; FROM is then used no more.

    TO must not exist yet. Nothing may run on FROM. Safe to repeat after a kill.
    """
    from orchestrator.state_copy import copy_state

    show(copy_state(source, target), as_json)


@state.command(cls=Command, short_help="Upgrade a state of an older release now.")
@state_option
@json_option
def upgrade(state: Path, as_json: bool) -> None:
    """Bring a state of an older release to this one's form now: the first command that writes does it anyway.

    For tables that only their owner may change: call it as that role. Safe to repeat, and beside runs.
    """
    from orchestrator.state_upgrade import upgrade_state

    show(upgrade_state(state), as_json)
