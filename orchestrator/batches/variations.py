"""From prompts to the variations of a batch: every prompt × every cell of the sweeps × every seed."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import msgspec

from orchestrator.batches.dynamic_prompts import Expanded, Expansion, dynamic_texts
from orchestrator.batches.equal_prompts import seeds_before
from orchestrator.batches.lora_tags import LoraTags, Tagged, with_tagged
from orchestrator.batches.prompt_entry import PromptEntry
from orchestrator.batches.spec import BatchSpec, last_seed
from orchestrator.batches.text_axes import TextAxes
from orchestrator.batches.values import RANDOM_SEED, parted, parts_of
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


@dataclass(frozen=True)
class Terms:
    """What holds for one prompt: the batch's request by the names of its template, with its own count."""

    spec: BatchSpec
    has_seed: bool
    axes: TextAxes | None = None

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What all of its items have in common."""
        return self.spec.inputs()

    @cached_property
    def swept(self) -> frozenset[str]:
        """Bindings that sweeps set."""
        return frozenset(part for name in self.spec.sweeps for part in parts_of(name))

    @cached_property
    def cells(self) -> list[tuple[Any, ...]]:
        """The values of each cell of the sweeps."""
        return list(product(*self.spec.sweeps.values()))


def count_of(wish_count: int, spec: BatchSpec, *, of: str = "prompt", more: int = 0) -> int:
    """How many variations so many prompts have. Errors: UsageError for more than a batch takes.

    `more`: variations of rows that say their own number.
    """
    total = wish_count * spec.cells * spec.count + more
    if total > LARGEST_BATCH:
        factors = [counted(wish_count, of)]
        factors += [f"{len(values)} of {name}" for name, values in spec.sweeps.items()]
        more_rows = f", and {more} of rows with a count of their own," if more else ""
        said = " × ".join([*factors, counted(spec.count, "variation")])
        raise UsageError(
            f"{said}{more_rows} are {total} items, and one batch takes up to {LARGEST_BATCH}; "
            + (
                f"take the first N of each prompt with {named('combinatorial', 'N')}, or leave it out"
                if of == "combination"
                else "split the prompts or a sweep's values over several calls"
            )
        )
    return total


def vary(
    entries: Sequence[PromptEntry],
    *,
    spec: BatchSpec,
    has_seed: bool,
    draw: Callable[[], int] = drawn_seed,
    expansion: Expansion | None = None,
    axes: TextAxes | None = None,
    base: int | None = None,
    terms: Callable[[PromptEntry], Terms] | None = None,
    tags: LoraTags | None = None,
) -> list[Variation]:
    """All variations: by prompt, then by the sweeps' cells, then by seed.

    What a prompt's row says wins over what was said for all. The seeds begin anew for each prompt, and all cells of a
    sweep share them, so that what stands side by side differs in one thing alone; those of an equal prompt go on where
    the one before it ended; `random` draws others for each prompt. `draw` gives a random seed. `expansion`: of dynamic
    prompts, which has read these; each of its combinations is a prompt. `axes`: the sweeps over texts. `base`: the
    seed of each prompt's first variation, where the request names none. `terms`: of prompts whose rows say more than
    values. `tags`: reads the LoRAs in prompts; without it, texts stay as they are.
    Errors: UsageError for too many, and for a row that says what a sweep says.
    """
    common = Terms(spec, has_seed, axes)
    each = [terms(entry) if terms is not None else common for entry in entries]
    _refuse_too_many(entries, each, spec, expansion)
    occurrences: Counter[str] = Counter()
    offsets = seeds_before(entries, (own.spec.count for own in each))
    base = spec.seed if spec.seed is not None else base
    base = max(0, draw() - max(offsets, default=0)) if base is None else base
    variations: list[Variation] = []
    for entry, own, offset in zip(entries, each, offsets, strict=True):
        first = base + (offset if own.spec.seed_mode == "increment" else 0)
        seeds = _seeds(entry, own.spec, base=first, draw=draw) if own.has_seed else [None] * own.spec.count
        source = _Source(entry, own, base, occurrences[entry.prompt], expansion, tags)
        occurrences[entry.prompt] += 1
        variations += _of_one(source, seeds, start=len(variations))
    return variations


class _Source(msgspec.Struct, frozen=True):
    """A prompt, and how its texts come about."""

    entry: PromptEntry
    terms: Terms
    base: int
    occurrence: int
    """How many prompts before it are the same text."""
    expansion: Expansion | None
    tags: LoraTags | None

    def combinations(self) -> Iterable[Expanded | None]:
        if self.expansion is None or self.expansion.most is None:
            return (None,)
        inputs = {**self.terms.inputs, **self.entry.inputs}
        return self.expansion.combinations(dynamic_texts(self.entry.prompt, inputs))

    def inputs_of(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """What the values of a cell set, but for those that are texts within others."""
        swept = cell if self.terms.axes is None else self.terms.axes.inputs(cell)
        return {part: wanted for name, value in swept.items() for part, wanted in parted(name, value).items()}

    def texts(self, inputs: Mapping[str, Any], cell: Mapping[str, Any], number: int) -> Expanded | None:
        """The texts of one item, None where they are as they are written.

        `inputs`: all of its, with its seed, of the prompt's seeds the `number`th. Errors: UsageError.
        """
        axes = self.terms.axes
        if axes is None:
            return self._chosen(self.entry.prompt, inputs, number)
        written = axes.texts(self.entry.prompt, inputs)
        changed = axes.replaced(written, cell, self.entry)
        record: dict[str, Any] = {"texts": {name: written[name] for name in changed}}
        found = {"prompt": self.entry.prompt} | changed
        chosen = self._chosen(found["prompt"], {**inputs, **changed}, number)
        if chosen is not None:
            found |= dict(chosen.texts)
            record = {**chosen.record, "texts": {**chosen.record.get("texts", {}), **record["texts"]}}
        return Expanded(found, record | {"axes": {key: cell[key] for key in axes.axes}})

    def _chosen(self, prompt: str, inputs: Mapping[str, Any], number: int) -> Expanded | None:
        if self.expansion is None:
            return None
        seed = inputs.get("seed")
        # Where all have one seed they are to differ all the same; equal prompts of a list too.
        place = number if seed is None or self.terms.spec.seed_mode == "fixed" else 0
        texts = dynamic_texts(prompt, inputs)
        return self.expansion.drawn(
            texts, self.base if seed is None else seed, place, self.entry.prompt, self.occurrence
        )


def _refuse_too_many(
    entries: Sequence[PromptEntry], each: Sequence[Terms], spec: BatchSpec, expansion: Expansion | None
) -> None:
    if expansion is None or expansion.most is None:
        own = [one.spec.count for one, entry in zip(each, entries, strict=True) if entry.count is not None]
        count_of(len(entries) - len(own), spec, more=sum(own) * spec.cells)
        return
    total = 0
    for entry, one in zip(entries, each, strict=True):
        combinations = expansion.count(dynamic_texts(entry.prompt, {**one.inputs, **entry.inputs}))
        total += min(combinations, expansion.most or combinations) * (entry.count or spec.count)
    count_of(-(-total // spec.count), spec, of="combination")


def _seeds(entry: PromptEntry, spec: BatchSpec, *, base: int, draw: Callable[[], int]) -> list[int]:
    own = entry.inputs.get("seed")
    if own == RANDOM_SEED:
        own, base = None, draw()
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


def _with_loras(
    record: Mapping[str, Any], tagged: Tagged, inputs: dict[str, Any], axes: Mapping[str, Any], entry: PromptEntry
) -> dict[str, Any]:
    """The record of an item whose prompt named LoRAs, which are added to its inputs."""
    record = {**record, "texts": {"prompt": entry.prompt, **record.get("texts", {})}}
    if tagged.loras:
        inputs["lora"] = with_tagged(inputs.get("lora"), tagged)
        if "lora" in axes:
            record["axes"] = {**record.get("axes", {}), "lora": axes["lora"]}
    return record


def _of_one(source: _Source, seeds: Sequence[int | None], *, start: int) -> Iterator[Variation]:
    entry, terms = source.entry, source.terms
    for name in entry.inputs:
        if name in terms.swept:
            raise UsageError(f"{entry.where}: it sets {name}, and {named('sweeps')} sets it too; leave one out")
    common = {**terms.inputs, **entry.inputs}
    is_drawn = (
        terms.spec.seed is None and entry.inputs.get("seed", RANDOM_SEED) == RANDOM_SEED and "seed" not in terms.swept
    )
    has_rows = terms.spec.name is not None
    combinations = list(source.combinations())
    total = len(combinations) * len(terms.cells) * terms.spec.count
    sent = product(combinations, terms.cells, enumerate(seeds))
    for number, (combination, values, (place, seed)) in enumerate(sent, 1):
        axes = dict(zip(terms.spec.sweeps, values, strict=True))
        inputs = dict(common)
        if seed is not None:
            inputs["seed"] = seed
        if axes:
            inputs |= source.inputs_of(axes)
        expanded = combination or source.texts(inputs, axes, place)
        texts = dict(expanded.texts) if expanded is not None else {"prompt": entry.prompt}
        record = expanded.record if expanded is not None else {}
        prompt = texts.pop("prompt")
        inputs |= texts
        if source.tags is not None and (tagged := source.tags.read(prompt, inputs, entry)) is not None:
            prompt = tagged.text
            record = _with_loras(record, tagged, inputs, axes, entry)
        if expanded is not None and not prompt.strip():
            raise UsageError(f"{entry.where}: the prompt is empty with the choices made; write a text around them")
        yield Variation(
            index=start + number,
            prompt=prompt.strip(),
            inputs=inputs,
            axes=axes,
            number=number,
            of=total,
            name=entry.name,
            subfolder=entry.subfolder,
            seed_is_drawn=seed is not None and is_drawn,
            asked=_asked(source, common, axes, combination, seed=None if is_drawn else seed) if has_rows else {},
            entry=entry,
            dynamic=record,
        )


def _asked(
    source: _Source, common: Mapping[str, Any], axes: Mapping[str, Any], chosen: Expanded | None, *, seed: int | None
) -> dict[str, Any]:
    """What a variation was asked for as: its texts as they were written, unless each combination is one by itself."""
    asked = {**common, "seed": seed, **source.inputs_of(axes), "prompt": source.entry.prompt}
    asked |= dict(chosen.texts) if chosen is not None else {}
    if source.terms.axes is not None:
        asked["axes"] = dict(axes)
    return {name: value for name, value in asked.items() if value is not None}
