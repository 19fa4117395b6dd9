"""`burst sandbox`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands.common import NamedPath, json_option, listen_options, print_json
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.documents.others import SandboxDocument

SANDBOX_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("--comfyui-version", "VERSION", "ComfyUI to imitate: 0.3.64 (default) or 0.33.0, which has /api/jobs."),
    ("--seconds-per-prompt", float, "Render time of a prompt, in seconds (default 0)."),
    ("--load-seconds", float, "Seconds to load a model that is not the last one loaded (default 0)."),
    ("--seconds-next", "N,N,…", "Render times of the next prompts, in seconds, such as 7,1,1."),
    ("--latent-previews", bool, "Send a preview image after each step of a sampler."),
    ("--hide-captions", bool, "Draw images without text."),
    ("--answer-delay-seconds", float, "Delay before every response."),
    ("--failure-rate", float, "Share of prompts that end with an execution error."),
    ("--fail-next", int, "Number of prompts, from the next one on, that fail."),
    ("--out-of-memory-rate", float, "Share of prompts that end out of memory."),
    ("--out-of-memory-next", int, "Number of prompts, from the next one on, that run out of memory."),
    ("--out-of-memory-above", int, "Largest number of images per prompt that fits into memory."),
    ("--cuda-error-after", int, "Number of prompts after which all others fail until a restart."),
    ("--drop-before-queue-rate", float, "Share of POST /prompt cut off before the prompt is queued."),
    ("--drop-before-queue-next", int, "Number of such cuts, from the next POST on."),
    ("--drop-after-queue-rate", float, "Share of POST /prompt queued, then cut off without a response."),
    ("--drop-after-queue-next", int, "Number of such cuts, from the next POST on."),
    ("--truncate-download-rate", float, "Share of downloads that end too early."),
    ("--truncate-next", int, "Number of downloads, from the next one on, that end too early."),
    ("--unavailable-rate", float, "Share of requests answered 503, as by a proxy."),
    ("--unavailable-next", int, "Number of requests, from the next one on, answered 503."),
    ("--unreadable-history", bool, "Answer a page instead of /history/ID, as some proxies do."),
    ("--history-limit", int, "History entries kept (default 10000)."),
    ("--random-seed", int, "Seed of the faults: same seed and requests, same faults (default 0)."),
    ("--checkpoint", str, "Checkpoint to offer, replacing the built-in ones. Repeatable."),
    ("--lora", str, "LoRA to offer. Repeatable."),
    ("--vae", str, "VAE to offer. Repeatable."),
    ("--upscale-model", str, "Upscale model to offer. Repeatable."),
    ("--embedding", str, "Embedding to offer. Repeatable."),
    ("--model-bytes", int, "Size told of every model file; 0: none."),
    ("--missing-node", str, "Node class to leave out. Repeatable."),
    ("--accept-any-model", bool, "Accept every model name, to rehearse another server's template."),
    ("--refuse-websocket", bool, "Answer 404 to a websocket, as some proxies do."),
    ("--rename-prompts", bool, "Choose every prompt_id on the server, as some hosts do."),
)


def sandbox_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option for each field of SandboxSettings; what is not said stays at its default."""
    for flag, kind, text in reversed(SANDBOX_OPTIONS):
        name = flag.removeprefix("--").replace("-", "_")
        if kind is bool:
            option = click.option(flag, name, is_flag=True, help=text)
        elif isinstance(kind, str):
            option = click.option(flag, name, callback=_fitting, metavar=kind, help=text)
        elif kind is str:
            option = click.option(flag, f"{name}s", multiple=True, metavar="NAME", help=text)
        else:
            option = click.option(flag, name, type=kind, callback=_fitting, metavar="N", help=text)
        command = option(command)
    return command


def _fitting(_ctx: click.Context, param: click.Parameter, value: float | str | None) -> object:
    """The value of an option, refused where it is none of the setting's."""
    from orchestrator.sandbox.settings import fault_of

    assert param.name is not None
    found = _seconds(value) if param.name == "seconds_next" and isinstance(value, str) else value
    if found is not None and (fault := fault_of(param.name, found)) is not None:
        raise click.BadParameter(fault)
    return found


def _seconds(text: str) -> tuple[float, ...] | str:
    """Numbers with commas between them; the text itself where it is something else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return text


@click.command(short_help="Run an imitation of ComfyUI that draws placeholders.")
@listen_options(port=8188)
@click.option("--directory", type=NamedPath(), help="Directory for its files (default: temporary).")
@sandbox_options
@json_option
def sandbox(host: str, port: int, directory: Path | None, as_json: bool, **settings: Any) -> None:
    """Run a ComfyUI-compatible server that draws placeholders: for demo, rehearsal and tests.

    Listens until SIGTERM or Ctrl-C. GET /sandbox/counts tells what it rendered, POST /sandbox/settings changes it.
    """
    from orchestrator.sandbox import SandboxSettings, serve

    def announce(url: str) -> None:
        if as_json:
            document: SandboxDocument = {"schema": "burst.sandbox/1", "url": url}
            print_json(document)
        else:
            click.echo(f"Sandbox, drawing placeholders: {url}\nCtrl-C ends it. Try: burst init DIR --server {url}")
        sys.stdout.flush()

    said = {name: value for name, value in settings.items() if not (value is None or value is False or value == ())}
    try:
        serve(SandboxSettings(**said), host=host, port=port, directory=directory, announce=announce)
    except OSError as error:
        if error.filename is not None:  # about the directory
            raise
        advice = "try --port 0" if port else "choose an address of this machine with --host"
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}; {advice}") from error
