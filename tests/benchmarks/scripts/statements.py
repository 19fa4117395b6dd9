"""`burst ARGUMENTS`, and in FILE a line for each statement that it sends to a database: when, in seconds since 1970.

python -m tests.benchmarks.scripts.statements FILE ARGUMENTS
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

from sqlalchemy.pool import Pool

from tests.support.statements import watch

if __name__ == "__main__":
    # To the end of the process, which a signal may end.
    found = Path(sys.argv[1]).absolute().open("w", buffering=1)
    watch(Pool, lambda *statement: print(time.time(), file=found))
    sys.argv = ["burst", *sys.argv[2:]]
    runpy.run_module("burst", run_name="__main__")
