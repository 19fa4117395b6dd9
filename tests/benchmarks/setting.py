"""How much is measured: the numbers of the table, and small ones that only show that every row runs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scale:
    """Counts of items and prompts, and seconds. `kill_after_seconds`: the range that each kill is drawn from."""

    wall_items: int = 200
    wall_prompt_seconds: float = 0.2
    cpu_items: int = 500
    counted_items: int = 200
    comfyui_items: int = 300
    few_items: int = 1_000
    many_items: int = 100_000
    checkpoints: int = 200
    sql_items: int = 1_000_000
    idle_settling_seconds: float = 30.0
    idle_seconds: float = 60.0
    slow_items: int = 15
    slow_prompt_seconds: float = 2.0
    long_prompt_seconds: tuple[float, ...] = (10.0, 30.0)
    uneven_prompt_seconds: tuple[float, ...] = (7.0, 1.0, 1.0)
    busy_items: int = 200
    busy_prompt_seconds: float = 0.1
    killed_items: int = 200
    killed_prompt_seconds: float = 0.25
    kill_after_seconds: tuple[float, float] = (1.0, 3.0)
    protocol_poll_seconds: float = 5.0
    generated_count: int = 50
    generated_prompt_seconds: float = 0.2
    sustained_count: int = 20
    sustained_prompt_seconds: float = 2.84
    held_prompt_seconds: float = 60.0
    fleet_seconds: float = 40.0
    fleet_servers: int = 4
    fleet_prompt_seconds: tuple[float, ...] = (1.0, 0.2)
    images: int = 10_000
    page_calls: int = 200
    workspace_images: int = 5_000
    scrolled_images: int = 100_000
    sql_loop_items: int = 100_000
    sql_completed: int = 4_000
    sql_claims: int = 100
    sql_burst_items: int = 200
    sql_prompt_seconds: float = 0.05


SHORT = Scale(
    wall_items=5,
    wall_prompt_seconds=0.05,
    cpu_items=5,
    counted_items=5,
    comfyui_items=5,
    few_items=20,
    many_items=200,
    checkpoints=5,
    sql_items=2_000,
    idle_settling_seconds=0.5,
    idle_seconds=0.5,
    slow_items=3,
    slow_prompt_seconds=0.1,
    long_prompt_seconds=(0.3,),
    uneven_prompt_seconds=(0.3, 0.1, 0.1),
    busy_items=20,
    busy_prompt_seconds=0.02,
    killed_items=12,
    killed_prompt_seconds=0.1,
    kill_after_seconds=(0.6, 1.0),
    protocol_poll_seconds=0.5,
    generated_count=3,
    generated_prompt_seconds=0.05,
    sustained_count=2,
    sustained_prompt_seconds=0.1,
    fleet_seconds=0.4,
    fleet_servers=2,
    fleet_prompt_seconds=(0.1,),
    images=100,
    page_calls=20,
    workspace_images=200,
    scrolled_images=400,
    sql_loop_items=400,
    sql_completed=32,
    sql_claims=2,
    sql_burst_items=15,
    sql_prompt_seconds=0.01,
)


@dataclass(frozen=True)
class Setting:
    """What every row is told. `directory` is on the disk that is measured; rounds take turns within it."""

    scale: Scale
    rounds: int
    directory: Path
    seed: int = 1
    comfyui: str | None = None

    def each_round(self, row: str) -> Iterator[tuple[int, Path]]:
        """The number of each round, from 0, and an empty directory that goes with it."""
        for number in range(self.rounds):
            print(f"{row}: round {number + 1} of {self.rounds}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix=f"{row}-", dir=self.directory) as place:
                yield number, Path(place)
