"""Which output of an item has which number: from 1, in its template's order. One that was removed keeps its own."""

from __future__ import annotations

from pathlib import PurePosixPath

from orchestrator.outputs.names import numbered_stem, stem_of
from state.item import Item, OutputRecord


def numbered(item: Item) -> dict[int, OutputRecord]:
    """Its outputs by number, in their order: by their names, which say it; by their places where a name does not."""
    stem = stem_of(item.name)
    numbers = [_number_of(PurePosixPath(output.path).stem, stem) for output in item.outputs]
    if None in numbers or len(set(numbers)) < len(numbers):
        return dict(enumerate(item.outputs, 1))
    return {number: output for number, output in zip(numbers, item.outputs, strict=True) if number is not None}


def _number_of(name: str, stem: str) -> int | None:
    """`shot_002` is the second of `shot`; None for what is called otherwise."""
    if name == stem:
        return 1
    number = name.removeprefix(f"{stem}_")
    if not (number.isascii() and number.isdecimal()) or name != numbered_stem(stem, int(number)):
        return None
    return int(number)
