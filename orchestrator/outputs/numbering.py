"""Which output of an item has which number: from 1, in its template's order. One that was removed keeps its own."""

from __future__ import annotations

from collections.abc import Iterable
from posixpath import basename, splitext

from orchestrator.outputs.names import numbered_stem
from state.file_names import stem_of
from state.item import Item, OutputRecord


def numbered(item: Item) -> dict[int, OutputRecord]:
    """Its outputs by number, in their order: by their names, which say it; by their places where a name does not."""
    stem = stem_of(item.name)
    made = [output for output in item.outputs if output.path != item.sidecar]
    numbers = [_number_of(splitext(basename(output.path))[0], stem) for output in made]
    if None in numbers or len(set(numbers)) < len(numbers):
        return dict(enumerate(item.outputs, 1))
    found = {number: output for number, output in zip(numbers, made, strict=True) if number is not None}
    # Its sidecar, which no workflow saved, comes last.
    return found | dict(enumerate((one for one in item.outputs if one.path == item.sidecar), max(found, default=0) + 1))


def in_order(item: Item, outputs: Iterable[OutputRecord]) -> tuple[OutputRecord, ...]:
    """Outputs of it, old and new, in its template's order as far as their names say it; its sidecar last."""
    stem = stem_of(item.name)

    def place(output: OutputRecord) -> tuple[bool, int, str]:
        return output.path == item.sidecar, _number_of(splitext(basename(output.path))[0], stem) or 0, output.path

    return tuple(sorted(outputs, key=place))


def _number_of(name: str, stem: str) -> int | None:
    """`shot_002` is the second of `shot`; None for what is called otherwise."""
    if name == stem:
        return 1
    number = name.removeprefix(f"{stem}_")
    if not (number.isascii() and number.isdecimal()) or name != numbered_stem(stem, int(number)):
        return None
    return int(number)
