"""What the run at work sees at the moment: for people who watch, never for a decision."""

from __future__ import annotations

import msgspec

from state.burst_record import SetAsideRecord
from state.item import UtcTime


class Running(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item that a server renders."""

    item: str
    """Its key."""
    server: str
    """The server's name."""
    since: UtcTime
    node: str | None = None
    """The title of the node that runs; None where the server does not say."""
    step: int | None = None
    steps: int | None = None
    """Of this node; None where it has no steps."""

    @property
    def percent(self) -> int | None:
        """How much of the node's steps is done."""
        return 100 * (self.step or 0) // self.steps if self.steps else None


class Live(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one burst at one moment."""

    burst: str
    at: UtcTime
    running: tuple[Running, ...] = ()
    preview_of: str | None = None
    """The key of the item that the preview is of."""
    set_aside: tuple[SetAsideRecord, ...] = ()
    """The recipes and output roots that the run could not use so far."""
