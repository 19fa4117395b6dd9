"""Counts of the sandbox: how tests check that nothing is lost and nothing rendered twice."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from orchestrator.clock import Clock


def item_of(extra_data: dict[str, Any]) -> str | None:
    """The item that a prompt was submitted for, from `extra_data["burst"]["item"]`."""
    burst = extra_data.get("burst")
    item = burst.get("item") if isinstance(burst, dict) else None
    return item if isinstance(item, str) else None


class Counts:
    """Counts that survive a restart of the sandbox. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rendered: Counter[str] = Counter()
        self._rendered_by_item: Counter[str] = Counter()
        self._queued: Counter[str] = Counter()
        self._queued_by_item: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._loads: list[str] = []
        self._lost_by_restart = 0
        self._busy_seconds = 0.0
        self._busy_since: float | None = None
        self._first_queued: float | None = None
        self._last_busy: float | None = None

    def request(self, name: str) -> None:
        """A request arrived; `name` is its method and route, such as "GET /history/{prompt_id}"."""
        with self._lock:
            self._requests[name] += 1

    def queued(self, prompt_id: str, extra_data: dict[str, Any]) -> None:
        """A prompt entered the queue."""
        with self._lock:
            self._queued[prompt_id] += 1
            if (item := item_of(extra_data)) is not None:
                self._queued_by_item[item] += 1
            if self._first_queued is None:
                self._first_queued = self._clock.monotonic()

    def rendered(self, prompt_id: str, extra_data: dict[str, Any]) -> None:
        """A prompt wrote its outputs to disk; not called for cached outputs."""
        with self._lock:
            self._rendered[prompt_id] += 1
            if (item := item_of(extra_data)) is not None:
                self._rendered_by_item[item] += 1

    def loaded(self, name: str) -> None:
        """A model was loaded that was not the last one of its kind."""
        with self._lock:
            self._loads.append(name)

    def lost(self, prompts: int) -> None:
        """A restart lost this many queued and running prompts."""
        with self._lock:
            self._lost_by_restart += prompts

    def busy(self) -> None:
        """The worker started a prompt."""
        with self._lock:
            self._busy_since = self._clock.monotonic()

    def idle(self) -> None:
        """The worker finished its prompt, successfully or not."""
        with self._lock:
            if self._busy_since is not None:
                self._last_busy = self._clock.monotonic()
                self._busy_seconds += self._last_busy - self._busy_since
                self._busy_since = None

    def as_dict(self) -> dict[str, Any]:
        """All counts, in a form for JSON.

        `busy_share` is busy_seconds over the time since the first prompt was queued; `busy_share_of_work` ends that
        time with the last prompt instead of now.
        """
        with self._lock:
            now = self._clock.monotonic()
            running = now - self._busy_since if self._busy_since is not None else 0.0
            busy = self._busy_seconds + running
            last = now if self._busy_since is not None else self._last_busy
            return {
                "rendered": dict(self._rendered),
                "rendered_by_item": dict(self._rendered_by_item),
                "queued": dict(self._queued),
                "queued_by_item": dict(self._queued_by_item),
                "posts": self._requests["POST /prompt"],
                "requests": dict(self._requests),
                "loads": list(self._loads),
                "lost_by_restart": self._lost_by_restart,
                "busy_seconds": busy,
                "busy_share": _share(busy, self._first_queued, now),
                "busy_share_of_work": _share(busy, self._first_queued, last),
            }


def _share(busy_seconds: float, start: float | None, end: float | None) -> float:
    if start is None or end is None or end <= start:
        return 0.0
    return min(1.0, busy_seconds / (end - start))
