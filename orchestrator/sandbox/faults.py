"""Which request or prompt a fault strikes."""

from __future__ import annotations

import random
import threading
from enum import Enum
from typing import Any

from orchestrator.sandbox.settings import SandboxSettings


class Fault(Enum):
    """A fault, by the settings that bring it about: its rate and its one-shot count."""

    FAILURE = ("failure_rate", "fail_next")
    OUT_OF_MEMORY = ("out_of_memory_rate", "out_of_memory_next")
    DROP_BEFORE_QUEUE = ("drop_before_queue_rate", "drop_before_queue_next")
    DROP_AFTER_QUEUE = ("drop_after_queue_rate", "drop_after_queue_next")
    TRUNCATE_DOWNLOAD = ("truncate_download_rate", "truncate_next")
    UNAVAILABLE = ("unavailable_rate", "unavailable_next")


class Faults:
    """The settings in force, and the draws made by them. Safe between threads."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._lock = threading.Lock()
        self._settings = settings
        self._seed()

    @property
    def settings(self) -> SandboxSettings:
        """The settings in force; one-shot counts hold what is left of them."""
        with self._lock:
            return self._settings

    def change(self, changes: dict[str, Any]) -> SandboxSettings:
        """Apply `changes`, all or none. Naming `random_seed` starts the draws anew. Errors: SettingsError."""
        with self._lock:
            self._settings = self._settings.changed(changes)
            if "random_seed" in changes:
                self._seed()
            return self._settings

    def strikes(self, fault: Fault) -> bool:
        """Whether `fault` strikes this time; a one-shot count goes down by one when it does."""
        rate_name, next_name = fault.value
        with self._lock:
            if left := getattr(self._settings, next_name):
                self._settings = self._settings.changed({next_name: left - 1})
                return True
            rate: float = getattr(self._settings, rate_name)
            return rate > 0.0 and self._draws[fault].random() < rate

    def _seed(self) -> None:
        # One stream per fault: downloads in another order must not move the failures.
        self._draws = {fault: random.Random(f"{self._settings.random_seed}:{fault.name}") for fault in Fault}
