"""`burst generate`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.commands.common import (
    all_option,
    json_option,
    needs_option,
    outputs_option,
    overrides,
    refuse_file,
    show_listing,
    spend_option,
    state_option,
    tool_options,
)
from orchestrator.commands.help import Command, Options
from orchestrator.commands.output import RunOutput, log_options
from orchestrator.commands.request_options import dynamic_options, image_options, then_option
from orchestrator.commands.signals import Signals
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.batches.generate_report import Generated, Planned
    from orchestrator.places import Place


@click.command(cls=Command, short_help="Render variations of prompts as one batch.")
@Options.PROMPTS.option("--prompt", metavar="TEXT", help="One prompt.")
@Options.PROMPTS.option(
    "--prompt-file", metavar="FILE", help="File with one prompt (- for standard input, here and below)."
)
@Options.PROMPTS.option(
    "--prompts-file",
    metavar="FILE",
    help="File with one prompt per line (# begins a comment), or A1111's lines or parameters.",
)
@Options.PROMPTS.option(
    "--csv", metavar="FILE", help="CSV file with a column `prompt`; other columns are bindings or NODE.INPUT."
)
@Options.PROMPTS.option("--jsonl", metavar="FILE", help="JSON Lines: objects with the same keys, or strings.")
@Options.PROMPTS.option("--xlsx", metavar="FILE", help="Excel workbook, with the columns of --csv.")
@Options.PROMPTS.option("--sheet", metavar="NAME", help="Sheet of the workbook (default: the first one).")
@Options.PROMPTS.option("--ignore-columns", is_flag=True, help="Ignore columns that nothing uses.")
@Options.PROMPTS.option(
    "--from", "from_file", metavar="FILE", help="Recreate an image from its sidecar or from a ComfyUI PNG."
)
@Options.PROMPTS.option(
    "--from-batch", metavar="BATCH|.", help="Use the images of another batch, or of all items (.), rendered or not."
)
@Options.PROMPTS.option(
    "--pick",
    metavar="favorites|all|FILE",
    help="Which of these images; a FILE lists items or images, one per line (default: all).",
)
@dynamic_options
@Options.VARIATIONS.option("--count", default=1, show_default=True, help="Variations of each prompt, 1 to 999.")
@Options.VARIATIONS.option("--seed", type=int, help="Seed of the first variation (default, and -1: random, recorded).")
@Options.VARIATIONS.option(
    "--seed-mode",
    type=click.Choice(["increment", "random", "fixed"]),
    default="increment",
    show_default=True,
    help="Seeds of further variations: add 1, draw at random, or keep the first.",
)
@Options.VARIATIONS.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="KEY=A,B,C",
    help="Try each value; several sweeps are crossed. KEY: a binding, NODE.INPUT, prompt:TEXT or {NAME} in a text. "
    "Repeatable.",
)
@image_options
@Options.BATCH.option("--name", metavar="NAME", help="Name of the batch, which commands accept in place of its id.")
@Options.BATCH.option(
    "--priority",
    type=click.Choice(["urgent", "high", "normal", "low"]),
    default="normal",
    show_default=True,
    help="Which batches render first.",
)
@Options.BATCH.option("--again", is_flag=True, help="Make a new batch even if the same request has an unfinished one.")
@Options.BATCH.option("--notify", multiple=True, metavar="URL", help="Webhook to call when the batch ends. Repeatable.")
@Options.BATCH.option(
    "--notify-secret", metavar="VARIABLE", help="Environment variable with the key that signs webhook calls."
)
@then_option
@Options.RUN.option("--queue-only", is_flag=True, help="Add the batch and exit; the current or next run renders it.")
@Options.RUN.option(
    "--on-error",
    type=click.Choice(["stop", "continue"]),
    default="stop",
    show_default=True,
    help="After a failed item, stop or continue. (`burst run` continues by default.)",
)
@click.option("--wait", "--monitor", is_flag=True, hidden=True, help="Wait until the batch is done (the default).")
@spend_option
@Options.RUN.option("--dry-run", is_flag=True, help="Show the items and the first workflow; change nothing.")
@state_option
@tool_options
@needs_option
@outputs_option
@Options.FILES.option(
    "--layout",
    type=click.Choice(["numbered", "batch", "mirror", "gallery"]),
    default="numbered",
    show_default=True,
    help="Directories and file names of the batch.",
)
@Options.FILES.option("--stem", metavar="NAME", help="Start of the file names (default: image or sprite).")
@log_options
@all_option
@json_option
def generate(
    state: Path,
    size: str | None,
    sets: tuple[str, ...],
    sweeps: tuple[str, ...],
    notify_secret: str | None,
    then: str | None,
    again: bool,
    queue_only: bool,
    wait: bool,
    allow_spend: int | None,
    dry_run: bool,
    everything: bool,
    as_json: bool,
    output: RunOutput,
    server: tuple[str, ...],
    template: str | None,
    output_dir: Place | None,
    bindings: tuple[str, ...],
    headers: tuple[tuple[str, str], ...],
    outputs: str | None,
    needs: tuple[str, ...] | None,
    **spec: Any,
) -> None:
    """Render variations of prompts as one batch.

    The batch survives a kill: `burst run`, or the same command again, continues it with the same images, numbers and
    seeds. The same request makes a new batch only after the first one is done and its report was printed.
    """
    from orchestrator.batches.flags import parse_sets, parse_size, parse_sweeps
    from orchestrator.batches.spec import BatchSpec
    from orchestrator.cycle.request import Request
    from orchestrator.generation import Generation

    if queue_only and wait:
        raise UsageError("choose one: --queue-only or --wait")
    if notify_secret is not None and not spec["notify"]:
        raise UsageError("--notify-secret: give --notify too, the address to call")
    refuse_file(output_dir)
    sized = parse_size(size) if size is not None else None
    entry = BatchSpec(**spec, size=sized, template=template, sets=parse_sets(sets), sweeps=parse_sweeps(sweeps))
    signals = Signals(as_json=as_json)
    codes: list[int] = []

    def deliver(outcome: Generated | Planned) -> bool:
        outcome = replace(outcome, exit_code=signals.exit_code or outcome.exit_code)
        codes.append(outcome.exit_code)
        if dry_run:
            return show_listing(outcome, as_json, everything)
        return output.show(outcome, everything=everything)

    tools = overrides(server, template, output_dir, bindings, headers, outputs, needs)
    work = Generation(
        entry,
        Request(state=state, allow_spend=allow_spend, overrides=tools),
        queue_only=queue_only,
        dry_run=dry_run,
        always_new=again,
        deliver=deliver,
        secret_env=notify_secret,
        then=then,
        stdin=sys.stdin.buffer,
        progress=lambda record: output.generating(batch=record.batch, total=record.total),
    )
    signals.run(work)
    sys.exit(*codes)  # what was printed, even if a signal came after that
