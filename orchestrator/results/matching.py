"""Which images a search means, one image at a time. The gallery asks the same of its index (`web/gallery_filter`)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.outputs.containers import kind_of
from orchestrator.results.rendered import Rendered
from orchestrator.results.search_text import Condition, Query
from orchestrator.results.values import facts, searchable

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ":": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Matching:
    """A search over one state."""

    query: Query
    state: str
    """What the state is called, for `state:`."""

    @property
    def since(self) -> datetime | None:
        """From then on: the store finds them, so that nothing else is read."""
        return max(self._moments("after"), default=None)

    @property
    def until(self) -> datetime | None:
        """Before then."""
        return min(self._moments("before"), default=None)

    def takes(self, one: Rendered) -> bool:
        texts = (searchable(f"{one.prompt}\n{one.values.get('negative', '')}"), searchable(one.output.path))
        if not all(_has(texts, word) for word in self.query.words):
            return False
        if any(_has(texts, word) for word in self.query.without):
            return False
        return all(self._holds(condition, one, texts) is not condition.not_ for condition in self.query.conditions)

    def _moments(self, key: str) -> Iterator[datetime]:
        for one in self.query.conditions:
            if one.key == key and not one.not_ and one.moment is not None:
                yield one.moment

    def _holds(self, wanted: Condition, one: Rendered, texts: tuple[str, ...]) -> bool:
        match wanted.key:
            case "seed":
                return _seed_holds(wanted, one.seed)
            case "tag":
                return any(searchable(tag) == searchable(wanted.value) for tag in one.item.tags)
            case "is":
                return _is(wanted.value, one)
            case "batch":
                label = f"{one.batch.batch}\n{one.batch.name or ''}" if one.batch is not None else ""
                return searchable(wanted.value) in searchable(label)
            case "state":
                return wanted.value == "0" or searchable(wanted.value) in searchable(self.state)
            case "before":
                return one.at is not None and wanted.moment is not None and one.at < wanted.moment
            case "after":
                return one.at is not None and wanted.moment is not None and one.at >= wanted.moment
            case "template":
                return _value_holds(wanted, one.template) if one.template is not None else False
            case "lora":
                named = [lora.name for lora in one.loras] + [lora.as_text() for lora in one.loras]
                tagged = searchable(f"<lora:{wanted.value}") in texts[0]
                return tagged or any(_value_holds(wanted, name) for name in named)
        return any(_value_holds(wanted, value) for name, value in one.values.items() if _is_name(name, wanted.key))


def _has(texts: tuple[str, ...], word: str) -> bool:
    wanted = searchable(word)
    return any(wanted in text for text in texts)


def _is_name(name: str, key: str) -> bool:
    """Of a binding, or of an input of some node by its address."""
    name, key = name.lower(), key.lower()
    return name == key or name.endswith((f".{key}", f".{key}_name"))


def _value_holds(wanted: Condition, value: object) -> bool:
    """`:` contains, `=` is; a number is the same however it is written."""
    return any(_fact_holds(wanted, text, number) for text, _, number in facts(value))


def _fact_holds(wanted: Condition, text: str, number: float | None) -> bool:
    compare = _COMPARE[wanted.operator]
    if number is not None:
        return wanted.number is not None and compare(number, wanted.number)
    said = searchable(wanted.value)
    if wanted.operator == ":":
        return said in text
    return wanted.operator == "=" and said == text


def _seed_holds(wanted: Condition, seed: int | None) -> bool:
    """Exactly: seeds are larger than what a float holds."""
    if seed is None or not wanted.value.isascii() or not wanted.value.isdecimal():
        return False
    return _COMPARE[wanted.operator](seed, int(wanted.value))


def _is(what: str, one: Rendered) -> bool:
    if what == "favorite":
        return one.favorite
    if what == "tagged":
        return bool(one.item.tags)
    return str(kind_of(one.output.path)) == what
