"""The captions of exported images: the prompt, or a text file with `{prompt}`, `{model}` and so on in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.batches.suggestions import advice
from orchestrator.errors import UsageError
from orchestrator.results.rendered import Rendered
from orchestrator.text_files import decoded
from orchestrator.wording import named

PROMPT = "prompt"
"""In place of a file: the prompt as it is."""
_FIELD = re.compile(r"\{([A-Za-z_]*)\}")


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


def _value(name: str) -> Callable[[Rendered], str]:
    return lambda one: _shown(one.values.get(name))


FIELDS: Mapping[str, Callable[[Rendered], str]] = {
    "prompt": lambda one: one.prompt.strip(),
    **{name: _value(name) for name in ("negative", "model", "sampler", "scheduler", "steps", "cfg", "width", "height")},
    "lora": lambda one: ", ".join(lora.as_text() for lora in one.loras),
    "seed": lambda one: _shown(one.seed),
    "tags": lambda one: ", ".join(one.item.tags),
    "batch": lambda one: (one.batch.name or one.batch.batch) if one.batch is not None else "",
    "item": lambda one: one.item.key,
}
"""What may stand in a file in braces. What an image does not have is empty."""


@dataclass(frozen=True)
class Captions:
    """How captions are made."""

    template: str | None = None
    """None: the prompt."""

    def of(self, one: Rendered) -> str:
        """One caption, without blanks at its ends."""
        if self.template is None:
            return FIELDS["prompt"](one)
        return _FIELD.sub(lambda found: FIELDS[found[1]](one), self.template).strip()


def read_captions(wanted: str) -> Captions:
    """`prompt`, or the path of a file. Errors: UsageError for a file that cannot be read, and for an unknown field."""
    if wanted == PROMPT:
        return Captions()
    try:
        template = decoded(Path(wanted).read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{named('caption', wanted)}: cannot be read: {reason}; write `prompt`, or name a text file "
            "with {prompt} in it"
        ) from error
    for field in _FIELD.findall(template):
        if field not in FIELDS:
            raise UsageError(f"{wanted}: there is no field {{{field}}}; {advice(field, list(FIELDS))}")
    return Captions(template)
