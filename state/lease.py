"""The right to work on a state, and what a run holds while it does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from state.burst_record import BurstRecord
    from state.change import Change
    from state.item import Item
    from state.live import Live


class Lease(Protocol):
    """What one run holds while it works on a state; a context manager that ends it. Any thread may use it.

    It ends with the process in any way. What it held is then due again, or may be taken over if it was submitted.
    """

    def claim(
        self,
        limit: int,
        *,
        batch: str | None = None,
        skip: Collection[str] = (),
        without: Collection[str] = (),
        accept: Callable[[Item], bool] | None = None,
    ) -> list[Item]:
        """As `Store.due`, without what any run holds; these items are held until they end or are released."""

    def claim_these(self, keys: Iterable[str], *, limit: int) -> list[Item]:
        """The first of these items that are due and that no run holds; they are held until they end or are released.

        Fewer, possibly none, where another run is faster.
        """

    def left_behind(self) -> Iterator[Item]:
        """Submitted items that no living run holds."""

    def is_any_left(self, servers: Collection[str]) -> bool:
        """Whether a run died whose items are to be freed, or anything is left behind on these servers, by their names.

        For a run at work to ask often: it costs nothing. Seen within a few seconds, and said once each time that it is
        seen. Never where one run works at a time.
        """

    def held_by_others(self) -> Mapping[str | None, int] | None:
        """How many items other living runs hold, by recipe (None: without one). None where one run works at a time."""

    def take_over(self, keys: Iterable[str]) -> list[Item]:
        """Hold these submitted items, as they are now; without those that a living run holds or that have ended."""

    def release(self, keys: Iterable[str]) -> None:
        """Hold these items no longer. Keys that are not held are ignored."""

    def apply(self, changes: Sequence[Change], *, sync: bool = True) -> list[Item]:
        """As `Store.apply`, guarded by this lease too: StaleChange for what another run holds.

        Without `sync`, what leaves a submitted item submitted may reach others with the item's next change, and is lost
        if the run is killed before. What has ended is held no longer.

        Errors: also LockHeld where this lease was lost; nothing is written then.
        """

    def check(self) -> None:
        """Errors: LockHeld where this lease was lost to another run."""

    def guard_post(self, key: str) -> None:
        """Call before the POST of this item, which must not start unless its answer can still be noted.

        Errors: LockHeld; StaleChange where another run holds the item by now.
        """

    def now(self) -> datetime:
        """The time by the store's clock, by which times in records are compared."""

    def begin_burst(
        self,
        *,
        burst: str,
        size: int,
        started_at: datetime,
        run_started_at: datetime,
        servers: Collection[str] = (),
    ) -> None:
        """Publish the burst that begins, and show from now on that the run is alive. `servers`: the names of those that
        it uses. Errors: LockHeld, DiskFull."""

    def publish_wait(self, reason: str | None) -> None:
        """Publish what the run waits for (None: nothing any more), after `begin_burst`. The next burst begins without.

        Errors: DiskFull.
        """

    def show(self, live: Live, *, preview: bytes | None = None) -> None:
        """Show others what the run sees, until it ends. Not durable, and never fails: what cannot be shown is not.

        `preview`: an image of what is being made, where there is a new one.
        """

    def end_burst(self, record: BurstRecord) -> None:
        """Add the record of a burst that has ended. Errors: DiskFull."""

    def record_killed(self) -> None:
        """Record the bursts of killed runs before this lease that nobody has recorded yet. Safe to repeat.

        Errors: DiskFull.
        """

    def end(self) -> None:
        """End cleanly: hold nothing any more. Safe to repeat."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
