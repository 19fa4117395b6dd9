"""What `generate --queue-only` reads and holds of a state with many other items."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.batches.generate_report import Generated
from orchestrator.batches.spec import BatchSpec
from orchestrator.cycle.request import Request
from orchestrator.generation import generate
from orchestrator.settings import Overrides
from orchestrator.status import read_status
from state.item import Item


def state_of(home: Path, count: int) -> Path:
    """A state with so many completed items of other batches, as burst writes it."""
    state = home / "state.json"
    home.mkdir()
    records = {
        f"b{number // 100}/{number % 100:03}": {
            "status": "completed",
            "prompt_text": f"an owl {number}",
            "subfolder": f"b{number // 100}",
            "filename": f"owl_{number:06}",
            "batch": f"b{number // 100}",
            "index": number % 100 + 1,
            "outputs": [{"path": f"b{number // 100}/owl_{number:06}.png", "bytes": 1000, "sha256": "0" * 64}],
        }
        for number in range(count)
    }
    state.write_text(json.dumps(records))
    queue_two(state, "a hare")
    return state


def queue_two(state: Path, prompt: str) -> None:
    overrides = Overrides(template="smoke", output_dir=state.parent / "output")
    spec = BatchSpec(prompt=prompt, count=2)
    made = generate(spec, request=Request(state=state, overrides=overrides), queue_only=True)
    assert isinstance(made, Generated)
    assert made.remaining == 2


def test_the_items_decoded_are_as_many_however_large_the_state_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, decoded = Item.from_record.__func__, []  # type: ignore[attr-defined]

    def decoding(cls: type[Item], key: str, raw: bytes) -> Item:
        decoded.append(key)
        return decode(cls, key, raw)  # type: ignore[no-any-return]

    states = [state_of(tmp_path / str(count), count) for count in (20, 2000)]
    monkeypatch.setattr(Item, "from_record", classmethod(decoding))
    found = []
    for state in states:
        queue_two(state, "a fox")
        found.append(len(decoded))
        decoded.clear()
    assert found[0] == found[1] < 10


def test_the_memory_beyond_that_of_status_is_less_than_the_state_file(tmp_path: Path) -> None:
    """The records a second time, or all items decoded, take more than the file. Small states would show imports."""
    state = state_of(tmp_path / "many", 20_000)
    beyond = peak_bytes(lambda: queue_two(state, "a fox")) - peak_bytes(lambda: read_status(state))
    assert beyond < state.stat().st_size


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that Python held meanwhile."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
