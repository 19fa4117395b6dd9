"""`burst skill`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.common import NamedPath, json_option, show
from orchestrator.commands.help import Group
from orchestrator.commands.skill_text import skill_text
from orchestrator.errors import UsageError


@click.group(cls=Group, short_help="Teach an agent to use burst: a SKILL.md.")
def skill() -> None:
    """A SKILL.md for agents: the burst protocol with these commands and exit codes (docs/agents.md)."""


@skill.command("show", short_help="Print the SKILL.md.")
@click.pass_context
def show_skill(context: click.Context) -> None:
    """Print the SKILL.md, as `burst skill install` writes it."""
    from orchestrator.skill_file import marked

    click.echo(marked(_text(context)), nl=False)


@skill.command(short_help="Write the SKILL.md where agents look for it, or update it.")
@click.option("--user", is_flag=True, help="For all projects: ~/.claude/skills.")
@click.option(
    "--directory", type=NamedPath(), metavar="DIR", help="Directory of skills (default: .claude/skills, here)."
)
@click.option("--force", is_flag=True, help="Replace a file that was changed or that burst did not write.")
@json_option
@click.pass_context
def install(context: click.Context, user: bool, directory: Path | None, force: bool, as_json: bool) -> None:
    """Write burst/SKILL.md into a directory of skills, or bring it up to date. Safe to repeat."""
    from orchestrator.skill_file import install_skill

    if user and directory is not None:
        raise UsageError("choose one: --user or --directory")
    home = Path.home() if user else Path()
    show(install_skill(_text(context), directory or home / ".claude" / "skills", force=force), as_json)


def _text(context: click.Context) -> str:
    root = context.find_root().command
    assert isinstance(root, click.Group)
    return skill_text(root)
