"""Dynamic prompts: what of a text is chosen for each item, at random by its seed, or every combination of it."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, permutations
from math import prod
from struct import Struct
from typing import Any

from orchestrator.batches import dynamic_syntax as syntax
from orchestrator.batches.dynamic_syntax import Assignment, Choice, DynamicFault, Options, Use
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.suggestions import advice
from orchestrator.batches.text_axes import TextAxes
from orchestrator.batches.wildcards import Wildcards
from orchestrator.errors import UsageError, located
from orchestrator.formatting import counted
from orchestrator.literal_texts import looks_dynamic
from orchestrator.wording import named

_LARGEST_STEPS = 10_000
"""Choices in one text."""
_LARGEST_TEXT = 1 << 20

_FOUR_NUMBERS = Struct(">4Q").unpack

_Env = Mapping[str, "syntax.Sequence | None"]
"""Variables; None while the value itself is being read."""


@dataclass(frozen=True)
class Expanded:
    """Texts of one item, by binding, as they are sent."""

    texts: Mapping[str, str]
    record: Mapping[str, Any]
    """As of `Item.dynamic`; empty where they are as they were written."""


@dataclass
class Expansion:
    """Expands the texts of a batch. `most`: combinations of each prompt, 0 for all; None: what its seed draws."""

    wildcards: Wildcards
    most: int | None = None
    _parsed: dict[str, syntax.Sequence] = field(default_factory=dict)
    _counts: dict[tuple[object, ...], int] = field(default_factory=dict)
    _checked: set[tuple[object, ...]] = field(default_factory=set)

    def read(self, texts: Mapping[str, str], entry: PromptEntry) -> None:
        """Understand an entry's texts, with their wildcards. Errors: UsageError that names file, line and column."""
        for name, text in texts.items():
            if text in self._parsed:
                continue
            try:
                parsed = self.wildcards.syntax.parse(text)
                self._check(parsed, {})
            except DynamicFault as fault:
                raise UsageError(f"{_place(entry, name, text, fault.at)}: {fault}") from fault
            self._parsed[text] = parsed

    @property
    def digest(self) -> str:
        """Of what the wildcards hold that the texts name."""
        held = json.dumps(sorted(self.wildcards.used.items()))
        return f"sha256:{hashlib.sha256(held.encode()).hexdigest()}"

    def count(self, texts: Mapping[str, str]) -> int:
        """How many combinations there are."""
        return prod(self._count(self._parsed[text], {}) for text in texts.values())

    def drawn(self, texts: Mapping[str, str], *key: object) -> Expanded:
        """The texts as `key` chooses: the same on every machine and version of Python. Errors: UsageError."""
        draw = _Draw("\0".join(map(str, key)))
        found = {name: draw.text(self._parsed[text], {}) for name, text in texts.items()}
        return _expanded(texts, found, draw.chosen)

    def combinations(self, texts: Mapping[str, str]) -> Iterator[Expanded]:
        """Every combination, or the first `most`; what stands last in the texts changes first."""
        every = _each([self._parsed[text] for text in texts.values()], {})
        with located(" and ".join(texts), RecursionError, into=UsageError, advice="too many choices in a row"):
            for found, chosen in islice(every, self.most or None):
                yield _expanded(texts, dict(zip(texts, found, strict=True)), chosen)

    def _check(self, text: syntax.Sequence, env: _Env) -> None:
        """Errors: DynamicFault for variables that are not set, or are made of themselves."""
        own = _with(env, text)
        for one in text.assignments:
            self._check(one.value, {**own, one.name: None})
        for part in text.parts:
            if isinstance(part, Use):
                self._check_use(part, own)
            elif isinstance(part, Choice):
                self._check_options(part.options, own)

    def _check_options(self, options: Options, env: _Env) -> None:
        """Once for each set of variables: a wildcard's entries are many, and so are the texts that name it."""
        if options.is_plain:
            return
        key = (options, frozenset(env.items()))
        if key in self._checked:
            return
        self._checked.add(key)
        for _, option in options.entries:
            if option.literal is not None:
                continue
            try:
                self._check(option, env)
            except DynamicFault as fault:
                if option.place is None:
                    raise
                raise UsageError(f"{option.place(fault.at)}: {fault}") from fault

    def _check_use(self, use: Use, env: _Env) -> None:
        if use.name not in env:
            if use.default is None:
                raise DynamicFault(f"the variable {use.name} is not set; {advice(use.name, env)}", use.at)
            self._check(use.default, env)
            return
        value = env[use.name]
        if value is None:
            raise DynamicFault(f"the variable {use.name} is made of itself", use.at)
        key = (value, frozenset(env.items()))
        if key not in self._checked:
            self._check(value, {**env, use.name: None})
            self._checked.add(key)

    def _count(self, text: syntax.Sequence, env: _Env) -> int:
        if text.literal is not None:
            return 1
        own, once = _with(env, text), 1
        for one in _to_draw(text, own):
            once *= self._count(one.value, {**own, one.name: None})
            own = {**own, one.name: _ONCE}
        return once * prod(self._count_part(part, own) for part in text.parts)

    def _count_part(self, part: str | Choice | Use, env: _Env) -> int:
        if isinstance(part, str):
            return 1
        if isinstance(part, Use):
            value = _value(part, env)
            key: tuple[object, ...] = (value, frozenset(env.items()))
            if key not in self._counts:
                self._counts[key] = self._count(value, {**env, part.name: None})
            return self._counts[key]
        key = (part.options, part.low, part.high, frozenset(env.items()))
        if key not in self._counts:
            self._counts[key] = _arranged([self._count(option, env) for option in part.options.usable], part)
        return self._counts[key]


