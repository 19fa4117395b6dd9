"""What people write to find images, in the gallery and on the command line, and what it means.

Words and "exact phrases" are looked for in prompts and file names; `key:value`, `key>number` and so on in all else;
a `-` before any of these takes out what it finds. All of them must hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Literal, TypeAlias, cast

from orchestrator.batches.suggestions import advice, near_matches
from orchestrator.errors import UsageError
from orchestrator.outputs.containers import Kind

Operator = Literal[":", "=", ">", ">=", "<", "<="]

KEYS: dict[str, str] = {
    "model": "model:sdxl",
    "lora": "lora:detail",
    "sampler": "sampler:euler",
    "scheduler": "scheduler:karras",
    "seed": "seed:42",
    "steps": "steps>20",
    "cfg": "cfg<=7.5",
    "denoise": "denoise<1",
    "width": "width>=1024",
    "height": "height>=1024",
    "tag": "tag:best",
    "is": "is:favorite",
    "batch": "batch:foxes",
    "template": "template:txt2img",
    "state": "state:0",
    "before": "before:2030-01-31",
    "after": "after:2030-01-31",
}
"""The keys that are always there, each with an example; names of further bindings are keys too."""
IS: tuple[str, ...] = ("favorite", "tagged", *(str(kind) for kind in Kind))
TEXTUAL = frozenset({"tag", "is", "batch", "state", "before", "after"})
"""With these, numbers are compared with nothing."""
Names: TypeAlias = Callable[[], Collection[str]]
_TERM = re.compile(r'(-?)(?:([A-Za-z_][\w.]*)(:|>=|<=|=|>|<))?("[^"]*"?|\S*)', re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Condition:
    """One `key:value`."""

    key: str
    operator: Operator
    value: str
    not_: bool = False
    number: float | None = None
    """The value, where it is a number."""
    moment: datetime | None = None
    """With `before` and `after`."""


@dataclass(frozen=True)
class Query:
    """All of what is looked for."""

    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    """Words and phrases that must not be there."""
    conditions: tuple[Condition, ...] = field(default=())


class WrongTerm(UsageError):
    """A term of a query that means nothing."""


def parsed(text: str, *, names: Names = tuple) -> Query:
    """`names`: of parameters that images have, asked for where a key is none of `KEYS`. Errors: WrongTerm."""
    known = cache(lambda: frozenset(names()))
    words: list[str] = []
    without: list[str] = []
    conditions: list[Condition] = []
    for not_, key, operator, value in _terms(text):
        if key is None:
            (without if not_ else words).append(value)
        else:
            conditions.append(_condition(key, operator, value, not_=not_, names=known))
    return Query(tuple(dict.fromkeys(words)), tuple(dict.fromkeys(without)), tuple(conditions))


def _terms(text: str) -> Iterator[tuple[bool, str | None, Operator, str]]:
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        found = _TERM.match(text, place)
        assert found is not None
        place = max(found.end(), place + 1)
        minus, key, operator, value = found.groups()
        if key is None and value == "" and minus:
            yield False, None, ":", minus
        elif value.startswith('"'):
            if (inner := value.strip('"')) or key is not None:
                yield bool(minus), key, cast("Operator", operator or ":"), inner
        elif value or key is not None:
            yield bool(minus), key, cast("Operator", operator or ":"), value


def _condition(key: str, operator: Operator, value: str, *, not_: bool, names: Names) -> Condition:
    name = key.lower() if key.lower() in KEYS else key
    if name not in KEYS and name not in names():
        near = advice(key, [*KEYS, *names()]) if near_matches(key, KEYS) else f"use {', '.join(KEYS)}."
        raise WrongTerm(
            f'There is no key {key!r}; {near} To look for the text, put it in quotes: "{key}{operator}{value}"'
        )
    if not value:
        raise WrongTerm(f"{key}{operator} needs a value, such as {KEYS.get(name, name + ':1')}")
    if name in TEXTUAL:
        return _textual(name, operator, value, not_=not_)
    number = _number(value)
    if number is None and operator not in (":", "="):
        raise WrongTerm(f"{key}{operator}{value}: after {operator} comes a number, such as {key}{operator}20")
    return Condition(name, operator, value, not_, number)


def _textual(name: str, operator: Operator, value: str, *, not_: bool) -> Condition:
    if operator not in (":", "="):
        raise WrongTerm(f"{name}{operator}{value}: write {name}:{value}")
    if name in ("before", "after"):
        return Condition(name, operator, value, not_, moment=_moment(name, value))
    if name == "is" and value.lower() not in IS:
        raise WrongTerm(f"is:{value} means nothing: use {', '.join(f'is:{one}' for one in IS)}")
    return Condition(name, operator, value.lower() if name == "is" else value, not_)


def _moment(name: str, value: str) -> datetime:
    try:
        if _DAY.fullmatch(value):
            return datetime.combine(date.fromisoformat(value), time(), UTC)
        found = datetime.fromisoformat(value)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise WrongTerm(f"{name}:{value}: write a day such as {KEYS[name]}, or a moment such as 2030-01-31T12:00Z")
    return found


def _number(value: str) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None
