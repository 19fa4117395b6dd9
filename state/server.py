"""A ComfyUI that is registered in a state, for every run of it on any host."""

from __future__ import annotations

from typing import Annotated

import msgspec

from state.item import UtcTime


class RegisteredServer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="server", tag_field="line"):
    """What is known of it since `at`. A later one of the same name replaces it whole."""

    name: str
    """As records of items hold it."""
    url: str
    """Its address, never with a user or password."""
    at: UtcTime
    host: str | None = None
    """The host that it runs on, where its address means another machine on every host."""
    labels: tuple[str, ...] = ()
    """What items may ask for, in order; each once."""
    window: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many prompts of this state it gets at a time; None: as the run decides."""
    abandon_after_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Without a sign of life of it for so long, what is submitted to it is due again; None: only when somebody says so,
    or as the settings say of other hosts' own servers."""
    draining: bool = False
    """It gets nothing new; what it has is collected."""
    removed: bool = False
    """It is no longer registered."""
