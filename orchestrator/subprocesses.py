"""burst as a process of its own, started by burst."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def command(*arguments: str) -> list[str]:
    """What starts it, with this interpreter."""
    return [sys.executable, "-m", "burst", *arguments]


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base`, so that the code found is this one, installed or not, and every name can be said."""
    source = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [source, base.get("PYTHONPATH", "")]))
    return {**base, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
