"""From prompts to the variations of a batch: every prompt × every cell of the sweeps × every seed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from orchestrator.batches.spec import BatchSpec, PromptEntry, last_seed
from orchestrator.batches.values import parted, parts_of
from orchestrator.batches.variation import Variation
from orchestrator.errors import UsageError, located
from orchestrator.formatting import counted
from orchestrator.wording import named

LARGEST_BATCH = 100_000
"""Items. More than these are asked for in several calls."""
_DRAWN_BELOW = 2**32 - 1000
"""Many nodes take seeds of 32 bits only, and the last of 999 variations must fit too."""


def drawn_seed() -> int:
    """A random seed that every node takes, and 998 more after it."""
    return secrets.randbelow(_DRAWN_BELOW)


def count_of(wish_count: int, spec: BatchSpec) -> int:
    """How many variations so many prompts have. Errors: UsageError for more than a batch takes."""
    total = wish_count * spec.cells * spec.count
    if total > LARGEST_BATCH:
        factors = [counted(wish_count, "prompt")]
        factors += [f"{len(values)} of {name}" for name, values in spec.sweeps.items()]
        raise UsageError(
            f"{' × '.join([*factors, counted(spec.count, 'variation')])} are {total} items, and one batch takes up to "
            f"{LARGEST_BATCH}; split the prompts or a sweep's values over several calls"
        )
    return total


def vary(
    entries: Sequence[PromptEntry], *, spec: BatchSpec, has_seed: bool, draw: Callable[[], int] = drawn_seed
) -> list[Variation]:
    """All variations: by prompt, then by the sweeps' cells, then by seed.

    What a prompt's row says wins over what was said for all. The seeds begin anew for each prompt, and all cells of a
    sweep share them, so that what stands side by side differs in one thing alone; `random` draws others for each
    prompt. `draw` gives a random seed. Errors: UsageError for too many, and for a row that says what a sweep says.
    """
    count_of(len(entries), spec)
    base = spec.seed if spec.seed is not None else draw()
    variations: list[Variation] = []
    for entry in entries:
        seeds = _seeds(entry, spec, base=base, draw=draw) if has_seed else [None] * spec.count
        variations += _of_one(entry, spec, seeds, start=len(variations))
    return variations


def _seeds(entry: PromptEntry, spec: BatchSpec, *, base: int, draw: Callable[[], int]) -> list[int]:
    own = entry.inputs.get("seed")
    if spec.seed_mode == "random":
        if own is not None:
            raise UsageError(
                f"{entry.where}: it sets its seed, and {named('seed_mode', 'random')} draws them; leave one out"
            )
        return _drawn(spec.count, draw)
    first = base if own is None else own
    with located(f"{entry.where}, seed", UsageError):
        last = last_seed(first, spec)
    return [first] * spec.count if spec.seed_mode == "fixed" else list(range(first, last + 1))


def _drawn(count: int, draw: Callable[[], int]) -> list[int]:
    """Different ones, whatever is drawn."""
    seeds: dict[int, None] = {}
    for _ in range(count):
        seed = draw()
        while seed in seeds:
            seed += 1
        seeds[seed] = None
    return list(seeds)


def _of_one(entry: PromptEntry, spec: BatchSpec, seeds: Sequence[int | None], *, start: int) -> Iterator[Variation]:
    swept = {part for name in spec.sweeps for part in parts_of(name)}
    for name in entry.inputs:
        if name in swept:
            raise UsageError(f"{entry.where}: it sets {name}, and {named('sweeps')} sets it too; leave one out")
    common = spec.inputs() | dict(entry.inputs)
    total = spec.cells * spec.count
    sent = product(product(*spec.sweeps.values()), seeds)
    for number, (values, seed) in enumerate(sent, 1):
        axes = dict(zip(spec.sweeps, values, strict=True))
        inputs = common | ({} if seed is None else {"seed": seed})
        for name, value in axes.items():
            inputs |= parted(name, value)
        yield Variation(
            index=start + number,
            prompt=entry.prompt,
            inputs=inputs,
            axes=axes,
            number=number,
            of=total,
            name=entry.name,
            subfolder=entry.subfolder,
        )
