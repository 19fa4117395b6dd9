"""docs/faults.md: tests/faults/tests_of_faults.toml names a test for every row, and each of them is there."""

from __future__ import annotations

import re
import tomllib

from support.pages import ROOT, page

TESTS = tomllib.loads((ROOT / "tests" / "faults" / "tests_of_faults.toml").read_text())


def test_every_row_has_tests_and_every_test_belongs_to_a_row() -> None:
    rows: dict[str, list[str]] = {}
    for section in page("faults.md").split("\n## ")[1:]:
        title, _, table = section.partition("\n")
        rows[title] = re.findall(r"^\| (?!fault \|)(.*?)(?<!\\) \| ", table, re.MULTILINE)
    assert sum(map(len, rows.values())) > 180
    assert {title: sorted(faults) for title, faults in rows.items()} == {title: sorted(TESTS[title]) for title in TESTS}


def test_every_test_that_is_named_is_there() -> None:
    named = [(fault, tests) for faults in TESTS.values() for fault, tests in faults.items()]
    assert [problem for fault, tests in named for problem in _problems(fault, tests)] == []


def _problems(fault: str, tests: str) -> list[str]:
    named = re.findall(r"(tests/[\w/]+(?:\.py|/))?((?:::\w+)*)", tests)
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
        problems += [f"{name} is not in its file: {fault}" for name in missing]
    return problems if found else [f"no test named: {fault}"]
