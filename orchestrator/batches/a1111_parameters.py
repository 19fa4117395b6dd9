"""The `parameters` text that AUTOMATIC1111's web UI writes into its images and shows below them.

    a fox in the snow, <lora:style:0.8>
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 42, Size: 512x768, Model: dream_8, Clip skip: 2

Several of them may follow one another. As `modules/infotext_utils.py` of the web UI reads it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.batches.a1111_names import checkpoint_name, sampler_inputs
from orchestrator.batches.foreign_formats import NEGATIVE, PNG, SETTINGS
from orchestrator.batches.values import fitted, parted
from orchestrator.errors import UsageError, located
from orchestrator.wording import named
from templates.embedded import embedded_text

_PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_NAMES = {"Steps": "steps", "CFG scale": "cfg", "Distilled CFG Scale": "guidance", "Seed": "seed", "Size": "size"}
_SAMPLER, _SCHEDULE, _MODEL = "Sampler", "Schedule type", "Model"
_WITHOUT_EFFECT = frozenset(
    {"Model hash", "VAE hash", "Lora hashes", "TI hashes", "Hashes", "Version", "Batch size", "Batch pos", "User"}
)
"""Parameters that a record has, and that say nothing more about the image."""


@dataclass(frozen=True)
class Parameters:
    """One such text."""

    prompt: str
    inputs: Mapping[str, Any]
    """By binding."""
    line: int
    """Where it begins in its file, from 1."""
    left_out: tuple[str, ...]
    """Parameters that are not used, though the image was made with them."""


def image_parameters(data: bytes, shown: str) -> str | None:
    """The text in a PNG; None for what is not a PNG. Errors: UsageError for one without it."""
    if not data.startswith(PNG):
        return None
    text = embedded_text(data, "parameters")
    if text is None:
        raise UsageError(
            f"{shown}: this image holds no `parameters` of AUTOMATIC1111's web UI; an image of ComfyUI is made again "
            f"with {named('from_file', 'FILE')}"
        )
    return text.replace("\r\n", "\n")


def read_parameters(text: str, shown: str, takes: Callable[[str], bool]) -> Iterator[Parameters]:
    """Each text of a file. `takes`: whether the template has a place for what a binding sets; the rest is left out.

    Errors: UsageError that names file and line.
    """
    lines = text.split("\n")
    start = 0
    for number, line in enumerate(lines):
        if SETTINGS.match(line):
            yield _read(lines[start:number], line, shown, start, takes)
            start = number + 1
    rest = lines[start:]
    if not any(line.strip() for line in rest):
        return
    if start:
        first = next(number for number, line in enumerate(rest, start + 1) if line.strip())
        raise UsageError(
            f"{shown} line {first}: no line of settings (`Steps: 20, …`) ends this prompt; add one to each"
        )
    yield _read(rest, "", shown, start, takes)


def _read(lines: list[str], settings: str, shown: str, start: int, takes: Callable[[str], bool]) -> Parameters:
    blank = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    place = f"{shown} line {start + blank + 1}"
    negatives = [number for number, line in enumerate(lines) if line.strip().startswith(NEGATIVE)]
    if len(negatives) > 1:
        raise UsageError(
            f"{shown} line {start + negatives[1] + 1}: a second negative prompt for one prompt; end each prompt with "
            "its line of settings (`Steps: 20, …`)"
        )
    end = negatives[0] if negatives else len(lines)
    prompt = "\n".join(line.strip() for line in lines[:end]).strip()
    if not prompt:
        raise UsageError(f"{place}: there is no prompt before its settings; write one")
    inputs: dict[str, Any] = {}
    if negatives and (negative := "\n".join(line.strip() for line in lines[end:]).removeprefix(NEGATIVE).strip()):
        inputs["negative"] = negative
    said = {name: _unquoted(value.strip()) for name, value in _PAIR.findall(settings)}
    with located(f"{shown} line {start + len(lines) + 1}", UsageError):
        inputs |= _inputs(said)
    used = {name: value for name, value in inputs.items() if takes(name)}
    missing = [name for name in inputs if name not in used]
    others = [name for name in said if name not in (*_NAMES, *_WITHOUT_EFFECT, _SAMPLER, _SCHEDULE, _MODEL)]
    return Parameters(prompt, used, start + blank + 1, (*missing, *others))


def _inputs(said: Mapping[str, str]) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for name, meant in _NAMES.items():
        if name in said and (name, said[name]) != ("Seed", "-1"):
            with located(name, UsageError):
                inputs |= parted(meant, fitted(meant, said[name]))
    if _SAMPLER in said:
        with located(_SAMPLER, UsageError):
            inputs |= sampler_inputs(said[_SAMPLER], said.get(_SCHEDULE, ""))
    if said.get(_MODEL):
        inputs["model"] = checkpoint_name(said[_MODEL])
    return inputs


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        text = json.loads(value)
    except ValueError:
        return value
    return text if isinstance(text, str) else value
