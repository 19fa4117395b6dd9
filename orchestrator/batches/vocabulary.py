"""The names that values go by: as people write them, and as one template takes them."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

import templates
from orchestrator.batches.suggestions import near_matches
from orchestrator.batches.values import parts_of
from orchestrator.errors import TemplateError, UsageError
from orchestrator.wording import named
from templates import Bindings, Graph, Target

_ALIASES = {
    "positive": "prompt",
    "positive_prompt": "prompt",
    "prompt_text": "prompt",
    "negative_prompt": "negative",
    "cfg_scale": "cfg",
    "sampler_name": "sampler",
    "scheduler_name": "scheduler",
    "checkpoint": "model",
    "ckpt_name": "model",
    "lora_name": "lora",
    "noise_seed": "seed",
    "filename": "name",
    "stem": "name",
}
LORA = ("lora", "lora_strength")
PLACES = ("name", "subfolder")
_NOT_TO_SET = {
    "prompt": "is the prompt text, which {prompt}, a list or the column `prompt` gives",
    "prefix": "is the prefix of file names, which burst sets itself",
}


def spelled(name: str) -> str:
    """A name as the bindings have it: `CFG Scale` and `cfg-scale` are `cfg`. Any other (an address) stays as it is."""
    word = re.sub(r"[\s_-]+", "_", name.strip()).casefold()
    known = _ALIASES.get(word, word)
    return known if known in (*templates.NAMES, "size", *PLACES) else name.strip()


@dataclass(frozen=True)
class Vocabulary:
    """What a template's inputs go by: its bindings, and addresses into its graph."""

    graph: Graph
    bindings: Bindings

    def binds(self, name: str) -> bool:
        """A LoRA needs no binding: it is spliced in."""
        if name == "size":
            return all(map(self.binds, parts_of(name)))
        return name in LORA or bool(self.bindings.get(name))

    def is_number(self, name: str) -> bool:
        """Whether an input, by a name or address that `meaning` gave, holds a number in the template."""
        with contextlib.suppress(TemplateError):
            targets = self.bindings.get(name) or [Target(*templates.resolve(self.graph, name))]
            value = self.graph[targets[0].node_id]["inputs"].get(targets[0].input_name)
            return isinstance(value, int | float) and not isinstance(value, bool)
        return False

    def meaning(self, said: str) -> str:
        """The name that sets what `said` means, `size` for both sides; `NODE.INPUT` where no name sets just that.

        So an address of the seed is known to be the seed, and two spellings of one input to be one. Errors: UsageError,
        with near matches.
        """
        name = self.name_of(said)
        if name in _NOT_TO_SET:
            raise UsageError(f"{said!r} {_NOT_TO_SET[name].format(prompt=named('prompt'))}")
        return name

    def name_of(self, said: str) -> str:
        """As `meaning`, also for the prompt text and the prefix."""
        name = spelled(said)
        if self.binds(name):
            return name
        return self._named(said.strip()) if "." in said else self._unbound(name)

    def _named(self, address: str) -> str:
        try:
            target = Target(*templates.resolve(self.graph, address))
        except TemplateError as error:
            raise UsageError(str(error)) from error
        alone = [name for name, targets in self.bindings.items() if tuple(targets) == (target,)]
        # A name of the user's own comes first: it was given to this input on purpose.
        return min(alone, key=templates.NAMES.__contains__, default=target.address)

    def _unbound(self, name: str) -> str:
        settable = {known: self.bindings[known] for known in self.bindings if known not in _NOT_TO_SET}
        near = near_matches(
            name, {*filter(self.binds, settable), *_ALIASES, *templates.NAMES, "size"} - _NOT_TO_SET.keys()
        )
        missing = [part for part in parts_of(name) if not self.binds(part)]
        if set(missing) <= set(templates.NAMES):
            added = " ".join(named("bindings", "NODE.INPUT", key=part) for part in missing)
            advice = f"add one with {added}, or leave it out"
        elif name in PLACES:
            advice = f"it counts with {named('layout', 'mirror')} alone"
        elif near:
            advice = f"did you mean {' or '.join(map(repr, near))}?"
        else:
            advice = "an input is NODE.INPUT, such as 3.steps"
        raise UsageError(templates.no_binding(name, settable, advice=advice))
