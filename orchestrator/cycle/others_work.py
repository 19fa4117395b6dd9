"""What other runs hold: a run that goes on until all is done, and has nothing to do itself, waits for it.

What they do not finish is due again: an attempt failed, or the run was killed and its lease has ended.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.clock import Clock
from orchestrator.cycle.dispatch import Dispatch
from state.lease import Lease

LOOK_SECONDS = 20.0
"""How often it is asked again while nothing is heard of others: one that ends well releases what it holds silently."""


class OthersWork:
    """Of one run. Used by one thread.

    Awaited are items that a living run holds, and that a server of this run might get if they were due: its name and
    labels are right for their recipe, the recipe is not set aside, and the server has not refused items of it.
    """

    def __init__(self, lease: Lease, dispatch: Dispatch, clock: Clock, *, is_meant: bool) -> None:
        """`is_meant`: whether the run goes on until all is done."""
        self._lease = lease
        self._dispatch = dispatch
        self._clock = clock
        self._is_meant = is_meant
        self._held: Mapping[str | None, int] = {}
        """By recipe, how many items are waited for."""
        self._movements = 0
        """As the dispatch counted them when that was read."""
        self._ask_at = 0.0
        self._looked_again: int | None = None
        """After which movement the workers were made to look once more."""

    @property
    def count(self) -> int:
        """How many items are waited for; 0: none, or nobody has asked."""
        return sum(self._held.values())

    def is_quiet(self) -> bool:
        """Items of others are waited for, and nothing has moved. The state is asked once in a while."""
        if not self._held:
            return False
        if self._movements == self._dispatch.movements:
            if self._clock.monotonic() < self._ask_at:
                return True
            if self._awaited() == self._held:
                self._ask_at = self._clock.monotonic() + LOOK_SECONDS
                return True
            self._dispatch.stir()
        self._held = {}
        return False

    def begin_waiting(self) -> bool:
        """No worker has anything to do: whether the run goes on all the same. Then they rest until something moves."""
        if not self._is_meant:
            return False
        movements = self._dispatch.movements
        held = self._awaited()
        if held:
            self._held, self._movements = held, movements
            self._ask_at = self._clock.monotonic() + LOOK_SECONDS
            self._dispatch.rest_until_moved(movements)
            return True
        return held is not None and self._looks_again()

    def _looks_again(self) -> bool:
        """What the last of them released after the workers had looked is due, and nobody says so."""
        if self._looked_again == self._dispatch.movements or not self._dispatch.has_due():
            return False
        self._dispatch.stir()
        self._looked_again = self._dispatch.movements
        return True

    def _awaited(self) -> Mapping[str | None, int] | None:
        held = self._lease.held_by_others()
        if held is None:
            return None
        return {recipe: count for recipe, count in held.items() if self._dispatch.might_take(recipe)}
