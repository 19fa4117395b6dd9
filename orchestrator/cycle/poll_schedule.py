"""When a server is asked for its oldest prompt: how long one takes there, how often to look, how patient to be."""

from __future__ import annotations

import math
from collections.abc import Callable

from orchestrator.clock import Clock
from orchestrator.cycle import pacing


class PollSchedule:
    """The times of one lane. Seconds of the monotonic clock."""

    def __init__(self, clock: Clock, *, poll_seconds: float, pace: pacing.Pace) -> None:
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._pace = pace
        self._between = pacing.Pace()
        self._strain = pacing.Strain()
        self._tick: float | None = None
        self._asked: str | None = None
        now = clock.monotonic()
        self._sight = pacing.Sight(noticed_at=now, busy_at=now)
        self._ask_at = self._busy_at = now
        self._last_sweep = -math.inf

    @property
    def seconds_per_item(self) -> float | None:
        """How often a prompt ends here: what it takes on the server, and more where other people's come between."""
        known = [pace.seconds_per_item for pace in (self._pace, self._between) if pace.seconds_per_item is not None]
        return max(known, default=None)

    def window(self, size: int) -> int:
        """How many prompts keep the server at work from one look to the next; at most `size`."""
        tick = self._tick if self._tick is not None else pacing.FIRST_TICK_SECONDS
        return pacing.window(size=size, tick_seconds=tick, seconds_per_item=self.seconds_per_item)

    def until_look(self, prompt_id: str) -> float:
        """Seconds until this prompt, the oldest now, is to be asked for; 0 or less when it is time."""
        if prompt_id != self._asked:
            now = self._clock.monotonic()
            self._asked, self._tick, self._ask_at = prompt_id, None, now
            if not self._sight.next_may_be_done(self._pace.seconds_per_item, now):
                self._wait()
        return self._ask_at - self._clock.monotonic()

    def look_again(self) -> None:
        """It was asked for, and was not done yet."""
        self._busy_at = self._clock.monotonic()
        self._wait()

    def look_soon(self) -> None:
        """Something was done about the oldest prompt: it may be over in a moment."""
        self._tick = pacing.FIRST_TICK_SECONDS
        self._ask_at = self._clock.monotonic() + self._tick

    def answered(self, *, troubled: bool) -> None:
        """The server was asked. After 429 and time-outs it is asked less often, until it answers well again."""
        self._strain = self._strain.after(troubled)

    def began(self) -> None:
        """The first prompt went to a server that had none of ours."""
        now = self._busy_at = self._clock.monotonic()
        self._sight = pacing.Sight(noticed_at=now, busy_at=now)

    def ended(self) -> None:
        """A prompt was seen finished."""
        now = self._clock.monotonic()
        self._between.note(now - self._sight.noticed_at)
        self._sight = pacing.Sight(noticed_at=now, busy_at=self._busy_at)

    def swept(self) -> None:
        """Everything was looked up."""
        self._last_sweep = self._clock.monotonic()

    def until_sweep(self) -> float:
        """Seconds until requests without an answer are a reason to look everything up: a tick after the last time."""
        tick = self._tick if self._tick is not None else pacing.FIRST_TICK_SECONDS
        return self._last_sweep + tick - self._clock.monotonic()

    def is_quiet(self, seconds: float) -> bool:
        """Nothing has ended for so long, and nothing was looked up."""
        return self._clock.monotonic() - max(self._sight.noticed_at, self._last_sweep) >= seconds

    def _wait(self) -> None:
        now = self._clock.monotonic()
        self._tick = pacing.next_tick(
            self._tick,
            expected_seconds=self._sight.expected_seconds(self._pace.seconds_per_item, now),
            poll_seconds=self._poll_seconds,
            strain=self._strain,
        )
        self._ask_at = now + self._tick


class StallDetector:
    """How long a server has answered and shown no change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()
        self._last: object = None
        self._closer: object = None

    def stirred(self) -> None:
        """Something ended, or the server came back."""
        self._since = self._clock.monotonic()

    def seconds(self, sight: object, look_closer: Callable[[], object]) -> float:
        """How long this, all that can be seen of it, has been the same.

        `look_closer`: asked where nothing has changed at first sight, because it costs more.
        """
        if sight != self._last:
            self._last, self._closer = sight, None
            self.stirred()
        else:
            before, self._closer = self._closer, look_closer()
            if before not in (None, self._closer):
                self.stirred()
        return self._clock.monotonic() - self._since
