"""`burst sandbox`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.common import json_option, print_json
from orchestrator.errors import UsageError

SANDBOX_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("--seconds-per-prompt", float, "How long a prompt renders (default 0)."),
    ("--answer-delay-seconds", float, "Waited before every answer."),
    ("--failure-rate", float, "Share of prompts that end with an execution error."),
    ("--fail-next", int, "So many prompts fail, then it is over."),
    ("--out-of-memory-rate", float, "Share of prompts that end out of memory."),
    ("--out-of-memory-next", int, "So many prompts run out of memory."),
    ("--out-of-memory-above", int, "Every prompt that makes more pictures than this at once runs out of memory."),
    ("--drop-before-queue-rate", float, "Share of POST /prompt cut off before the prompt is queued."),
    ("--drop-before-queue-next", int, "So many are cut off before."),
    ("--drop-after-queue-rate", float, "Share of POST /prompt queued, then cut off without an answer."),
    ("--drop-after-queue-next", int, "So many are cut off after."),
    ("--truncate-download-rate", float, "Share of downloads that end too early."),
    ("--truncate-next", int, "So many downloads end too early."),
    ("--unavailable-rate", float, "Share of requests answered 503, as by a proxy."),
    ("--unavailable-next", int, "So many requests are answered 503."),
    ("--history-limit", int, "History entries kept (default 10000)."),
    ("--random-seed", int, "Same seed and requests, same faults (default 0)."),
    ("--checkpoint", str, "A checkpoint's name; repeatable, replaces the built-in ones."),
    ("--lora", str, "A LoRA's name; repeatable."),
    ("--vae", str, "A VAE's name; repeatable."),
    ("--embedding", str, "An embedding's name; repeatable."),
    ("--missing-node", str, "A node class that it lacks; repeatable."),
    ("--accept-any-model", bool, "Take every model name: to rehearse another server's template."),
    ("--jobs-api", bool, "Have /api/jobs, as newer servers do."),
    ("--rename-prompts", bool, "Choose every prompt_id itself, as some hosts do."),
)


def sandbox_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option for each field of SandboxSettings; what is not said stays at its default."""
    for flag, kind, text in reversed(SANDBOX_OPTIONS):
        name = flag.removeprefix("--").replace("-", "_")
        if kind is bool:
            option = click.option(flag, name, is_flag=True, help=text)
        elif kind is str:
            option = click.option(flag, f"{name}s", multiple=True, metavar="NAME", help=text)
        else:
            option = click.option(flag, name, type=kind, metavar="N", help=text)
        command = option(command)
    return command


@click.command(short_help="Run a server that draws placeholders.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8188, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--directory", type=click.Path(path_type=Path), help="Keep its files there (default: temporary).")
@sandbox_options
@json_option
def sandbox(host: str, port: int, directory: Path | None, as_json: bool, **settings: Any) -> None:
    """Run a ComfyUI-compatible server that draws placeholders: for demo, rehearsal and tests.

    Listens until SIGTERM or Ctrl-C. GET /sandbox/counts tells what it rendered, POST /sandbox/settings changes it.
    """
    from orchestrator.sandbox import SandboxSettings, serve

    def announce(url: str) -> None:
        if as_json:
            print_json({"schema": "burst.sandbox/1", "url": url})
        else:
            click.echo(f"Sandbox, drawing placeholders: {url}\nCtrl-C ends it. Try: burst init DIR --server {url}")
        sys.stdout.flush()

    said = {name: value for name, value in settings.items() if value not in (None, False, ())}
    try:
        serve(SandboxSettings(**said), host=host, port=port, directory=directory, announce=announce)
    except OSError as error:
        if error.filename is not None:  # about the directory
            raise
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}; try --port 0") from error
