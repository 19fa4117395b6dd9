"""What the rows of a list say: a prompt, values for bindings and addresses, and what its pictures are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.batches.layouts import refuse_unsafe
from orchestrator.batches.spec import PromptEntry
from orchestrator.batches.values import clean, fitted, parted, parts_of
from orchestrator.batches.vocabulary import PLACES, Vocabulary, spelled
from orchestrator.errors import UsageError, located

_TEXTS = ("prompt", *PLACES)
_FILE_EXTENSION = re.compile(r"\.(png|jpe?g|webp|gif|mp4|webm|txt|json)\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Heading:
    """The columns of a list, or the keys of an object: as they are written, and what each one means."""

    said: tuple[str, ...]
    names: tuple[str | None, ...]
    """None for a column without a heading."""
    subfolder: str | None
    """Of rows that name none, in a mirror layout; None in another."""

    @classmethod
    def read(cls, said: Sequence[str], where: str, *, vocabulary: Vocabulary, subfolder: str | None) -> Heading:
        """Errors: UsageError for a column that nothing takes, one that is there twice, and no `prompt`."""
        names = tuple(_meaning(name, f"{where}, column {name!r}", vocabulary, subfolder) for name in said)
        told: dict[str, str] = {}
        for written, name in zip(said, names, strict=True):
            for part in parts_of(name) if name else ():
                if part in told:
                    raise UsageError(f"{where}: {told[part]!r} and {written!r} both set {part}; take one out")
                told[part] = written
        if "prompt" not in told:
            raise UsageError(f"{where}: no column is called `prompt`, only {', '.join(map(repr, said)) or 'nothing'}")
        return cls(tuple(said), names, subfolder)

    def entry(self, values: Sequence[Any], where: str) -> PromptEntry:
        """What one row wishes; None is not said. Errors: UsageError that names the column."""
        inputs: dict[str, Any] = {}
        for written, name, value in zip(self.said, self.names, values, strict=True):
            if value is None:
                continue
            if name is None:
                raise UsageError(f"{where}: {value!r} stands in a column without a heading; quote a text with commas")
            with located(f"{where}, column {written!r}", UsageError):
                fitting = clean(value, name).strip() if name in _TEXTS else fitted(name, value)
            inputs |= parted(name, fitting)
        prompt, name, subfolder = (inputs.pop(text, "") for text in _TEXTS)
        if not prompt:
            raise UsageError(f"{where}: the prompt is empty; write one, or take the row out")
        if self.subfolder is None:
            return PromptEntry(prompt, inputs, where)
        inside, slash, stem = _FILE_EXTENSION.sub("", name).rpartition("/")
        place = "/".join(part for part in (subfolder or ("" if slash else self.subfolder), inside) if part)
        refuse_unsafe(stem or "image", layout="mirror", subfolder=place, place=where)
        return PromptEntry(prompt, inputs, where, name=stem, subfolder=place)


def _meaning(said: str, place: str, vocabulary: Vocabulary, subfolder: str | None) -> str | None:
    if not said.strip():
        return None
    name = spelled(said)
    if name == "prompt" or (name in PLACES and subfolder is not None):
        return name
    with located(place, UsageError):
        return vocabulary.meaning(said)
