r"""The syntax of dynamic prompts: from a text to what may be chosen in it.

    {red|2::blue|}              one of these; blue twice as often; nothing is a choice too
    {2$$a|b|c}                  two of them; {1-3$$ and $$a|b|c}: one to three, with " and " between (without: ",")
    __colours__                 one entry of a wildcard file
    ${v={a|b}}${v} ${v}         a variable, drawn at each use; ${v=!{a|b}}: drawn once; ${v?=a}: unless it is set;
                                ${v:a}: `a` where it is not set
    \{ \} \| \$ \_ \% \\        these characters themselves; any other backslash stays

It is that of the `dynamicprompts` library, which cannot be used itself: it loses what follows a `#`, refuses `$5` and
`50%`, knows no escapes, sends a missing wildcard out as it is written, and names no place in wildcard files.
What it has beyond this (samplers, wrapping, wildcards with arguments) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from orchestrator.wording import named

LARGEST_DEPTH = 50
"""Of braces within braces, and of wildcards within wildcards."""
_SPECIAL = re.compile(r"[\\{}|$_%]")
_ESCAPABLE = frozenset("\\{}|$_%")
_BOUNDS = re.compile(r"\s*(?:(\d{1,9})\s*(-)?\s*(\d{1,9})?|-\s*(\d{1,9}))\s*\$\$(?:([^${}]*)\$\$)?")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::")
_SAMPLER = re.compile(r"\s*[~!@]")
_VARIABLE = re.compile(r"\$\{\s*([A-Za-z_][\w-]*)\s*(\?=!?|=!?|:)?")
_FLAT = re.compile(r"(\{[^{}\\]*\}|__[^\s_{}|$\\](?:(?!__)[^\n{}|$\\])*__)")
_WILDCARD = re.compile(r"__([^\s_{}|$\\](?:(?!__)[^\n{}|$\\])*)__")


def _no_sampler() -> str:
    return f"~, ! and @ choose no sampler here: {named('combinatorial')} takes every combination of the whole text"


class DynamicFault(ValueError):
    """What is wrong in a text, and at which character, from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, eq=False)
class Options:
    """What is chosen from: weights and texts; at least one."""

    entries: tuple[tuple[float, Sequence], ...]

    @cached_property
    def sums(self) -> tuple[float, ...]:
        """Of the weights so far."""
        return tuple(accumulate(weight for weight, _ in self.entries))

    @cached_property
    def usable(self) -> tuple[Sequence, ...]:
        """Those that may be chosen."""
        return tuple(text for weight, text in self.entries if weight > 0)

    @cached_property
    def is_plain(self) -> bool:
        """Whether there is nothing to choose within any of them."""
        return all(text.literal is not None for _, text in self.entries)


@dataclass(frozen=True, eq=False)
class Choice:
    """Some of these are chosen, without repetition, in any order."""

    source: str
    """As it is written."""
    options: Options
    low: int = 1
    high: int = 1
    separator: str = ","


@dataclass(frozen=True, eq=False)
class Use:
    """The value of a variable."""

    name: str
    default: Sequence | None
    at: int


@dataclass(frozen=True, eq=False)
class Assignment:
    """A variable's value, for the text that it stands in and what is chosen there."""

    name: str
    value: Sequence
    is_once: bool
    """Drawn once, not at each use."""
    is_default: bool
    """Only where it has no value yet."""


@dataclass(frozen=True, eq=False)
class Sequence:
    """A text with its choices; `assignments` count for all of it."""

    parts: tuple[str | Choice | Use, ...]
    assignments: tuple[Assignment, ...] = ()
    place: Callable[[int], str] | None = None
    """Of an entry of a wildcard: where its characters stand."""

    @cached_property
    def literal(self) -> str | None:
        """The text, where there is nothing to choose."""
        if self.assignments or len(self.parts) > 1:
            return None
        part = self.parts[0] if self.parts else ""
        return part if isinstance(part, str) else None


Lookup = Callable[[str, int], Choice]
"""The choice that a wildcard is, by its name and the place where it is named. Errors: DynamicFault."""


@dataclass(frozen=True)
class Syntax:
    """Reads texts. The choices that texts have in common are read once."""

    wildcard: Lookup
    _known: dict[str, Choice] = field(default_factory=dict)
    """By how they are written: of those without braces within."""

    def parse(self, text: str) -> Sequence:
        """What a text means. Errors: DynamicFault."""
        if not _SPECIAL.search(text):
            return Sequence((text,))
        return self._of_known(text) or _Parser(text, self.wildcard, self._known).whole()

    def _of_known(self, text: str) -> Sequence | None:
        """Where it is made of known choices and of text without any other sign."""
        pieces = _FLAT.split(text)
        parts: list[str | Choice | Use] = []
        for at, piece in enumerate(pieces):
            if at % 2 == 0:
                if _SPECIAL.search(piece):
                    return None
                if piece:
                    parts.append(piece)
            elif (choice := self._known.get(piece)) is not None:
                parts.append(choice)
            else:
                return None
        return Sequence(tuple(parts))


def weight_of(entry: str) -> tuple[float, str]:
    """The weight that an entry of a wildcard begins with (1 without), and the rest."""
    found = _WEIGHT.match(entry)
    return (float(found[1]), entry[found.end() :].strip()) if found else (1.0, entry)


