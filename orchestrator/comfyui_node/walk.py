"""The way through one directory: which image is next, and what a run may do to its place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .listing import images
from .position import CANCELLED, COMPLETED, FAILED, PENDING, SUBMITTED, Position, Record


@dataclass(frozen=True)
class Place:
    """An image and where it stands among the others, as its run begins."""

    name: str
    index: int
    total: int
    failed: int
    last: bool
    """Nothing is due after it."""

    @property
    def status(self) -> str:
        words = f"{self.index + 1} of {self.total}: {self.name}"
        words += f", {self.failed} failed" if self.failed else ""
        return words + (", the last" if self.last else "")


@dataclass(frozen=True)
class Walk:
    """One directory seen through one filter. Nothing is remembered here: all is in the position's file."""

    position: Position
    patterns: tuple[str, ...]
    takes_newcomers: bool
    """Whether an image that appears on the way belongs to this press of Queue. Not in a directory that workflows may
    save to: there each result would be the next image, without end."""

    @property
    def directory(self) -> Path:
        return self.position.directory

    def press(self, *, reset: bool, start_index: int) -> None:
        """A new press of Queue. Where nothing was left, or with `reset`, everything from `start_index` on is due again;
        otherwise what is left, and what failed.

        Errors: ValueError where there is no such image; PositionUnreadable, OSError.
        """
        names = self._listed()
        if start_index >= len(names):
            raise ValueError(
                f"start_index is {start_index}, and {self.directory} has {len(names)} images: 0 to {len(names) - 1}"
            )
        set_aside, wanted = names[:start_index], names[start_index:]
        with self.position.change() as records:
            anew = reset or all(_status(records, name) == COMPLETED for name in wanted)
            for name in wanted:
                if anew or _status(records, name) in (None, FAILED, CANCELLED):
                    records[name] = _due(records, name)
            for name in set_aside:
                if reset or _status(records, name) != COMPLETED:
                    records[name] = {**_due(records, name), "status": CANCELLED}

    def put_back_lost(self, living: Collection[str]) -> None:
        """Images whose prompt is none of the `living` were cut short by a kill: they are due again."""
        with self.position.change() as records:
            for name, record in records.items():
                if record["status"] == SUBMITTED and record.get("prompt_id") not in living:
                    records[name] = _due(records, name)

    def take(self, prompt_id: str) -> Place | None:
        """The next image, marked as in progress; the one that this prompt has already, if it has; None: none is left.

        Errors: ValueError where the directory holds no image at all; PositionUnreadable, OSError.
        """
        listed = self._listed()
        with self.position.change() as records:
            names = self._on_the_way(listed, records)
            due = self._due_of(names, records)
            held = [name for name in names if _is_held(records, name, prompt_id)]
            if not (held or due):
                return None
            name = (held or due)[0]
            if not held:
                records[name] = _due(records, name) | {
                    "status": SUBMITTED,
                    "prompt_id": prompt_id,
                    "submitted_at": _now(),
                }
            failed = sum(_status(records, each) == FAILED for each in names)
            return Place(name, names.index(name), len(names), failed, last=not set(due) - {name})

    def is_left(self) -> bool:
        """Whether an image is due. Errors: PositionUnreadable, OSError."""
        records = self.position.read()
        listed = images(self.directory, self.patterns)
        return bool(self._due_of(self._on_the_way(listed, records), records))

    def commit(self, name: str, prompt_id: str, outputs: list[Record]) -> None:
        """Done, as far as this prompt still holds it. Safe to repeat."""
        with self.position.change() as records:
            if _is_held(records, name, prompt_id):
                kept = {"outputs": outputs} if outputs else {}
                records[name] = _without(records[name], "outputs", "error") | kept
                records[name] |= {"status": COMPLETED, "completed_at": _now()}

    def fail(self, name: str, prompt_id: str, *, message: str, node_id: str | None) -> None:
        """Given up until the next press, as far as this prompt still holds it. Safe to repeat."""
        with self.position.change() as records:
            if _is_held(records, name, prompt_id):
                error = {"kind": "execution", "message": message} | ({"node_id": node_id} if node_id else {})
                attempts = int(records[name].get("attempts", 0)) + 1
                records[name] = _due(records, name) | {"status": FAILED, "attempts": attempts, "error": error}

    def put_back(self, name: str, prompt_id: str) -> None:
        """Due again, in its old place, as far as this prompt still holds it. Safe to repeat."""
        with self.position.change() as records:
            if _is_held(records, name, prompt_id):
                records[name] = _due(records, name)

    def outputs_of_others(self, name: str) -> set[str]:
        """What was saved for the other images of the directory, by path below the output directory."""
        return {
            output["path"]
            for other, record in self.position.read().items()
            if other != name
            for output in record.get("outputs", [])
        }

    def _listed(self) -> list[str]:
        names = images(self.directory, self.patterns)
        if not names:
            raise ValueError(f"no image in {self.directory} matches {','.join(self.patterns)}")
        return names

    def _on_the_way(self, listed: list[str], records: dict[str, Record]) -> list[str]:
        return [name for name in listed if self.takes_newcomers or name in records]

    def _due_of(self, names: list[str], records: dict[str, Record]) -> list[str]:
        return [name for name in names if _status(records, name) in (None, PENDING)]


def _status(records: dict[str, Record], name: str) -> Any:
    return records[name]["status"] if name in records else None


def _is_held(records: dict[str, Record], name: str, prompt_id: str) -> bool:
    return _status(records, name) == SUBMITTED and records[name].get("prompt_id") == prompt_id


def _due(records: dict[str, Record], name: str) -> Record:
    """Its record as a due one: what it was saved as stays known, and fields that we do not know stay."""
    kept = _without(records.get(name, {}), "prompt_id", "submitted_at", "completed_at", "error")
    return {"subfolder": "", "filename": name, **kept, "status": PENDING}


def _without(record: Record, *fields: str) -> Record:
    return {field: value for field, value in record.items() if field not in fields}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
