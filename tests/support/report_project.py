"""A state with batches whose items have images on disk, as after bursts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.trash_records import FOLDER
from state.batch import BatchRecord
from state.burst_record import BurstRecord
from state.change import Change
from state.item import ErrorRecord, Item, OutputRecord, Status
from state.open_store import open_store

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Album:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "re_render_state.json"
        self.output = home / "output"
        self.store = open_store(self.state, create=True)
        self.log = self.store.batches

    def add(
        self, batch: str, inputs: list[dict[str, Any]], *, prompt: str = "a fox", priority: Any = "normal", **said: Any
    ) -> list[Item]:
        """Add a batch with one item per element of `inputs`; the lines of `prompt` are distributed evenly."""
        texts = prompt.split("\n")
        record = {"created_at": NOON, "layout": "numbered", "directory": batch, "prompts": tuple(texts)} | said
        return self.store.add(
            [
                Item(
                    key=f"{batch}/{index:03d}",
                    status=Status.PENDING,
                    batch=batch,
                    index=index,
                    inputs=of_one,
                    prompt_text=texts[(index - 1) * len(texts) // len(inputs)],
                    priority=priority,
                )
                for index, of_one in enumerate(inputs, 1)
            ],
            batch=BatchRecord(batch=batch, total=len(inputs), priority=priority, **record),
        )

    def submit(self, key: str) -> None:
        self._change(key, lambda now: now.submit(prompt_id=key, server="s", at=NOON, fingerprint="f"))

    def complete(
        self, key: str, *paths: str, data: bytes = b"bytes", seconds: float = 3.0, at: datetime = NOON
    ) -> None:
        """Complete an item with these files (default `KEY.png`), which are written."""
        outputs = tuple(self.file(path, data) for path in paths or (f"{key}.png",))
        self.submit(key)
        self._change(key, lambda now: now.complete(outputs=outputs, at=at, seconds=seconds))

    def fail(self, key: str, message: str = "out of luck") -> None:
        self._change(key, lambda now: now.fail(error=ErrorRecord(kind="k", message=message)))

    def cancel(self, key: str) -> None:
        self._change(key, lambda now: now.cancel())

    def file(self, path: str, data: bytes = b"bytes") -> OutputRecord:
        target = self.output / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return OutputRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def pace(self, seconds_per_item: float) -> None:
        """Record a burst with this pace."""
        self.store.bursts.append(
            BurstRecord(
                burst="b", started_at=NOON, ended_at=NOON, ended="done", size=1, completed=1, seconds=seconds_per_item
            )
        )

    def files(self) -> list[str]:
        """All files and directories below the output directory, but for what is in the trash."""
        found = (path.relative_to(self.output) for path in self.output.rglob("*"))
        return sorted(path.as_posix() for path in found if path.parts[0] != FOLDER)

    def trashed(self) -> list[str]:
        """The names of the files in the trash."""
        return sorted(path.name for path in (self.output / FOLDER).rglob("*") if path.is_file())

    def _change(self, key: str, edit: Callable[[Item], Item]) -> None:
        self.store.apply([Change(key, self.store.get(key).status, edit)])
