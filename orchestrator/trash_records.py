"""What deleting does to the record of an item: outputs become trashed ones, come back, or are gone for good."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import PurePosixPath

import msgspec

from orchestrator.outputs.numbering import in_order
from state.item import Item, OutputRecord, TrashedOutput
from state.store import Store

FOLDER = ".burst-trash"
_ID_LETTERS = 16


def trashed(store: Store, item: Item, output: OutputRecord, at: datetime, *, is_there: bool) -> TrashedOutput:
    """An output as a trashed one; if its file is there, with a place in the trash, which it may never reach."""
    told = f"{store.location.shown()}\0{item.key}\0{output.path}\0{at.isoformat()}\0{len(item.trashed)}"
    name = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:_ID_LETTERS]
    return TrashedOutput(
        path=output.path,
        bytes=output.bytes,
        sha256=output.sha256,
        trashed_at=at,
        kept_as=f"{FOLDER}/{name}/{PurePosixPath(output.path).name}" if is_there else None,
    )


def as_kept(one: TrashedOutput) -> OutputRecord:
    """The file where the trash has it."""
    return OutputRecord(path=str(one.kept_as), bytes=one.bytes, sha256=one.sha256)


def with_trashed(item: Item, going: Iterable[TrashedOutput]) -> Item:
    """With those of its outputs among its trashed ones."""
    there = {(output.path, output.sha256) for output in item.outputs}
    really = {(one.path, one.sha256): one for one in going if (one.path, one.sha256) in there}
    left = tuple(output for output in item.outputs if (output.path, output.sha256) not in really)
    return msgspec.structs.replace(item, outputs=left, trashed=(*item.trashed, *really.values()))


def with_restored(item: Item, output: TrashedOutput) -> Item:
    """With this one among its outputs again."""
    back = OutputRecord(path=output.path, bytes=output.bytes, sha256=output.sha256)
    left = tuple(one for one in item.trashed if one != output)
    return msgspec.structs.replace(item, outputs=in_order(item, [*item.outputs, back]), trashed=left)


def without_files(item: Item, outputs: Collection[TrashedOutput]) -> Item:
    """With these deleted for good."""
    kept = tuple(msgspec.structs.replace(one, kept_as=None) if one in outputs else one for one in item.trashed)
    return msgspec.structs.replace(item, trashed=kept)
