"""Options of the commands that make batches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from orchestrator.commands.common import size_or_auto
from orchestrator.commands.help import Options


def _batch_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | str | None:
    return None if value is None else size_or_auto(_ctx, _param, value)


def _combinations(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """0 for all."""
    if value is None or value == "all":
        return None if value is None else 0
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value[:10]) <= 1_000_000_000:
        raise click.BadParameter(f"{value!r} is not from 1 to 1000000000; leave it out for every combination")
    return int(value)


def _command_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value):
        raise click.BadParameter(f"{value!r} is not a name; define commands as [then.NAME] in the host configuration")
    return value


then_option = Options.BATCH.option(
    "--then",
    metavar="NAME",
    callback=_command_name,
    help="Command of the host configuration to run once the batch is done.",
)


def dynamic_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How prompts are expanded."""
    for option in reversed(
        (
            Options.PROMPTS.option(
                "--dynamic", is_flag=True, help="Expand {a|b}, {2$$a|b|c}, __wildcards__ and ${variables}."
            ),
            Options.PROMPTS.option(
                "--wildcards",
                multiple=True,
                metavar="DIR",
                help="Folder of wildcards, or of A1111 or ComfyUI (default: wildcards beside the state). Repeatable.",
            ),
            Options.PROMPTS.option(
                "--combinatorial",
                metavar="[N]",
                is_flag=False,
                flag_value="all",
                callback=_combinations,
                help="Make every combination of each prompt, or the first N, instead of one per seed.",
            ),
            Options.PROMPTS.option(
                "--literal", is_flag=True, help="Send text that looks like a dynamic prompt as it is."
            ),
        )
    ):
        command = option(command)
    return command


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What holds for all images."""
    for option in reversed(
        (
            Options.IMAGE.option("--negative", metavar="TEXT", help="Negative prompt."),
            Options.IMAGE.option("--model", metavar="NAME", help="Checkpoint."),
            Options.IMAGE.option(
                "--lora", "loras", multiple=True, metavar="NAME[:STRENGTH]", help="LoRA, with its strength. Repeatable."
            ),
            Options.IMAGE.option("--steps", type=int, help="Sampling steps."),
            Options.IMAGE.option("--cfg", "--cfg-scale", "cfg", type=float, help="Classifier-free guidance scale."),
            Options.IMAGE.option("--sampler", metavar="NAME", help="Sampler."),
            Options.IMAGE.option("--scheduler", metavar="NAME", help="Noise scheduler."),
            Options.IMAGE.option("--size", metavar="WxH", help="Width and height of the images, such as 1024x768."),
            Options.IMAGE.option(
                "--batch-size",
                callback=_batch_size,
                metavar="N|auto",
                help="Images per submitted prompt; auto: as many as fit into memory.",
            ),
            Options.IMAGE.option(
                "--profile",
                metavar="NAME",
                help="Preset: speed, balanced, quality, animation, tileset, or one of profiles.yaml.",
            ),
            Options.IMAGE.option(
                "--set",
                "sets",
                multiple=True,
                metavar="NODE.INPUT=VALUE",
                help="Value for any input of the workflow. Repeatable.",
            ),
        )
    ):
        command = option(command)
    return command
