"""Favorites and tags: marks that a user sets on items, and on single images of items that have several."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import msgspec

from orchestrator.errors import UsageError
from orchestrator.formatting import counted
from orchestrator.migration import open_for_writing
from orchestrator.outputs.numbering import numbered
from orchestrator.outputs.placement import Placement, placement_of
from orchestrator.retries import Changed, keys_of, settled
from orchestrator.selection import key_called, select
from orchestrator.settings import kept_settings
from state.change import change_all
from state.item import Item, Status
from state.store import Store

_TAG = re.compile(r"[^\s,](?:[^\n\r\t,]{0,62}[^\s,])?")
Numbers = frozenset[int] | None
"""Of an item's outputs, from 1; None: all of them, and those still to come."""
Edit = Callable[[Item, Numbers], Item]
"""Marks an item. Safe to repeat."""


def star(state: Path, names: Collection[str], *, remove: bool = False) -> Changed:
    """Mark items, or single images of theirs, as favorites; `remove`: not any more. Safe to repeat.

    `names`: keys of items, output files, and batches. Works while a burst runs. Errors: UsageError for a name that is
    none of these; StateError.
    """
    edit = without_star if remove else with_star
    return _mark(state, names, edit, "star", "not starred" if remove else "starred")


def tag(state: Path, tags: Collection[str], names: Collection[str], *, remove: bool = False) -> Changed:
    """Give items these tags; `remove`: take them off. An image means its item. Errors: as `star`, and for a tag."""
    edit = tagging((), tags) if remove else tagging(tags, ())
    what = f"{'without' if remove else 'tagged'} {', '.join(tags)}"
    return _mark(state, names, edit, "tag", what)


def with_star(item: Item, numbers: Numbers) -> Item:
    """The item with these outputs of it as favorites."""
    before = favorites(item)
    return _starred(item, None if numbers is None or before is None else before | numbers)


def without_star(item: Item, numbers: Numbers) -> Item:
    """The opposite of `with_star`."""
    before = favorites(item)
    if numbers is None:
        return _starred(item, frozenset())
    return _starred(item, (frozenset(numbered(item)) if before is None else before) - numbers)


def tagging(add: Collection[str], remove: Collection[str]) -> Edit:
    """What gives an item these tags and takes those off. Errors: UsageError for what cannot be a tag."""
    for text in (*add, *remove):
        if not _TAG.fullmatch(text):
            raise UsageError(f"{text!r}: a tag has 1 to 64 characters, no comma, and no blank at its ends")

    def edit(item: Item, _numbers: Numbers) -> Item:
        kept = (text for text in (*item.tags, *add) if text not in remove)
        return msgspec.structs.replace(item, tags=tuple(dict.fromkeys(kept)))

    return edit


def change_marks(store: Store, meant: Mapping[str, Numbers], edit: Edit) -> list[Item]:
    """Apply it to these items, all or none; durable on return. Returns those that changed.

    Errors: StateError, DiskFull. Marks are fields of an item's record, so every kind of store keeps them,
    through kills, `retry` and `state copy`; `clean` drops them with the item.
    """

    def marked(item: Item) -> Item:
        return edit(item, meant[item.key])

    return change_all(store, [item for item in store.get_many(meant) if marked(item) != item], marked)


def favorites(item: Item) -> Numbers:
    """Which of an item's outputs are favorites; an empty set where none is."""
    if not item.favourite:
        return frozenset()
    return frozenset(item.favourite_outputs) or None


def is_favourite(item: Item, path: str) -> bool:
    """Whether this output is one, by its recorded path."""
    numbers = favorites(item)
    return numbers is None or any(
        output.path == path and number in numbers for number, output in numbered(item).items()
    )


def named_outputs(store: Store, placement: Placement, names: Iterable[str]) -> dict[str, Numbers]:
    """What these names mean, by key in their order: items, files that are outputs of items, and batches.

    Errors: UsageError for a name that is none of these.
    """
    names = list(dict.fromkeys(key_called(store, name) or name for name in names))
    files = {name: file for name in names if name not in store and (file := Path(name)).is_file()}
    found: dict[str, Numbers] = {}
    outputs = _outputs_at(store, placement, files.values()) if files else {}
    for name in names:
        if name in files:
            key, number = outputs.get(_real(files[name]), (None, 0))
            if key is None:
                raise UsageError(f"{name} is not an output of any item in {store.location.shown()}")
            numbers = found.get(key, frozenset())
            found[key] = None if numbers is None else numbers | {number}
        else:
            found |= dict.fromkeys(select(store, [name], *Status))
    return found


def _mark(state: Path, names: Collection[str], edit: Edit, command: str, what: str) -> Changed:
    with open_for_writing(state) as store:
        meant = named_outputs(store, placement_of(store, kept_settings(state)), names)
        done = change_marks(store, meant, edit)
        notes = settled(store)
        if same := len(meant) - len(done):
            notes += (f"{counted(same)} already {what}",)
        assert command in ("star", "tag")
        return Changed(command, what, keys_of(done), store.counts(), notes)  # type: ignore[arg-type]


def _starred(item: Item, numbers: Numbers) -> Item:
    """All of its outputs are the whole item."""
    whole = numbers is None or (bool(numbers) and numbers >= numbered(item).keys() and len(item.outputs) > 0)
    return msgspec.structs.replace(
        item, favourite=whole or bool(numbers), favourite_outputs=() if whole else tuple(sorted(numbers or ()))
    )


def _outputs_at(store: Store, placement: Placement, files: Iterable[Path]) -> Mapping[str, tuple[str, int]]:
    """Item and number of the outputs among these files, by their real paths."""
    wanted = {_real(file) for file in files}
    names = {Path(path).name for path in wanted}
    found: dict[str, tuple[str, int]] = {}
    for item in store.items(Status.COMPLETED):
        for number, output in numbered(item).items():
            if output.path.rpartition("/")[2] not in names:
                continue
            if (file := placement.found(item, output.path)) is not None and str(file) in wanted:
                found[str(file)] = item.key, number
    return found


def _real(file: Path) -> str:
    return str(file.resolve())
