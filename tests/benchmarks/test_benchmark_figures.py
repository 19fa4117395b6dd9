"""The arithmetic of the benchmarks, where a plausible formula would give another figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.child import COUNTING
from tests.benchmarks.figures import SHOWN, Figure, Target, busy_share, ratio
from tests.benchmarks.scripts.make_state import make_state, record


@pytest.mark.parametrize(
    ("intervals", "share"),
    [
        ([(10.0, 12.0)], 1.0),
        ([(10.0, 11.0), (13.0, 14.0)], 0.5),
        ([(13.0, 14.0), (10.0, 11.0)], 0.5),
        ([(10.0, 12.0), (11.0, 13.0)], 1.0),
        ([(10.0, 14.0), (11.0, 12.0), (13.0, 15.0), (19.0, 20.0)], 6 / 10),
    ],
    ids=["one", "a gap", "in another order", "overlapping", "one within another"],
)
def test_busy_share(intervals: list[tuple[float, float]], share: float) -> None:
    assert busy_share(intervals) == pytest.approx(share)


@pytest.mark.parametrize("intervals", [[], [(10.0, 10.0)]], ids=["nothing ran", "no time"])
def test_no_busy_share_without_work(intervals: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="ran"):
        busy_share(intervals)


def test_a_ratio_is_taken_round_by_round() -> None:
    """The machine was twice as slow in the last two rounds: the ratio of the medians would be 4/3."""
    figure = ratio("x", {"burst": [2.0, 2.0, 4.0, 4.0, 4.0], "bare": [2.0, 2.0, 2.0, 4.0, 4.0]}, target=SHOWN)
    assert figure.values == (1.0, 1.0, 2.0, 1.0, 1.0)
    assert figure.median == 1.0
    assert figure.parts["burst"] == (2.0, 2.0, 4.0, 4.0, 4.0)


def test_both_sides_need_every_round() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio("x", {"burst": [2.0, 2.0], "bare": [2.0]}, target=SHOWN)


@pytest.mark.parametrize(
    ("target", "values", "reached"),
    [
        (Target("at most", 2.0), (1.0, 2.0, 9.0), True),
        (Target("at most", 2.0), (1.0, 2.1, 2.2), False),
        (Target("at least", 0.5), (0.1, 0.5, 0.6), True),
        (Target("at least", 0.5), (0.1, 0.4, 9.0), False),
        (Target("exactly", 1.0), (1.0, 1.0, 1.0), True),
        (Target("exactly", 1.0), (1.0, 1.0, 1.01), False),
        (SHOWN, (1.0,), None),
    ],
)
def test_the_median_decides_but_exactly_means_every_value(
    target: Target, values: tuple[float, ...], reached: bool | None
) -> None:
    assert Figure("x", values, target).reached is reached


@pytest.mark.parametrize("number", [0, 99_999])
def test_records_have_the_same_length_whatever_their_number(number: int) -> None:
    text = record(number, length=400)
    assert len(text.encode()) == 400
    assert json.loads(text)["status"] == "pending"


def test_a_made_state_holds_so_many_items(tmp_path: Path) -> None:
    make_state(tmp_path / "state.json", count=1001)
    items = json.loads((tmp_path / "state.json").read_bytes())
    assert len(items) == 1001
    assert {len(key) for key in items} == {len("prompts/EP0000/prompt_000000.txt")}


def test_syncs_and_bytes_are_counted_in_a_process_that_knows_nothing_of_it(tmp_path: Path) -> None:
    program = "import os; d = os.open('x', os.O_RDWR | os.O_CREAT); os.write(d, b'four'); os.fsync(d); os.fdatasync(d)"
    environment = {**os.environ, "PYTHONPATH": str(COUNTING), "BURST_COUNTED": "counted.json"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    assert json.loads((tmp_path / "counted.json").read_text()) == {"syncs": 2, "bytes": 4}
