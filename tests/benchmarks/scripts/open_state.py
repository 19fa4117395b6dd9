"""What an open state takes of a process's memory: python -m tests.benchmarks.scripts.open_state FILE

Prints JSON: `bytes`, by which the resident memory grew.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from state.open_store import open_store


def resident_bytes(pid: int | str) -> int:
    """Of a process that runs, by its id or `self`."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    open_store(Path(sys.argv[1]).with_name("none.json"), create=True).close()
    before = resident_bytes("self")
    with open_store(sys.argv[1], read_only=True):
        print(json.dumps({"bytes": resident_bytes("self") - before}))


if __name__ == "__main__":
    main()