_ONCE = syntax.Sequence(("",))
"""In place of a variable whose value was drawn already."""


class _Draw:
    """One item's choices."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._numbers: list[int] = []
        self._steps = 0
        self.chosen: list[tuple[str, str]] = []

    def text(self, text: syntax.Sequence, env: _Env) -> str:
        own = env
        if text.assignments:
            own = _with(env, text)
            for one in _to_draw(text, own):
                value = self.text(one.value, {**own, one.name: None})
                own = {**own, one.name: syntax.Sequence((value,))}
        found = "".join([part if isinstance(part, str) else self._part(part, own) for part in text.parts])
        if len(found) > _LARGEST_TEXT:
            raise UsageError(f"a dynamic prompt comes to over {_LARGEST_TEXT} characters; shorten it")
        return found

    def _part(self, part: Choice | Use, env: _Env) -> str:
        self._steps += 1
        if self._steps > _LARGEST_STEPS:
            raise UsageError(f"a dynamic prompt makes over {_LARGEST_STEPS} choices; shorten it")
        if isinstance(part, Use):
            return self.text(_value(part, env), {**env, part.name: None})
        if part.high == part.low == 1:
            option = part.options.entries[self._one(part.options.sums)][1]
            if option.literal is not None:
                self.chosen.append((part.source, option.literal))
                return option.literal
            options: Iterable[syntax.Sequence] = (option,)
        else:
            options = self._options(part)
        place = len(self.chosen)
        self.chosen.append((part.source, ""))
        found = part.separator.join([self.text(option, env) for option in options])
        self.chosen[place] = part.source, found
        return found

    def _options(self, choice: Choice) -> Iterator[syntax.Sequence]:
        number = choice.low
        if choice.high > choice.low:
            number += int(self._random() * (choice.high - choice.low + 1))
        left = list(choice.options.entries)
        for _ in range(number):
            sums, total = [], 0.0
            for weight, _text in left:
                sums.append(total := total + weight)
            yield left.pop(self._one(sums))[1]

    def _one(self, sums: Sequence[float]) -> int:
        return min(bisect_right(sums, self._random() * sums[-1]), len(sums) - 1)

    def _random(self) -> float:
        """From 0 to below 1, of SHA-256: Python's own generators may choose otherwise in another version."""
        if not self._numbers:
            self._key = hashlib.sha256(self._key).digest()
            self._numbers = list(_FOUR_NUMBERS(self._key))
        return (self._numbers.pop() >> 11) / (1 << 53)


def _with(env: _Env, text: syntax.Sequence) -> _Env:
    if not text.assignments:
        return env
    own = dict(env)
    for one in text.assignments:
        if not (one.is_default and one.name in own):
            own[one.name] = one.value
    return own


def _value(use: Use, env: _Env) -> syntax.Sequence:
    value = env.get(use.name) or use.default
    assert value is not None  # which was checked
    return value


def _to_draw(text: syntax.Sequence, env: _Env) -> list[Assignment]:
    """Its variables that are drawn once, here."""
    return [one for one in text.assignments if one.is_once and env[one.name] is one.value]


_Way = tuple[str, tuple[tuple[str, str], ...]]
"""A text, and what was chosen in it."""


def _ways(text: syntax.Sequence, env: _Env) -> Iterator[_Way]:
    own = _with(env, text)
    pending = _to_draw(text, own)
    if not pending:
        yield from _joined(text.parts, own)
        return
    first = pending[0]
    rest = tuple(one for one in text.assignments if one is not first)
    for value, chosen in _ways(first.value, {**own, first.name: None}):
        drawn = Assignment(first.name, syntax.Sequence((value,)), is_once=False, is_default=False)
        for whole, more in _ways(syntax.Sequence(text.parts, (*rest, drawn)), env):
            yield whole, chosen + more


