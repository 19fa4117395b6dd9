"""Which files on a server may go: those whose bytes are recorded, downloaded and still there.

A name on a server holds the prompt that saved it, and a record holds the prompts of its item. So it is known whose a
file is, whatever else is in the folder. What a record does not account for stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path

import msgspec

from orchestrator.errors import OutputRefused, RecipeUnusable
from orchestrator.outputs.placement import Placement
from orchestrator.server_copies.shelf import ServerFile, Shelf, inode_of
from orchestrator.trash_records import as_kept
from state.item import Item, OutputRecord, Status, TrashedOutput
from state.store import Store


class Verdict(Enum):
    """What a file on a server is to this state."""

    COPY = "copy"
    """Its bytes are an output's that is here and as recorded, or one that the user deleted."""
    LEFTOVER = "leftover"
    """Of a completed item, and kept nowhere else: of an earlier prompt of it, of a node that was not chosen, or what
    `batches clean` removed here."""
    UNFINISHED = "unfinished"
    """Its item is not completed, or nobody knows whether its prompt has ended."""
    NOT_HERE = "not_here"
    """The bytes of a recorded output that is missing here, or not as recorded."""
    IN_USE = "in_use"
    """An item of this state is made from it, or has it as its output."""
    FOREIGN = "foreign"
    """No record of this state names its prompt."""


class Judge:
    """Of the files on one server."""

    def __init__(self, store: Store, placement: Placement, prompts: Collection[str]) -> None:
        """`prompts`: those of the files. Reads every record."""
        self._placement = placement
        self._owners: dict[str, Item] = {}
        self._in_use: set[tuple[int, int]] = set()
        self._is_here: dict[tuple[str, OutputRecord], bool] = {}
        for item in store.items():
            self._owners |= dict.fromkeys((one for one in _prompts(item) if one in prompts), item)
            self._in_use.update(_inodes(store.location.home / path for path in item.upload_paths.values()))

    def verdict(self, file: ServerFile, shelf: Shelf) -> Verdict:
        """Errors: OSError; OutputRootUnusable where the outputs cannot be looked at."""
        item = self._owners.get(file.prompt_id)
        if item is None:
            return Verdict.FOREIGN
        if not _has_ended(item, file.prompt_id):
            return Verdict.UNFINISHED
        if shelf.is_one_of(file, self._in_use) or shelf.is_one_of(file, set(_inodes(self._paths(item)))):
            return Verdict.IN_USE
        recorded = [one for one in (*item.outputs, *item.trashed) if one.bytes == file.bytes]
        lost = {one.sha256 for one in recorded if not self._is_kept(item, one)}
        if shelf.holds(file, {one.sha256 for one in recorded} - lost):
            return Verdict.COPY
        if shelf.holds(file, lost):
            return Verdict.NOT_HERE
        return Verdict.LEFTOVER

    def _is_kept(self, item: Item, output: OutputRecord) -> bool:
        """Whether nothing is lost with a copy: the file is here byte for byte, or was deleted for good."""
        if isinstance(output, TrashedOutput):
            if output.kept_as is None:
                return True
            output = as_kept(output)
        key = item.key, output
        if key not in self._is_here:
            self._is_here[key] = not self._placement.verify(item, full=True, outputs=[output])
        return self._is_here[key]

    def _paths(self, item: Item) -> Iterator[Path]:
        for output in item.outputs:
            try:
                path = self._placement.path_of(item, output.path)
            except (OutputRefused, RecipeUnusable):
                continue
            if isinstance(path, Path):
                yield path


class Counted(msgspec.Struct, frozen=True):
    """Some files."""

    count: int = 0
    bytes: int = 0


class Found(msgspec.Struct, frozen=True):
    """The files of one server, by what they are."""

    removed: tuple[ServerFile, ...] = ()
    kept: Mapping[Verdict, Counted] = {}
    refusal: str | None = None
    """Why the rest was not looked at."""


def sorted_out(files: Iterable[ServerFile], judge: Judge, shelf: Shelf, *, leftovers: bool, dry_run: bool) -> Found:
    """Remove the copies, and with `leftovers` those too, one after the other. Killed in between, it may be repeated.

    Errors: OutputRootUnusable where the outputs cannot be looked at.
    """
    removed: list[ServerFile] = []
    kept: dict[Verdict, Counted] = {}
    refusal = None
    try:
        for file in files:
            verdict = judge.verdict(file, shelf)
            if verdict is Verdict.COPY or (verdict is Verdict.LEFTOVER and leftovers):
                if not dry_run:
                    shelf.remove(file)
                removed.append(file)
            else:
                before = kept.get(verdict, Counted())
                kept[verdict] = Counted(before.count + 1, before.bytes + file.bytes)
    except OSError as error:
        refusal = refusal_of(error)
    return Found(tuple(removed), kept, refusal)


def refusal_of(error: OSError) -> str:
    """For a person."""
    return f"{error.filename}: {error.strerror or error}; run this as a user that may change the server's output folder"


def _prompts(item: Item) -> set[str]:
    past = {one.prompt_id for one in item.past_attempts if one.prompt_id is not None}
    return past | {*item.previous_prompt_ids} | ({item.prompt_id} if item.prompt_id is not None else set())


def _has_ended(item: Item, prompt_id: str) -> bool:
    """Whether a completed item's prompt has written all that it will write."""
    if item.status is not Status.COMPLETED:
        return False
    ended = {one.prompt_id for one in item.past_attempts if one.result in ("completed", "failed", "cancelled")}
    return prompt_id in {item.prompt_id, *item.ended_prompt_ids, *ended}


def _inodes(paths: Iterable[Path]) -> Iterator[tuple[int, int]]:
    for path in paths:
        try:
            yield inode_of(path)
        except OSError:
            continue
