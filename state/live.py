"""What the run at work sees at the moment: for people who watch, never for a decision."""

from __future__ import annotations

from typing import Literal

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
    loads: bool = False
    """The node loads a model."""

    @property
    def percent(self) -> int | None:
        """How much of the node's steps is done."""
        return 100 * (self.step or 0) // self.steps if self.steps else None


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A server of which nothing is heard at the moment, or that takes nothing."""

    server: str
    """Its name."""
    kind: Literal["away", "busy", "stopped"]
    """It does not answer; it answers that it is overloaded; it answers, and is not worked with."""
    since: UtcTime
    message: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts of others that a server renders before the first of this state."""

    server: str
    """Its name."""
    ahead: int


class Live(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one burst at one moment."""

    burst: str
    at: UtcTime
    running: tuple[Running, ...] = ()
    preview_of: str | None = None
    """The key of the item that the preview is of."""
    troubles: tuple[Trouble, ...] = ()
    lines: tuple[Line, ...] = ()
    set_aside: tuple[SetAsideRecord, ...] = ()
    """The recipes and output roots that the run could not use so far."""
