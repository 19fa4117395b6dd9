"""What the run at work sees at the moment: for people who watch, never for a decision."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
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

    def shifted(self, jump: timedelta) -> Live:
        """The same by a clock that is ahead by `jump`."""
        if not jump:
            return self
        replace = msgspec.structs.replace
        return replace(
            self,
            at=self.at + jump,
            running=tuple(replace(one, since=one.since + jump) for one in self.running),
            troubles=tuple(replace(one, since=one.since + jump) for one in self.troubles),
        )


def together(lives: Iterable[Live]) -> Live | None:
    """What several runs show, as one; None where none shows anything. `burst`, `at`: of the first."""
    found = list(lives)
    if len(found) < 2:
        return found[0] if found else None
    return msgspec.structs.replace(
        found[0],
        running=tuple(one for live in found for one in live.running),
        preview_of=next((live.preview_of for live in found if live.preview_of is not None), None),
        troubles=tuple(one for live in found for one in live.troubles),
        lines=tuple(one for live in found for one in live.lines),
        set_aside=tuple(dict.fromkeys(one for live in found for one in live.set_aside)),
    )
