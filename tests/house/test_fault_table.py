"""docs/faults.md names a test for every fault; each of them must be there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "faults.md").read_text()


def test_every_row_names_tests_that_are_there() -> None:
    rows = [line for line in TABLE.splitlines() if re.match(r"\| (?!fault |-)", line)]
    assert len(rows) > 60
    assert [problem for row in rows for problem in _problems(row)] == []


def _problems(row: str) -> list[str]:
    named = re.findall(r"(tests/[\w/]+(?:\.py|/))?((?:::\w+)*)", row.split(" | ")[-1])
    problems, source, found = [], "", 0
    for path, names in named:
        if path:
            place = ROOT / path
            found += 1
            if not place.exists():
                problems.append(f"{path} is not there")
                source = ""
                continue
            source = place.read_text() if place.is_file() else ""
        missing = [name for name in names.split("::") if name and not re.search(rf"(def|class) {name}\b", source)]
        problems += [f"{name} is not in its file: {row[:60]}" for name in missing]
    return problems if found else [f"no test named: {row[:60]}"]
