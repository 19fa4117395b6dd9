"""`burst notify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.commands.common import Between, json_option, show, state_option
from orchestrator.commands.help import Command, Group
from orchestrator.errors import UsageError

_EVENTS = ("done", "failed", "stuck", "disk")
"""As `state.notices`, which `--help` would take long to import."""


def _events(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


@click.group(cls=Group, short_help="Send notifications when work is done, fails or is stuck.")
def notify() -> None:
    """Tell receivers what happens to a state, from whichever host runs it."""


@notify.command(cls=Command, short_help="Add a receiver, or change its events.")
@click.argument("url", required=False, metavar="URL")
@click.option(
    "--url-env",
    metavar="VARIABLE",
    help="Read the URL from this environment variable, to keep it out of the shell's history.",
)
@click.option(
    "--on",
    default=",".join(_EVENTS),
    show_default=True,
    callback=_events,
    metavar="EVENT,…",
    help="Events: done (a batch, or all work), failed (items, for good), stuck, disk (full).",
)
@click.option(
    "--runs",
    default=3,
    show_default=True,
    callback=Between(1, 1000),
    type=int,
    metavar="N",
    help="Send `stuck` after this many runs in a row that finish no item.",
)
@click.option(
    "--secret-env",
    metavar="VARIABLE",
    help="Environment variable with the signing key, instead of one kept in the state.",
)
@state_option
@json_option
def add(
    url: str | None,
    url_env: str | None,
    on: tuple[str, ...],
    runs: int,
    secret_env: str | None,
    state: Path,
    as_json: bool,
) -> None:
    """Tell URL what happens to the state from now on.

    http:// and https:// are webhooks, signed as Standard Webhooks say; the signing secret is printed once. Anything
    else (ntfy://, discord://, slack://, tgram://, mailto://) goes through Apprise: pip install 'comfyui-burst[notify]'.
    """
    from orchestrator.notifications.receivers import add_receiver

    show(add_receiver(state, _url(url, url_env), on=on, runs=runs, secret_env=secret_env), as_json)


@notify.command(name="list", cls=Command, short_help="List receivers, without secrets.")
@state_option
@json_option
def list_command(state: Path, as_json: bool) -> None:
    """List the receivers: what they are told, and whether the last message arrived."""
    from orchestrator.notifications.receivers import list_receivers

    show(list_receivers(state), as_json)


@notify.command(cls=Command, short_help="Remove receivers.")
@click.argument("names", nargs=-1, required=True, metavar="ID|URL...")
@state_option
@json_option
def remove(names: tuple[str, ...], state: Path, as_json: bool) -> None:
    """Remove receivers."""
    from orchestrator.notifications.receivers import remove_receivers

    show(remove_receivers(state, names), as_json)


@notify.command(cls=Command, short_help="Send a test message now.")
@click.argument("names", nargs=-1, metavar="[ID|URL]...")
@state_option
@json_option
def test(names: tuple[str, ...], state: Path, as_json: bool) -> None:
    """Send a test message to all receivers, or to those named; exit 1 if one was not reached."""
    from orchestrator.notifications.receivers import check_receivers

    report = check_receivers(state, names)
    show(report, as_json)
    sys.exit(report.exit_code)


def _url(url: str | None, variable: str | None) -> str:
    """Errors: UsageError."""
    import os

    if (url is None) == (variable is None):
        raise UsageError("choose one: the URL, or --url-env")
    found = url if variable is None else os.environ.get(variable)
    if not found:
        raise UsageError(
            f"--url-env {variable}: this environment variable is not set" if variable else "the URL is empty"
        )
    return found
