"""The directory next to a state file."""

from __future__ import annotations

from pathlib import Path


def burst_folder(state_file: Path) -> Path:
    """The directory that holds the journal, locks, settings and records of a state file."""
    return state_file.with_suffix(".burst")
