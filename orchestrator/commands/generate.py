"""`burst generate`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands.common import json_option, overrides, size_or_auto, state_option, tool_options
from orchestrator.commands.output import RunOutput, log_options
from orchestrator.commands.signals import Signals
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.batches.generate_report import Generated, Planned


def _batch_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | str | None:
    return None if value is None else size_or_auto(_ctx, _param, value)


@click.command(short_help="Variations of prompts as one batch, rendered at once.")
@state_option
@tool_options
@click.option("--prompt", metavar="TEXT", help="One prompt.")
@click.option("--prompt-file", metavar="FILE", help="A file that is one prompt (- is standard input, here and below).")
@click.option("--prompts-file", metavar="FILE", help="A prompt a line.")
@click.option("--csv", metavar="FILE", help="A column `prompt`, and others named like bindings or NODE.INPUT.")
@click.option("--jsonl", metavar="FILE", help="Objects with these keys, or texts.")
@click.option("--from", "from_file", metavar="FILE", help="A sidecar or a ComfyUI PNG: make it again.")
@click.option("--notify", multiple=True, metavar="URL", help="Told when the batch has ended. Repeatable.")
@click.option("--notify-secret", metavar="VARIABLE", help="The environment variable with the key of the signature.")
@click.option("--negative", metavar="TEXT", help="What is not wanted.")
@click.option("--count", default=1, show_default=True, help="Variations of each prompt, 1 to 999.")
@click.option("--seed", type=int, help="Of each prompt's first variation, +1 each; random and recorded without it.")
@click.option("--seed-mode", type=click.Choice(["increment", "random", "fixed"]), default="increment")
@click.option("--model", metavar="NAME", help="The checkpoint.")
@click.option("--lora", "loras", multiple=True, metavar="NAME[:STRENGTH]", help="Repeatable.")
@click.option("--steps", type=int)
@click.option("--cfg-scale", "cfg", type=float)
@click.option("--sampler", metavar="NAME")
@click.option("--scheduler", metavar="NAME")
@click.option("--size", metavar="WxH", help="Of the pictures, such as 1024x768.")
@click.option("--batch-size", callback=_batch_size, metavar="N|auto", help="Pictures that one prompt makes.")
@click.option("--profile", metavar="NAME", help="speed, balanced, quality, animation, tileset, or of profiles.yaml.")
@click.option("--priority", type=click.Choice(["urgent", "high", "normal", "low"]), default="normal", show_default=True)
@click.option("--set", "sets", multiple=True, metavar="NODE.INPUT=VALUE", help="Any input of the workflow. Repeatable.")
@click.option("--sweep", "sweeps", multiple=True, metavar="KEY=A,B,C", help="Each value; several are crossed.")
@click.option(
    "--layout", type=click.Choice(["numbered", "batch", "mirror", "gallery"]), default="numbered", show_default=True
)
@click.option("--name", metavar="NAME", help="Call the batch NAME; every command takes it in place of the id.")
@click.option("--again", is_flag=True, help="Make another batch, although the same request has one that is not done.")
@click.option("--stem", metavar="NAME", help="What the pictures are called, instead of image or sprite.")
@click.option("--on-error", type=click.Choice(["stop", "continue"]), default="stop", show_default=True)
@click.option("--queue-only", is_flag=True, help="Add it and leave it to the next burst, or to the one at work.")
@click.option("--wait", "--monitor", is_flag=True, help="What it does anyway: stay until the batch is done.")
@click.option("--dry-run", is_flag=True, help="Show items and first graph; change nothing.")
@log_options
@json_option
def generate(
    state: Path,
    size: str | None,
    sets: tuple[str, ...],
    sweeps: tuple[str, ...],
    notify_secret: str | None,
    again: bool,
    queue_only: bool,
    wait: bool,
    dry_run: bool,
    as_json: bool,
    output: RunOutput,
    server: tuple[str, ...],
    template: str | None,
    output_dir: Path | None,
    bindings: tuple[str, ...],
    headers: tuple[tuple[str, str], ...],
    **spec: Any,
) -> None:
    """Make variations of prompts: a batch of items with seeds, worked off at once by bursts.

    Killed at any time, the batch stays: `burst run` goes on with the same pictures, numbers and seeds. So does the same
    command: a request that is made again is one request, until its batch is done and its report was printed.
    """
    from orchestrator.batches.flags import parse_sets, parse_size, parse_sweeps
    from orchestrator.batches.spec import BatchSpec
    from orchestrator.cycle.request import Request
    from orchestrator.generation import Generation

    if queue_only and wait:
        raise UsageError("--queue-only and --wait: say one of them")
    sized = parse_size(size) if size is not None else None
    entry = BatchSpec(**spec, size=sized, template=template, sets=parse_sets(sets), sweeps=parse_sweeps(sweeps))
    signals = Signals(as_json=as_json)
    codes: list[int] = []

    def deliver(outcome: Generated | Planned) -> bool:
        outcome = replace(outcome, exit_code=signals.exit_code or outcome.exit_code)
        codes.append(outcome.exit_code)
        return output.show(outcome)

    work = Generation(
        entry,
        Request(state=state, overrides=overrides(server, template, output_dir, bindings, headers)),
        queue_only=queue_only,
        dry_run=dry_run,
        always_new=again,
        deliver=deliver,
        secret_env=notify_secret,
        stdin=sys.stdin.buffer,
        progress=lambda record: output.generating(batch=record.batch, total=record.total),
    )
    signals.run(work)
    sys.exit(*codes)  # what was printed, even if a signal came after that
