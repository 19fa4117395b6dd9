"""Counts every sync and every byte written by a Python process: put this folder first on its PYTHONPATH.

With BURST_COUNTED set, the counts are written to that file as JSON when the process ends.
"""

from __future__ import annotations

import atexit
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

counted: Counter[str] = Counter()
"""`syncs` and `bytes`, so far."""


def _count(name: str, add: Callable[[Any], int], what: str) -> None:
    original = getattr(os, name)

    def counting(*arguments: Any) -> Any:
        result = original(*arguments)
        counted[what] += add(result)
        return result

    setattr(os, name, counting)


for _name in ("fsync", "fdatasync", "sync"):
    if hasattr(os, _name):
        _count(_name, lambda _: 1, "syncs")
for _name in ("write", "writev", "pwrite", "pwritev"):
    if hasattr(os, _name):
        _count(_name, int, "bytes")

if "BURST_COUNTED" in os.environ:
    atexit.register(lambda: Path(os.environ["BURST_COUNTED"]).write_text(json.dumps(counted)))
