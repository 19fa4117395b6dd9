"""What a worker makes of items: each method is one checkpoint, counted in the tally and told to the dispatch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from orchestrator.clock import Clock
from orchestrator.cycle.dispatch import Dispatch
from orchestrator.cycle.tally import Tally
from orchestrator.errors import StaleChange
from orchestrator.formatting import counted
from state.change import Change, change_all
from state.facts import PromptFailure
from state.item import ErrorRecord, Item, Status
from state.lease import Lease
from state.store import Store

_MOST_CRASHES = 2
"""How often an item may be running when its server goes down; it fails then, so that the others go on."""


class _Ranked(msgspec.Struct, frozen=True):
    status: Status
    rank: float = 0.0


class Transitions:
    """Of one worker. An item that another process has changed in the meantime is left as it is."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        dispatch: Dispatch,
        tally: Tally,
        *,
        server_url: str,
        max_attempts: int,
        clock: Clock,
    ) -> None:
        self._store = store
        self._lease = lease
        self._dispatch = dispatch
        self._tally = tally
        self._server_url = server_url
        self._max_attempts = max_attempts
        self._clock = clock

    def change(self, item: Item, edit: Callable[[Item], Item], *, sync: bool = True) -> Item | None:
        """The item's next record, durable on return; None if another process changed its status meanwhile."""
        try:
            with self._timed(counts=sync):
                changed, *stages = self._lease.apply([Change(item.key, item.status, edit)], sync=sync)
        except StaleChange:
            return None
        self._follow(changed, stages)
        return changed

    def complete(self, edits: Mapping[str, Callable[[Item], Item]], items: Iterable[Item]) -> list[Item]:
        """The outputs of several items are in place: one checkpoint for all of them. Returns the completed items."""
        with self._timed():
            done = change_all(self._lease, items, lambda now: edits[now.key](now))
        for item in done:
            if item.status is not Status.COMPLETED:
                self._count(item)
                continue
            self._tally.completed += 1
            self._tally.seconds += item.seconds or 0.0
            self._tally.bytes += sum(output.bytes for output in item.outputs if output.path != item.sidecar)
            self._dispatch.ended(item)
        if any(self._store.stages_of(item.key) for item in done):
            # Another worker may be the one that can run what is due now.
            self._dispatch.stir()
        return [item for item in done if item.status is Status.COMPLETED]

    def fail(self, item: Item, error: ErrorRecord, *, charge: bool = True) -> None:
        """Mark an item as failed, with the reason in its record."""
        self._count(self.change(item, lambda now: now.fail(error=error, charge=charge)))

    def charge(self, item: Item, error: ErrorRecord) -> None:
        """Charge an attempt: due again, failed after the last one, or cancelled if that was requested."""
        most = self._max_attempts

        def edit(now: Item) -> Item:
            if now.cancel_requested:
                return now.cancel()
            return now.fail(error=error) if now.attempts + 1 >= most else now.put_back(charge=True, error=error)

        self._count(self.change(item, edit))

    def put_back(self, item: Item) -> None:
        """Due again with no attempt charged, in this burst or a later one; or cancelled if that was requested."""
        self._count(self.change(item, lambda now: now.cancel() if now.cancel_requested else now.put_back(charge=False)))

    def send_again(self, item: Item) -> None:
        """Due again under the same prompt_id, the key of its request; or cancelled if that was requested."""
        self._count(self.change(item, lambda now: now.cancel() if now.cancel_requested else now.send_again()))

    def shrink(self, item: Item, *, was: int, batch_size: int) -> None:
        """Due again with at most this batch size, with no attempt charged; or cancelled if that was requested.

        `was`: the batch size that ran out of memory.

        The same change set shrinks the other due items of its batch that have a larger size chosen by `auto`, so that
        not each of them runs out of memory by itself. Submitted items stay as they are.
        """

        def edit(now: Item) -> Item:
            if now.status is not Status.PENDING:
                if now.cancel_requested:
                    return now.cancel()
                now = now.put_back(charge=False)
            return now.shrink(batch_size=batch_size)

        changed = {one.key: one for one in change_all(self._lease, [item, *self._larger(item, batch_size)], edit)}
        if changed:
            whose = f"batch {item.batch}" if item.batch is not None else item.key
            self._tally.note(
                f"out of memory at batch_size {was}: {whose} continues with {batch_size}; "
                "its prompts make fewer images each"
            )
        self._count(changed.get(item.key))

    def crashed(self, item: Item) -> None:
        """Its server went down, or forgot it, while it ran: due again; failed if it may be the reason."""
        import shlex

        blame = f"running when {self._server_url} went down or forgot it"
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
            self._tally.note(f"{item.key} was {blame}; after the next time it is set aside")
        self._count(changed)

    def unsend(self, items: Iterable[Item]) -> None:
        """Due again, or cancelled if that was requested: their POSTs certainly reached no queue.

        `items`: as they were before the intent.
        """
        before = {item.key: item for item in items}

        def edit(now: Item) -> Item:
            return now.cancel() if now.cancel_requested else now.unsend(before[now.key])

        changed = change_all(self._lease, self._store.get_many(before), edit)
        for item in changed:
            if item.status is Status.CANCELLED:
                self._count(item)
        if changed:
            self._dispatch.stir()

    def withdraw(self, items: Iterable[Item]) -> None:
        """Due again: their prompts were taken from the queue before they ran; or cancelled if that was requested."""

        def edit(now: Item) -> Item:
            return now.cancel() if now.cancel_requested else now.unsend(now)

        for changed in change_all(self._lease, items, edit):
            if changed.status is Status.CANCELLED:
                self._count(changed)
        self._dispatch.stir()

    def give_back(self, failures: Mapping[str, PromptFailure]) -> None:
        """Uncharge what these items were charged for prompts that failed by their server's fault.

        One that failed by that is due again. Left as it is: what failed otherwise, or was tried again by a person.
        """

        def is_meant(now: Item) -> bool:
            prompt_id, ids = failures[now.key].prompt_id, now.previous_prompt_ids
            if now.status is Status.FAILED:
                return ids[-1:] == (prompt_id,)
            return now.status is not Status.CANCELLED and prompt_id in (now.prompt_id, *ids)

        items = [item for item in self._store.get_many(failures) if is_meant(item)]
        change_all(self._lease, items, lambda now: now.give_back(failures[now.key].charged) if is_meant(now) else now)
        for item in items:
            told = [failure for failure in self._tally.failures if failure[0] == item.key]
            if item.status is Status.FAILED and told:
                self._tally.failures.remove(told[-1])
                self._tally.failed -= 1
                self._dispatch.reopened(item)
        self._dispatch.stir()

    def move_behind(self, keys: Collection[str]) -> None:
        """Make these items the last that are due of their priority, in the same order."""
        if not keys:
            return
        last = max((one.rank for _, one in self._store.parts(_Ranked) if one.status is Status.PENDING), default=0.0)
        items = [item for item in self._store.get_many(keys) if item.status is Status.PENDING]
        change_all(self._lease, items, lambda now: msgspec.structs.replace(now, rank=last + 1.0))
        self._dispatch.stir()

    def cancel(self, item: Item) -> None:
        """Mark an item as cancelled, as was requested."""
        self._count(self.change(item, lambda now: now.cancel()))

    @contextmanager
    def _timed(self, *, counts: bool = True) -> Iterator[None]:
        """Around a checkpoint. One that fails is none."""
        began = self._clock.monotonic()
        yield
        self._tally.checkpoints += counts
        self._tally.checkpoint_seconds += self._clock.monotonic() - began if counts else 0.0

    def _larger(self, item: Item, batch_size: int) -> list[Item]:
        """Due items of its batch with a larger size chosen by `auto`; none whose prompt may be on a server."""
        if item.batch is None:
            return []
        return [
            other
            for other in self._store.items(Status.PENDING, batch=item.batch)
            if (other.automatic_batch_size or 0) > batch_size and not other.may_be_on_a_server
        ]

    def _follow(self, item: Item, stages: Sequence[Item]) -> None:
        """What is made from this item ended with it, or is due again with it. No server did anything for that."""
        ended = [stage for stage in stages if stage.has_ended]
        if ended:
            word = "failed" if item.status is Status.FAILED else "cancelled"
            self._tally.note(f"{counted(len(ended))} made from {item.key} {word} with it")
        if stages:
            self._dispatch.stir()

    def _count(self, changed: Item | None) -> None:
        """Count an item's new status; None: another process changed it first."""
        if changed is None:
            return
        match changed.status:
            case Status.PENDING:
                self._tally.put_back += 1
                self._dispatch.stir()
                return
            case Status.FAILED:
                self._tally.failed += 1
                self._tally.failures.append((changed.key, changed.error.message if changed.error else ""))
            case Status.CANCELLED:
                self._tally.cancelled += 1
        self._dispatch.ended(changed)
