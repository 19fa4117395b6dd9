"""Seeds and other values that `burst init` gives the items that it adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from orchestrator.batches.values import RANDOM_SEED, fitted, parted
from orchestrator.batches.variations import drawn_seed
from orchestrator.batches.vocabulary import Vocabulary
from orchestrator.errors import UsageError, located
from orchestrator.recipes import LoadedRecipe
from orchestrator.wording import named
from state.item import Item


@dataclass(frozen=True)
class InitValues:
    """What items get as they are added; those that are there keep theirs."""

    seed: int | None = None
    """One for all of them; -1 as `seed_mode` random."""
    seed_mode: Literal["random", "fixed"] | None = None
    """random: another one is drawn, and recorded, for each; fixed (with a seed): all have it."""
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Name or address → value."""

    @property
    def is_random(self) -> bool:
        return self.seed_mode == "random" or self.seed == RANDOM_SEED

    def given(self, items: Iterable[Item], recipe: LoadedRecipe | None) -> list[Item]:
        """The items with these. Errors: UsageError for what the workflow does not take."""
        if self == InitValues():
            return list(items)
        values = self._values(recipe)

        def inputs() -> dict[str, Any]:
            return values | ({"seed": drawn_seed()} if self.is_random else {})

        return [msgspec.structs.replace(item, inputs=inputs()) for item in items]

    def _values(self, recipe: LoadedRecipe | None) -> dict[str, Any]:
        self._check()
        if recipe is None:
            raise UsageError(f"{named('template')}: none is set; name the workflow that takes these values")
        vocabulary = Vocabulary(recipe.graph, recipe.bindings)
        if self.seed is not None or self.is_random:
            with located(named("seed"), UsageError):
                vocabulary.meaning("seed")
        values: dict[str, Any] = {}
        for name, value in self.sets.items():
            with located(named("sets", key=name), UsageError):
                meaning = vocabulary.meaning(name)
                parts = parted(meaning, fitted(meaning, value))
            if "seed" in parts:
                raise UsageError(f"{named('sets', key=name)}: use {named('seed')}")
            if twice := parts.keys() & values.keys():
                raise UsageError(f"{named('sets', key=name)}: {min(twice)} is given twice; give it once")
            values |= parts
        if self.seed is not None and not self.is_random:
            with located(named("seed"), UsageError):
                values["seed"] = fitted("seed", self.seed)
        return values

    def _check(self) -> None:
        if self.seed_mode == "fixed" and (self.seed is None or self.seed == RANDOM_SEED):
            raise UsageError(f"{named('seed_mode', 'fixed')}: give {named('seed')} too, which all items have then")
        if self.seed_mode == "random" and self.seed not in (None, RANDOM_SEED):
            raise UsageError(f"{named('seed_mode', 'random')} draws every seed; leave {named('seed')} out")
