"""LoRAs that are named within a prompt, as AUTOMATIC1111's web UI and its relatives take them: `<lora:name:0.8>`.

A tag leaves the text and becomes a LoRA of the item, as `--lora` does. `\\<lora:…>` is the text `<lora:…>`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.errors import UsageError
from orchestrator.wording import named

_TAG = re.compile(r"(\\?)<\s*(lora|lyco|locon|hypernet)\s*:([^<>]*)(>?)", re.IGNORECASE)
_STRENGTH = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Tagged:
    """A prompt without its tags, and their LoRAs, each NAME:STRENGTH."""

    text: str
    loras: tuple[str, ...]


@dataclass(frozen=True)
class LoraTags:
    """Reads them. `file`: the file of a LoRA by its name in a tag, and the place for messages."""

    file: Callable[[str, str], str]

    def read(self, prompt: str, inputs: Mapping[str, Any], entry: PromptEntry) -> Tagged | None:
        """None where there is nothing to take out. Errors: UsageError, also for tags in a negative prompt."""
        negative = inputs.get("negative")
        if isinstance(negative, str) and "<" in negative:
            _refuse(negative, entry)
        if "<" not in prompt or not _TAG.search(prompt):
            return None
        loras: list[tuple[str, str, str]] = []

        def taken(found: re.Match[str]) -> str:
            if found[1]:
                return found[0][1:]
            place = _place(entry, prompt, found.start())
            loras.append((*_parsed(found, place), place))
            return ""

        text = _TAG.sub(taken, prompt).strip()
        if not text:
            raise UsageError(f"{entry.where}: the prompt is empty without its LoRAs; write a text")
        return Tagged(text, tuple(f"{self.file(name, place)}:{strength}" for name, strength, place in loras))


def with_tagged(loras: object, tagged: Tagged) -> str | list[str]:
    """An item's LoRAs, with those of its prompt behind them."""
    own = [] if loras is None else [str(one) for one in loras] if isinstance(loras, list) else [str(loras)]
    every = [*own, *tagged.loras]
    return every[0] if len(every) == 1 else every


def _refuse(negative: str, entry: PromptEntry) -> None:
    found = next((tag for tag in _TAG.finditer(negative) if not tag[1]), None)
    if found:
        raise UsageError(
            f"{entry.where}: {_shown(found)} is in the negative prompt, where it loads nothing; move it to the prompt, "
            f"or add {named('literal', True)} to send the text as it is"
        )


def _parsed(found: re.Match[str], place: str) -> tuple[str, str]:
    """Name and strength. Errors: UsageError for what a loader of ComfyUI has no input for."""
    kind, parts = found[2].casefold(), [part.strip() for part in found[3].split(":")]
    shown = _shown(found)
    if not found[4]:
        raise UsageError(f"{place}: {shown} is not closed; write > where it ends")
    if kind == "hypernet":
        raise UsageError(f"{place}: {shown}: hypernetworks are not loaded from a text; load it in the workflow")
    name, *strengths = parts
    if not name:
        raise UsageError(f"{place}: {shown} names no LoRA; write <lora:NAME:STRENGTH>")
    by_key = dict(part.split("=", 1) for part in strengths if "=" in part)
    plain = [part for part in strengths if "=" not in part]
    if len(plain) > 2 or set(by_key) - {"te", "unet"}:
        raise UsageError(f"{place}: {shown}: only NAME and STRENGTH are taken; leave the rest out")
    text_encoder = by_key.get("te", plain[0] if plain else "1")
    model = by_key.get("unet", plain[1] if len(plain) > 1 else text_encoder)
    for one in (text_encoder, model):
        if not _STRENGTH.fullmatch(one) or abs(float(one)) > 100:
            raise UsageError(
                f"{place}: {shown}: the strength is a number from -100 to 100; {one[:_LONGEST_SHOWN]!r} is not"
            )
    if float(text_encoder) != float(model):
        raise UsageError(
            f"{place}: {shown}: text encoder and model have one strength here; write it once, or load the LoRA in the "
            "workflow"
        )
    return name, text_encoder


def _shown(found: re.Match[str]) -> str:
    text = found[0].removeprefix("\\")
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def _place(entry: PromptEntry, prompt: str, at: int) -> str:
    """Where a tag stands, as far as the text is still as it was written."""
    if prompt != entry.prompt:
        return entry.where
    before = prompt[:at]
    line, column = before.count("\n"), at - before.rfind("\n")
    if entry.line:
        return f"{entry.where} line {entry.line + line}, column {column + (0 if line else entry.column - 1)}"
    where = f"{entry.where}, line {line + 1} of the text" if line else entry.where
    return f"{where}, column {column + (0 if line else entry.column - 1)}"
