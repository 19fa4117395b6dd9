"""A directory with a list that changes, its batch, and renderings that are noted without a server."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.batches.spec import BatchSpec
from orchestrator.batches.sync_report import Synced
from orchestrator.cycle.request import Request
from orchestrator.generation import Generation
from orchestrator.settings import Overrides
from orchestrator.sync import Synchronisation
from state.change import change_all
from state.item import Item, OutputRecord
from state.open_store import open_store

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class SyncScene:
    """`cast` is the batch's name."""

    def __init__(self, home: Path, *, ending: str = "csv") -> None:
        self.home, self.state, self.list = home, home / "state.json", home / f"list.{ending}"

    def write(self, *lines: str) -> None:
        self.list.write_text("\n".join(lines) + "\n")

    def sync(
        self, *lines: str, prune: bool = False, dry_run: bool = False, then: str | None = None, **given: Any
    ) -> Synced:
        """With these lines in the list, or those that are in it."""
        if lines:
            self.write(*lines)
        return self.call(given, prune=prune, dry_run=dry_run, then=then).bring()

    def call(
        self, given: Mapping[str, Any], *, prune: bool = False, dry_run: bool = False, then: str | None = None
    ) -> Synchronisation:
        return Synchronisation(
            str(self.list),
            "cast",
            given,
            self.request,
            prune=prune,
            dry_run=dry_run,
            then=then,
            patience_seconds=0.0,
        )

    def generate(self, *lines: str, **said: Any) -> Any:
        self.write(*lines)
        spec = BatchSpec(csv=str(self.list), **{"name": "cast", **said})
        return Generation(spec, self.request, queue_only=True).execute()

    @property
    def request(self) -> Request:
        template = None if self.state.exists() else "txt2img-sd15"
        return Request(
            state=self.state, overrides=Overrides(template=template, output_dir=None if template is None else self.out)
        )

    @property
    def out(self) -> Path:
        return self.home / "renders"

    def items(self) -> list[Item]:
        with open_store(self.state, read_only=True) as store:
            return sorted(store.items(), key=lambda item: item.index or 0)

    def said(self) -> list[tuple[int, str, str]]:
        """Number, text and status of each item."""
        return [(item.index or 0, item.prompt_text or "", str(item.status)) for item in self.items()]

    def submit(self, *numbers: int) -> None:
        self._change(
            numbers,
            lambda now: now.submit(
                prompt_id=f"p{now.index}", server="http://127.0.0.1:1", at=NOON, fingerprint="f"
            ).accept(prompt_id=f"p{now.index}"),
        )

    def complete(self, *numbers: int) -> None:
        self.submit(*numbers)
        self._change(numbers, lambda now: now.complete(outputs=(_output(now),), at=NOON, seconds=1.0))

    def cancel(self, *numbers: int) -> None:
        self._change(numbers, lambda now: now.cancel())

    def edit(self, number: int, **fields: Any) -> None:
        self._change((number,), lambda now: msgspec.structs.replace(now, **fields))

    def _change(self, numbers: tuple[int, ...], edit: Any) -> None:
        with open_store(self.state) as store:
            items = [item for item in store.items() if item.index in numbers]
            assert len(change_all(store, items, edit)) == len(numbers)


def _output(item: Item) -> OutputRecord:
    return OutputRecord(path=f"{item.subfolder}/{item.filename}", bytes=1, sha256="0" * 64)
