"""Which items of a batch the rows of its list are, after the list has changed."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.batches.row_identity import digests_of
from state.item import Item


@dataclass(frozen=True)
class Matching:
    """`pairs`: by the number of the wanted item, from 0. `added`: numbers that no item is there for."""

    pairs: dict[int, Item]
    added: list[int]
    gone: list[Item]


def match_rows(wanted: Sequence[Item], there: Iterable[Item]) -> Matching:
    """`wanted`: the items that the list makes, in its order.

    Rows with an id are the items of that id, whatever they say now; all others the items that were asked for the same,
    equal ones in their order. Items whose rows were gone come last.
    """
    left = {item.key: item for item in sorted(there, key=lambda item: (item.row_gone, item.index or 0, item.key))}
    pairs: dict[int, Item] = {}

    def pair(number: int, item: Item) -> None:
        pairs[number] = item
        del left[item.key]

    by_id: dict[str, list[Item]] = defaultdict(list)
    for item in left.values():
        if item.row_id:
            by_id[item.row_id].append(item)
    for numbers, items in _of_one_id(wanted, by_id):
        for number, item in _like(wanted, numbers, items):
            pair(number, item)
        rest = (item for item in items if item.key in left)
        for number, item in zip((one for one in numbers if one not in pairs), list(rest), strict=False):
            pair(number, item)
    others = [number for number in range(len(wanted)) if number not in pairs]
    for number, item in _like(wanted, others, list(left.values())):
        pair(number, item)
    added = [number for number in others if number not in pairs]
    return Matching(pairs, added, sorted(left.values(), key=lambda item: (item.index or 0, item.key)))


def _of_one_id(wanted: Sequence[Item], by_id: dict[str, list[Item]]) -> Iterator[tuple[list[int], list[Item]]]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(wanted):
        if item.row_id in by_id:
            numbers[item.row_id].append(number)
    return ((those, by_id[row]) for row, those in numbers.items())


def _like(wanted: Sequence[Item], numbers: Iterable[int], items: Iterable[Item]) -> Iterator[tuple[int, Item]]:
    """Those that were asked for the same, in their order."""
    by_digest: dict[str, deque[Item]] = defaultdict(deque)
    for item in items:
        for digest in digests_of(item):
            by_digest[digest].append(item)
    used: set[str] = set()
    for number in numbers:
        queue = by_digest.get(wanted[number].row_digest)
        while queue:
            item = queue.popleft()
            if item.key not in used:
                used.add(item.key)
                yield number, item
                break
