"""What is left of the job, for every driver in Python: standard library alone, it runs in the clients' environments.

No client's documentation leaves out what is on disk already; most people would, so every driver here does.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

URL = sys.argv[1]
"""The server, as http://HOST:PORT."""
ADDRESS = URL.removeprefix("http://")


def left() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each image that is not on disk, with its graph."""
    for path, color in left_colors():
        graph = json.loads(Path("workflow_api.json").read_text())
        graph["1"]["inputs"]["color"] = color
        yield path, graph


def left_colors() -> Iterator[tuple[Path, int]]:
    with open("jobs.csv", newline="") as stream:
        for row in csv.DictReader(stream):
            path = Path("images", row["name"])
            if not path.exists():
                yield path, int(row["1.color"])
