"""What the parts of one worker share: its tools, the options of the run, and a tally of what was done so far."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.clock import Clock
from orchestrator.comfyui import ComfyUI
from orchestrator.cycle import pacing
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.errors import BurstError, OutputRootUnusable, ServerBusy, StaleChange
from orchestrator.outputs.placement import Placement
from orchestrator.preparation import Preparation
from orchestrator.servers import Server, find_server
from state.item import ErrorRecord, Item, Status
from state.store import Change, Store, change_all

log = logging.getLogger("burst")
_COUNTED = (
    "completed",
    "failed",
    "cancelled",
    "recovered",
    "rescued",
    "put_back",
    "rendered_twice",
    "possibly_twice",
)
_MOST_CRASHES = 2
"""How often an item may be running when its server goes down; it fails then, so that the others go on."""


@dataclass(frozen=True)
class Options:
    """The options of every burst of a run."""

    poll_seconds: float = pacing.DEFAULT_POLL_SECONDS
    max_attempts: int = 3
    in_doubt_seconds: float = pacing.IN_DOUBT_SECONDS
    stall_seconds: float = pacing.STALL_SECONDS
    sweep_seconds: float = pacing.SWEEP_SECONDS
    abandon_after_seconds: float = pacing.ABANDON_AFTER_SECONDS


@dataclass
class Tally:
    """How many items ended in which way so far."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    recovered: int = 0
    """Items that an earlier burst had left submitted."""
    rescued: int = 0
    """Found by the names of their files after the server had forgotten them."""
    put_back: int = 0
    rendered_twice: int = 0
    """Prompts that were rendered after all, although they had been given up."""
    possibly_twice: int = 0
    """Items due again although a server out of reach may have rendered them."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        return self.completed + self.failed + self.cancelled

    @classmethod
    def of(cls, tallies: Iterable[Tally]) -> Tally:
        """The sum of several."""
        whole = cls()
        for tally in tallies:
            for name in _COUNTED:
                setattr(whole, name, getattr(whole, name) + getattr(tally, name))
            whole.failures += tally.failures
            whole.notes += [note for note in tally.notes if note not in whole.notes]
        return whole

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s", text)


@dataclass(frozen=True)
class Unanswered:
    """POSTs of one item without a usable answer: what the last one met, and how many POSTs had been accepted before."""

    met: str
    accepted_before: int


@dataclass
class WorkerContext:
    """The tools of one worker. Of all these, only the store outlives the process.

    Store, placement, preparation and dispatch are shared with other workers; `halt` makes this one leave at once.
    """

    store: Store
    server: Server
    client: ComfyUI
    placement: Placement
    preparation: Preparation
    dispatch: Dispatch
    options: Options
    clock: Clock
    halt: threading.Event
    is_own: bool = True
    """Whether the run itself uses this server; otherwise only items whose recipe names it may go there."""
    names: tuple[str, ...] = ()
    """What else this server is called in the settings."""
    tally: Tally = field(default_factory=Tally)
    pace: pacing.Pace = field(default_factory=pacing.Pace)
    accepted_posts: int = 0
    unanswered: dict[str, Unanswered] = field(default_factory=dict)
    """By item key: its POSTs in this run that the server did not accept."""

    def has(self, item: Item) -> bool:
        """Whether the item's record says that it is on this server."""
        return item.server is not None and find_server(item.server, [self.server]) is not None

    def change(self, item: Item, edit: Callable[[Item], Item], *, sync: bool = True) -> Item | None:
        """The item's next record, durable on return; None if another process changed its status meanwhile."""
        try:
            (changed,) = self.store.apply([Change(item.key, item.status, edit)], sync=sync)
        except StaleChange:
            return None
        return changed

    def complete(self, edits: Mapping[str, Callable[[Item], Item]], items: Iterable[Item]) -> list[Item]:
        """The outputs of several items are in place: one checkpoint for all of them. Returns the completed items."""
        done = change_all(self.store, items, lambda now: edits[now.key](now))
        for item in done:
            self.tally.completed += 1
            self.dispatch.ended(item)
        return done

    def fail(self, item: Item, error: ErrorRecord, *, charge: bool = True) -> None:
        """Mark an item as failed, with the reason in its record."""
        self._count(self.change(item, lambda now: now.fail(error=error, charge=charge)))

    def charge(self, item: Item, error: ErrorRecord) -> None:
        """Charge an attempt: due again, failed after the last one, or cancelled if that was requested."""
        most = self.options.max_attempts

        def edit(now: Item) -> Item:
            if now.cancel_requested:
                return now.cancel()
            return now.fail(error=error) if now.attempts + 1 >= most else now.put_back(charge=True, error=error)

        self._count(self.change(item, edit))

    def put_back(self, item: Item) -> None:
        """Due again with no attempt charged, in this burst or a later one; or cancelled if that was requested."""
        self._count(self.change(item, lambda now: now.cancel() if now.cancel_requested else now.put_back(charge=False)))

    def shrink(self, item: Item, *, batch_size: int) -> None:
        """Due again with at most this batch size, with no attempt charged; or cancelled if that was requested.

        The same change set shrinks the other due items of its batch that have a larger size chosen by `auto`, so that
        not each of them runs out of memory by itself. Submitted items stay as they are.
        """

        def edit(now: Item) -> Item:
            if now.status is not Status.PENDING:
                if now.cancel_requested:
                    return now.cancel()
                now = now.put_back(charge=False)
            return now.shrink(batch_size=batch_size)

        changed = {one.key: one for one in change_all(self.store, [item, *self._larger(item, batch_size)], edit)}
        if changed:
            whose = f"batch {item.batch}" if item.batch is not None else item.key
            self.tally.note(
                f"out of memory at batch_size {item.automatic_batch_size}: {whose} goes on with {batch_size}; "
                "its prompts make fewer images each"
            )
        self._count(changed.get(item.key))

    def crashed(self, item: Item) -> None:
        """Its server went down, or forgot it, while it ran: due again; failed if it may be the reason."""
        import shlex

        blame = f"running when {self.client.url} went down or forgot it"
        last = ErrorRecord(
            kind="quarantine",
            message=f"set aside: it was {blame}, {_MOST_CRASHES} times; look at the server's log, then "
            f"`burst retry {shlex.quote(item.key)}` tries it again",
        )

        def edit(now: Item) -> Item:
            if now.cancel_requested:
                return now.cancel()
            crashed = now.crash()
            return crashed.fail(error=last, charge=False) if crashed.crashes >= _MOST_CRASHES else crashed

        changed = self.change(item, edit)
        if changed is not None and changed.status is Status.PENDING:
            self.tally.note(f"{item.key} was {blame}; after the next time it is set aside")
        self._count(changed)

    def set_aside(self, item: Item, error: BurstError) -> None:
        """The server answers, but not for this item: left submitted for a later burst, failed after its last attempt.

        429 (too many requests) charges no attempt.
        Errors: TransientError if the server answers nothing else either; nothing is charged then.
        """
        if self.halt.is_set():
            raise error
        self.client.queue_remaining()
        record = ErrorRecord(kind="unanswered", message=str(error))
        if isinstance(error, ServerBusy) and error.status == 429:
            self.tally.note(f"{item.key} is left for a later burst: {error}")
        elif item.attempts + 1 >= self.options.max_attempts:
            self.fail(item, record)
        elif self.change(item, lambda now: now.charge_attempt(error=record)):
            self.tally.note(f"{item.key} is left for a later burst: {error}")

    def set_recipe_aside(self, item: Item, error: BurstError) -> None:
        """The item's recipe or output root cannot be used: all its items stay as they are, and none is charged."""
        name = self.preparation.name_of(item)
        root = str(error.root) if isinstance(error, OutputRootUnusable) else None
        if self.dispatch.set_aside.add(item, name=name, reason=str(error), output=root):
            log.warning("items made with %s are set aside: %s", name, error)

    def note_unanswered(self, item: Item, error: BurstError) -> None:
        """Its POST got no usable answer; the report tells what came instead."""
        self.tally.note(f"{error}; what was sent is looked up before it is sent again")
        before = self.unanswered.get(item.key)
        self.unanswered[item.key] = Unanswered(str(error), before.accepted_before if before else self.accepted_posts)

    def unsend(self, items: Iterable[Item]) -> None:
        """Due again: their POSTs certainly reached no queue. `items`: as they were before the intent."""
        before = {item.key: item for item in items}
        if change_all(self.store, self.store.get_many(before), lambda now: now.unsend(before[now.key])):
            self.dispatch.stir()

    def cancel(self, item: Item) -> None:
        """Mark an item as cancelled, as was requested."""
        self._count(self.change(item, lambda now: now.cancel()))

    def _larger(self, item: Item, batch_size: int) -> list[Item]:
        """Due items of its batch with a larger size chosen by `auto`; none whose prompt may be on a server."""
        if item.batch is None:
            return []
        return [
            other
            for other in self.store.items(Status.PENDING, batch=item.batch)
            if (other.automatic_batch_size or 0) > batch_size and not other.may_be_on_a_server
        ]

    def _count(self, changed: Item | None) -> None:
        """Count an item's new status; None: another process changed it first."""
        if changed is None:
            return
        match changed.status:
            case Status.PENDING:
                self.tally.put_back += 1
                self.dispatch.stir()
                return
            case Status.FAILED:
                self.tally.failed += 1
                self.tally.failures.append((changed.key, changed.error.message if changed.error else ""))
            case Status.CANCELLED:
                self.tally.cancelled += 1
        self.dispatch.ended(changed)
