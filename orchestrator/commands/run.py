"""`burst run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from orchestrator.commands.common import (
    json_option,
    overrides,
    print_error,
    show,
    size_or_auto,
    state_option,
    tool_options,
)
from orchestrator.commands.output import RunOutput, log_options
from orchestrator.commands.signals import Signals
from orchestrator.errors import UsageError


@click.command(short_help="Run one burst of N items.")
@state_option
@tool_options
@click.option(
    "-n", "--size", default="15", show_default=True, callback=size_or_auto, metavar="N|auto", help="Items per burst."
)
@click.option("--poll-interval", default=5.0, show_default=True, help="Longest wait between two questions, in seconds.")
@click.option("--max-seconds", type=float, help="End by then; what is out is collected by the next burst. 0: no end.")
@click.option("--until-done", is_flag=True, help="Burst after burst until nothing is left.")
@click.option("--ahead", default=0, show_default=True, metavar="K", help="Keep K more prompts on the server's queue.")
@click.option("--wait-lock", default=0.0, metavar="SECONDS", help="Wait that long for another burst to end.")
@click.option("--max-attempts", default=3, show_default=True, help="Attempts before an item fails.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "continue"]),
    default="continue",
    show_default=True,
    help="What a failed item does to the burst.",
)
@click.option("--overwrite", is_flag=True, help="Replace files in the output directory that are not this state's.")
@click.option("--abandon-server", metavar="SERVER", help="Give up what is submitted there; it may render twice.")
@click.option("--server-moved", metavar="OLD=NEW", help="The server OLD (name or address) is at the address NEW now.")
@click.option("--dry-run", is_flag=True, help="Show what would be submitted; change nothing.")
@log_options
@json_option
def run(
    state: Path,
    size: int | Literal["auto"],
    poll_interval: float,
    max_seconds: float | None,
    until_done: bool,
    ahead: int,
    wait_lock: float,
    max_attempts: int,
    on_error: Literal["stop", "continue"],
    overwrite: bool,
    abandon_server: str | None,
    server_moved: str | None,
    dry_run: bool,
    as_json: bool,
    output: RunOutput,
    **tools: Any,
) -> None:
    """Run one burst: recover, submit N, watch, download, checkpoint, report, exit."""
    from orchestrator.cycle.request import Request

    request = Request(
        state=state,
        size=size,
        poll_seconds=poll_interval,
        max_seconds=max_seconds,
        until_done=until_done,
        ahead=ahead,
        wait_lock_seconds=wait_lock,
        max_attempts=max_attempts,
        on_error=on_error,
        overwrite=overwrite,
        abandon_server=abandon_server,
        server_moved=_pair("--server-moved", server_moved),
        overrides=overrides(**tools),
    )
    if dry_run:
        from orchestrator.cycle.dry_run import dry_run as preview

        show(preview(request), as_json)
        return
    from orchestrator.cycle.run import Run

    signals = Signals(as_json=as_json)
    with output.progress() as progress:
        report = signals.run(Run(request, progress=progress))
    if signals.exit_code is not None:
        from msgspec.structs import replace

        report = replace(report, exit_code=signals.exit_code)
    output.show(report)
    if as_json and report.reason is not None:
        print_error(report.reason)
    sys.exit(report.exit_code)


def _pair(flag: str, text: str | None) -> tuple[str, str] | None:
    old, equals, new = (text or "").partition("=")
    if text is not None and not (old and equals and new):
        raise UsageError(f"{flag}: write OLD=NEW, such as {flag} gpu1=http://10.0.0.7:8188")
    return (old, new) if text is not None else None
