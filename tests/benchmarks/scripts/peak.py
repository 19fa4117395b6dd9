"""`burst ARGUMENTS`, and at its end FILE with the most memory that it had, in bytes:

    python -m tests.benchmarks.scripts.peak FILE ARGUMENTS

What the kernel counts for a child begins with its parent's peak; this is of the program alone.
"""

from __future__ import annotations

import atexit
import re
import runpy
import sys
from pathlib import Path


def own_peak_bytes() -> int:
    """Errors: OSError where there is no /proc."""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


if __name__ == "__main__":
    place = Path(sys.argv[1]).absolute()
    atexit.register(lambda: place.write_text(str(own_peak_bytes())))
    sys.argv = ["burst", *sys.argv[2:]]
    runpy.run_module("burst", run_name="__main__")
