"""The key of a sweep over texts: `prompt:fox`, `6.text:fox`, `{animal}`; which text it is about, and how it reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from orchestrator.batches.values import clean, fitted
from orchestrator.batches.vocabulary import Vocabulary, spelled
from orchestrator.errors import UsageError

PLACEHOLDER = re.compile(r"(?<![\\$%])\{[^\W\d][\w -]{0,63}\}")
"""`{animal}`; neither `\\{animal}` nor the variable `${animal}`."""
_SEARCH = re.compile(r"([A-Za-z][\w -]*|[^.]+\.[^.:]+):(.+)", re.DOTALL)
_LONGEST_SHOWN = 40


@dataclass(frozen=True)
class TextAxis:
    """What is replaced, and in which text."""

    search: str
    name: str | None = None
    """A binding or an address; None: every text of an item."""

    @property
    def pattern(self) -> str:
        """Finds what is replaced."""
        return (r"(?<![\\$%])" if self.name is None else "") + re.escape(self.search)

    def is_in(self, name: str, text: str) -> bool:
        """Whether there is anything to replace in the text of this name."""
        return self.name in (name, None) and re.search(self.pattern, text) is not None

    def label(self, value: object) -> str:
        """One of its values, for people: `animal fox`, `fox → cat`."""
        if self.name is None:
            return f"{self.search[1:-1]} {value}"
        where = "" if self.name == "prompt" else f"{self.name}: "
        return f"{where}{self.search} → {value}"


def text_axis(key: str) -> TextAxis | None:
    """None for what sweeps values, not texts. Errors: UsageError for a placeholder that none can be."""
    said = key.strip()
    if said.startswith("{"):
        if not PLACEHOLDER.fullmatch(said):
            raise UsageError(
                f"{said[:_LONGEST_SHOWN]!r} is not a placeholder; write a name in braces, such as {{animal}}"
            )
        return TextAxis(said)
    found = _SEARCH.fullmatch(said)
    return TextAxis(found[2], found[1].strip()) if found else None


def spelled_axis(key: str) -> str:
    """A key of a sweep as it is compared: with its name as bindings have it."""
    axis = text_axis(key)
    if axis is None:
        return spelled(key)
    return axis.search if axis.name is None else f"{spelled(axis.name)}:{axis.search}"


def axis_meaning(key: str, vocabulary: Vocabulary) -> str:
    """A key of a sweep by the names of one template. Errors: UsageError for a text that it does not take."""
    axis = text_axis(key)
    if axis is None:
        return vocabulary.meaning(key)
    if axis.name is None:
        return axis.search
    name = vocabulary.name_of(axis.name)
    return f"{name if name == 'prompt' else vocabulary.meaning(axis.name)}:{axis.search}"


def fitted_axis(key: str, value: object) -> Any:
    """A value of a sweep. Errors: UsageError that says what its key takes."""
    if text_axis(key) is None:
        return fitted(spelled(key), value)
    return clean(str(value) if isinstance(value, int | float) else value, "the value")
