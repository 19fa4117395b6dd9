"""Values of an expected shape: what msgspec refuses, as one error with its place and in words."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

_T = TypeVar("_T")
_REFUSAL = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$\.?(?P<place>[\w.\[\]]*)`)?", re.DOTALL)
_MEMBER = re.compile(r"Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "str": "text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "null": "nothing",
}


class WrongShape(ValueError):
    """A value is not of the expected shape. The message names the place in it, and shows no value."""

    def __init__(self, reason: str, *, place: str = "", is_unknown: bool = False) -> None:
        super().__init__(f"{place}: {reason}" if place else reason)
        self.reason = reason
        self.place = place
        """`servers`, `outputs[0].path`; empty for the whole value. An entry of a mapping is `[...]`."""
        self.is_unknown = is_unknown
        """No member of this name is known."""


def shaped(value: object, shape: type[_T]) -> _T:
    """The value as a `shape`, strictly: text never becomes a number. What is `Any` there is neither checked nor copied.

    Errors: WrongShape, and no other.
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise _described(str(error)) from None
    except UnicodeEncodeError as error:
        raise WrongShape("holds half a surrogate pair") from error
    except RecursionError as error:
        raise WrongShape("nested too deep to be read") from error


def _described(refusal: str) -> WrongShape:
    found = _REFUSAL.fullmatch(refusal)
    what, is_key, place = found.group("what", "key", "place") if found else (refusal, None, None)
    place = place or ""
    if member := _MEMBER.fullmatch(what):
        is_unknown = member["fault"] == "contains unknown"
        place = f"{place}.{member['name']}" if place else member["name"]
        return WrongShape("unknown name" if is_unknown else "missing", place=place, is_unknown=is_unknown)
    if is_key:
        return WrongShape("a key is not text; write it in quotes", place=place)
    if what.startswith("Invalid enum value"):
        return WrongShape("not one of the known values", place=place)
    words = re.sub("`([^`]*)`", lambda kinds: _in_words(kinds[1]), what)
    return WrongShape(words[:1].lower() + words[1:], place=place)


def _in_words(kinds: str) -> str:
    """`int | str | null` for a person."""
    names = [name for name in kinds.split(" | ") if name != "null" or kinds == "null"]
    words = [_WORDS.get(name, f"a {name}") for name in names if name != "int" or "float" not in names]
    return " or ".join(words)
