"""How many items ended in which way, and what the report has to say about it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

NOTES_LOGGER = "burst.notes"
"""What is logged here is in the report too; with `--json` it is printed there alone."""
log = logging.getLogger(NOTES_LOGGER)
_COUNTED = (
    "completed",
    "failed",
    "cancelled",
    "recovered",
    "rescued",
    "put_back",
    "rendered_twice",
    "possibly_twice",
    "bytes",
    "seconds",
    "checkpoints",
    "checkpoint_seconds",
)


class Tally(msgspec.Struct):
    """How many items ended in which way so far."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    recovered: int = 0
    """Items that an earlier burst had left submitted."""
    rescued: int = 0
    """Found by the names of their files after the server had forgotten them."""
    put_back: int = 0
    rendered_twice: int = 0
    """Prompts that were rendered after all, although they had been given up."""
    possibly_twice: int = 0
    """Items due again although a server may have rendered them: one out of reach, or one that forgot them."""
    bytes: int = 0
    """Of the outputs of completed items."""
    seconds: float = 0.0
    """How long their servers rendered them."""
    checkpoints: int = 0
    checkpoint_seconds: float = 0.0
    failures: list[tuple[str, str]] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    literal_texts: set[str] = msgspec.field(default_factory=set)
    """Keys of items that were sent with a text that looks like a dynamic prompt, not by `generate`."""
    lora_texts: set[str] = msgspec.field(default_factory=set)
    """Keys of those whose text names a LoRA."""

    @property
    def ended(self) -> int:
        return self.completed + self.failed + self.cancelled

    @classmethod
    def of(cls, tallies: Iterable[Tally]) -> Tally:
        """The sum of several."""
        whole = cls()
        for tally in tallies:
            for name in _COUNTED:
                setattr(whole, name, getattr(whole, name) + getattr(tally, name))
            whole.failures += tally.failures
            whole.literal_texts |= tally.literal_texts
            whole.lora_texts |= tally.lora_texts
            whole.notes += [note for note in tally.notes if note not in whole.notes]
        return whole

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s", text)
