"""The options of one call of `run`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from orchestrator.cycle import pacing
from orchestrator.cycle.context import Options
from orchestrator.errors import UsageError, located
from orchestrator.hours import Hours, parse_time
from orchestrator.servers import this_host
from orchestrator.settings import DEFAULT_STATE, Overrides, Settings
from state.burst_record import BurstRecord

LARGEST_COUNT = 1_000_000_000
LONGEST_SECONDS = 1_000_000_000
"""30 years: what a clock can wait for."""


class Request(msgspec.Struct, frozen=True):
    """All options of one call of `run`."""

    state: Path = Path(DEFAULT_STATE)
    size: int | Literal["auto"] = pacing.DEFAULT_SIZE
    poll_seconds: float = pacing.DEFAULT_POLL_SECONDS
    max_seconds: float | None = None
    until: str | None = None
    """The time of day, such as 07:00, by which the run ends."""
    between: str | None = None
    """The hours of each day, such as 22:00-07:00: outside of them nothing is started, and the run ends with them."""
    until_done: bool = False
    awaits_others: bool = True
    """With `until_done`: go on while other runs hold items that may be due here again."""
    ahead: int = 0
    wait_lock_seconds: float = 0.0
    wait_server_seconds: float | None = None
    """How long a server is waited for that does not answer; None: 20 s, or without end with `until_done`."""
    free_every: int | None = None
    """After how many prompts of this run each server unloads its models."""
    max_attempts: int = 3
    allow_spend: int | None = None
    """How many prompts servers that cost money may get in 24 hours; None: as the settings say."""
    on_error: Literal["stop", "continue"] = "continue"
    overwrite: bool = False
    batch: str | None = None
    """Run until every item of this batch has ended; `on_error` applies to its items alone."""
    abandon_server: str | None = None
    server_moved: tuple[str, str] | None = None
    """The old address of a server and its new one."""
    in_doubt_seconds: float = pacing.IN_DOUBT_SECONDS
    stall_seconds: float | None = None
    """See `Options.stall_seconds`."""
    sweep_seconds: float = pacing.SWEEP_SECONDS
    abandon_after_seconds: float | None = None
    """Overrides the value in settings.toml."""
    overrides: Overrides = msgspec.field(default_factory=Overrides)

    def checked(self) -> Request:
        """Errors: UsageError that names the argument."""
        for name, value, least, most in (
            ("size", 1 if self.size == "auto" else self.size, 1, LARGEST_COUNT),
            ("ahead", self.ahead, 0, LARGEST_COUNT),
            ("allow_spend", self.allow_spend or 0, 0, LARGEST_COUNT),
            ("free_every", 1 if self.free_every is None else self.free_every, 1, LARGEST_COUNT),
            ("max_attempts", self.max_attempts, 1, LARGEST_COUNT),
            ("max_seconds", self.max_seconds or 0.0, 0, LONGEST_SECONDS),
            ("wait_lock_seconds", self.wait_lock_seconds, 0, LONGEST_SECONDS),
            ("wait_server_seconds", self.wait_server_seconds or 0.0, 0, LONGEST_SECONDS),
            ("poll_seconds", self.poll_seconds, 0, LONGEST_SECONDS),
        ):
            if not least <= value <= most:  # as NaN is
                raise UsageError(f"{name}: {value} is not from {least} to {most}")
        if self.until is not None:
            with located("until", UsageError):
                parse_time(self.until)
        if self.between is not None:
            with located("between", UsageError):
                Hours.parse(self.between)
        if self.stall_seconds is not None and not self.stall_seconds > 0:
            raise UsageError(f"stall_seconds: {self.stall_seconds} is not above 0")
        if self.poll_seconds == 0:
            raise UsageError("poll_seconds: 0 would poll without a pause; give more")
        return self

    def options(self, settings: Settings) -> Options:
        """The options that all bursts of the run share."""
        limit = self.abandon_after_seconds
        patience, waits = None, math.inf if self.until_done else 0.0
        if self.wait_server_seconds is not None:
            patience = min(self.wait_server_seconds, pacing.PATIENCE_SECONDS)
            waits = self.wait_server_seconds - patience
        return Options(
            free_every=self.free_every,
            allow_spend=settings.allow_spend if self.allow_spend is None else self.allow_spend,
            patience_seconds=patience,
            wait_server_seconds=waits,
            poll_seconds=self.poll_seconds,
            max_attempts=self.max_attempts,
            in_doubt_seconds=self.in_doubt_seconds,
            stall_seconds=self.stall_seconds,
            sweep_seconds=self.sweep_seconds,
            abandon_after_seconds=settings.abandon_after_seconds if limit is None else limit,
        )

    def burst_size(self, records: Sequence[BurstRecord], *, seconds: float | None = None) -> int:
        """How many items the next burst is to end. `records`: of earlier ones; `seconds`: the time left, if limited."""
        if self.size != "auto":
            return self.size
        return pacing.automatic_size(pacing.of_host(records, this_host()), seconds=seconds)
