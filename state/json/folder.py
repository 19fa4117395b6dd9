"""Where a JSON state keeps what is not in the state file itself."""

from __future__ import annotations

from pathlib import Path


def burst_folder(state_file: Path) -> Path:
    """The folder beside a state file that holds its journal, locks, settings and records of bursts."""
    return state_file.with_suffix(".burst")
