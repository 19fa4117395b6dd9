"""`burst run`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, Literal

import click

from orchestrator.commands.common import (
    LARGEST_COUNT,
    Between,
    all_option,
    json_option,
    outputs_option,
    overrides,
    print_error,
    refuse_file,
    show_listing,
    size_or_auto,
    spend_option,
    state_option,
    tool_options,
)
from orchestrator.commands.help import Command, OldName, Options
from orchestrator.commands.output import RunOutput, log_options
from orchestrator.commands.signals import Signals
from orchestrator.errors import UsageError, located

LONGEST_SECONDS = 1_000_000_000
"""As `orchestrator.cycle.request`, which `--help` would take long to import."""


def items_or_auto(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    number: int | str = Between(1, LARGEST_COUNT)(ctx, param, size_or_auto(ctx, param, value))
    return number


def _time_of_day(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        from orchestrator.hours import parse_time

        with located("--until", UsageError):
            parse_time(value)
    return value


def _hours(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        from orchestrator.hours import Hours

        with located("--between", UsageError):
            Hours.parse(value)
    return value


def _seconds_or_off(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    if value is None or value == "off":
        return None if value is None else math.inf
    try:
        seconds = float(value)
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is neither a number of seconds nor `off`") from error
    if not 0 < seconds <= LONGEST_SECONDS:
        raise click.BadParameter(
            f"{value} is out of range: give a number above 0, up to {LONGEST_SECONDS} seconds, or `off`"
        )
    return seconds


@click.command(cls=Command, short_help="Run one burst of N items.")
@Options.RUN.option(
    "-n",
    "--items",
    "size",
    default="15",
    show_default=True,
    callback=items_or_auto,
    metavar="N|auto",
    help="Items per burst; auto: fewer after a run that was killed.",
)
@click.option("--size", "former_size", cls=OldName, new="--items", default="15", callback=items_or_auto)
@Options.RUN.option("--until-done", is_flag=True, help="Run burst after burst until no item remains.")
@Options.RUN.option(
    "--max-seconds",
    type=float,
    callback=Between(0, LONGEST_SECONDS, " seconds"),
    help="Stop after this time (0: no limit); the next run collects what is submitted.",
)
@Options.RUN.option(
    "--until", metavar="HH:MM", callback=_time_of_day, help="Stop at this time of day, such as 07:00 (local time)."
)
@Options.RUN.option(
    "--between",
    metavar="HH:MM-HH:MM",
    callback=_hours,
    help="Work within these hours only, such as 22:00-07:00 (local time).",
)
@Options.RUN.option(
    "--on-error",
    type=click.Choice(["stop", "continue"]),
    default="continue",
    show_default=True,
    help="After a failed item, stop or continue. (`burst generate` stops by default.)",
)
@Options.RUN.option(
    "--max-attempts",
    default=3,
    show_default=True,
    callback=Between(1, LARGEST_COUNT),
    help="Attempts before an item fails.",
)
@Options.RUN.option(
    "--ahead",
    default=0,
    show_default=True,
    metavar="K",
    callback=Between(0, LARGEST_COUNT),
    help="Keep K more prompts in the server's queue.",
)
@Options.RUN.option(
    "--poll-interval",
    default=5.0,
    show_default=True,
    callback=Between(0.001, LONGEST_SECONDS, " seconds"),
    help="Longest pause between polls, in seconds.",
)
@Options.RUN.option(
    "--wait-lock",
    default=0.0,
    metavar="SECONDS",
    callback=Between(0, LONGEST_SECONDS, " seconds"),
    help="Wait up to SECONDS for another run on this state to end.",
)
@Options.RUN.option(
    "--wait-server",
    type=float,
    metavar="SECONDS",
    callback=Between(0, LONGEST_SECONDS, " seconds"),
    help="Wait up to SECONDS for a server that does not answer (default: 20; with --until-done no limit).",
)
@Options.RUN.option(
    "--free-every",
    type=int,
    metavar="N",
    callback=Between(1, LARGEST_COUNT),
    help="Unload each server's models after every N prompts.",
)
@Options.RUN.option(
    "--stall-seconds",
    metavar="N|off",
    callback=_seconds_or_off,
    help="Treat a server as stalled after N seconds without progress (default: far beyond what the recipe takes).",
)
@spend_option
@Options.RUN.option(
    "--stop-on-eof", is_flag=True, help="Stop when standard input ends, as on SIGTERM; for programs that start burst."
)
@Options.RUN.option("--dry-run", is_flag=True, help="Show what would be submitted; change nothing.")
@state_option
@tool_options
@outputs_option
@Options.FILES.option(
    "--overwrite", is_flag=True, help="Replace files in the output directory that do not belong to this state."
)
@Options.SERVER.option(
    "--abandon-server", metavar="SERVER", help="Give up the items submitted to SERVER; they may render twice."
)
@Options.SERVER.option("--server-moved", metavar="OLD=NEW", help="Server OLD (name or address) is now at address NEW.")
@log_options
@all_option
@json_option
def run(
    state: Path,
    size: int | Literal["auto"],
    poll_interval: float,
    max_seconds: float | None,
    until: str | None,
    between: str | None,
    until_done: bool,
    ahead: int,
    wait_lock: float,
    wait_server: float | None,
    free_every: int | None,
    stall_seconds: float | None,
    max_attempts: int,
    allow_spend: int | None,
    on_error: Literal["stop", "continue"],
    overwrite: bool,
    abandon_server: str | None,
    server_moved: str | None,
    stop_on_eof: bool,
    dry_run: bool,
    everything: bool,
    as_json: bool,
    output: RunOutput,
    **tools: Any,
) -> None:
    """Run one burst: recover, submit N, watch, download, checkpoint, report, exit."""
    from orchestrator.cycle.request import Request

    refuse_file(tools["output_dir"])
    if tools["template"] is not None:
        _refuse_no_template(tools["template"])
    request = Request(
        state=state,
        size=size,
        poll_seconds=poll_interval,
        max_seconds=max_seconds,
        until=until,
        between=between,
        until_done=until_done,
        # Who starts it starts another one when something is due.
        awaits_others=not stop_on_eof,
        ahead=ahead,
        wait_lock_seconds=wait_lock,
        wait_server_seconds=wait_server,
        free_every=free_every,
        stall_seconds=stall_seconds,
        max_attempts=max_attempts,
        allow_spend=allow_spend,
        on_error=on_error,
        overwrite=overwrite,
        abandon_server=abandon_server,
        server_moved=_pair("--server-moved", server_moved),
        overrides=overrides(**tools),
    )
    if dry_run:
        from orchestrator.cycle.dry_run import dry_run as preview

        show_listing(preview(request), as_json, everything)
        return
    from orchestrator.cycle.run import Run

    signals = Signals(as_json=as_json, stop_on_eof=stop_on_eof)
    with output.progress() as progress:
        report = signals.run(Run(request, progress=progress))
    if signals.exit_code is not None:
        from msgspec.structs import replace

        report = replace(report, exit_code=signals.exit_code)
    output.show(report, everything=everything)
    if as_json and report.exit_code and report.reason is not None:
        print_error(report.reason)
    sys.exit(report.exit_code)


def _refuse_no_template(name: str) -> None:
    """Also where every item has a workflow of its own, so that nothing else would read it. Errors: TemplateError."""
    from templates import check_readable

    check_readable(name)


def _pair(flag: str, text: str | None) -> tuple[str, str] | None:
    old, equals, new = (text or "").partition("=")
    if text is not None and not (old and equals and new):
        raise UsageError(f"{flag}: write OLD=NEW, such as {flag} gpu1=http://10.0.0.7:8188")
    return (old, new) if text is not None else None
