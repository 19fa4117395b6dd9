"""`burst schedule`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from orchestrator.commands.common import NamedPath, json_option, print_json, show, state_option
from orchestrator.commands.help import Command
from orchestrator.errors import UsageError, located

if TYPE_CHECKING:
    from orchestrator.hours import Hours

_SET_HERE = ("--state", "--max-seconds", "--until", "--between", "--until-done", "--stop-on-eof", "--dry-run", "--json")
"""Options of `burst run` that are the schedule's own."""


@click.command(cls=Command, short_help="Schedule runs with cron, systemd or Kubernetes.")
@click.option("--every", metavar="INTERVAL", help="Start a run this often, such as 2m or 1h (default: 5m).")
@click.option("--at", "hours", metavar="HH:MM-HH:MM", help="Only within these hours, such as 22:00-07:00 (local time).")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["cron", "systemd", "kubernetes"]),
    default="cron",
    show_default=True,
    help="For which scheduler.",
)
@click.option("--install", is_flag=True, help="Install it in your crontab or systemd. Safe to repeat.")
@click.option("--remove", is_flag=True, help="Remove what --install added for this state.")
@click.option("--system", is_flag=True, help="With systemd: units of the host, in /etc/systemd/system.")
@click.option(
    "--log-file", "log", type=NamedPath(), metavar="FILE", help="Log of cron's runs (default: beside the state)."
)
@click.option("--image", metavar="NAME", help="With Kubernetes: the container image of burst.")
@state_option
@json_option
@click.argument("run_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- RUN OPTIONS]")
def schedule(
    state: Path,
    every: str | None,
    hours: str | None,
    kind: Literal["cron", "systemd", "kubernetes"],
    install: bool,
    remove: bool,
    system: bool,
    log: Path | None,
    image: str | None,
    as_json: bool,
    run_options: tuple[str, ...],
) -> None:
    """Print what starts a run of this state again and again; with --install, put it in place.

    A run ends before the next one is due. One that finds another at work, or the server away, ends without a complaint
    to the scheduler, and the next start goes on. Further options of `burst run` follow after `--`.
    """
    from orchestrator.scheduling.schedule import schedule as scheduled
    from orchestrator.scheduling.schedule import unschedule
    from orchestrator.scheduling.slots import DEFAULT_SECONDS, Slots, parse_interval

    if remove:
        if install or every or hours or run_options:
            raise UsageError("--remove goes with --state and --system alone")
        show(unschedule(state, system=system), as_json)
        return
    if every is None and hours is None:
        raise UsageError("choose when: --every 5m, --at 22:00-07:00, or both")
    if system and kind != "systemd":
        raise UsageError("--system goes with --format systemd")
    with located("--every", UsageError):
        seconds = parse_interval(every) if every is not None else DEFAULT_SECONDS
    _check_run_options(run_options)
    report = scheduled(
        state,
        Slots(seconds, _hours(hours)),
        kind=kind,
        extra=run_options,
        log=log,
        image=image,
        system=system,
        install=install,
    )
    if as_json:
        print_json(report.as_json())
        return
    click.echo(report.as_text())
    if notes := report.notes_text():
        click.echo(notes, err=True)


def _hours(text: str | None) -> Hours | None:
    if text is None:
        return None
    from orchestrator.hours import Hours

    with located("--at", UsageError):
        return Hours.parse(text)


def _check_run_options(arguments: Sequence[str]) -> None:
    """Errors: UsageError for what `burst run` does not take, and for a secret that everybody could read."""
    from orchestrator.commands.run import run

    for argument in arguments:
        name = argument.partition("=")[0]
        if name in _SET_HERE:
            raise UsageError(f"{name}: the schedule sets it; leave it out after --")
    context = run.make_context("burst schedule … --", list(arguments), resilient_parsing=False)
    for name, value in context.params.get("headers", ()):
        if not value.startswith("env:"):
            raise UsageError(f"--header {name}: everybody could read it; use '{name}: env:VARIABLE'")
