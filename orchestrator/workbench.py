"""What the parts of one burst share: the tools at hand, what was asked for, and what was done so far."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from orchestrator import pacing
from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.errors import BurstError, StaleChange
from orchestrator.outputs import Outputs
from orchestrator.prompts import Prompts
from state.item import ErrorRecord, Item, Status
from state.store import Change, Store, change_all

log = logging.getLogger("burst")


@dataclass(frozen=True)
class Options:
    """What a burst was asked to do."""

    size: int = pacing.DEFAULT_SIZE
    poll_seconds: float = pacing.DEFAULT_POLL_SECONDS
    ahead: int = 0
    max_attempts: int = 3
    on_error: Literal["stop", "continue"] = "continue"
    in_doubt_seconds: float = pacing.IN_DOUBT_SECONDS
    stall_seconds: float = pacing.STALL_SECONDS
    sweep_seconds: float = pacing.SWEEP_SECONDS


class Progress(Protocol):
    """Told of each item as it ends; see `orchestrator.progress`."""

    def ended(self, item: Item, *, number: int, size: int) -> None:
        """`number` of `size` in this burst."""


@dataclass
class Tally:
    """What this burst did so far."""

    planned: int = 0
    """How many items this burst can end at most."""
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    recovered: int = 0
    """Items that an earlier burst had left submitted."""
    rescued: int = 0
    """Found by the names of their files after the server had forgotten them."""
    put_back: int = 0
    rendered_twice: int = 0
    """Prompts that turned out to have been rendered although they had been given up."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        return self.completed + self.failed + self.cancelled

    def add(self, other: Tally) -> None:
        """Count another burst in."""
        for name in ("completed", "failed", "cancelled", "recovered", "rescued", "put_back", "rendered_twice"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failures += other.failures
        self.notes += [note for note in other.notes if note not in self.notes]

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s", text)


@dataclass
class Workbench:
    """The tools of one burst. The store is the only thing in it that outlives the process."""

    store: Store
    client: ComfyUI
    outputs: Outputs
    prompts: Prompts
    options: Options
    clock: Clock
    stop: threading.Event
    progress: Progress
    tally: Tally = field(default_factory=Tally)
    pace: pacing.Pace = field(default_factory=pacing.Pace)

    def change(self, item: Item, edit: Callable[[Item], Item], *, sync: bool = True) -> Item | None:
        """One item's next record, durable on return; None when another process changed its status meanwhile."""
        try:
            (changed,) = self.store.apply([Change(item.key, item.status, edit)], sync=sync)
        except StaleChange:
            self.store.refresh()
            return None
        return changed

    def fail(self, item: Item, error: ErrorRecord, *, charge: bool = True) -> None:
        """Give an item up, with the reason in its record."""
        if failed := self.change(item, lambda now: now.fail(error=error, charge=charge)):
            self.tally.failed += 1
            self.tally.failures.append((item.key, error.message))
            self.say(failed)

    def put_back(self, item: Item, *, charge: bool, error: ErrorRecord | None = None) -> None:
        """Due again, in this burst or a later one."""
        if self.change(item, lambda now: now.put_back(charge=charge, error=error)):
            self.tally.put_back += 1

    def set_aside(self, item: Item, error: BurstError) -> None:
        """The server answers, but not for this item: left submitted for a later burst, failed after its last attempt.

        Errors: TransientError when the server answers nothing else either; nothing is charged then.
        """
        if self.stop.is_set():
            raise error
        self.client.queue_remaining()
        record = ErrorRecord(kind="unanswered", message=str(error))
        if item.attempts + 1 >= self.options.max_attempts:
            self.fail(item, record)
        elif self.change(item, lambda now: now.stumble(error=record)):
            self.tally.note(f"{item.key} is left for a later burst: {error}")

    def unsend(self, items: Iterable[Item]) -> None:
        """Due again, because their POSTs surely reached no queue."""
        change_all(self.store, items, lambda now: now.unsend())

    def cancel(self, item: Item) -> None:
        """Settle a wish to cancel."""
        if cancelled := self.change(item, lambda now: now.cancel()):
            self.tally.cancelled += 1
            self.say(cancelled)

    def say(self, item: Item) -> None:
        """Tell the progress display that an item ended."""
        if item.status is not Status.PENDING:
            self.progress.ended(item, number=self.tally.ended, size=max(self.tally.planned, self.tally.ended))
