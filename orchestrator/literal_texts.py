"""Texts that look like dynamic prompts where nothing expands them."""

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


def literal_notes(count: int) -> Iterator[str]:
    """What to report of so many prompts that are sent as they are; nothing of none."""
    if count:
        what = "1 prompt looks like a dynamic prompt" if count == 1 else f"{count} prompts look like dynamic prompts"
        yield f"{what} ({{a|b}}, __name__), sent as written here; `burst generate --dynamic` expands such texts"


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(
        r"(?<!\\)\{[^{}]*\|[^\n{}]*\}?"  # {a|b}, closed or not
        r"|\|[^{}|]*(?<!\\)\}"
        r"|(?<!\\)\{\s*[\d-][\d\s-]*\$\$[^\n}]*\}?"
        r"|(?<![\\_])__[^\s_{}|$\\](?:(?!__)[^\n{}|$\\]){0,200}__"
        r"|(?<!\\)\$\{\s*[A-Za-z_][\w-]*\s*[}=:?]"
    )