def _joined(parts: Sequence[str | Choice | Use], env: _Env) -> Iterator[_Way]:
    if not parts:
        yield "", ()
        return
    for text, chosen in _of_part(parts[0], env):
        for others, more in _joined(parts[1:], env):
            yield text + others, chosen + more


def _of_part(part: str | Choice | Use, env: _Env) -> Iterator[_Way]:
    if isinstance(part, str):
        yield part, ()
    elif isinstance(part, Use):
        yield from _ways(_value(part, env), {**env, part.name: None})
    else:
        for number in range(part.low, part.high + 1):
            for some in permutations(part.options.usable, number):
                for texts, chosen in _each(some, env):
                    text = part.separator.join(texts)
                    yield text, ((part.source, text), *chosen)


def _each(texts: Sequence[syntax.Sequence], env: _Env) -> Iterator[tuple[tuple[str, ...], tuple[tuple[str, str], ...]]]:
    if not texts:
        yield (), ()
        return
    for text, chosen in _ways(texts[0], env):
        for others, more in _each(texts[1:], env):
            yield (text, *others), chosen + more


def _arranged(ways: Sequence[int], choice: Choice) -> int:
    """In how many ways `low` to `high` of these stand in a row, each of which is so many texts."""
    if choice.low == choice.high == 1:
        return sum(ways)
    sums = [1] + [0] * choice.high
    for number in ways:
        for size in range(choice.high, 0, -1):
            sums[size] += sums[size - 1] * number
    return sum(sums[size] * prod(range(1, size + 1)) for size in range(choice.low, choice.high + 1))


def _expanded(said: Mapping[str, str], found: Mapping[str, str], chosen: Iterable[tuple[str, str]]) -> Expanded:
    if said == found:
        return Expanded(found, {})
    texts = {name: text for name, text in said.items() if text != found[name]}
    return Expanded(found, {"texts": texts, "chosen": [list(pair) for pair in chosen]})


def dynamic_texts(prompt: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    """The texts of an item that are expanded, by binding; `inputs` are all that it has."""
    negative = inputs.get("negative")
    return {"prompt": prompt, "negative": negative} if isinstance(negative, str) else {"prompt": prompt}


def expansion_of(
    spec: BatchSpec, entries: Iterable[PromptEntry], wildcards: Wildcards, axes: TextAxes | None = None
) -> Expansion:
    """Of all texts of these, with each negative prompt that a sweep gives them, and each value of `axes` in them.

    Errors: as `Expansion.read` and `TextAxes.replaced`.
    """
    expansion, common = Expansion(wildcards, spec.combinatorial), spec.inputs()
    swept = [{"negative": str(negative)} for negative in spec.sweeps.get("negative", ())]
    for entry in entries:
        # As they are written first, for the places of faults in them.
        for texts in (dynamic_texts(entry.prompt, {**common, **entry.inputs}), *swept):
            expansion.read(texts, entry)
        for inputs, written in axes.each(entry) if axes is not None else ():
            with located(named("sweeps"), UsageError):
                expansion.read(dynamic_texts(written["prompt"], inputs | written), entry)
    return expansion


def refuse_dynamic(spec: BatchSpec, entries: Sequence[PromptEntry], *, is_new: bool) -> None:
    """Errors: UsageError for texts that look like dynamic ones. `is_new`: no image is made again."""
    found: list[tuple[str, str]] = []
    common = [str(spec.inputs().get("negative", "")), *map(str, spec.sweeps.get("negative", ()))]
    found += [(named("negative"), part) for text in common if (part := looks_dynamic(text))]
    for entry in entries if is_new else ():
        for text in (entry.prompt, entry.inputs.get("negative")):
            if isinstance(text, str) and (part := looks_dynamic(text)):
                found.append((entry.where, part))
    if found:
        where, part = found[0]
        more = f" (and {counted(len(found) - 1, 'other text')})" if len(found) > 1 else ""
        raise UsageError(
            f"{where}: {part!r} looks like a dynamic prompt{more}; add {named('dynamic', True)} to expand it, or "
            f"{named('literal', True)} to send the text as it is"
        )


def _place(entry: PromptEntry, name: str, text: str, at: int) -> str:
    if name != "prompt" and name not in entry.inputs:
        return f"{named(name)}, column {at + 1}"
    before = text[:at]
    column = at - before.rfind("\n")
    line = before.count("\n")
    what = "" if name == "prompt" else f"{name}, "
    if entry.line:
        column += entry.column - 1 if not line else 0
        return f"{entry.where} line {entry.line + line}, column {column}"
    lined = f"line {line + 1} of the text, " if line else ""
    return f"{entry.where}, {what}{lined}column {entry.column + column - 1 if not line else column}"
