"""What a value may be, by the name that it goes by: typed as it was meant, refused where no sampler could take it."""

from __future__ import annotations

import math
import re
from typing import Any

import templates
from orchestrator.errors import TemplateError, UsageError
from orchestrator.wording import named

LARGEST_SEED = 2**64 - 1
"""What ComfyUI's KSampler takes."""
RANDOM_SEED = -1
"""In place of a seed, as other tools write it: draw one."""
SIDE_STEP = 8
"""A latent has one place for each 8 pixels."""

_WHOLE = {
    "seed": (0, LARGEST_SEED),
    "steps": (1, 10_000),
    "width": (SIDE_STEP, 16_384),
    "height": (SIDE_STEP, 16_384),
    "batch_size": (1, 4_096),
}
"""Least and most, as ComfyUI's own nodes have them."""
_DECIMAL = {"cfg": (0, 100), "lora_strength": (-100, 100)}
_TEXTS = frozenset({"negative", "sampler", "scheduler", "model", "image"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}(\.0*)?")
_FRACTION = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_SIZE = re.compile(r"\s*([0-9]{1,9})\s*[xX×]\s*([0-9]{1,9})\s*")


def fitted(name: str, value: object) -> Any:
    """The value of a binding or an address, typed: a flag's or a cell's text becomes the number that it spells.

    Whole numbers are never rounded. Errors: UsageError that says what the name takes.
    """
    if name in _WHOLE:
        return _whole(name, value)
    if name in _DECIMAL:
        return _decimal(name, value)
    if name == "size":
        return _size(value)
    if name == "lora":
        return [_lora(one) for one in value] if isinstance(value, list) and value else _lora(value)
    if name in _TEXTS:
        return clean(value, name).strip() if name == "negative" else _name(name, value)
    return _anything(value)


def is_random_seed(value: object) -> bool:
    """Whether this, a number or its text, stands for a seed to be drawn."""
    return not isinstance(value, bool) and _integer(value) == RANDOM_SEED


def parted(name: str, value: Any) -> dict[str, Any]:
    """A fitted value by the bindings that it sets: a `size` is two of them."""
    return dict(zip(parts_of(name), sides(value) if name == "size" else (value,), strict=True))


def parts_of(name: str) -> tuple[str, ...]:
    """The bindings that a name sets."""
    return ("width", "height") if name == "size" else (name,)


def sides(text: str) -> tuple[int, int]:
    """Width and height of `1024x768`, in pixels, as they are written. Errors: UsageError."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise UsageError(f"a size is written as WIDTHxHEIGHT, such as 1024x768; {_shown(text)} is not")
    return int(found[1]), int(found[2])


def clean(value: object, name: str) -> str:
    """A text that can be stored and sent. Errors: UsageError."""
    if not isinstance(value, str):
        raise UsageError(f"{name} is a text; {_shown(value)} is not")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} {_shown(value)} is not Unicode text") from None
    if "\0" in value:
        raise UsageError(f"{name} {_shown(value)} holds a NUL; take it out")
    return value


def _name(name: str, value: object) -> str:
    text = clean(value, name).strip()
    if not text:
        raise UsageError(f"{name} is empty; name one, or leave it out")
    return text


def _lora(value: object) -> str:
    if isinstance(value, str) and not value.strip():
        raise UsageError(
            f"lora is empty; name one, or leave it out (`burst edit` with an empty {named('loras')}: none)"
        )
    text = _name("lora", value)
    try:
        _, strength = templates.parse_lora(text)
    except TemplateError as error:
        raise UsageError(str(error)) from error
    if strength is not None:
        _decimal("lora_strength", strength)
    return text


def _whole(name: str, value: object) -> int:
    number = _integer(value)
    least, most = _WHOLE[name]
    if number is None:
        raise UsageError(f"{name} is a whole number, written with all its digits; {_shown(value)} is not")
    if not least <= number <= most:
        raise UsageError(f"{name} is from {least} to {most}; {_shown(value)} is not")
    if name in ("width", "height") and number % SIDE_STEP:
        raise UsageError(f"{name} {number} is not a multiple of {SIDE_STEP}; the nearest is {_nearest_side(number)}")
    return number


def _nearest_side(pixels: int) -> int:
    return max(SIDE_STEP, SIDE_STEP * ((pixels + SIDE_STEP // 2) // SIDE_STEP))


def _integer(value: object) -> int | None:
    if isinstance(value, str):
        text = value.strip()
        # A spreadsheet writes a long seed as 1.8E+19, whose last digits are lost.
        return int(text.partition(".")[0]) if _INTEGER.fullmatch(text) else None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _decimal(name: str, value: object) -> int | float:
    number = _number(value.strip()) if isinstance(value, str) else value
    least, most = _DECIMAL[name]
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise UsageError(f"{name} is a number; {_shown(value)} is not")
    if not least <= number <= most:
        raise UsageError(f"{name} is from {least} to {most}; {_shown(value)} is not")
    return number


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text) and "." not in text:
        return int(text)
    return float(text) if _FRACTION.fullmatch(text) else None


def _size(value: object) -> str:
    written = sides(clean(value, "size"))
    for name, side in zip(("width", "height"), written, strict=True):
        if side > _WHOLE[name][1]:
            _whole(name, side)
    nearest = tuple(map(_nearest_side, written))
    if written != nearest:
        raise UsageError(f"both sides of a size are multiples of {SIDE_STEP}; {_size_text(nearest)} is the nearest")
    return _size_text((_whole("width", written[0]), _whole("height", written[1])))


def _size_text(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _anything(value: object) -> Any:
    """A value for an input of which only the template knows what it takes."""
    if isinstance(value, str):
        return _typed(clean(value, "the value"))
    if isinstance(value, int) and not -(2**63) <= value <= LARGEST_SEED:
        raise UsageError(f"{_shown(value)} has more digits than an input takes")
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"a value is a text, a finite number or true/false; {_shown(value)} is not")
    return value


def _typed(text: str) -> str | int | float:
    """The number whose one spelling this is; anything else stays as it is, for it may be meant for a text."""
    number = _number(text)
    if number is None or str(number) != text or not math.isfinite(number) or abs(number) > LARGEST_SEED:
        return text
    return number


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
