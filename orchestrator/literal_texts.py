"""Texts that look like dynamic prompts, or name LoRAs, where nothing reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from orchestrator.formatting import one_line

_LONGEST_SHOWN = 60


def looks_dynamic(text: str) -> str | None:
    """The part of a text that would be expanded in a dynamic prompt, None where there is none."""
    if "{" not in text and "__" not in text and "}" not in text:
        return None
    found = _pattern().search(text)
    return one_line(found[0])[:_LONGEST_SHOWN] if found else None


def names_lora(text: str) -> bool:
    """Whether a text holds a `<lora:name:0.8>`."""
    return "<" in text and _lora_pattern().search(text) is not None


def literal_notes(count: int, lora_count: int = 0) -> Iterator[str]:
    """What to report of so many prompts that are sent as they are; nothing of none. `lora_count`: those with LoRAs."""
    if lora_count:
        what = "1 prompt names" if lora_count == 1 else f"{lora_count} prompts name"
        yield f"{what} LoRAs (<lora:name:0.8>), sent as written here; `burst generate` loads such LoRAs"
    if count:
        what = "1 prompt looks like a dynamic prompt" if count == 1 else f"{count} prompts look like dynamic prompts"
        yield f"{what} ({{a|b}}, __name__), sent as written here; `burst generate --dynamic` expands such texts"


@cache
def _lora_pattern() -> re.Pattern[str]:
    return re.compile(r"(?<!\\)<\s*(?:lora|lyco|locon|hypernet)\s*:", re.IGNORECASE)


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(
        r"(?<!\\)\{[^{}]*\|[^\n{}]*\}?"  # {a|b}, closed or not
        r"|\|[^{}|]*(?<!\\)\}"
        r"|(?<!\\)\{\s*[\d-][\d\s-]*\$\$[^\n}]*\}?"
        r"|(?<![\\_])__[^\s_{}|$\\](?:(?!__)[^\n{}|$\\]){0,200}__"
        r"|(?<!\\)\$\{\s*[A-Za-z_][\w-]*\s*[}=:?]"
    )
