"""When to poll a server for its oldest prompt."""

from __future__ import annotations

import math

from orchestrator.clock import Clock
from orchestrator.cycle import pacing


class PollSchedule:
    """The polling times of one worker. Seconds of the monotonic clock."""

    def __init__(self, clock: Clock, *, poll_seconds: float, pace: pacing.Pace) -> None:
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._pace = pace
        self._between = pacing.Pace()
        self._strain = pacing.Strain()
        self._tick: float | None = None
        self._asked: str | None = None
        self._recipe: str | None = None
        self._is_heard = self._is_connecting = False
        now = clock.monotonic()
        self._sight = pacing.Sight(noticed_at=now, busy_at=now)
        self._ask_at = self._busy_at = now
        self._last_sweep = -math.inf

    @property
    def seconds_per_item(self) -> float | None:
        """Seconds between the ends of prompts: their execution time, or more where other people's run between."""
        known = [pace.seconds_per_item for pace in (self._pace, self._between) if pace.seconds_per_item is not None]
        return max(known, default=None)

    def window(self, size: int) -> int:
        """How many prompts keep the server busy from one poll to the next; at most `size`."""
        tick = self._tick if self._tick is not None else pacing.FIRST_TICK_SECONDS
        return pacing.window(size=size, tick_seconds=tick, seconds_per_item=self.seconds_per_item)

    def until_look(
        self, prompt_id: str, *, recipe: str | None = None, is_heard: bool = False, is_connecting: bool = False
    ) -> float:
        """Seconds until the next poll for this prompt, the oldest now; 0 or less when it is due.

        `is_heard`: its end should be told by events, so that polls for it are rare; `is_connecting`: that may be so in
        a moment.
        """
        self._is_connecting = is_connecting
        if prompt_id != self._asked:
            now = self._clock.monotonic()
            self._asked, self._tick, self._ask_at = prompt_id, None, now
            self._recipe, self._is_heard = recipe, is_heard
            if is_heard or not self._sight.next_may_be_done(self._pace.expected_seconds(recipe), now):
                self._wait()
        elif is_heard != self._is_heard:
            self._is_heard, self._tick = is_heard, None
            self._wait()
        return self._ask_at - self._clock.monotonic()

    def look_again(self) -> None:
        """The oldest prompt was polled and was not finished."""
        self._busy_at = self._clock.monotonic()
        self._wait()

    def look_soon(self) -> None:
        """The oldest prompt was withdrawn: it may end in a moment."""
        self._tick = pacing.FIRST_TICK_SECONDS
        self._ask_at = self._clock.monotonic() + self._tick

    def answered(self, *, troubled: bool) -> None:
        """The server answered. After 429 and time-outs it is polled less often, until it answers normally again."""
        self._strain = self._strain.after(troubled)

    def began(self) -> None:
        """The first prompt was sent to a server that had none of ours."""
        now = self._busy_at = self._clock.monotonic()
        self._sight = pacing.Sight(noticed_at=now, busy_at=now)

    def told_end(self) -> None:
        """An event told the end of a prompt, so that it was running until now."""
        self._busy_at = self._clock.monotonic()

    def ended(self) -> None:
        """A prompt was seen finished."""
        now = self._clock.monotonic()
        self._between.note(now - self._sight.noticed_at)
        self._sight = pacing.Sight(noticed_at=now, busy_at=self._busy_at)

    def swept(self) -> None:
        """Everything was looked up."""
        self._last_sweep = self._clock.monotonic()

    def until_sweep(self) -> float:
        """Seconds until failed requests may cause another sweep: one tick after the last one."""
        tick = self._tick if self._tick is not None else pacing.FIRST_TICK_SECONDS
        return self._last_sweep + tick - self._clock.monotonic()

    def is_quiet(self, seconds: float) -> bool:
        """Whether for so long no prompt has ended and none was looked up."""
        return self._clock.monotonic() - max(self._sight.noticed_at, self._last_sweep) >= seconds

    def _wait(self) -> None:
        now = self._clock.monotonic()
        expected_seconds = self._sight.expected_seconds(self._pace.expected_seconds(self._recipe), now)
        self._tick = tick = pacing.next_tick(
            self._tick, expected_seconds=expected_seconds, poll_seconds=self._poll_seconds, strain=self._strain
        )
        if self._is_connecting and expected_seconds is None:
            tick = max(tick, pacing.CONNECTING_TICK_SECONDS)
        if self._is_heard:
            tick = pacing.heard_tick(tick, expected_seconds=expected_seconds, poll_seconds=self._poll_seconds)
        self._ask_at = now + tick