class _Parser:
    def __init__(self, text: str, wildcard: Lookup, known: dict[str, Choice]) -> None:
        self._text = text
        self._wildcard = wildcard
        self._known = known
        self._at = 0
        self._depth = 0

    def whole(self) -> Sequence:
        return self._sequence("")

    def _sequence(self, stops: str) -> Sequence:
        """Up to one of `stops`, or the end."""
        parts: list[str | Choice | Use] = []
        assignments: list[Assignment] = []
        text = self._text
        while self._at < len(text):
            found = _SPECIAL.search(text, self._at)
            end = found.start() if found else len(text)
            _add(parts, text[self._at : end])
            self._at = end
            if found is None or found[0] in stops:
                break
            part = self._special(found[0])
            if isinstance(part, Assignment):
                assignments.append(part)
            else:
                _add(parts, part)
        return Sequence(tuple(parts), tuple(assignments))

    def _special(self, character: str) -> str | Choice | Use | Assignment:
        at, following = self._at, self._text[self._at + 1 : self._at + 2]
        if character == "\\" and following and following in _ESCAPABLE:
            self._at += 2
            return following
        if character == "{":
            choice = self._choice(at)
            if _FLAT.fullmatch(choice.source):
                self._known[choice.source] = choice
            return choice
        if character == "}":
            raise DynamicFault(r"this } closes nothing; write \} for the character", at)
        if character == "$" and following == "{":
            return self._variable(at)
        if character == "%" and following == "{":
            raise DynamicFault(r"%{ wraps text in other tools, and is not known here; write \%{ for the characters", at)
        if character == "_" and following == "_":
            return self._named(at)
        self._at += 1
        return character

    def _deeper(self, at: int) -> None:
        self._depth += 1
        if self._depth > LARGEST_DEPTH:
            raise DynamicFault(f"over {LARGEST_DEPTH} braces within braces", at)

    def _choice(self, at: int) -> Choice:
        self._deeper(at)
        self._at += 1
        if _SAMPLER.match(self._text, self._at):
            raise DynamicFault(_no_sampler(), at)
        bounds = _BOUNDS.match(self._text, self._at)
        if bounds:
            self._at = bounds.end()
        options = self._options(at)
        self._depth -= 1
        source = self._text[at : self._at]
        first = options.entries[0][1].parts
        if len(options.entries) == 1 and not first:
            raise DynamicFault(r"there is nothing between these braces; write \{\} for the characters", at)
        if bounds is None:
            return _weighed(Choice(source, options), at)
        if len(options.entries) == 1 and len(first) == 1 and isinstance(first[0], Choice):
            options = first[0].options  # {2$$__colours__}: two of the wildcard's entries
        return _weighed(_bounded(source, options, bounds, at), at)

    def _options(self, at: int) -> Options:
        options = []
        while True:
            weight = _WEIGHT.match(self._text, self._at)
            if weight:
                self._at = weight.end()
            option = self._sequence("|}")
            options.append((float(weight[1]) if weight else 1.0, _stripped(option)))
            self._at += 1
            if self._at > len(self._text):
                raise DynamicFault(r"this { is not closed; write } where it ends, or \{ for the character", at)
            if self._text[self._at - 1] == "}":
                return Options(tuple(options))

    def _variable(self, at: int) -> Use | Assignment:
        found = _VARIABLE.match(self._text, at)
        if not found:
            raise DynamicFault(r"a variable is ${name} or ${name=value}; write \${ for the characters", at)
        self._deeper(at)
        self._at = found.end()
        name, sign = found[1], found[2]
        value = _stripped(self._sequence("}")) if sign else None
        if sign is None:
            self._at += len(self._text[self._at :]) - len(self._text[self._at :].lstrip())
        if self._text[self._at : self._at + 1] != "}":
            raise DynamicFault(r"this ${ is not closed; write } where it ends, or \${ for the characters", at)
        self._at += 1
        self._depth -= 1
        if sign is None or sign == ":":
            return Use(name, value, at)
        assert value is not None
        if self._depth:
            raise DynamicFault("a variable is set outside of braces; put it before them", at)
        return Assignment(name, value, is_once=sign.endswith("!"), is_default=sign.startswith("?"))

    def _named(self, at: int) -> Choice:
        found = _WILDCARD.match(self._text, at)
        if not found:
            raise DynamicFault(
                r"__ begins the name of a wildcard, which ends with __ in the same line; write \_\_ for the characters",
                at,
            )
        name = found[1].strip()
        if name[0] in "~!@":
            raise DynamicFault(_no_sampler(), at)
        if "(" in name:
            raise DynamicFault(f"{found[0]}: wildcards take no arguments here; set a variable before it", at)
        self._at = found.end()
        choice = Choice(found[0], self._wildcard(name, at).options)
        self._known[choice.source] = choice
        return choice


def _weighed(choice: Choice, at: int) -> Choice:
    if len(choice.options.usable) < max(1, choice.high):
        raise DynamicFault("too many of these have the weight 0", at)
    return choice


def _bounded(source: str, options: Options, bounds: re.Match[str], at: int) -> Choice:
    total = len(options.entries)
    lower, dash, upper, most, separator = bounds.groups()
    low = int(lower) if lower is not None else 1
    high = int(upper or most) if (upper or most) else total if dash else low
    if high < low:
        raise DynamicFault(f"from {low} to {high} runs backwards", at)
    if low > total:
        raise DynamicFault(f"{low} are to be chosen of {total}", at)
    return Choice(source, options, low, min(high, total), "," if separator is None else separator)


def _add(parts: list[str | Choice | Use], part: str | Choice | Use) -> None:
    if not isinstance(part, str):
        parts.append(part)
    elif part and parts and isinstance(parts[-1], str):
        parts[-1] += part
    elif part:
        parts.append(part)


def _stripped(option: Sequence) -> Sequence:
    parts = list(option.parts)
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].lstrip()
    if parts and isinstance(parts[-1], str):
        parts[-1] = parts[-1].rstrip()
    return Sequence(tuple(part for part in parts if part != ""), option.assignments)
