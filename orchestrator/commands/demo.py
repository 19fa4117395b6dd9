"""`burst demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.commands.common import NamedPath, json_option, show


@click.command(short_help="Watch a burst being killed and resumed.")
@click.option(
    "--directory",
    type=NamedPath(),
    help="Empty or new directory to work in (default: a temporary one, kept).",
)
@json_option
def demo(directory: Path | None, as_json: bool) -> None:
    """A burst is killed with SIGKILL and resumed, on a sandbox; the sandbox counts what was rendered.

    Takes a few seconds and needs no ComfyUI. Ends with a contact sheet. Exits 1 unless every prompt was
    rendered exactly once.
    """
    from orchestrator.demo import run_demo

    report = run_demo(directory, say=(lambda line: None) if as_json else click.echo)
    show(report, as_json)
    sys.exit(report.exit_code)
