"""Local time for a test."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
"""Clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25."""


@contextlib.contextmanager
def time_zone(name: str) -> Iterator[None]:
    """Local time is that of this zone, as POSIX writes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", name)
        time.tzset()
        yield
    time.tzset()
