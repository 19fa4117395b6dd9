"""Decides which request or prompt is hit by a fault."""

from __future__ import annotations

import random
import threading
from enum import Enum
from typing import Any

from orchestrator.sandbox.settings import SandboxSettings


class Fault(Enum):
    """A fault, defined by its settings: a rate and a one-shot count."""

    FAILURE = ("failure_rate", "fail_next")
    OUT_OF_MEMORY = ("out_of_memory_rate", "out_of_memory_next")
    DROP_BEFORE_QUEUE = ("drop_before_queue_rate", "drop_before_queue_next")
    DROP_AFTER_QUEUE = ("drop_after_queue_rate", "drop_after_queue_next")
    TRUNCATE_DOWNLOAD = ("truncate_download_rate", "truncate_next")
    UNAVAILABLE = ("unavailable_rate", "unavailable_next")


class Faults:
    """The current settings, and the random draws based on them. Thread-safe."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._lock = threading.Lock()
        self._settings = settings
        self._seed()

    @property
    def settings(self) -> SandboxSettings:
        """The current settings; one-shot counts have their remaining value."""
        with self._lock:
            return self._settings

    def change(self, changes: dict[str, Any]) -> SandboxSettings:
        """Apply `changes`, all or none. Setting `random_seed` restarts the random draws. Errors: SettingsError."""
        with self._lock:
            self._settings = self._settings.changed(changes)
            if "random_seed" in changes:
                self._seed()
            return self._settings

    def strikes(self, fault: Fault) -> bool:
        """Whether `fault` strikes this time; if so, its one-shot count decreases by one."""
        rate_name, next_name = fault.value
        with self._lock:
            if left := getattr(self._settings, next_name):
                self._settings = self._settings.changed({next_name: left - 1})
                return True
            rate: float = getattr(self._settings, rate_name)
            return rate > 0.0 and self._draws[fault].random() < rate

    def next_seconds(self) -> float:
        """The render time of the prompt that starts now."""
        with self._lock:
            first, *others = self._settings.seconds_next or (self._settings.seconds_per_prompt,)
            if self._settings.seconds_next:
                self._settings = self._settings.changed({"seconds_next": others})
            return first

    def _seed(self) -> None:
        # One stream per fault: downloads in another order must not change which prompts fail.
        self._draws = {fault: random.Random(f"{self._settings.random_seed}:{fault.name}") for fault in Fault}
