"""Batches of any size in a few change sets, and what is decoded of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from state.change import Change
from state.item import ErrorRecord, Item, OutputRecord, Status
from support.report_project import NOON, Album


def add_large(album: Album, name: str, statuses: str, *, after: timedelta = timedelta(), prompt: str = "a fox") -> None:
    """A batch with an item for each letter: completed, failed, submitted, x cancelled, pending. Without files."""
    inputs: list[dict[str, Any]] = [
        {"seed": number, "model": "m.safetensors"} for number in range(1, len(statuses) + 1)
    ]
    items = album.add(name, inputs, prompt=prompt, directory=name, created_at=NOON + after)
    chosen: dict[str, list[Item]] = {}
    for item, letter in zip(items, statuses, strict=True):
        chosen.setdefault(letter, []).append(item)
    out = [*chosen.get("c", ()), *chosen.get("s", ())]
    _change(album, out, lambda item: item.submit(prompt_id=item.key, server="s", at=NOON, fingerprint="f"))

    def done(item: Item) -> Item:
        output = OutputRecord(path=f"{item.key}.png", bytes=1, sha256=f"{item.index or 0:064x}")
        return item.complete(outputs=(output,), at=NOON + after + timedelta(seconds=item.index or 0), seconds=1.0)

    error = ErrorRecord(kind="k", message="out of luck")
    _change(album, chosen.get("c", []), done, was=Status.SUBMITTED)
    _change(album, chosen.get("f", []), lambda item: item.fail(error=error))
    _change(album, chosen.get("x", []), lambda item: item.cancel())


def _change(album: Album, items: list[Item], edit: Callable[[Item], Item], *, was: Status = Status.PENDING) -> None:
    album.store.apply([Change(item.key, was, edit) for item in items], sync=False)


class Decoded:
    """How many items are decoded from their records from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        decode = Item.from_record.__func__  # type: ignore[attr-defined]

        def decoding(kind: type[Item], key: str, raw: bytes) -> Item:
            self._count += 1
            found = decode(kind, key, raw)
            assert isinstance(found, Item)
            return found

        monkeypatch.setattr(Item, "from_record", classmethod(decoding))

    def taken(self) -> int:
        """Since the last call of this."""
        found, self._count = self._count, 0
        return found
