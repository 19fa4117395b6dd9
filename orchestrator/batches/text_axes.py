"""Sweeps over texts: `prompt:fox` searches a text in the prompt and replaces it, `{animal}` has a place in any text.

All of them are replaced in one pass over a text as it was written, before anything is expanded in it; what a value
brings in is not searched again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.suggestions import near_matches
from orchestrator.batches.text_axis import PLACEHOLDER, TextAxis, text_axis
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.errors import UsageError
from orchestrator.formatting import one_line
from orchestrator.literal_texts import looks_dynamic
from orchestrator.wording import named
from templates import resolve

_NO_TEXTS = frozenset({"prompt", "prefix"})
"""Bindings whose text in the template is never that of an item."""


@dataclass(frozen=True)
class TextAxes:
    """Those of one request, by the template's names."""

    spec: BatchSpec
    axes: Mapping[str, TextAxis]
    own: Mapping[str, str]
    """Texts of the template, by binding or address: an item has them where nothing sets another one."""

    @classmethod
    def of(cls, spec: BatchSpec, vocabulary: Vocabulary) -> TextAxes | None:
        """None where there is none. `spec` is settled."""
        axes = {key: axis for key in spec.sweeps if (axis := text_axis(key)) is not None}
        return cls(spec, axes, dict(_own(axes, vocabulary))) if axes else None

    def texts(self, prompt: str, inputs: Mapping[str, Any]) -> dict[str, str]:
        """The texts of an item as they are written, by binding or address."""
        return {"prompt": prompt} | {
            name: text for name, text in {**self.own, **inputs}.items() if isinstance(text, str)
        }

    def replaced(self, texts: Mapping[str, str], values: Mapping[str, Any], entry: PromptEntry) -> dict[str, str]:
        """Those of the texts that change with the values of one cell, by name. Errors: UsageError."""
        used: set[str] = set()

        def value(found: re.Match[str]) -> str:
            key = keys[found[0]]
            used.add(key)
            return str(values[key])

        changed: dict[str, str] = {}
        for name, text in texts.items():
            pattern, keys = self._patterns.get(name) or self._patterns[None]
            if pattern is not None and pattern.search(text):
                changed[name] = pattern.sub(value, text)
        if len(used) < len(self.axes):
            raise UsageError(self._unused(next(key for key in self.axes if key not in used), texts, entry))
        self._refuse_doubtful(changed, entry)
        return changed

    def each(self, entry: PromptEntry) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        """The cells of one prompt that differ in their texts: the inputs of each, and its texts as they are replaced.

        Errors: as `replaced`.
        """
        sweeps = {key: values for key, values in self.spec.sweeps.items() if key in self.axes or key == "negative"}
        common = self.spec.inputs() | dict(entry.inputs)
        for values in product(*sweeps.values()):
            cell = dict(zip(sweeps, values, strict=True))
            inputs = common | self.inputs(cell)
            texts = self.texts(entry.prompt, inputs)
            yield inputs, texts | self.replaced(texts, cell, entry)

    def inputs(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a cell that are not texts within others."""
        return {name: value for name, value in cell.items() if name not in self.axes}

    @cached_property
    def _patterns(self) -> dict[str | None, tuple[re.Pattern[str] | None, dict[str, str]]]:
        """What is searched in the text of a name, and in all others by None; with the key of what is found."""
        names = {axis.name for axis in self.axes.values()} | {None}
        found: dict[str | None, tuple[re.Pattern[str] | None, dict[str, str]]] = {}
        for name in names:
            here = {axis.search: key for key, axis in self.axes.items() if axis.name in (name, None)}
            # The longest first: of `fox` and `fox cub`, each is found where it is meant.
            searched = sorted(here, key=len, reverse=True)
            pattern = "|".join(self.axes[here[text]].pattern for text in searched)
            found[name] = re.compile(pattern) if pattern else None, here
        return found

    def _unused(self, key: str, texts: Mapping[str, str], entry: PromptEntry) -> str:
        axis, sweep = self.axes[key], named("sweeps", key=key)
        if axis.name is None:
            near = near_matches(key, {found for text in texts.values() for found in PLACEHOLDER.findall(text)})
            advice = f"did you mean {near[0]}?" if near else f"write {key} where its values belong"
            return f"{entry.where}: {sweep} is in none of its texts; {advice}"
        return (
            f"{entry.where}: {sweep}: {one_line(axis.search)!r} is not in its {axis.name}; write it there, or leave "
            "the sweep out"
        )

    def _refuse_doubtful(self, changed: Mapping[str, str], entry: PromptEntry) -> None:
        """What is left in texts with placeholders, and would go out as it is. Errors: UsageError."""
        if self.spec.literal:
            return
        has_places = any(axis.name is None for axis in self.axes.values())
        for text in changed.values():
            if not self.spec.dynamic and (part := looks_dynamic(text)):
                raise UsageError(
                    f"{entry.where}: {part!r} looks like a dynamic prompt once {named('sweeps')} is applied; add "
                    f"{named('dynamic', True)} to expand it, or {named('literal', True)} to send the text as it is"
                )
            if has_places and (found := PLACEHOLDER.search(text)):
                raise UsageError(
                    f"{entry.where}: no {named('sweeps')} sets {found[0]}; add one, or write the text without braces"
                    + ("" if self.spec.dynamic else f", or {named('literal', True)} to send it as it is")
                )


def _own(axes: Mapping[str, TextAxis], vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """The texts of the template in which these are found."""
    for name, targets in vocabulary.bindings.items():
        found = {vocabulary.graph[target.node_id]["inputs"].get(target.input_name) for target in targets}
        text = next(iter(found)) if len(found) == 1 else None
        if name not in _NO_TEXTS and isinstance(text, str) and any(axis.is_in(name, text) for axis in axes.values()):
            yield name, text
    for axis in axes.values():
        if axis.name is not None and axis.name not in (*vocabulary.bindings, *_NO_TEXTS):
            node_id, input_name = resolve(vocabulary.graph, axis.name)
            text = vocabulary.graph[node_id]["inputs"].get(input_name)
            if isinstance(text, str):
                yield axis.name, text
